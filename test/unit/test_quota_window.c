/*
 * test_quota_window.c - counts within a sliding window: nothing is forgotten
 * before a window's length is over, whatever the clock does.
 */
#include "core/quota_window.h"
#include "tap.h"

#define SECOND INT64_C(1000000)
#define HOUR (3600 * SECOND)
#define NOW (INT64_C(800000000) * SECOND + 123457)

static void
check_sliding(void)
{
	QuotaWindow window;
	int64_t part;
	int64_t end;

	quota_window_begin(&window, HOUR, NOW);
	tap_ok(window.total == 0, "a new window is empty");
	(void) quota_window_add(&window, NOW, 5);
	quota_window_advance(&window, NOW + HOUR);
	tap_ok(window.total == 5, "what was counted counts for the window's length");
	part = NOW / window.part_length;
	end = (part + QUOTA_PARTS + 1) * window.part_length;
	tap_ok(quota_window_room(&window, 0) == end, "and the time when it ends is told beforehand");
	quota_window_advance(&window, end - 1);
	tap_ok(window.total == 5, "it counts until then");
	quota_window_advance(&window, end);
	tap_ok(window.total == 0, "and no longer");
	tap_ok(end - NOW <= HOUR + window.part_length, "which is at most a part more than the window");
	(void) quota_window_add(&window, end, 7);
	quota_window_advance(&window, end + 400 * HOUR);
	tap_ok(window.total == 0, "a long time makes everything forgotten");
}

/* An independent count: what was added less than a part more than a window ago, by part numbers. */
static void
check_against_list(void)
{
	enum
	{
		ADDED = 3000
	};
	static int64_t times[ADDED];
	QuotaWindow window;
	int64_t now = NOW;
	uint32_t seed = 1;
	long failed = 0;
	long early = 0;

	quota_window_begin(&window, 1000, now);
	for (int i = 0; i < ADDED; i++)
	{
		int64_t expected = 0;
		int64_t sure = 0;

		seed = seed * 1103515245 + 12345;
		now += (seed >> 16) % 40;
		times[i] = now;
		(void) quota_window_add(&window, now, 1);
		for (int j = 0; j <= i; j++)
		{
			expected += now / window.part_length - times[j] / window.part_length <= QUOTA_PARTS;
			sure += now - times[j] <= 1000;
		}
		failed += expected != window.total;
		early += sure > window.total;
	}
	tap_all(failed, ADDED, -1, "the total is that of a list of all that was added");
	tap_all(early, ADDED, -1, "and never less than what was added within the window");
}

static void
check_clock(void)
{
	QuotaWindow window;
	int64_t part;

	quota_window_begin(&window, HOUR, NOW);
	(void) quota_window_add(&window, NOW, 3);
	part = window.newest;
	quota_window_advance(&window, NOW - 5 * HOUR);
	tap_ok(window.total == 3 && window.newest == part, "a clock set back frees nothing");
	tap_ok(quota_window_add(&window, NOW - 5 * HOUR, 4) == part && window.total == 7,
		   "and what is counted then is counted in the newest part");
	quota_window_advance(&window, NOW + HOUR);
	tap_ok(window.total == 7, "so that it does not end before what went before");
	quota_window_begin(&window, HOUR, -NOW);
	(void) quota_window_add(&window, -NOW, 2);
	quota_window_advance(&window, -NOW + HOUR);
	tap_ok(window.total == 2, "times before the epoch count as well");
	quota_window_advance(&window, -NOW + HOUR + 2 * window.part_length);
	tap_ok(window.total == 0, "and as long");
}

static void
check_taking_back(void)
{
	QuotaWindow window;
	int64_t first;
	int64_t second;

	quota_window_begin(&window, HOUR, NOW);
	first = quota_window_add(&window, NOW, 10);
	second = quota_window_add(&window, NOW + HOUR / 2, 20);
	quota_window_remove(&window, first, 4);
	tap_ok(window.total == 26, "what was counted can be taken back");
	quota_window_advance(&window, NOW + HOUR + 2 * window.part_length);
	tap_ok(window.total == 20, "out of the part that it was counted in");
	quota_window_remove(&window, first, 4);
	tap_ok(window.total == 20, "but not any more when it does not count any more");
	quota_window_remove(&window, second, 100);
	tap_ok(window.total == 0, "and never more than was counted");
	quota_window_remove(&window, window.newest + 1, 1);
	tap_ok(window.total == 0, "nor out of a part that has not begun");
}

static void
check_counting_anew(void)
{
	QuotaWindow window;
	QuotaWindow counted;

	quota_window_begin(&counted, HOUR, NOW);
	quota_window_add_past(&counted, NOW - HOUR / 2, 8);
	quota_window_add_past(&counted, NOW, 1);
	quota_window_add_past(&counted, NOW - 2 * HOUR, 100);
	quota_window_add_past(&counted, NOW + HOUR, 100);
	tap_ok(counted.total == 9, "what lies outside the window is not counted");
	quota_window_begin(&window, HOUR, NOW);
	(void) quota_window_add(&window, NOW + window.part_length, 2);
	quota_window_merge(&window, &counted);
	tap_ok(window.total == 11, "two counts become one");
	tap_ok(quota_window_room(&window, 11) == window.newest * window.part_length,
		   "there is room now when the counts are few enough");
	tap_ok(quota_window_room(&window, 3) ==
			   ((NOW - HOUR / 2) / window.part_length + QUOTA_PARTS + 1) * window.part_length,
		   "else when the oldest of them end");
	tap_ok(quota_window_room(&window, 0) ==
			   (NOW / window.part_length + 1 + QUOTA_PARTS + 1) * window.part_length,
		   "or the newest");
	tap_ok(quota_window_room(&window, -1) == QUOTA_NEVER, "or never");
	quota_window_advance(&window, NOW + HOUR / 2 + 2 * window.part_length);
	tap_ok(window.total == 3, "and each part of both ends in its time");
	quota_window_begin(&window, 1, NOW);
	tap_ok(window.part_length == 1, "the shortest window has parts of a microsecond");
}

int
main(void)
{
	check_sliding();
	check_against_list();
	check_clock();
	check_taking_back();
	check_counting_anew();
	return tap_done();
}

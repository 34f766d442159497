/*
 * quota_window.c - counts within a window of time that slides by parts.
 */
#include "core/quota_window.h"

#include <stdbool.h>
#include <string.h>

#define COUNTS (QUOTA_PARTS + 1)

/* The number of the part that a time falls into; times before the epoch have negative ones. */
static int64_t
window_part(const QuotaWindow *window, int64_t time)
{
	int64_t part = time / window->part_length;

	return time % window->part_length < 0 ? part - 1 : part;
}

static int64_t *
window_count(QuotaWindow *window, int64_t part)
{
	int64_t index = part % COUNTS;

	return &window->counts[index < 0 ? index + COUNTS : index];
}

static int64_t
window_count_of(const QuotaWindow *window, int64_t part)
{
	int64_t index = part % COUNTS;

	return window->counts[index < 0 ? index + COUNTS : index];
}

void
quota_window_begin(QuotaWindow *window, int64_t length, int64_t now)
{
	memset(window, 0, sizeof(*window));
	window->part_length = length / QUOTA_PARTS + (length % QUOTA_PARTS != 0);
	if (window->part_length < 1)
		window->part_length = 1;
	window->newest = window_part(window, now);
}

void
quota_window_advance(QuotaWindow *window, int64_t now)
{
	int64_t part = window_part(window, now);

	if (part - window->newest >= COUNTS)
	{
		memset(window->counts, 0, sizeof(window->counts));
		window->total = 0;
		window->newest = part;
	}
	while (window->newest < part)
	{
		int64_t *oldest = window_count(window, ++window->newest);

		window->total -= *oldest;
		*oldest = 0;
	}
}

int64_t
quota_window_add(QuotaWindow *window, int64_t now, int64_t count)
{
	quota_window_advance(window, now);
	*window_count(window, window->newest) += count;
	window->total += count;
	return window->newest;
}

static bool
window_holds(const QuotaWindow *window, int64_t part)
{
	return part > window->newest - COUNTS && part <= window->newest;
}

/* Counts in a part, if the window has it. */
static void
window_add_to(QuotaWindow *window, int64_t part, int64_t count)
{
	if (!window_holds(window, part))
		return;
	*window_count(window, part) += count;
	window->total += count;
}

void
quota_window_add_past(QuotaWindow *window, int64_t time, int64_t count)
{
	window_add_to(window, window_part(window, time), count);
}

void
quota_window_remove(QuotaWindow *window, int64_t part, int64_t count)
{
	int64_t *counted;

	if (!window_holds(window, part))
		return;
	counted = window_count(window, part);
	if (count > *counted)
		count = *counted;
	*counted -= count;
	window->total -= count;
}

void
quota_window_merge(QuotaWindow *window, const QuotaWindow *other)
{
	for (int64_t part = other->newest - QUOTA_PARTS; part <= other->newest; part++)
		window_add_to(window, part, window_count_of(other, part));
}

int64_t
quota_window_room(const QuotaWindow *window, int64_t most)
{
	int64_t left = window->total;
	int64_t part = window->newest - QUOTA_PARTS;

	if (most < 0)
		return QUOTA_NEVER;
	if (left <= most)
		return window->newest * window->part_length;
	for (; part < window->newest && left > most; part++)
		left -= window_count_of(window, part);
	/* part is the first that may still count: its predecessor's end is COUNTS parts later */
	if (left > most)
		part++;
	return (part - 1 + COUNTS) * window->part_length;
}

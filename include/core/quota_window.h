/*
 * quota_window.h - counts within a window of time that slides by parts.
 *
 * A window is cut into QUOTA_PARTS parts of equal length, aligned to the
 * epoch. What is counted at some time counts until the part that it fell into
 * is QUOTA_PARTS + 1 parts old: for a window's length at least, and at
 * most one part more. The newest part never moves back: when the clock is set
 * back, what is counted from then on is counted in the newest part, until the
 * clock has caught up. So nothing that was counted is ever forgotten early.
 *
 * Times and lengths are microseconds of one epoch, whichever it is. Pure;
 * whoever shares a window between processes locks it.
 */
#ifndef BIOMETRIC_CORE_QUOTA_WINDOW_H
#define BIOMETRIC_CORE_QUOTA_WINDOW_H

#include <stdint.h>

#define QUOTA_PARTS 32

/* quota_window_room: there will never be room. */
#define QUOTA_NEVER INT64_MAX

typedef struct QuotaWindow
{
	int64_t part_length;			 /* of a part, rounded up */
	int64_t newest;					 /* number of the newest part */
	int64_t total;					 /* sum of counts */
	int64_t counts[QUOTA_PARTS + 1]; /* part n's is at n modulo the number of them */
} QuotaWindow;

/* quota_window_begin empties a window of a length (1 and up) that is at a time. */
extern void quota_window_begin(QuotaWindow *window, int64_t length, int64_t now);

/* quota_window_advance slides a window to a time, unless it is there or beyond. */
extern void quota_window_advance(QuotaWindow *window, int64_t now);

/*
 * quota_window_add counts so many more (0 and up) at present, and slides the window there.
 * Returns the number of the part that they are counted in, for quota_window_remove.
 */
extern int64_t quota_window_add(QuotaWindow *window, int64_t now, int64_t count);

/* quota_window_add_past counts what was at some time; not what lies before or behind the window. */
extern void quota_window_add_past(QuotaWindow *window, int64_t time, int64_t count);

/* quota_window_remove takes back what quota_window_add counted, if it counts still. */
extern void quota_window_remove(QuotaWindow *window, int64_t part, int64_t count);

/* quota_window_merge adds the counts of another window, of the same length of parts. */
extern void quota_window_merge(QuotaWindow *window, const QuotaWindow *other);

/*
 * quota_window_room returns the first time at which the counts add up to no
 * more than most, if nothing is added: the window's own present when they do so now.
 * QUOTA_NEVER if most is negative.
 */
extern int64_t quota_window_room(const QuotaWindow *window, int64_t most);

#endif

/*
 * quota.h - how many images a permit may still release: counted for all
 * sessions together, in shared memory.
 *
 * A permit with a quota releases at most so many images within any period of
 * its window's length. The window slides by parts (core/quota_window.h): an image
 * counts for a window's length and at most a part more. Counted are entries of
 * event disclosed and observed that name the permit: what has been counted can
 * be counted again from the ledger, and is, by the worker, for each permit whose
 * count it does not know (quota_count.c).
 *
 * Called by client backends. Nothing here asks the catalogs or needs a transaction.
 */
#ifndef BIOMETRIC_POLICY_QUOTA_H
#define BIOMETRIC_POLICY_QUOTA_H

#include "datatype/timestamp.h"

#include "policy/policy.h"

/* What quota_take returns when the count of the permit is not known (yet). */
#define QUOTA_UNKNOWN (-1)

/* The shortest and the longest window, in microseconds: a second and 366 days. */
#define QUOTA_WINDOW_MIN INT64CONST(1000000)
#define QUOTA_WINDOW_MAX (366 * INT64CONST(86400000000))

/* What was taken and is not in the ledger yet. Plain data. */
typedef struct QuotaTaken
{
	int64 permit;
	int counter;
	uint32 epoch; /* of the count: it may have been counted anew since */
	int64 part;	  /* of the window */
	int count;
	int64 quota;  /* the permit's, when it was taken from */
	int64 window; /* likewise, microseconds */
} QuotaTaken;

/* quota_define_settings: biometric_audit.max_quotas; from policy_define_settings. */
extern void quota_define_settings(void);
extern Size quota_shmem_size(void);
extern void quota_shmem_init(void);

/* quota_places returns biometric_audit.max_quotas: how many permits can have a quota. */
extern int quota_places(void);

/*
 * quota_take takes up to wanted images of the quota of the permit of a decision,
 * and returns how many are within it: fewer than wanted means that the next
 * image goes over. With beyond all wanted are counted, for what is released
 * nevertheless. wanted, and nothing taken, if the permit has no quota;
 * QUOTA_UNKNOWN when its count is not known, and nothing taken, but with beyond what
 * quota_keep counts all the same. Never raises.
 * taken: what quota_keep or quota_return must be called for.
 */
extern int quota_take(const Decision *decision, int wanted, bool beyond, QuotaTaken *taken);

/*
 * quota_keep says that count of what was taken is now in the ledger, from
 * sequence number first on, at a time (as entries have it). quota_return gives
 * count of it back, which did not get there. Never raise.
 */
extern void quota_keep(QuotaTaken *taken, int count, int64 first, int64 at);
extern void quota_return(QuotaTaken *taken, int count);

/*
 * quota_await waits until the count of a decision's permit is known, or until there is
 * another policy than that of a generation, or there is no hope, at most
 * biometric_audit.ledger_timeout. Interruptible.
 */
extern void quota_await(const Decision *decision, uint64 generation);

/* The state of a permit's quota. */
typedef struct QuotaState
{
	bool known; /* else left is 0, room_at nothing, and maybe the rest, too */
	int64 quota;
	int64 window; /* microseconds */
	int64 left;
	TimestampTz room_at; /* when it has room for one more, if nothing else is released */
} QuotaState;

/* quota_look says how a quota stands now. Does not wait. */
extern QuotaState quota_look(const Decision *decision);

/*
 * quota_exceeded makes of a decision to release what holds for an image that
 * goes over the quota: refused with REASON_QUOTA_EXCEEDED, or observed, with that reason
 * unless another stood against it before. In policy_decide's file, which alone says yes or no.
 */
extern Decision quota_exceeded(const Decision *decision);

/* quota_window_text returns a length of time in words, "1 day 02:00:00", palloc'd. */
extern char *quota_window_text(int64 window);

#endif

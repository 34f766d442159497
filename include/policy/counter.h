/*
 * counter.h - the counters of quotas in shared memory.
 *
 * Each slot (database) has biometric_audit.max_quotas of them, each with
 * cache lines and a spinlock of its own, which guards all its fields. While it is
 * held nothing is allocated and nothing raised. The worker of the database
 * gives counters to permits and counts for them; sessions take, keep and return.
 *
 * A permit is published with the number of its counter, and only then
 * counted: who decides by the new policy waits until the counter is ready, and
 * who has decided by the old one decides again before he sends anything. So
 * nothing is released between the count and its use that is not counted. The count is
 * the worker's work, which it does between its batches: nobody else waits for it.
 */
#ifndef BIOMETRIC_POLICY_COUNTER_H
#define BIOMETRIC_POLICY_COUNTER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/spin.h"

#include "core/quota_window.h"

typedef enum CounterState
{
	COUNTER_FREE = 0,
	COUNTER_UNCOUNTED, /* given to a permit whose count is not known */
	COUNTER_COUNTING,  /* the worker is reading the ledger; window has what it will not find */
	COUNTER_READY,
	COUNTER_FAILED /* the ledger could not be read: gives nothing */
} CounterState;

typedef struct QuotaCounter
{
	slock_t lock;
	uint32 state; /* CounterState */
	uint32 epoch; /* changes whenever a count begins anew */
	int64 permit;
	int64 quota;
	int64 length;  /* of the window, in microseconds */
	int64 counted; /* entries below this number are found by the worker; from COUNTER_COUNTING on */
	QuotaWindow window;
} QuotaCounter;

/* A permit with a quota that is about to be published. */
typedef struct QuotaPermit
{
	int64 id;
	const char *party;
	TimestampTz granted_at;
	int64 quota;
	int64 length;
	int counter; /* set by counter_assign; -1: there is none */
} QuotaPermit;

/* counter_get returns a counter of a slot, 0 to quota_places() - 1; NULL when there is none. */
extern QuotaCounter *counter_get(int slot, int number);

/*
 * counter_assign sees to it that each permit of a list of QuotaPermit has a
 * counter with its quota and window, and nobody else has one; and returns whether any
 * counter became another's, or its quota or window another. The worker's.
 */
extern bool counter_assign(int slot, List *permits);

/* counter_reset frees all counters of a slot. */
extern void counter_reset(int slot);

/*
 * quota_count has those permits of such a list counted, from the ledger, whose count is not
 * known; to be called when they are published. quota_count_some does a little of that, and tells
 * whether there may be more (LedgerWorkerWork). What cannot be counted is logged, and gives
 * nothing, until the next call of quota_count. The worker's.
 */
extern void quota_count(int slot, List *permits);
extern bool quota_count_some(int slot);

#endif

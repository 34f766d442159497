/*
 * quota.c - counters in shared memory, and taking from them.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "ledger/ring.h"
#include "policy/counter.h"
#include "policy/quota.h"

/* From the epoch of entries to that of the server's times. */
#define EPOCH_OFFSET (INT64CONST(86400000000) * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE))

#define COUNTER_STRIDE CACHELINEALIGN(sizeof(QuotaCounter))

static int max_quotas = 128;
static char *counters = NULL;

void
quota_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.max_quotas",
							"The most permits with a quota that a database can have.", NULL,
							&max_quotas, 128, 0, 65536, PGC_POSTMASTER, 0, NULL, NULL, NULL);
}

int
quota_places(void)
{
	return max_quotas;
}

Size
quota_shmem_size(void)
{
	return mul_size(mul_size(ledger_slots(), max_quotas), COUNTER_STRIDE);
}

/* AddinShmemInitLock is held. */
void
quota_shmem_init(void)
{
	bool found;

	counters = ShmemInitStruct("biometric_audit quotas", quota_shmem_size(), &found);
	for (int slot = 0; slot < ledger_slots() && !found; slot++)
		for (int number = 0; number < max_quotas; number++)
		{
			QuotaCounter *counter = counter_get(slot, number);

			memset(counter, 0, sizeof(*counter));
			SpinLockInit(&counter->lock);
		}
}

QuotaCounter *
counter_get(int slot, int number)
{
	if (counters == NULL || slot < 0 || slot >= ledger_slots() || number < 0 ||
		number >= max_quotas)
		return NULL;
	return (QuotaCounter *) (counters + ((Size) slot * max_quotas + number) * COUNTER_STRIDE);
}

/* ---- giving counters to permits ---- */

/* A permit of a list, by its id. */
typedef struct PermitFound
{
	int64 id; /* key */
	QuotaPermit *permit;
} PermitFound;

static HTAB *
counter_index_permits(List *permits)
{
	HASHCTL control = {
		.keysize = sizeof(int64), .entrysize = sizeof(PermitFound), .hcxt = CurrentMemoryContext};
	HTAB *index = hash_create("biometric permits with a quota", list_length(permits) + 1, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ListCell *cell;

	foreach(cell, permits)
	{
		QuotaPermit *permit = lfirst(cell);
		bool found;
		PermitFound *entry = hash_search(index, &permit->id, HASH_ENTER, &found);

		entry->permit = permit;
	}
	return index;
}

/*
 * Makes a counter a permit's; true if anything of it changes. A count is kept unless the
 * window has become another.
 */
static bool
counter_give(QuotaCounter *counter, const QuotaPermit *permit)
{
	bool changed;

	SpinLockAcquire(&counter->lock);
	changed = counter->state == COUNTER_FREE || counter->permit != permit->id ||
			  counter->length != permit->length || counter->quota != permit->quota;
	if (counter->state == COUNTER_FREE || counter->permit != permit->id ||
		counter->length != permit->length)
	{
		counter->state = COUNTER_UNCOUNTED;
		counter->epoch++;
	}
	counter->permit = permit->id;
	counter->quota = permit->quota;
	counter->length = permit->length;
	SpinLockRelease(&counter->lock);
	return changed;
}

static void
counter_free(QuotaCounter *counter)
{
	SpinLockAcquire(&counter->lock);
	counter->state = COUNTER_FREE;
	counter->permit = 0;
	counter->epoch++;
	SpinLockRelease(&counter->lock);
}

/*
 * Leaves counters to the permits that have them, and frees the others; true if anything changed.
 * Only the worker, or who has seen it end, writes permit and state: it reads them unlocked.
 */
static bool
counter_keep(int slot, List *permits)
{
	HTAB *index = counter_index_permits(permits);
	bool changed = false;

	for (int number = 0; number < max_quotas; number++)
	{
		QuotaCounter *counter = counter_get(slot, number);
		int64 id = counter->permit;
		PermitFound *found;

		if (counter->state == COUNTER_FREE)
			continue;
		found = hash_search(index, &id, HASH_FIND, NULL);
		if (found)
		{
			found->permit->counter = number;
			changed |= counter_give(counter, found->permit);
			continue;
		}
		counter_free(counter);
		changed = true;
	}
	hash_destroy(index);
	return changed;
}

bool
counter_assign(int slot, List *permits)
{
	bool changed = counter_keep(slot, permits);
	ListCell *cell;
	int next = 0;

	foreach(cell, permits)
	{
		QuotaPermit *permit = lfirst(cell);

		while (permit->counter < 0 && next < max_quotas)
		{
			if (counter_get(slot, next)->state == COUNTER_FREE)
			{
				permit->counter = next;
				changed |= counter_give(counter_get(slot, next), permit);
			}
			next++;
		}
		if (permit->counter < 0)
			ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("permit %lld releases nothing: there is no counter for its quota",
								 (long long) permit->id),
						  errhint("Increase biometric_audit.max_quotas and restart the server.")));
	}
	return changed;
}

void
counter_reset(int slot)
{
	for (int number = 0; counters && number < max_quotas; number++)
		counter_free(counter_get(slot, number));
}

/* ---- taking ---- */

/*
 * Notes what is released though the count is not known: for quota_keep, which counts it if it gets
 * into the ledger behind what the worker counts. It is of no epoch that counts. The lock is held.
 */
static void
quota_note_unknown(const Decision *decision, const QuotaCounter *counter, int count,
				   QuotaTaken *taken)
{
	if (counter->permit != decision->permit || counter->state == COUNTER_READY)
		return;
	taken->permit = counter->permit;
	taken->counter = decision->counter;
	taken->epoch = counter->epoch - 1;
	taken->count = count;
	taken->quota = counter->quota;
	taken->window = counter->length;
}

int
quota_take(const Decision *decision, int wanted, bool beyond, QuotaTaken *taken)
{
	QuotaCounter *counter;
	int64 now;
	int within = QUOTA_UNKNOWN;

	memset(taken, 0, sizeof(*taken));
	if (!decision->quota)
		return wanted;
	counter = counter_get(ledger_my_slot(), decision->counter);
	if (counter == NULL)
		return QUOTA_UNKNOWN;
	now = GetCurrentTimestamp();
	SpinLockAcquire(&counter->lock);
	if (counter->state == COUNTER_READY && counter->permit == decision->permit)
	{
		quota_window_advance(&counter->window, now);
		within = (int) Max(0, Min(counter->quota - counter->window.total, wanted));
		taken->permit = counter->permit;
		taken->counter = decision->counter;
		taken->epoch = counter->epoch;
		taken->quota = counter->quota;
		taken->window = counter->length;
		taken->count = beyond ? wanted : within;
		taken->part = quota_window_add(&counter->window, now, taken->count);
	}
	else if (beyond)
		quota_note_unknown(decision, counter, wanted, taken);
	SpinLockRelease(&counter->lock);
	return within;
}

/* The counter that was taken from. */
static QuotaCounter *
quota_counter_of(const QuotaTaken *taken)
{
	return taken->permit == 0 ? NULL : counter_get(ledger_my_slot(), taken->counter);
}

/*
 * Counts by the entry's time, as the ledger would be counted. When the permit's
 * count was begun anew since, entries that were there by then are in it.
 */
void
quota_keep(QuotaTaken *taken, int count, int64 first, int64 at)
{
	QuotaCounter *counter = quota_counter_of(taken);

	count = Min(count, taken->count);
	if (counter == NULL || count <= 0)
		return;
	taken->count -= count;
	SpinLockAcquire(&counter->lock);
	if (counter->permit == taken->permit && counter->epoch == taken->epoch)
	{
		quota_window_remove(&counter->window, taken->part, count);
		(void) quota_window_add(&counter->window, at - EPOCH_OFFSET, count);
	}
	else if (counter->permit == taken->permit && first >= counter->counted &&
			 (counter->state == COUNTER_COUNTING || counter->state == COUNTER_READY))
		(void) quota_window_add(&counter->window, at - EPOCH_OFFSET, count);
	SpinLockRelease(&counter->lock);
}

void
quota_return(QuotaTaken *taken, int count)
{
	QuotaCounter *counter = quota_counter_of(taken);

	count = Min(count, taken->count);
	if (counter == NULL || count <= 0)
		return;
	taken->count -= count;
	SpinLockAcquire(&counter->lock);
	if (counter->permit == taken->permit && counter->epoch == taken->epoch)
		quota_window_remove(&counter->window, taken->part, count);
	SpinLockRelease(&counter->lock);
}

/* Whether waiting may help: it is to be counted, or a newer policy is about to name another. */
static bool
quota_is_pending(const Decision *decision)
{
	QuotaCounter *counter = counter_get(ledger_my_slot(), decision->counter);
	bool pending;

	if (!decision->quota || counter == NULL)
		return false;
	SpinLockAcquire(&counter->lock);
	pending = counter->permit != decision->permit || counter->state == COUNTER_UNCOUNTED ||
			  counter->state == COUNTER_COUNTING;
	SpinLockRelease(&counter->lock);
	return pending;
}

void
quota_await(const Decision *decision, uint64 generation)
{
	TimestampTz start = GetCurrentTimestamp();

	while (quota_is_pending(decision) && policy_generation() == generation &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ledger_timeout_ms()))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 2,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* ---- looking ---- */

QuotaState
quota_look(const Decision *decision)
{
	QuotaCounter *counter = counter_get(ledger_my_slot(), decision->counter);
	TimestampTz now = GetCurrentTimestamp();
	QuotaState state = {0};

	if (!decision->quota || counter == NULL)
		return state;
	SpinLockAcquire(&counter->lock);
	if (counter->permit == decision->permit)
	{
		state.quota = counter->quota;
		state.window = counter->length;
		state.known = counter->state == COUNTER_READY;
	}
	if (state.known)
	{
		quota_window_advance(&counter->window, now);
		state.left = Max(0, counter->quota - counter->window.total);
		state.room_at = quota_window_room(&counter->window, counter->quota - 1);
	}
	SpinLockRelease(&counter->lock);
	return state;
}

char *
quota_window_text(int64 window)
{
	Interval interval = {.time = window % USECS_PER_DAY, .day = (int32) (window / USECS_PER_DAY)};

	return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(&interval)));
}

/*
 * quota_count.c - counts what permits have released, from the ledger.
 *
 * The permits of one party are counted together, in a pass: from the moment at which it
 * begins, their counters take note of what is appended from then on, and the pass
 * reads what was appended before, a range of entries at a time, each time
 * with a snapshot of its own. What was in the ring at that moment is in the
 * tables when the pass gets there: the worker does both.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/quota_window.h"
#include "ledger/activity.h"
#include "ledger/pending.h"
#include "ledger/worker.h"
#include "policy/counter.h"

#define RELEASES (((uint32) 1 << ENTRY_DISCLOSED) | ((uint32) 1 << ENTRY_OBSERVED))

/* The entries that are looked for at a time, and how many blocks of them are read. */
#define RANGE_ENTRIES 65536
#define RANGE_BLOCKS 16

/* How long, in ms, a turn may take when nothing waits for the worker. */
#define TURN_MS 10

/* A permit released nothing before it was granted; but the clock may have been set back since. */
#define GRANT_SLACK USECS_PER_HOUR

/* A permit that is being counted. */
typedef struct Count
{
	int64 permit; /* key of the hash table */
	QuotaCounter *counter;
	uint32 epoch;		/* of the counter, when the count began */
	TimestampTz from;	/* nothing was released by it before */
	QuotaWindow window; /* what was found */
} Count;

/* A pass through the ledger. */
typedef struct Pass
{
	MemoryContext context; /* of all of it */
	HTAB *counts;		   /* of Count, by permit */
	ActivityQuestion question;
	TimestampTz now; /* when it began */
	int slot;
	uint8 log_id[LEDGER_LOG_ID_SIZE]; /* the log that takes entries; zeroes: none does */
	int64 until; /* the number of the first of its entries that is not counted */
	List *logs;	 /* of LedgerLog that are still to be read; the first one from */
	int64 at;	 /* this entry on */
} Pass;

/* Permits as published, in the order of their parties; some from next on may need counts. */
static MemoryContext wanted_context = NULL;
static List *wanted = NIL;
static int wanted_next = 0;

static Pass *pass = NULL;

static void pass_count_detached(int released, TimestampTz last_at, void *context);

/* ---- what is to be counted ---- */

static int
count_compare_party(const ListCell *one, const ListCell *other)
{
	return strcmp(((const QuotaPermit *) lfirst(one))->party,
				  ((const QuotaPermit *) lfirst(other))->party);
}

static QuotaPermit *
count_copy_permit(const QuotaPermit *permit)
{
	QuotaPermit *copy = palloc_object(QuotaPermit);

	*copy = *permit;
	copy->party = pstrdup(permit->party);
	return copy;
}

/* Whether the pass that is under way counts for a counter. */
static bool
pass_has(const QuotaPermit *permit, const QuotaCounter *counter)
{
	const Count *count = pass ? hash_search(pass->counts, &permit->id, HASH_FIND, NULL) : NULL;

	return count && count->counter == counter && count->epoch == counter->epoch;
}

/* Has a count that failed, or that an earlier worker had begun, begun anew. */
static void
count_again(QuotaCounter *counter)
{
	SpinLockAcquire(&counter->lock);
	counter->state = COUNTER_UNCOUNTED;
	counter->epoch++;
	SpinLockRelease(&counter->lock);
}

/* The worker alone writes state and epoch, and reads them unlocked. */
void
quota_count(int slot, List *permits)
{
	MemoryContext old;
	ListCell *cell;

	if (wanted_context == NULL)
		wanted_context = AllocSetContextCreate(TopMemoryContext, "biometric quotas to count",
											   ALLOCSET_SMALL_SIZES);
	wanted = NIL;
	wanted_next = 0;
	MemoryContextReset(wanted_context);
	old = MemoryContextSwitchTo(wanted_context);
	foreach(cell, permits)
	{
		const QuotaPermit *permit = lfirst(cell);
		QuotaCounter *counter = counter_get(slot, permit->counter);

		if (counter == NULL || counter->state == COUNTER_READY)
			continue;
		if (counter->state == COUNTER_FAILED ||
			(counter->state == COUNTER_COUNTING && !pass_has(permit, counter)))
			count_again(counter);
		wanted = lappend(wanted, count_copy_permit(permit));
	}
	list_sort(wanted, count_compare_party);
	MemoryContextSwitchTo(old);
}

/* ---- a pass ---- */

/* Spinlocks are taken at a moment of the ledger, nothing else. */
static void
pass_begins(int64 next, void *context)
{
	HASH_SEQ_STATUS all;
	Count *count;

	pass->until = next;
	hash_seq_init(&all, pass->counts);
	while ((count = hash_seq_search(&all)) != NULL)
	{
		QuotaCounter *counter = count->counter;

		SpinLockAcquire(&counter->lock);
		counter->state = COUNTER_COUNTING;
		counter->counted = next;
		quota_window_begin(&counter->window, counter->length, pass->now);
		SpinLockRelease(&counter->lock);
	}
}

static void
pass_add(const QuotaPermit *permit, QuotaCounter *counter)
{
	bool found;
	Count *count = hash_search(pass->counts, &permit->id, HASH_ENTER, &found);

	count->counter = counter;
	count->epoch = counter->epoch;
	quota_window_begin(&count->window, permit->length, pass->now);
	count->from = Max((count->window.newest - QUOTA_PARTS) * count->window.part_length,
					  permit->granted_at - GRANT_SLACK);
	pass->question.from = Min(pass->question.from, count->from);
}

static Pass *
pass_make(int slot, const char *party)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "biometric quota count", ALLOCSET_DEFAULT_SIZES);
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = sizeof(Count), .hcxt = context};
	Pass *made = MemoryContextAllocZero(context, sizeof(Pass));

	made->context = context;
	made->slot = slot;
	made->now = GetCurrentTimestamp();
	made->question.party = MemoryContextStrdup(context, party);
	made->question.from = made->now;
	made->question.until = DT_NOEND;
	made->question.events = RELEASES;
	made->question.blocks = RANGE_BLOCKS;
	made->question.detached = pass_count_detached;
	made->counts =
		hash_create("biometric quota count", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	return made;
}

/* Begins a pass for the permits of the next party of which some are not counted; false: of none. */
static bool
pass_begin_next(int slot)
{
	for (; wanted_next < list_length(wanted); wanted_next++)
	{
		const QuotaPermit *permit = list_nth(wanted, wanted_next);
		QuotaCounter *counter = counter_get(slot, permit->counter);

		if (pass && strcmp(pass->question.party, permit->party) != 0)
			break;
		if (counter->state != COUNTER_UNCOUNTED || counter->permit != permit->id)
			continue;
		if (pass == NULL)
			pass = pass_make(slot, permit->party);
		pass_add(permit, counter);
	}
	if (pass)
		(void) pending_moment(slot, pass->log_id, pass_begins, NULL);
	return pass != NULL;
}

/* Makes known what came of the counts that nobody wants anew meanwhile. */
static void
pass_end(CounterState state)
{
	HASH_SEQ_STATUS all;
	Count *count;

	hash_seq_init(&all, pass->counts);
	while ((count = hash_seq_search(&all)) != NULL)
	{
		QuotaCounter *counter = count->counter;

		SpinLockAcquire(&counter->lock);
		if (counter->state == COUNTER_COUNTING && counter->epoch == count->epoch)
		{
			if (state == COUNTER_READY)
				quota_window_merge(&counter->window, &count->window);
			if (state == COUNTER_UNCOUNTED)
				counter->epoch++;
			counter->state = state;
		}
		SpinLockRelease(&counter->lock);
	}
	if (state == COUNTER_UNCOUNTED)
		wanted_next = 0;
	MemoryContextDelete(pass->context);
	pass = NULL;
}

/* ---- reading ---- */

/* What lies in the future, because the clock was set back, counts from the pass's time on. */
static void
pass_count(const ActivityEntry *entry)
{
	int64 permit = (int64) entry->fields.permit;
	Count *count = permit == 0 ? NULL : hash_search(pass->counts, &permit, HASH_FIND, NULL);

	if (count)
		quota_window_add_past(&count->window, Min(entry->at, pass->now), 1);
}

/*
 * What was released in a segment that was detached since. Its entries, which name the permits, are
 * elsewhere; so it counts for each permit that it may have been released by, at the latest
 * moment that it may have been.
 */
static void
pass_count_detached(int released, TimestampTz last_at, void *context)
{
	HASH_SEQ_STATUS all;
	Count *count;

	hash_seq_init(&all, pass->counts);
	while ((count = hash_seq_search(&all)) != NULL)
		if (last_at >= count->from)
			quota_window_add_past(&count->window, Min(last_at, pass->now), released);
}

/* Reads a range of the first of the logs; false when its end has been reached. */
static bool
pass_read_range(const LedgerLog *log)
{
	bool present = memcmp(log->log_id, pass->log_id, LEDGER_LOG_ID_SIZE) == 0;
	ActivityScan *scan;
	ActivityEntry entry;
	bool more;

	pass->question.first = pass->at;
	pass->question.end = pass->at + RANGE_ENTRIES;
	if (present)
		pass->question.end = Min(pass->question.end, pass->until);
	if (pass->question.end <= pass->at)
		return false;
	scan = activity_begin(log, GetActiveSnapshot(), &pass->question);
	while (activity_next(scan, &entry))
		pass_count(&entry);
	pass->at = activity_reached(scan);
	more = pass->at < (present ? pass->until : activity_size(scan));
	activity_end(scan);
	return more;
}

/* Lists the logs of this database. In what was restored from another one, permits are others. */
static void
pass_list_logs(void)
{
	MemoryContext old = MemoryContextSwitchTo(pass->context);

	pass->logs = store_logs(GetActiveSnapshot());
	MemoryContextSwitchTo(old);
}

/* Reads on for a turn; false when all was read. */
static bool
pass_read(void)
{
	TimestampTz start = GetCurrentTimestamp();

	if (pass->logs == NIL)
		pass_list_logs();
	while (pass->logs != NIL)
	{
		if (!pass_read_range(linitial(pass->logs)))
		{
			pass->logs = list_delete_first(pass->logs);
			pass->at = 0;
			if (pass->logs == NIL)
				break;
		}
		if (ledger_worker_is_wanted() ||
			TimestampDifferenceExceeds(start, GetCurrentTimestamp(), TURN_MS))
			return true;
	}
	return false;
}

/* Ends a pass that met an error; one that somebody's lock kept out begins anew. */
static void
pass_fail(const ErrorData *error)
{
	bool again = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;

	if (!again)
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("the quotas of party \"%s\" cannot be counted, so that its permits "
							 "with a quota release nothing: %s",
							 pass->question.party, error->message),
					  errhint("Reload the server's configuration to have them counted again.")));
	pass_end(again ? COUNTER_UNCOUNTED : COUNTER_FAILED);
}

/* Reads on for a turn, and ends the pass when there is no more to read, or when that fails. */
static void
pass_read_safely(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool more = false;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		more = pass_read();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error)
		pass_fail(error);
	else if (!more)
		pass_end(COUNTER_READY);
}

bool
quota_count_some(int slot)
{
	if (pass == NULL && !pass_begin_next(slot))
		return false;
	pass_read_safely();
	return true;
}

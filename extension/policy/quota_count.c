/*
 * quota_count.c - counts what permits have released, from the ledger.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/quota_window.h"
#include "ledger/activity.h"
#include "ledger/pending.h"
#include "policy/counter.h"

#define EPOCH_OFFSET (INT64CONST(86400000000) * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE))
#define RELEASES (((uint32) 1 << ENTRY_DISCLOSED) | ((uint32) 1 << ENTRY_OBSERVED))

/* A permit that is being counted. */
typedef struct Count
{
	const QuotaPermit *permit;
	QuotaCounter *counter;
	int64 until;		/* only entries below this number, of the present log */
	QuotaWindow window; /* what was found */
	bool done;			/* its party has been counted for */
	bool failed;
} Count;

/* All that are being counted, and what is known of the ring. */
typedef struct Counting
{
	List *counts; /* of Count */
	TimestampTz now;
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int64 pending; /* entries of that log from this number on are in the ring */
} Counting;

/* Spinlocks are taken at a moment of the ledger, nothing else. */
static void
count_begins(int64 next, void *context)
{
	Counting *counting = context;
	ListCell *cell;

	foreach(cell, counting->counts)
	{
		Count *count = lfirst(cell);
		QuotaCounter *counter = count->counter;

		count->until = next;
		SpinLockAcquire(&counter->lock);
		counter->state = COUNTER_COUNTING;
		counter->counted = next;
		quota_window_begin(&counter->window, counter->length, counting->now);
		SpinLockRelease(&counter->lock);
	}
}

/* What lies in the future, because the clock was set back, counts from now on. */
static void
count_entry(const Counting *counting, Count *count, TimestampTz at)
{
	quota_window_add_past(&count->window, Min(at, counting->now), 1);
}

static void
count_pending(int64 sequence, const EntryFields *fields, void *context)
{
	Counting *counting = context;
	ListCell *cell;

	if ((RELEASES & ((uint32) 1 << fields->event)) == 0 || fields->permit == 0)
		return;
	foreach(cell, counting->counts)
	{
		Count *count = lfirst(cell);

		if ((uint64) count->permit->id == fields->permit && sequence < count->until)
			count_entry(counting, count, fields->at - EPOCH_OFFSET);
	}
}

/* Counts the entries of a log for those permits that are one party's. */
static void
count_log(Counting *counting, List *counts, const LedgerLog *log, const ActivityQuestion *question)
{
	bool present = memcmp(log->log_id, counting->log_id, LEDGER_LOG_ID_SIZE) == 0;
	ActivityScan *scan = activity_begin(log, GetActiveSnapshot(), question);
	ActivityEntry entry;
	ListCell *cell;

	while (activity_next(scan, &entry))
	{
		if (present && entry.sequence >= counting->pending)
			continue;
		foreach(cell, counts)
		{
			Count *count = lfirst(cell);

			if ((uint64) count->permit->id == entry.fields.permit &&
				!(present && entry.sequence >= count->until))
				count_entry(counting, count, entry.at);
		}
	}
	activity_end(scan);
}

static void
count_party(Counting *counting, List *counts)
{
	ActivityQuestion question = {
		.party = ((Count *) linitial(counts))->permit->party,
		.from = counting->now,
		.until = DT_NOEND,
		.events = RELEASES,
	};
	ListCell *cell;

	foreach(cell, counts)
	{
		const Count *count = lfirst(cell);
		const QuotaWindow *window = &count->window;

		question.from = Min(question.from, (window->newest - QUOTA_PARTS) * window->part_length);
	}
	foreach(cell, activity_logs(GetActiveSnapshot()))
		count_log(counting, counts, lfirst(cell), &question);
}

/* Counts for a party; whatever goes wrong is logged, and its permits give nothing. */
static void
count_party_safely(Counting *counting, List *counts)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool failed = false;
	ListCell *cell;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		count_party(counting, counts);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		failed = true;
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("the quotas of party \"%s\" cannot be counted, so that its permits "
							 "with a quota release nothing: %s",
							 ((Count *) linitial(counts))->permit->party, error->message),
					  errhint("Reload the server's configuration to have them counted again.")));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	foreach(cell, counts)
		((Count *) lfirst(cell))->failed = failed;
}

static void
count_ends(const Count *count)
{
	QuotaCounter *counter = count->counter;

	SpinLockAcquire(&counter->lock);
	if (count->failed)
		counter->state = COUNTER_FAILED;
	else
	{
		quota_window_merge(&counter->window, &count->window);
		counter->state = COUNTER_READY;
	}
	SpinLockRelease(&counter->lock);
}

/* The permits whose count is not known. */
static List *
count_wanted(int slot, List *permits, TimestampTz now)
{
	List *counts = NIL;
	ListCell *cell;

	foreach(cell, permits)
	{
		const QuotaPermit *permit = lfirst(cell);
		QuotaCounter *counter = counter_get(slot, permit->counter);
		Count *count;

		if (counter == NULL || counter->state == COUNTER_READY)
			continue;
		count = palloc0_object(Count);
		count->permit = permit;
		count->counter = counter;
		quota_window_begin(&count->window, permit->length, now);
		counts = lappend(counts, count);
	}
	return counts;
}

/* Those of one party that are not done. */
static List *
count_next_party(List *counts)
{
	List *found = NIL;
	ListCell *cell;

	foreach(cell, counts)
	{
		Count *count = lfirst(cell);

		if (!count->done && (found == NIL || strcmp(((Count *) linitial(found))->permit->party,
													count->permit->party) == 0))
		{
			count->done = true;
			found = lappend(found, count);
		}
	}
	return found;
}

void
quota_count(int slot, List *permits)
{
	Counting counting = {.now = GetCurrentTimestamp()};
	List *party;
	ListCell *cell;

	counting.counts = count_wanted(slot, permits, counting.now);
	if (counting.counts == NIL)
		return;
	pending_moment(slot, count_begins, &counting);
	counting.pending = pending_list(slot, counting.log_id, count_pending, &counting);
	while ((party = count_next_party(counting.counts)) != NIL)
		count_party_safely(&counting, party);
	foreach(cell, counting.counts)
		count_ends(lfirst(cell));
}

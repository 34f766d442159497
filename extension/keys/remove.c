/*
 * remove.c - how the worker takes a shredded key out of the keyring, and sees to it that nobody
 * holds it any more.
 *
 * Step by step, between the worker's batches: processes that hold keys may be waiting for the
 * ledger. All of it can be done again from the start: what a crash interrupts, the next worker
 * finds in the table.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "keys/parts.h"
#include "ledger/ring.h"
#include "ledger/slot.h"
#include "ledger/worker.h"

/* How long processes may go on with a key before they are ended, and how often that is repeated. */
#define GRACE_MS 5000
#define END_AGAIN_MS 1000

/*
 * When what failed is tried again, in ms; and how many times as long as it took at least, since
 * the ledger stands still as long: a command that hangs. A reload has it tried at once.
 */
#define RETRY_MS 10000
#define RETRY_TIMES 30

/* A look at who holds keys takes this long, in ms. */
#define LOOK_MS 5

/* How many databases a problem names. */
#define NAMED_DATABASES 8

typedef enum RemovalPhase
{
	REMOVAL_KEYRING = 0, /* it is to be taken from the keyring */
	REMOVAL_HOLDERS = 1, /* processes may still have it */
	REMOVAL_DONE = 2
} RemovalPhase;

typedef struct Removal
{
	uint8 check[SEAL_CHECK_SIZE]; /* which key */
	uint32 id;					  /* in the keyring */
	RemovalPhase phase;
	bool wanted;		  /* by the last plan */
	uint32 search;		  /* REMOVAL_KEYRING: for databases that use the keyring; 0: none */
	TimestampTz since;	  /* when it was taken out, or the search began */
	TimestampTz ended_at; /* when processes were last ended; 0: never */
	int ended;
	TimestampTz retry_at; /* 0: at once */
	char problem[512];	  /* "": none */
} Removal;

static List *removals = NIL; /* in TopMemoryContext */

/* The reload that retries are counted from. */
static TimestampTz reloaded_at = 0;

/* Whether remove_work is called again by itself. */
static bool working = false;

/* ---- the plan ---- */

static Removal *
removal_find(const uint8 *check)
{
	ListCell *cell;

	foreach(cell, removals)
		if (memcmp(((Removal *) lfirst(cell))->check, check, SEAL_CHECK_SIZE) == 0)
			return lfirst(cell);
	return NULL;
}

static Removal *
removal_want(const uint8 *check, uint32 id)
{
	Removal *removal = removal_find(check);

	if (removal == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		removal = palloc0(sizeof(Removal));
		memcpy(removal->check, check, SEAL_CHECK_SIZE);
		removals = lappend(removals, removal);
		MemoryContextSwitchTo(old);
	}
	removal->id = id;
	removal->wanted = true;
	return removal;
}

static const KeyringEntry *
ring_find(const KeyringEntry *ring, int count, const uint8 *check)
{
	for (int i = 0; i < count; i++)
		if (memcmp(ring[i].check, check, SEAL_CHECK_SIZE) == 0)
			return &ring[i];
	return NULL;
}

void
remove_plan(const List *rows, const KeyringEntry *ring, int count)
{
	ListCell *cell;

	foreach(cell, removals)
	{
		Removal *removal = lfirst(cell);

		removal->wanted = false;
		if (reloaded_at != PgReloadTime)
			removal->retry_at = 0;
	}
	reloaded_at = PgReloadTime;
	foreach(cell, rows)
	{
		const PinRow *row = lfirst(cell);
		const KeyringEntry *entry = ring_find(ring, count, row->pin.check);
		Removal *removal;

		if (!row->shredding && !(row->shredded && (entry != NULL || row->owed != NULL)))
			continue;
		removal = removal_want(row->pin.check, entry ? entry->id : row->pin.id);
		/* an old keyring came back */
		if (removal->phase == REMOVAL_DONE && entry != NULL)
			removal->phase = REMOVAL_KEYRING;
		else if (row->shredded && entry == NULL)
			removal->phase = REMOVAL_DONE;
		/* somebody else has taken it out */
		else if (entry == NULL && count >= 0)
			removal->retry_at = 0;
	}
	foreach(cell, removals)
	{
		Removal *removal = lfirst(cell);

		if (removal->wanted)
			continue;
		removals = foreach_delete_current(removals, cell);
		pfree(removal);
	}
}

/* ---- steps ---- */

/* Puts off a step that took so long; tells the log when the problem is a new one. */
static void
removal_put_off(Removal *removal, const char *problem, long took_ms)
{
	int wait_ms = (int) Max(RETRY_MS, Min(took_ms, INT_MAX / RETRY_TIMES) * RETRY_TIMES);

	if (strcmp(removal->problem, problem) != 0)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key %u of database %u is shredded, but still in the keyring", removal->id,
						MyDatabaseId),
				 errdetail("%s", problem),
				 errhint("It opens nothing in this database any more; taking it out is tried again "
						 "by itself.")));
	strlcpy(removal->problem, problem, sizeof(removal->problem));
	removal->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait_ms);
	(void) pin_put_offs(true);
	(void) ledger_request_tasks();
}

/* Whether other databases keep the key in the keyring; problem then says which. */
static bool
removal_is_used_elsewhere(const Removal *removal, StringInfo problem)
{
	Oid databases[NAMED_DATABASES];
	int count;

	if (!keys_keyring_is_shared())
		return false;
	count = pins_elsewhere(removal->check, databases, NAMED_DATABASES);
	if (count > 0)
	{
		appendStringInfoString(problem, "Databases that use the keyring have not shredded it:");
		for (int i = 0; i < Min(count, NAMED_DATABASES); i++)
		{
			char *name = get_database_name(databases[i]);

			appendStringInfo(problem, "%s \"%s\"", i > 0 ? "," : "", name ? name : "?");
		}
		appendStringInfoChar(problem, '.');
	}
	return problem->len > 0;
}

/* Does nothing for a moment; the worker is woken when it is wanted. */
static void
removal_pause(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
					 PG_WAIT_EXTENSION);
}

/*
 * Whether all databases have been looked at since the key is to go: a copy of one that has used it
 * says so only when somebody has looked into it. problem: set when that could not be done.
 */
static bool
removal_has_searched(Removal *removal, StringInfo problem)
{
	LedgerSearch result;

	if (!keys_keyring_is_shared())
		return true;
	if (removal->search == 0)
	{
		removal->search = ledger_search_again();
		removal->since = GetCurrentTimestamp();
	}
	result = ledger_search_result(removal->search);
	if (result == LEDGER_SEARCHING &&
		!TimestampDifferenceExceeds(removal->since, GetCurrentTimestamp(), GRACE_MS))
	{
		removal_pause();
		return false;
	}
	removal->search = 0;
	if (result == LEDGER_SEARCHED)
		return true;
	appendStringInfoString(problem, "It is not known yet which databases use the keyring.");
	return false;
}

/* Calls keyring_remove; an error is caught, and returned as a text. */
static char *
removal_try(const Removal *removal)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile problem = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		(void) keyring_remove(removal->id, removal->check);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		/* being ended is no problem of the keyring */
		if (error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
			error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		problem = psprintf("%s%s%s", error->message, error->detail ? ": " : ".",
						   error->detail ? error->detail : "");
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return problem;
}

static void
removal_take_out(Removal *removal)
{
	StringInfoData problem;
	TimestampTz begun;
	char *failure;

	initStringInfo(&problem);
	if (!removal_is_used_elsewhere(removal, &problem) && !removal_has_searched(removal, &problem) &&
		problem.len == 0)
		return;
	if (problem.len > 0 || removal_is_used_elsewhere(removal, &problem))
	{
		removal_put_off(removal, problem.data, 0);
		return;
	}
	begun = GetCurrentTimestamp();
	failure = removal_try(removal);
	if (failure != NULL)
	{
		removal_put_off(removal, failure,
						TimestampDifferenceMilliseconds(begun, GetCurrentTimestamp()));
		return;
	}
	removal->phase = REMOVAL_HOLDERS;
	removal->since = GetCurrentTimestamp();
	removal->ended_at = 0;
	removal->retry_at = 0;
	removal->problem[0] = '\0';
	/* others may have waited for this database */
	ledger_request_tasks_everywhere();
}

/* Looks who still has the key; after a while they are ended. */
static void
removal_wait(Removal *removal)
{
	TimestampTz now = GetCurrentTimestamp();

	if (keyring_holders(false) == 0)
	{
		removal->phase = REMOVAL_DONE;
		ereport(LOG, (errmsg("key %u of database %u was taken out of the keyring and out of all "
							 "processes",
							 removal->id, MyDatabaseId)));
		(void) ledger_request_tasks();
		return;
	}
	if (TimestampDifferenceExceeds(removal->since, now, GRACE_MS) &&
		(removal->ended_at == 0 ||
		 TimestampDifferenceExceeds(removal->ended_at, now, END_AGAIN_MS)))
	{
		int holders = keyring_holders(true);

		/* whoever is ended again has been counted */
		removal->ended = Max(removal->ended, holders);
		removal->ended_at = now;
	}
	removal_pause();
}

/* The next removal that something can be done about now; NULL: none. */
static Removal *
removal_next(TimestampTz now)
{
	ListCell *cell;

	foreach(cell, removals)
	{
		Removal *removal = lfirst(cell);

		if (removal->phase != REMOVAL_DONE && removal->retry_at <= now)
			return removal;
	}
	return NULL;
}

/* What cannot be put on record is not done; a log that was retired since has the request on record. */
static bool
removal_may_act(void)
{
	return ledger_worker_has_entries() ||
		   pg_atomic_read_u32(&ledger_slot(ledger_my_slot())->state) == LEDGER_RETIRED;
}

bool
remove_work(int slot)
{
	Removal *removal = removal_next(GetCurrentTimestamp());

	working = false;
	if (removal == NULL || !removal_may_act())
		return false;
	switch (removal->phase)
	{
		case REMOVAL_KEYRING:
			removal_take_out(removal);
			break;
		case REMOVAL_HOLDERS:
			removal_wait(removal);
			break;
		case REMOVAL_DONE:
		default:
			return false;
	}
	working = removal_next(GetCurrentTimestamp()) != NULL;
	return working;
}

bool
remove_is_due(TimestampTz now, long *wait_ms)
{
	ListCell *cell;

	if (removals == NIL || working || !removal_may_act())
		return false;
	foreach(cell, removals)
	{
		const Removal *removal = lfirst(cell);

		if (removal->phase != REMOVAL_DONE)
			*wait_ms = Min(*wait_ms, TimestampDifferenceMilliseconds(now, removal->retry_at) + 1);
	}
	return removal_next(now) != NULL;
}

bool
remove_is_done(const uint8 *check, int *ended)
{
	const Removal *removal = removal_find(check);

	*ended = removal ? removal->ended : 0;
	return removal && removal->phase == REMOVAL_DONE;
}

const char *
remove_problem(const uint8 *check)
{
	const Removal *removal = removal_find(check);

	return removal && removal->problem[0] != '\0' ? removal->problem : NULL;
}

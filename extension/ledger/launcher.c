/*
 * launcher.c - keeps a worker running for each database that has a ledger.
 *
 * A static background worker, connected to no database. At its start it tries
 * each connectable database in turn: a worker that finds no extension gives
 * its slot back. Afterwards it starts workers for slots that have none, at
 * once the first time, then after a delay that grows while they fail. Knows
 * nothing that a new launcher could not find in shared memory.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/relcache.h"
#include "ledger/helper.h"
#include "ledger/identity.h"
#include "ledger/slot.h"

#define LIBRARY_NAME "biometric_audit"
#define RESTART_SECONDS 1
#define IDLE_MS 10000L
#define FIRST_DELAY_MS 25
#define LONGEST_DELAY_MS 2000

/* How often it looks whether a search has ended: nobody tells it that a worker has read its tables. */
#define SEARCH_MS 100L

/* Workers of a slot that never saw the extension may fail so often before it is given back. */
#define FAILURES_BEFORE_GIVING_UP 5

/* What this launcher knows of the worker it started for a slot. */
typedef struct Launch
{
	BackgroundWorkerHandle *handle; /* NULL: none that may still be about to start */
	TimestampTz not_before;
} Launch;

static Launch *launches = NULL;
static List *to_try = NIL; /* OIDs of databases not yet tried */
static Oid trying = InvalidOid;
static bool search_failed = false; /* a database could not be looked at */
static bool search_runs = false;
static uint32 search_number = 0; /* ledger_searches_wanted() when it began */

PGDLLEXPORT void ledger_launcher_main(Datum arg);

/*
 * The tables of a ledger may have been dropped: its worker shall look. Runs
 * in every backend for every relation whose description changes.
 */
static void
launcher_relation_changed(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || !OidIsValid(MyDatabaseId))
		return;
	for (int i = 0; i < ledger_slots(); i++)
	{
		LedgerSlot *slot = ledger_slot(i);

		if (pg_atomic_read_u32(&slot->tile_relation) == relation &&
			pg_atomic_read_u32(&slot->database) == MyDatabaseId &&
			pg_atomic_read_u32(&slot->worker_pid) != (uint32) MyProcPid)
		{
			pg_atomic_write_u32(&slot->look_again, 1);
			ledger_poke_worker(i);
		}
	}
}

void
ledger_register_launcher(void)
{
	BackgroundWorker launcher;

	if (IsBinaryUpgrade)
		return;
	identity_note_start();
	relcache_watch(launcher_relation_changed);
	memset(&launcher, 0, sizeof(launcher));
	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = RESTART_SECONDS;
	snprintf(launcher.bgw_library_name, sizeof(launcher.bgw_library_name), LIBRARY_NAME);
	snprintf(launcher.bgw_function_name, BGW_MAXLEN, "ledger_launcher_main");
	snprintf(launcher.bgw_name, BGW_MAXLEN, "biometric_audit ledger launcher");
	snprintf(launcher.bgw_type, BGW_MAXLEN, "biometric_audit ledger launcher");
	RegisterBackgroundWorker(&launcher);
}

/* Lists the databases that accept connections; also tells whether one is there. */
static List *
connectable_databases(Oid wanted, bool *found)
{
	MemoryContext lasting = CurrentMemoryContext;
	List *databases = NIL;
	Relation catalog;
	SysScanDesc scan;
	HeapTuple tuple;

	*found = false;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	catalog = table_open(DatabaseRelationId, AccessShareLock);
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (database->oid == wanted)
			*found = true;
		if (!database->datallowconn)
			continue;
		old = MemoryContextSwitchTo(lasting);
		databases = lappend_oid(databases, database->oid);
		MemoryContextSwitchTo(old);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(lasting);
	return databases;
}

static bool
database_exists(Oid database)
{
	bool found;

	list_free(connectable_databases(database, &found));
	return found;
}

/* Registers a worker for a slot. */
static void
launch(int number)
{
	LedgerSlot *slot = ledger_slot(number);
	uint32 failures = pg_atomic_fetch_add_u32(&slot->failures, 1);
	long delay = Min(LONGEST_DELAY_MS, FIRST_DELAY_MS << Min(failures, 8));
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), LIBRARY_NAME);
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "ledger_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "biometric_audit ledger for database %u",
			 pg_atomic_read_u32(&slot->database));
	snprintf(worker.bgw_type, BGW_MAXLEN, "biometric_audit ledger");
	worker.bgw_main_arg = Int32GetDatum(number);
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, &launches[number].handle))
	{
		launches[number].handle = NULL;
		delay = LONGEST_DELAY_MS;
		ledger_status_error(number, "no background worker can be started; raise "
									"max_worker_processes");
	}
	launches[number].not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
}

/* Tells whether a worker that was registered may still be running or about to. */
static bool
launch_pending(Launch *attempt)
{
	pid_t pid;

	if (attempt->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(attempt->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(attempt->handle);
	attempt->handle = NULL;
	return false;
}

/* Whether a slot whose workers keep failing is to be given back rather than tried again. */
static bool
is_hopeless(LedgerSlot *slot)
{
	uint32 failures = pg_atomic_read_u32(&slot->failures);

	if (failures == 0 || failures % FAILURES_BEFORE_GIVING_UP != 0)
		return false;
	return pg_atomic_read_u32(&slot->tile_relation) == InvalidOid ||
		   !database_exists(pg_atomic_read_u32(&slot->database));
}

/* Looks after one slot; returns after how many ms to look again. */
static long
tend_slot(int number)
{
	LedgerSlot *slot = ledger_slot(number);
	Launch *attempt = &launches[number];
	bool pending = launch_pending(attempt);
	long wait;

	if (pg_atomic_read_u32(&slot->database) == InvalidOid ||
		pg_atomic_read_u32(&slot->worker_pid) != 0 || pending ||
		pg_atomic_read_u32(&slot->holds) > 0)
		return IDLE_MS;
	if (pg_atomic_read_u32(&slot->failures) > 0)
	{
		wait = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), attempt->not_before);
		if (wait > 0)
			return wait;
	}
	if (is_hopeless(slot))
	{
		if (database_exists(pg_atomic_read_u32(&slot->database)))
			search_failed = true;
		ledger_slot_free(number);
		return IDLE_MS;
	}
	launch(number);
	return IDLE_MS;
}

/* Whether the database that is being tried is known to have a ledger or not. */
static bool
trial_over(void)
{
	int number;

	if (!OidIsValid(trying))
		return true;
	number = ledger_slot_of(trying, false);
	return number < 0 || pg_atomic_read_u32(&ledger_slot(number)->state) != LEDGER_STARTING ||
		   pg_atomic_read_u32(&ledger_slot(number)->failures) > 1;
}

static void
try_next_database(void)
{
	while (to_try != NIL && trial_over())
	{
		trying = linitial_oid(to_try);
		to_try = list_delete_first(to_try);
		if (ledger_slot_of(trying, true) < 0)
		{
			ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("database %u was not searched for a ledger", trying),
						  errdetail("All %d places for databases with a ledger are taken.",
									ledger_slots()),
						  errhint("Raise biometric_audit.max_databases.")));
			trying = InvalidOid;
			search_failed = true;
		}
	}
}

/* Begins to look at all databases: at its start, and when that is asked for again. */
static void
begin_search(void)
{
	bool found;

	if (search_runs)
		return;
	search_number = ledger_searches_wanted();
	search_failed = false;
	search_runs = true;
	to_try = connectable_databases(InvalidOid, &found);
}

/* Says so when every database has been looked at: no worker has yet to read its tables. */
static void
end_search(void)
{
	if (!search_runs || to_try != NIL || !trial_over())
		return;
	for (int i = 0; i < ledger_slots(); i++)
		if (pg_atomic_read_u32(&ledger_slot(i)->database) != InvalidOid &&
			pg_atomic_read_u32(&ledger_slot(i)->state) == LEDGER_STARTING)
			return;
	search_runs = false;
	ledger_search_ended(search_number, !search_failed);
	if (search_failed || ledger_search_is_over())
		return;
	ledger_end_search();
	identity_forget_standby();
}

static void
launcher_leave(int code, Datum arg)
{
	ledger_set_launcher(false);
}

void
ledger_launcher_main(Datum arg)
{
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_leave, (Datum) 0);
	ledger_set_launcher(true);
	/* a reload between the fork and the handler was told to nobody */
	ConfigReloadPending = true;
	MemoryContextSwitchTo(TopMemoryContext);
	launches = palloc0(ledger_slots() * sizeof(Launch));
	begin_search();
	for (;;)
	{
		long wait = IDLE_MS;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		/* Zero would tell the postmaster that no launcher is wanted any more. */
		if (ShutdownRequestPending)
			proc_exit(1);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (ledger_searches_wanted() != search_number)
			begin_search();
		try_next_database();
		for (int i = 0; i < ledger_slots(); i++)
		{
			wait = Min(wait, tend_slot(i));
			wait = Min(wait, ledger_helper_tend(i, wait));
		}
		end_search();
		if (search_runs || ledger_searches_wanted() != search_number)
			wait = Min(wait, SEARCH_MS);
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait,
						 PG_WAIT_EXTENSION);
	}
}

/*
 * helper.c - starts a process beside a database's worker, and knows whether it is there.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "ledger/helper.h"
#include "ledger/slot.h"

#define LIBRARY_NAME "biometric_audit"

/* How soon another is started after one that ended, and how soon again one that could not be. */
#define PAUSE_MS 100L
#define REFUSED_PAUSE_MS 1000L

typedef struct HelperStart
{
	BackgroundWorkerHandle *handle; /* NULL: none that may still be about to start */
	TimestampTz not_before;
} HelperStart;

static const LedgerHelper *helper = NULL;

/* The launcher's, by slot. */
static HelperStart *starts = NULL;

void
ledger_set_helper(const LedgerHelper *one)
{
	helper = one;
}

/* ---- in the helper */

void
ledger_force_settings(const char *lock_timeout)
{
	const char *const forced[][2] = {
		{"lock_timeout", lock_timeout},
		/* of two that wait for each other it is to be this process that finds it out */
		{"deadlock_timeout", "1ms"},
		{"statement_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"idle_session_timeout", "0"},
		{"search_path", "pg_catalog, pg_temp"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"row_security", "off"},
		{"exit_on_error", "off"},
		{"jit", "off"},
		{"max_parallel_workers_per_gather", "0"},
#ifdef HAVE_TRANSACTION_TIMEOUT
		{"transaction_timeout", "0"},
#endif
	};

	for (int i = 0; i < (int) lengthof(forced); i++)
		SetConfigOption(forced[i][0], forced[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

static void
helper_leave(int code, Datum arg)
{
	LedgerSlot *slot = ledger_slot(DatumGetInt32(arg));

	pg_atomic_write_u32(&slot->helper_proc, 0);
	pg_memory_barrier();
	pg_atomic_write_u32(&slot->helper_pid, 0);
	ledger_wake(DatumGetInt32(arg), true);
}

Oid
ledger_helper_enter(int number)
{
	LedgerSlot *slot = ledger_slot(number);
	uint32 nobody = 0;

	if (!pg_atomic_compare_exchange_u32(&slot->helper_pid, &nobody, (uint32) MyProcPid))
		return InvalidOid;
	before_shmem_exit(helper_leave, Int32GetDatum(number));
	pg_atomic_write_u32(&slot->helper_proc, (uint32) MY_PROC_NUMBER + 1);
	/* a command that holds the slot from here on sees the pid */
	pg_memory_barrier();
	if (ledger_helper_unwanted(number))
		return InvalidOid;
	return pg_atomic_read_u32(&slot->database);
}

bool
ledger_helper_unwanted(int number)
{
	LedgerSlot *slot = ledger_slot(number);

	return pg_atomic_read_u32(&slot->holds) > 0 ||
		   pg_atomic_read_u32(&slot->state) != LEDGER_READY ||
		   (OidIsValid(MyDatabaseId) && pg_atomic_read_u32(&slot->database) != MyDatabaseId);
}

/* ---- elsewhere */

int
ledger_helper_pid(int number)
{
	return (int) pg_atomic_read_u32(&ledger_slot(number)->helper_pid);
}

bool
ledger_helper_refused(int number)
{
	return pg_atomic_read_u32(&ledger_slot(number)->helper_refused) != 0;
}

void
ledger_helper_look(void)
{
	ledger_poke_launcher();
}

/* ---- in the launcher */

/* Tells whether one that was registered may still be running or about to. */
static bool
helper_pending(HelperStart *start)
{
	pid_t pid;

	if (start->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(start->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(start->handle);
	start->handle = NULL;
	start->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PAUSE_MS);
	return false;
}

static void
helper_start(int number)
{
	LedgerSlot *slot = ledger_slot(number);
	BackgroundWorker process;
	bool started;

	memset(&process, 0, sizeof(process));
	process.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	process.bgw_start_time = BgWorkerStart_RecoveryFinished;
	process.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(process.bgw_library_name, sizeof(process.bgw_library_name), LIBRARY_NAME);
	snprintf(process.bgw_function_name, BGW_MAXLEN, "%s", helper->function);
	snprintf(process.bgw_name, BGW_MAXLEN, "%s for database %u", helper->type,
			 pg_atomic_read_u32(&slot->database));
	snprintf(process.bgw_type, BGW_MAXLEN, "%s", helper->type);
	process.bgw_main_arg = Int32GetDatum(number);
	process.bgw_notify_pid = MyProcPid;
	started = RegisterDynamicBackgroundWorker(&process, &starts[number].handle);
	if (!started)
		starts[number].handle = NULL;
	pg_atomic_write_u32(&slot->helper_refused, started ? 0 : 1);
	starts[number].not_before =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), REFUSED_PAUSE_MS);
}

/* How long nobody is to be started for a slot; not longer than ever because the clock went back. */
static long
helper_pause(const HelperStart *start)
{
	return Min(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), start->not_before),
			   REFUSED_PAUSE_MS);
}

long
ledger_helper_tend(int number, long idle_ms)
{
	LedgerSlot *slot = ledger_slot(number);
	long wait;

	if (helper == NULL)
		return idle_ms;
	if (starts == NULL)
		starts = MemoryContextAllocZero(TopMemoryContext, ledger_slots() * sizeof(HelperStart));
	if (helper_pending(&starts[number]) || pg_atomic_read_u32(&slot->database) == InvalidOid ||
		pg_atomic_read_u32(&slot->helper_pid) != 0 || ledger_helper_unwanted(number))
		return idle_ms;
	wait = helper->due(number);
	if (wait < 0)
		return idle_ms;
	wait = Max(wait, helper_pause(&starts[number]));
	if (wait > 0)
		return Min(wait, idle_ms);
	helper_start(number);
	return idle_ms;
}

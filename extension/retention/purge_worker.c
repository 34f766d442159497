/*
 * purge_worker.c - the process that purges, and when it is due.
 *
 * It comes when the launcher finds it due, does a batch of each rule in turn until all passes that
 * were due have ended, and goes. It may be ended at any moment: a batch is there or it is not.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "ledger/helper.h"
#include "ledger/ring.h"
#include "ledger/worker.h"
#include "retention/purge.h"
#include "retention/purger.h"

/* Tables that are left out until all others have been purged; of more, those that came last. */
#define STUCK_TABLES 64

/* What all processes know of a database's purging; nothing needs a lock. */
typedef struct PurgeSlot
{
	pg_atomic_uint32 rules;	   /* how many there are */
	pg_atomic_uint64 hash;	   /* of the rules */
	pg_atomic_uint64 ended_at; /* when the last purger ended; 0: one is due */
	pg_atomic_uint64 purged;   /* rows since the server's start */
	pg_atomic_uint32 first;	   /* the number of the rule that the next purger begins with */
	pg_atomic_uint32 stuck_count;
	pg_atomic_uint32 stuck[STUCK_TABLES]; /* with which purgers did not come to an end */
} PurgeSlot;

static PurgeSlot *slots = NULL;

/* What the signal handler looks at. */
static volatile sig_atomic_t busy = false; /* a transaction is being worked on */
static volatile sig_atomic_t stop_wanted = false;

static uint64 rules_seen = 0; /* as PurgeSlot.hash, when this process began */

PG_FUNCTION_INFO_V1(biometric_purge_status);

PGDLLEXPORT void purge_worker_main(Datum arg);

void
purge_shmem_request(void)
{
	RequestAddinShmemSpace(mul_size(ledger_slots(), sizeof(PurgeSlot)));
}

void
purge_shmem_init(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitStruct("biometric_audit purge", ledger_slots() * sizeof(PurgeSlot), &found);
	for (int i = 0; i < ledger_slots() && !found; i++)
	{
		pg_atomic_init_u32(&slots[i].rules, 0);
		pg_atomic_init_u64(&slots[i].hash, 0);
		pg_atomic_init_u64(&slots[i].ended_at, 0);
		pg_atomic_init_u64(&slots[i].purged, 0);
		pg_atomic_init_u32(&slots[i].first, 0);
		pg_atomic_init_u32(&slots[i].stuck_count, 0);
		for (int n = 0; n < STUCK_TABLES; n++)
			pg_atomic_init_u32(&slots[i].stuck[n], InvalidOid);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* ---- when it is due */

/* In the ledger's worker: sees whether there are rules, and whether they are other ones. */
static void
purge_look_at_rules(int number)
{
	int count;
	RetentionEntry *entries = rules_read(&count);
	uint64 hash = 0;

	for (int i = 0; i < count; i++)
		hash ^= hash_bytes_extended((const unsigned char *) &entries[i], sizeof(RetentionEntry),
									(uint64) i);
	pg_atomic_write_u32(&slots[number].rules, (uint32) count);
	if (pg_atomic_exchange_u64(&slots[number].hash, hash) == hash || count == 0)
		return;
	pg_atomic_write_u64(&slots[number].ended_at, 0);
	ledger_helper_look();
}

static void
stuck_forget(int number)
{
	for (int i = 0; i < STUCK_TABLES; i++)
		pg_atomic_write_u32(&slots[number].stuck[i], InvalidOid);
}

static void
purge_forget(int number)
{
	pg_atomic_write_u32(&slots[number].rules, 0);
	pg_atomic_write_u64(&slots[number].hash, 0);
	pg_atomic_write_u64(&slots[number].ended_at, 0);
	stuck_forget(number);
}

static long
purge_due(int number)
{
	TimestampTz ended = (TimestampTz) pg_atomic_read_u64(&slots[number].ended_at);

	if (purge_interval_ms() == 0 || pg_atomic_read_u32(&slots[number].rules) == 0)
		return -1;
	if (ended == 0)
		return 0;
	/* the clock may have gone back since */
	return Min(TimestampDifferenceMilliseconds(
				   GetCurrentTimestamp(), TimestampTzPlusMilliseconds(ended, purge_interval_ms())),
			   purge_interval_ms());
}

void
purge_worker_init(void)
{
	static const LedgerHelper purger = {
		.function = "purge_worker_main", .type = "biometric_audit purger", .due = purge_due};

	ledger_set_helper(&purger);
	ledger_worker_add_task(purge_look_at_rules, NULL, purge_forget);
}

/* What keeps purging from being done at all; NULL: nothing. */
static const char *
status_problem(int number)
{
	if (purge_interval_ms() == 0)
		return "biometric_audit.purge_interval is 0: only purge_expired() purges";
	if (ledger_helper_refused(number))
		return "no background worker could be started: raise max_worker_processes";
	return NULL;
}

PGDLLEXPORT Datum
biometric_purge_status(PG_FUNCTION_ARGS)
{
	int number = ledger_my_slot();
	Datum values[5] = {0};
	bool nulls[5] = {true, true, true, true, true};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 5)
		elog(ERROR, "biometric.purge_status() is not declared as it should be");
	if (number >= 0)
	{
		uint64 ended = pg_atomic_read_u64(&slots[number].ended_at);
		const char *problem = status_problem(number);

		values[0] = Int32GetDatum(ledger_helper_pid(number));
		nulls[0] = ledger_helper_pid(number) == 0;
		values[1] = Int32GetDatum((int32) pg_atomic_read_u32(&slots[number].rules));
		values[2] = Int64GetDatum((int64) pg_atomic_read_u64(&slots[number].purged));
		nulls[1] = nulls[2] = false;
		values[3] = TimestampTzGetDatum((TimestampTz) ended);
		nulls[3] = ended == 0;
		values[4] = problem != NULL ? CStringGetTextDatum(problem) : (Datum) 0;
		nulls[4] = problem == NULL;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- the process */

static void
purger_on_sigterm(SIGNAL_ARGS)
{
	int save_errno = errno;

	if (busy)
		die(postgres_signal_arg);
	else
	{
		stop_wanted = true;
		SetLatch(MyLatch);
	}
	errno = save_errno;
}

/* ---- what does not come to an end */

static int my_slot = -1; /* -1: this process is no purger */
static volatile Oid watched = InvalidOid;
static TimeoutId watch;

static void
watch_over(void)
{
	PurgeSlot *slot = &slots[my_slot];

	if (!OidIsValid(watched))
		return;
	pg_atomic_write_u32(&slot->stuck[pg_atomic_fetch_add_u32(&slot->stuck_count, 1) % STUCK_TABLES],
						watched);
	ProcDiePending = InterruptPending = true;
	SetLatch(MyLatch);
}

void
purge_watch(Oid table, int ms)
{
	if (my_slot < 0)
		return;
	watched = table;
	if (OidIsValid(table))
		enable_timeout_after(watch, ms);
	else
		disable_timeout(watch, false);
}

/* Rules that came while it was at work are not to wait. */
static void
purger_leave(int code, Datum arg)
{
	PurgeSlot *slot = &slots[DatumGetInt32(arg)];

	pg_atomic_write_u64(&slot->ended_at, (uint64) GetCurrentTimestamp());
	pg_memory_barrier();
	if (code == 0 && pg_atomic_read_u64(&slot->hash) != rules_seen)
		pg_atomic_write_u64(&slot->ended_at, 0);
}

/*
 * Settings of the database or of the superuser must not decide what is purged, nor how: whoever
 * waits behind a lock of this process, or before one that it wants, is not to wait long.
 */
static void
purger_force_settings(void)
{
	static const char *const forced[][2] = {
		{"application_name", "biometric_audit purger"},
		{"role", "none"},
		/* rows are found by their place */
		{"enable_tidscan", "on"},
	};

	ledger_force_settings("200ms");
	for (int i = 0; i < (int) lengthof(forced); i++)
		SetConfigOption(forced[i][0], forced[i][1], PGC_SUSET, PGC_S_OVERRIDE);
}

/* Ends the process where nothing is lost by it. */
static void
purger_check(int number)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		purger_force_settings();
	}
	if (stop_wanted || purge_interval_ms() == 0 || ledger_helper_unwanted(number))
		proc_exit(0);
}

static void
purger_begin(void)
{
	busy = true;
	/* a request to stop that came just before */
	if (stop_wanted)
		ProcDiePending = InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* A batch that has purged nothing has nothing to be flushed for. */
static void
purger_commit(bool flush)
{
	int asked_for = synchronous_commit;

	PopActiveSnapshot();
	if (!flush)
		synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	CommitTransactionCommand();
	synchronous_commit = asked_for;
	busy = false;
}

static void
purger_pause(void)
{
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, purge_delay_ms(),
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* The rules as they are now, in a context that lasts. */
static RetentionEntry *
purger_rules(int *count)
{
	RetentionEntry *entries;
	RetentionEntry *read;

	purger_begin();
	read = rules_read(count);
	entries = MemoryContextAlloc(TopMemoryContext, (*count + 1) * sizeof(RetentionEntry));
	memcpy(entries, read, *count * sizeof(RetentionEntry));
	purger_commit(false);
	return entries;
}

static PurgeState
purger_work(int number, const RetentionEntry *entry, PurgePass *pass)
{
	PurgeState state;
	int64 purged;

	purger_begin();
	pgstat_report_activity(STATE_RUNNING, "purging expired images");
	state = purge_batch(entry, PG_INT64_MAX, true, pass, &purged);
	purger_commit(purged > 0);
	pg_atomic_fetch_add_u64(&slots[number].purged, purged);
	return state;
}

/* What is the matter with one rule is not to keep others from being carried out. */
static void
purger_failed(const RetentionEntry *entry, MemoryContext context)
{
	char *problem;

	MemoryContextSwitchTo(context);
	problem = CopyErrorData()->message;
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	purger_begin();
	purge_note_problem(entry, problem);
	purger_commit(false);
}

/* Does a batch of one rule; tells whether there is more to be done for it. */
static bool
purger_batch(int number, const RetentionEntry *entry, PurgePass *pass)
{
	MemoryContext context = MemoryContextSwitchTo(pass->context);
	volatile PurgeState state = PURGE_ENDED;

	purger_check(number);
	PG_TRY();
	{
		state = purger_work(number, entry, pass);
	}
	PG_CATCH();
	{
		purger_failed(entry, pass->context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	purger_pause();
	return state == PURGE_MORE;
}

static List *
purger_stuck(int number)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	List *tables = NIL;

	for (int i = 0; i < STUCK_TABLES; i++)
	{
		Oid table = pg_atomic_read_u32(&slots[number].stuck[i]);

		if (OidIsValid(table))
			tables = lappend_oid(tables, table);
	}
	MemoryContextSwitchTo(old);
	return tables;
}

/* Whoever dies with one rule leaves it to his successor to begin with the next. */
static void
purger_run(int number)
{
	int count;
	RetentionEntry *entries = purger_rules(&count);
	PurgePass *passes = MemoryContextAllocZero(TopMemoryContext, (count + 1) * sizeof(PurgePass));
	bool *ended = MemoryContextAllocZero(TopMemoryContext, (count + 1) * sizeof(bool));
	bool more = count > 0;
	List *skip = purger_stuck(number);
	uint32 first = pg_atomic_read_u32(&slots[number].first);

	for (int i = 0; i < count; i++)
		passes[i] = (PurgePass){.context = TopMemoryContext, .skip = skip};
	while (more)
	{
		more = false;
		for (int n = 0; n < count; n++)
		{
			int i = (int) ((first + (uint32) n) % (uint32) count);

			pg_atomic_write_u32(&slots[number].first, (uint32) i + 1);
			if (!ended[i])
				ended[i] = !purger_batch(number, &entries[i], &passes[i]);
			more = more || !ended[i];
		}
	}
	stuck_forget(number);
}

void
purge_worker_main(Datum arg)
{
	int number = DatumGetInt32(arg);
	Oid database;

	pqsignal(SIGTERM, purger_on_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	busy = true;
	database = ledger_helper_enter(number);
	if (!OidIsValid(database))
		proc_exit(0);
	before_shmem_exit(purger_leave, arg);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	purger_force_settings();
	/* a reload between the fork and the handler was told to nobody */
	ConfigReloadPending = true;
	pgstat_report_appname("biometric_audit purger");
	busy = false;
	watch = RegisterTimeout(USER_TIMEOUT, watch_over);
	my_slot = number;
	rules_seen = pg_atomic_read_u64(&slots[number].hash);
	purger_run(number);
	proc_exit(0);
}

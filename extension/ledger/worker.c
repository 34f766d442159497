/*
 * worker.c - advances a database's tree: the only code that does.
 *
 * Per batch: one transaction with the entries, the tiles they fill and, once
 * a second, the head row; a synchronous commit; then the status, the durable
 * mark and the ring's tail, in this order. An error ends the process: the
 * ring keeps what was not committed, and the next worker begins by reading
 * the tables, so there is one way of recovery and it is used every time.
 *
 * A batch of nothing but changes of images is committed asynchronously: its
 * commit is in the WAL (the ordered mark), ahead of those of the transactions
 * that wait for it, whose flush carries it along. Only a while later, or when
 * somebody asks, does the worker see to it itself and publish it as durable.
 * Until then other sessions see rows that a crash may take back; a worker that
 * ends in between leaves them to its successor, who finds them in the tables
 * and commits synchronously before it publishes anything.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "ledger/batch.h"
#include "ledger/follow.h"
#include "ledger/helper.h"
#include "ledger/signer.h"
#include "ledger/store.h"
#include "ledger/tasks.h"
#include "ledger/tree.h"
#include "ledger/worker.h"

#define HEAD_INTERVAL_MS 1000L

/* How long the commits that wait for a batch may take to flush it along with their own. */
#define DEFER_MS 10
#define IDLE_MS 60000L

typedef struct Worker
{
	int number;
	LedgerSlot *slot;
	uint32 generation;
	LedgerTree tree;
	uint64 head_size; /* what the head row says */
	TimestampTz head_written;
	bool checkpoint_due;	  /* one is to be published when all that is in the tables is durable */
	uint64 position;		  /* ring: all before it is in the tables */
	uint64 found_in_ring;	  /* ring: what was there when this worker began ends here */
	bool deferred;			  /* what is in the tables is not all durable yet */
	XLogRecPtr deferred_end;  /* end of the last commit record that is not */
	TimestampTz deferred_due; /* when to wait no longer for others to flush it */
	bool more[MAX_TASKS];	  /* a task's work is not done */
	MemoryContext context;	  /* reset after each batch */
} Worker;

static Worker *worker = NULL;

/* What the signal handlers look at. */
static volatile sig_atomic_t busy = false;		 /* a transaction is being worked on */
static volatile sig_atomic_t committing = false; /* its commit must not be cancelled */
static volatile sig_atomic_t stop_wanted = false;

PGDLLEXPORT void ledger_worker_main(Datum arg);

static void
worker_on_sigterm(SIGNAL_ARGS)
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

/*
 * SIGINT is also how a lock timeout gets through. But cancelling the wait for
 * a synchronous standby lets the commit stand without its answer, unnoticed.
 */
static void
worker_on_sigint(SIGNAL_ARGS)
{
	if (!committing)
		StatementCancelHandler(postgres_signal_arg);
}

/* Leaves the slot to the next worker. */
static void
worker_detach(int code, Datum arg)
{
	int number = DatumGetInt32(arg);
	LedgerSlot *slot = ledger_slot(number);

	pg_atomic_write_u32(&slot->worker_proc, 0);
	pg_atomic_write_u32(&slot->state, LEDGER_STARTING);
	pg_memory_barrier();
	pg_atomic_write_u32(&slot->worker_pid, 0);
	ledger_wake(number, true);
	ledger_poke_launcher();
}

/* Takes the slot; ends the process if another worker has it or nobody wants one. */
static void
worker_attach(int number)
{
	LedgerSlot *slot = ledger_slot(number);
	uint32 nobody = 0;

	if (!pg_atomic_compare_exchange_u32(&slot->worker_pid, &nobody, (uint32) MyProcPid))
		proc_exit(0);
	before_shmem_exit(worker_detach, Int32GetDatum(number));
	pg_atomic_write_u32(&slot->worker_proc, (uint32) MY_PROC_NUMBER + 1);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&slot->holds) > 0 || pg_atomic_read_u32(&slot->database) == InvalidOid)
		proc_exit(0);
}

/* A stricter synchronous_commit stays. */
static void
worker_force_settings(void)
{
	ledger_force_settings("1s");
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_OVERRIDE);
}

/* Every transaction of the worker is between these two. */
static void
worker_begin(void)
{
	busy = true;
	/* A request to stop that came just before is obeyed by the caller's loop, later. */
	if (stop_wanted)
		ProcDiePending = InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
	StartTransactionCommand();
}

/* From here on no cancel may get at the wait for a synchronous standby. */
static void
worker_commit_begins(void)
{
	committing = true;
	if (QueryCancelPending)
	{
		committing = false;
		CHECK_FOR_INTERRUPTS();
	}
}

static void
worker_commit_ends(void)
{
	committing = false;
	/* Being ended while waiting for a standby also lets the commit stand without its answer. */
	CHECK_FOR_INTERRUPTS();
	busy = false;
}

static void
worker_commit(void)
{
	worker_commit_begins();
	CommitTransactionCommand();
	worker_commit_ends();
}

/* Puts the commit into the WAL, flushed or not, and returns where it ends there. */
static XLogRecPtr
worker_commit_ordered(void)
{
	int asked_for = synchronous_commit;
	XLogRecPtr end;

	worker_commit_begins();
	/* Not by SetConfigOption: what is waited for of a standby later must stay as it is. */
	synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	CommitTransactionCommand();
	synchronous_commit = asked_for;
	end = XactLastCommitEnd;
	worker_commit_ends();
	return end;
}

/* Makes durable what was committed by worker_commit_ordered, as a synchronous commit would. */
static void
worker_flush(XLogRecPtr end)
{
	busy = true;
	if (stop_wanted)
		ProcDiePending = InterruptPending = true;
	CHECK_FOR_INTERRUPTS();
	worker_commit_begins();
	HOLD_INTERRUPTS();
	XLogFlush(end);
	SyncRepWaitForLSN(end, true);
	RESUME_INTERRUPTS();
	worker_commit_ends();
}

/* Runs the tasks; returns what worker_tasks_done is to make known. */
static uint64
worker_run_tasks(Worker *w)
{
	uint64 requested = pg_atomic_read_u64(&w->slot->tasks_requested);

	pg_memory_barrier();
	for (int i = 0; i < tasks_count(); i++)
	{
		worker_begin();
		PushActiveSnapshot(GetTransactionSnapshot());
		tasks_get(i)->task(w->number);
		PopActiveSnapshot();
		worker_commit();
		w->more[i] = tasks_get(i)->work != NULL;
	}
	return requested;
}

/* Does a little of what tasks have left to be done; true when there is more. */
static bool
worker_work(Worker *w)
{
	bool more = false;

	for (int i = 0; i < tasks_count(); i++)
	{
		if (!w->more[i])
			continue;
		worker_begin();
		PushActiveSnapshot(GetTransactionSnapshot());
		w->more[i] = tasks_get(i)->work(w->number);
		PopActiveSnapshot();
		/* it writes nothing whose flush would be worth a wait */
		(void) worker_commit_ordered();
		more = more || w->more[i];
	}
	return more;
}

static void
worker_tasks_done(Worker *w, uint64 requested)
{
	pg_memory_barrier();
	pg_atomic_write_u64(&w->slot->tasks_done, requested);
	ledger_wake(w->number, true);
}

/* Gives the slot back, because the extension is not in this database (any more). */
pg_noreturn static void
worker_leave_database(Worker *w)
{
	ereport(DEBUG1, (errmsg_internal("no ledger in database %u", MyDatabaseId)));
	ledger_slot_free(w->number);
	proc_exit(0);
}

/* Lets the signer read its key, and what was signed before. */
static void
worker_start_signer(Worker *w)
{
	worker_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	signer_start(w->number, w->generation, w->tree.log_id);
	PopActiveSnapshot();
	worker_commit();
	/* what was held back goes out with what else gets durable */
	w->checkpoint_due = true;
}

/* Reads the tree and says in the slot what came of it. */
static void
worker_take_up(Worker *w)
{
	LedgerSlot *slot = w->slot;
	LedgerStatus *status = MemoryContextAlloc(w->context, sizeof(LedgerStatus));
	bool same;
	bool there;
	uint64 requested;

	worker_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	there = tree_load(w->number, &w->tree);
	if (there && w->tree.state == LEDGER_READY)
		follow_load(w->tree.log_id, (int64) w->tree.frontier.size);
	PopActiveSnapshot();
	/*
	 * Not durable yet: a standby whose answer this commit needs may come only when
	 * its connection can be put into the ring. Whatever is released later is committed
	 * behind it, and waits for its own entry.
	 */
	w->deferred_end = worker_commit_ordered();
	if (!there)
		worker_leave_database(w);
	requested = worker_run_tasks(w);
	if (w->tree.state != LEDGER_READY)
	{
		ereport(LOG, (errcode(ERRCODE_DATA_CORRUPTED),
					  errmsg("the ledger of database %u takes no entries: %s", MyDatabaseId,
							 w->tree.problem)));
		ledger_status_error(w->number, w->tree.problem);
		pg_atomic_write_u32(&slot->tile_relation, w->tree.tile_relation);
		w->generation = pg_atomic_read_u32(&slot->generation);
		pg_atomic_write_u32(&slot->failures, 0);
		pg_write_barrier();
		pg_atomic_write_u32(&slot->state, w->tree.state);
		worker_tasks_done(w, requested);
		return;
	}
	pg_atomic_write_u64(&slot->segment_size, (uint64) w->tree.segment_size);
	same = ledger_status_read(w->number, status) && status->loaded &&
		   pg_atomic_read_u32(&slot->tile_relation) == w->tree.tile_relation &&
		   memcmp(status->log_id, w->tree.log_id, LEDGER_LOG_ID_SIZE) == 0;
	if (!same)
	{
		ledger_slot_begin_generation(w->number, (int64) w->tree.frontier.size);
		ledger_status_error(w->number, "");
	}
	w->generation = pg_atomic_read_u32(&slot->generation);
	w->head_size = w->tree.frontier.size;
	w->head_written = GetCurrentTimestamp();
	w->position = pg_atomic_read_u64(&slot->tail);
	w->found_in_ring = pg_atomic_read_u64(&slot->head);
	pg_atomic_write_u32(&slot->tile_relation, w->tree.tile_relation);
	ledger_status_write(w->number, w->tree.log_id, &w->tree.frontier);
	pg_atomic_write_u64(&slot->ordered, w->tree.frontier.size);
	w->deferred = true;
	w->deferred_due = w->head_written;
	worker_start_signer(w);
	pg_write_barrier();
	pg_atomic_write_u32(&slot->state, LEDGER_READY);
	/* last, for whoever retired or forked the ledger waits for it and then sees the state */
	worker_tasks_done(w, requested);
}

/* Tells whether the head row is behind and may be written again, or a checkpoint is due. */
static bool
head_is_due(Worker *w, uint64 size)
{
	return signer_wait_ms(size) == 0 ||
		   (w->head_size != size &&
			TimestampDifferenceExceeds(w->head_written, GetCurrentTimestamp(), HEAD_INTERVAL_MS));
}

static void
head_write(Worker *w, const MerkleFrontier *frontier, bool sign)
{
	store_write_head(w->tree.log_id, frontier);
	follow_write(w->tree.log_id, (int64) frontier->size);
	if (sign && signer_write(w->number, w->tree.log_id, frontier))
		w->checkpoint_due = true;
	w->head_size = frontier->size;
	w->head_written = GetCurrentTimestamp();
}

/* Writes a batch in one transaction. False when the tables are gone. */
static bool
batch_write(Worker *w, Batch *batch)
{
	Relation tile;
	ListCell *cell;

	worker_begin();
	tile = store_open("tile", RowExclusiveLock);
	if (tile == NULL || RelationGetRelid(tile) != w->tree.tile_relation)
	{
		AbortCurrentTransaction();
		busy = false;
		return false;
	}
	store_insert_entries(w->tree.log_id, w->tree.segment_size, (int64) w->tree.frontier.size,
						 batch->entries, batch->count);
	foreach(cell, batch->tiles)
	{
		FullTile *full = lfirst(cell);

		store_insert_tile(tile, w->tree.log_id, full->level, full->index, full->hashes);
	}
	if (head_is_due(w, batch->frontier.size))
	{
		head_write(w, &batch->frontier, true);
		/* the head row counts nothing that is not durable: verification holds it to that */
		batch->urgent = true;
	}
	table_close(tile, NoLock);
	if (batch->urgent)
		worker_commit();
	else
		w->deferred_end = worker_commit_ordered();
	return true;
}

/* Makes a checkpoint known whose transaction is committed. */
static void
worker_publish_checkpoint(Worker *w)
{
	if (w->checkpoint_due)
		signer_publish(w->number);
	w->checkpoint_due = false;
}

/* Makes known that all that is in the tables is durable; from here on it counts as written. */
static void
worker_publish(Worker *w)
{
	w->deferred = false;
	if (pg_atomic_read_u64(&w->slot->durable) != w->tree.frontier.size)
	{
		ledger_status_write(w->number, w->tree.log_id, &w->tree.frontier);
		if (w->slot->status.error[0] != '\0')
			ledger_status_error(w->number, "");
		pg_write_barrier();
		pg_atomic_write_u64(&w->slot->durable, w->tree.frontier.size);
		pg_atomic_write_u32(&w->slot->failures, 0);
	}
	/* Appenders overwrite what is before the tail: everything must have been read. */
	pg_memory_barrier();
	pg_atomic_write_u64(&w->slot->tail, w->position);
	ledger_wake(w->number, false);
	worker_publish_checkpoint(w);
}

/* Makes known that a batch's commit is in the WAL. */
static void
batch_publish_order(Worker *w, Batch *batch)
{
	if (batch->count > 0)
		w->tree.frontier = batch->frontier;
	w->position = batch->end;
	pg_atomic_write_u64(&w->slot->ordered, w->tree.frontier.size);
	if (batch->count == 0 || batch->urgent)
		return;
	if (!w->deferred)
		w->deferred_due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), DEFER_MS);
	w->deferred = true;
	ledger_wake(w->number, false);
}

/* Whether what is deferred is to be made durable now rather than by others. */
static bool
worker_must_flush(Worker *w)
{
	uint64 used = pg_atomic_read_u64(&w->slot->head) - pg_atomic_read_u64(&w->slot->tail);

	return w->deferred &&
		   (used > ledger_ring_size_bytes() / 2 || GetCurrentTimestamp() >= w->deferred_due ||
			ledger_durability_wanted(w->number));
}

bool
ledger_worker_is_wanted(void)
{
	return worker == NULL || MyLatch->is_set || stop_wanted || worker_must_flush(worker) ||
		   (worker->tree.state == LEDGER_READY &&
			pg_atomic_read_u64(&worker->slot->head) != worker->position);
}

static void
worker_flush_deferred(Worker *w)
{
	worker_flush(w->deferred_end);
	worker_publish(w);
}

/* Writes what is in the ring; false when nothing was there. */
static bool
worker_write(Worker *w)
{
	MemoryContext old;
	Batch *batch;

	if (w->tree.state != LEDGER_READY || pg_atomic_read_u64(&w->slot->head) == w->position)
		return false;
	old = MemoryContextSwitchTo(w->context);
	batch = palloc(sizeof(Batch));
	batch_collect(w->number, w->generation, w->position, w->tree.frontier.size, batch);
	batch_hash(&w->tree.frontier, batch);
	batch_look_at(batch);
	if (batch->count > 0 && !batch_write(w, batch))
		worker_leave_database(w);
	batch_publish_order(w, batch);
	if (!w->deferred || batch->urgent)
		worker_publish(w);
	else if (worker_must_flush(w))
		worker_flush_deferred(w);
	MemoryContextSwitchTo(old);
	MemoryContextReset(w->context);
	return true;
}

/* Brings the head row up to date in a transaction of its own. */
static void
worker_write_head(Worker *w, bool sign)
{
	worker_begin();
	head_write(w, &w->tree.frontier, sign);
	worker_commit();
	if (sign)
		worker_publish_checkpoint(w);
}

/* Looks which transactions have ended, unless entries of a predecessor are still to be written. */
static void
worker_follow(Worker *w)
{
	if (w->tree.state != LEDGER_READY || w->position < w->found_in_ring || follow_wait_ms() != 0)
		return;
	worker_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	follow_check(w->number, w->generation);
	PopActiveSnapshot();
	worker_commit();
}

/* Ends the process in good order; the launcher starts another if one is wanted. */
pg_noreturn static void
worker_stop(Worker *w)
{
	bool signs = !w->deferred && signer_wait_ms(w->tree.frontier.size) >= 0;

	if (w->tree.state == LEDGER_READY && (w->head_size != w->tree.frontier.size || signs))
	{
		/* The server may be on its way down: its standbys need not answer this. */
		SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
		stop_wanted = false;
		/* only what is durable is signed, and there may be nobody to sign it later */
		if (signs)
			signer_hurry();
		worker_write_head(w, signs);
	}
	proc_exit(0);
}

/* Sees whether the tables and the log are still those that this worker serves. */
static void
worker_look_again(Worker *w)
{
	Relation tile;
	bool same_tables = false;
	bool current = false;

	worker_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	tile = store_open("tile", AccessShareLock);
	if (tile != NULL)
	{
		same_tables = RelationGetRelid(tile) == w->tree.tile_relation;
		current = same_tables && tree_is_current(w->tree.log_id);
		table_close(tile, AccessShareLock);
	}
	PopActiveSnapshot();
	worker_commit();
	/* nothing of the old log may be written into tables that were made anew */
	if (!same_tables)
		worker_leave_database(w);
	if (!current)
	{
		/* others' entries may stand behind the closing one: whoever comes next publishes nothing */
		if (w->deferred)
			worker_flush_deferred(w);
		worker_stop(w);
	}
}

/*
 * Closes this copy of the log. Nothing is acknowledged from the first line on, whether
 * or not the row can be written; where it cannot, the next worker is asked again.
 */
pg_noreturn static void
worker_fence(Worker *w)
{
	Relation log;

	pg_atomic_write_u32(&w->slot->state, LEDGER_FOREIGN);
	ledger_wake(w->number, true);
	ereport(LOG, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				  errmsg("the ledger of database %u is closed here, because "
						 "biometric_audit.checkpoint_command says that another system continues it",
						 MyDatabaseId)));
	worker_begin();
	log = store_open("log", RowExclusiveLock);
	if (log != NULL)
	{
		store_fence_log(log, w->tree.log_id, "anchor");
		table_close(log, NoLock);
	}
	worker_commit();
	proc_exit(0);
}

/*
 * Whether there is something to be done that the latch may not tell of: whatever waited in between,
 * for a lock, say, has reset it.
 */
static bool
worker_is_asked(Worker *w)
{
	return ConfigReloadPending || stop_wanted || pg_atomic_read_u32(&w->slot->holds) > 0 ||
		   pg_atomic_read_u32(&w->slot->look_again) != 0 ||
		   pg_atomic_read_u64(&w->slot->tasks_requested) !=
			   pg_atomic_read_u64(&w->slot->tasks_done) ||
		   worker_must_flush(w) ||
		   (w->tree.state == LEDGER_READY && pg_atomic_read_u64(&w->slot->head) != w->position);
}

static void
worker_sleep(Worker *w)
{
	bool head_behind = w->tree.state == LEDGER_READY && w->head_size != w->tree.frontier.size;
	long timeout = pgstat_report_stat(false);

	pgstat_report_activity(STATE_IDLE, NULL);
	if (timeout <= 0 || timeout > IDLE_MS)
		timeout = IDLE_MS;
	if (head_behind)
		timeout = Min(timeout, HEAD_INTERVAL_MS);
	if (w->tree.state == LEDGER_READY && signer_wait_ms(w->tree.frontier.size) >= 0)
		timeout = Min(timeout, signer_wait_ms(w->tree.frontier.size));
	if (w->tree.state == LEDGER_READY && follow_wait_ms() >= 0)
		timeout = Min(timeout, follow_wait_ms());
	if (w->deferred)
		timeout =
			Min(timeout, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), w->deferred_due));
	timeout = Min(timeout, tasks_poll_wait());
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
					 PG_WAIT_EXTENSION);
}

static void
worker_loop(Worker *w)
{
	for (;;)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			worker_force_settings();
			if (w->tree.state == LEDGER_READY)
				worker_start_signer(w);
			/* what the tasks publish may depend on settings */
			pg_atomic_fetch_add_u64(&w->slot->tasks_requested, 1);
		}
		if (stop_wanted || pg_atomic_read_u32(&w->slot->holds) > 0 ||
			pg_atomic_read_u32(&w->slot->generation) != w->generation)
			worker_stop(w);
		if (w->tree.state == LEDGER_READY && ledger_is_fenced(w->number, w->tree.log_id))
			worker_fence(w);
		if (pg_atomic_exchange_u32(&w->slot->look_again, 0) != 0)
			worker_look_again(w);
		if (tasks_poll())
			pg_atomic_fetch_add_u64(&w->slot->tasks_requested, 1);
		if (pg_atomic_read_u64(&w->slot->tasks_requested) !=
			pg_atomic_read_u64(&w->slot->tasks_done))
		{
			worker_look_again(w);
			worker_tasks_done(w, worker_run_tasks(w));
		}
		if (worker_write(w))
		{
			worker_follow(w);
			(void) worker_work(w);
			continue;
		}
		if (worker_must_flush(w))
			worker_flush_deferred(w);
		worker_follow(w);
		if (w->tree.state == LEDGER_READY && head_is_due(w, w->tree.frontier.size))
		{
			if (w->deferred)
				worker_flush_deferred(w);
			worker_write_head(w, true);
		}
		pg_atomic_write_u32(&w->slot->failures, 0);
		/* what worker_follow has put into the ring, nobody wakes this process for */
		if (w->tree.state == LEDGER_READY && pg_atomic_read_u64(&w->slot->head) != w->position)
			continue;
		if (worker_work(w) || worker_is_asked(w))
			continue;
		worker_sleep(w);
	}
}

/* Keeps the text of the error that is about to end this worker. */
static void
worker_keep_error(int number)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	ErrorData *error = CopyErrorData();

	ledger_status_error(number, error->message != NULL ? error->message : "unknown error");
	FreeErrorData(error);
	MemoryContextSwitchTo(old);
}

void
ledger_worker_main(Datum arg)
{
	int number = DatumGetInt32(arg);

	pqsignal(SIGTERM, worker_on_sigterm);
	pqsignal(SIGINT, worker_on_sigint);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	busy = true;
	worker_attach(number);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(pg_atomic_read_u32(&ledger_slot(number)->database),
											  InvalidOid, 0);
	worker_force_settings();
	/* a reload between the fork and the handler was told to nobody */
	ConfigReloadPending = true;
	pgstat_report_appname("biometric_audit ledger");

	worker = MemoryContextAllocZero(TopMemoryContext, sizeof(Worker));
	worker->number = number;
	worker->slot = ledger_slot(number);
	worker->context =
		AllocSetContextCreate(TopMemoryContext, "biometric ledger batch", ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		worker_take_up(worker);
		worker_loop(worker);
	}
	PG_CATCH();
	{
		worker_keep_error(number);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

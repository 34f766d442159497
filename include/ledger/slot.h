/*
 * slot.h - what a slot of the ledger's shared memory holds, and the steps
 * on it that append, launcher, worker and database commands share.
 *
 * Private to the ledger. ring.h says which lock guards what; in short:
 * appenders take the append lock, whoever gives a slot to a database takes
 * the directory lock, and the worker takes neither once it runs, but to append
 * entries of its own as any appender does: everything else that it writes is
 * an atomic or is copied under a version number (the status), so that a worker
 * that is stopped while it writes tables holds up nobody for good.
 *
 * Nor is there a condition variable, whose spinlock a stopped worker might
 * hold: a waiter announces in a table of its own what it waits for, and is
 * woken through its latch (ledger_wait_announce, ledger_wake).
 *
 * A record in the ring is a LedgerRecord and then the entry's bytes. Records
 * of a generation that is over are skipped by the worker, so that a new
 * generation needs no clean-up that an appender could run into.
 */
#ifndef BIOMETRIC_LEDGER_SLOT_H
#define BIOMETRIC_LEDGER_SLOT_H

#include "base/compat.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

#include "core/entry.h"
#include "core/merkle.h"
#include "ledger/ring.h"

#define LEDGER_LOG_ID_SIZE 16
#define LEDGER_ERROR_SIZE 512

/* Entries of the smallest and the largest segment; all sizes are powers of MERKLE_TILE_WIDTH. */
#define LEDGER_SEGMENT_MIN 1024
#define LEDGER_SEGMENT_MAX 33554432

typedef enum LedgerState
{
	LEDGER_STARTING = 0, /* no worker, or one that has not read the tables yet */
	LEDGER_READY = 1,	 /* entries are taken */
	LEDGER_BROKEN = 2,	 /* tables contradict the tree: nothing is taken */
	LEDGER_FOREIGN = 3,	 /* a copy of another database's ledger: waits for a fork */
	LEDGER_RETIRED = 4	 /* closed by retire_ledger(): nothing is taken any more */
} LedgerState;

/* What stands before each entry in the ring; copied bytewise, never aligned. */
typedef struct LedgerRecord
{
	uint32 length; /* bytes of the entry */
	uint32 generation;
	int64 sequence;
} LedgerRecord;

/* What the worker publishes after each commit; read by ledger_status_read only. */
typedef struct LedgerStatus
{
	bool loaded; /* log_id and frontier are set */
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	MerkleFrontier frontier;	   /* of what is durable */
	char error[LEDGER_ERROR_SIZE]; /* the worker's last error, "" when there was none */
} LedgerStatus;

typedef struct LedgerSlot
{
	pg_atomic_uint32 database;		 /* OID; 0: free. Set under the directory lock, cleared last */
	pg_atomic_uint32 state;			 /* LedgerState */
	pg_atomic_uint32 generation;	 /* of the present sequence numbers; unique in the cluster */
	pg_atomic_uint32 holds;			 /* commands that want the worker to stay away */
	pg_atomic_uint32 worker_pid;	 /* 0: none */
	pg_atomic_uint32 worker_proc;	 /* PGPROC number + 1; 0: none */
	pg_atomic_uint32 helper_pid;	 /* of the process that helper.h is about; 0: none */
	pg_atomic_uint32 helper_proc;	 /* PGPROC number + 1; 0: none */
	pg_atomic_uint32 helper_refused; /* 1: no background worker could be had for it */
	pg_atomic_uint32 tile_relation;	 /* OID of biometric.tile: which tables; 0: not seen yet */
	pg_atomic_uint32 look_again;   /* 1: the worker shall see whether its tables are still there */
	pg_atomic_uint32 failures;	   /* workers that ended before they were ready, in a row */
	pg_atomic_uint32 fence;		   /* 1: fence_log shall take no more entries here */
	pg_atomic_uint64 fence_log[2]; /* the bytes of a log's id; written before fence is set */
	pg_atomic_uint64 tasks_requested;
	pg_atomic_uint64 tasks_done;

	pg_atomic_uint64 start_sequence; /* first sequence number of this generation */
	pg_atomic_uint64 segment_size;	 /* entries of a segment, in this generation */
	uint32 append_generation;		 /* append lock: generation that next_sequence counts in */
	pg_atomic_uint64 next_sequence;	 /* written under the append lock */
	pg_atomic_uint64 head;			 /* bytes; written under the append lock */
	char between_writers[PG_CACHE_LINE_SIZE];
	pg_atomic_uint64 tail;	  /* bytes; the worker's */
	pg_atomic_uint64 ordered; /* of entries below it the commit is in the WAL; the worker's */
	pg_atomic_uint64 durable; /* entries below it are durable; the worker's. Never above ordered */

	pg_atomic_uint32 status_version; /* odd while the worker writes the status */
	LedgerStatus status;
} LedgerSlot;

/* ledger_slot returns a slot by number, 0 to ledger_slots() - 1. */
extern LedgerSlot *ledger_slot(int number);

/* ledger_append_lock returns the lock that guards appending to a slot. */
extern LWLock *ledger_append_lock(int number);

/*
 * ledger_slot_of returns the number of a database's slot, -1 when it has none
 * and, if claim, none is free. A slot that is claimed gets a new generation
 * and is reset. Takes the directory lock.
 */
extern int ledger_slot_of(Oid database, bool claim);

/*
 * ledger_slot_free gives a slot back. The caller is its worker, or holds it
 * and has seen its worker end. What was published for it vanishes first.
 */
extern void ledger_slot_free(int number);

/* ledger_slot_begin_generation starts sequence numbers anew at sequence; the worker's. */
extern void ledger_slot_begin_generation(int number, int64 sequence);

/* ledger_new_generation returns a generation that no slot has had since the server's start. */
extern uint32 ledger_new_generation(void);

/* ledger_ring_size_bytes returns the size of each ring. */
extern Size ledger_ring_size_bytes(void);

/* ledger_ring_write copies bytes into a slot's ring at a position; append lock. */
extern void ledger_ring_write(int number, uint64 position, const void *bytes, Size length);

/* ledger_ring_read copies bytes out of a slot's ring. */
extern void ledger_ring_read(int number, uint64 position, void *bytes, Size length);

/*
 * ledger_status_write replaces the published log id and frontier;
 * ledger_status_error the published error text. The worker's only.
 */
extern void ledger_status_write(int number, const uint8 *log_id, const MerkleFrontier *frontier);
extern void ledger_status_error(int number, const char *error);

/*
 * ledger_status_read copies a slot's status. False when the worker has been
 * stopped in the middle of writing it for as long as this tried (100 ms).
 */
extern bool ledger_status_read(int number, LedgerStatus *status);

/*
 * ledger_poke_launcher wakes the launcher, ledger_poke_worker a slot's worker or the launcher,
 * ledger_poke_helper a slot's helper, if there is one.
 */
extern void ledger_poke_launcher(void);
extern void ledger_poke_worker(int number);
extern void ledger_poke_helper(int number);

/* ledger_end_search says that every database has been looked at; the launcher's. */
extern void ledger_end_search(void);

/*
 * ledger_searches_wanted returns the number of the last search that was asked for,
 * ledger_search_ended says that one has ended, and whether all was looked at; the launcher's.
 */
extern uint32 ledger_searches_wanted(void);
extern void ledger_search_ended(uint32 search, bool complete);

/* ledger_set_launcher makes the calling process the one that is poked; false: nobody. */
extern void ledger_set_launcher(bool here);

/* ledger_set_anchor, ledger_poke_anchor: likewise for the process that delivers checkpoints. */
extern void ledger_set_anchor(bool here);
extern void ledger_poke_anchor(void);

/*
 * ledger_fence asks a slot's worker to close this copy of a log for good, since
 * somebody else continues it. One process calls it. ledger_is_fenced tells the
 * worker whether that was asked of the log that it serves.
 */
extern void ledger_fence(int number, const uint8 *log_id);
extern bool ledger_is_fenced(int number, const uint8 *log_id);

/* Waiting. A waiter announces itself, looks, sleeps, and looks again. */
#define LEDGER_WAIT_ANY PG_UINT64_MAX

/* Added to a count: the mark that is waited for is the slot's ordered mark. */
#define LEDGER_WAIT_ORDERED (UINT64CONST(1) << 62)

/*
 * ledger_wait_announce says that this process waits for the slot's durable
 * mark to reach a count, for its ordered mark to do so (LEDGER_WAIT_ORDERED
 * plus the count), or for any change (LEDGER_WAIT_ANY); 0 takes it back.
 */
extern void ledger_wait_announce(int number, uint64 wanted);

/*
 * ledger_wait_sleep sleeps until woken or slice_ms have passed, then checks
 * for interrupts if interruptible. Returns at once when the latch is set.
 */
extern void ledger_wait_sleep(long slice_ms, bool interruptible);

/* ledger_wake wakes whose marks have been reached, or everybody. Takes no lock. */
extern void ledger_wake(int number, bool everybody);

/* ledger_durability_wanted tells whether anybody waits for more than order. */
extern bool ledger_durability_wanted(int number);

/* ledger_run_resets runs the registered resets for a slot (tasks.c). */
extern void ledger_run_resets(int number);

#endif

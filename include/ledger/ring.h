/*
 * ring.h - the shared memory between those who append and the worker.
 *
 * One slot a database (ledger/slot.h), each with a ring of
 * biometric_audit.ring_size bytes. Positions head and tail only grow; a
 * record is a header and the entry's bytes, wrapping at the ring's end.
 *
 * Locking:
 *  - which database has which slot: the directory lock (LWLock), exclusive to
 *    give a slot away. Taken by backends and by the launcher.
 *  - head, next sequence number, and the bytes between tail and head while
 *    they are written: the slot's append lock (LWLock). The worker reads head
 *    without it and sees only whole records (written before head, with a
 *    barrier).
 *  - tail, ordered, durable, state, generation: atomics, written by the worker without
 *    a lock, so that a stopped worker holds nothing that an appender waits for
 *    uninterruptibly.
 *  - status (log id, frontier, last error): copied under a version number,
 *    written by the worker after each commit.
 *  - generation: changes when sequence numbers start anew (slot given to a
 *    database, extension dropped, fork); whoever waits gives up when it does.
 */
#ifndef BIOMETRIC_LEDGER_RING_H
#define BIOMETRIC_LEDGER_RING_H

#include "postgres.h"

/* ledger_define_settings: biometric_audit.ledger_timeout (ms), .ring_size (kB), .max_databases. */
extern void ledger_define_settings(void);

/* ledger_shmem_size returns the bytes of shared memory that the ledger needs. */
extern Size ledger_shmem_size(void);

/* ledger_shmem_request requests memory and locks; ledger_shmem_init sets up or attaches. */
extern void ledger_shmem_request(void);
extern void ledger_shmem_init(void);

/* ledger_register_launcher registers the launcher, a static background worker; from _PG_init. */
extern void ledger_register_launcher(void);

/* ledger_slots returns biometric_audit.max_databases: slot numbers run from 0 to it. */
extern int ledger_slots(void);

/*
 * ledger_my_slot returns the number of this database's slot, claiming a free
 * one at first use; -1 when all are taken. Cached for the backend's life.
 */
extern int ledger_my_slot(void);

/*
 * ledger_search_is_over tells whether since the server's start every database
 * that accepts connections was looked at: each that has a ledger has had its
 * worker's tasks run. Stays false when one could not be looked at.
 */
extern bool ledger_search_is_over(void);

/*
 * ledger_search_again has the launcher look at all databases once more: one that was made as a
 * copy of another has a worker only when somebody connects to it. Returns a number to ask
 * ledger_search_result by. Neither raises nor waits.
 */
extern uint32 ledger_search_again(void);

typedef enum LedgerSearch
{
	LEDGER_SEARCHING = 0,
	LEDGER_SEARCHED = 1, /* all databases that have a ledger have a worker that has run its tasks */
	LEDGER_SEARCH_FAILED = 2 /* not all databases could be looked at */
} LedgerSearch;

extern LedgerSearch ledger_search_result(uint32 search);

/* ledger_segment_size returns how many entries a segment of a log that begins now has. */
extern int64 ledger_segment_size(void);

/* ledger_timeout_ms returns biometric_audit.ledger_timeout in ms. */
extern int ledger_timeout_ms(void);

/*
 * ledger_awaits_standby tells whether the worker of a database waits at this moment
 * for a synchronous standby to confirm what it has committed. Does not raise.
 */
extern bool ledger_awaits_standby(Oid database);

#endif

/*
 * ring.h - the shared memory between those who append and the worker.
 *
 * One LedgerSlot a database, each with a ring of biometric_audit.ring_size
 * bytes. Positions head and tail only grow; a record is its length (4 bytes,
 * host order) and its bytes, wrapping at the ring's end.
 *
 * Locking:
 *  - slots' database and state: the directory lock (LWLock), exclusive.
 *  - head, next_sequence, and the bytes between tail and head while they are
 *    written: the slot's append lock (LWLock). Readers of head without the
 *    lock see only whole records (written before head, with a barrier).
 *  - tail, durable: written by the worker alone, without a lock, so that a
 *    stopped worker holds nothing that an appender waits for uninterruptibly.
 *  - tree (size, root, tail hashes), last_error: spin-free copy under the
 *    slot's status lock (LWLock), written by the worker after each commit.
 *  - generation: changes when sequence numbers start anew (extension created
 *    or dropped, fork); whoever waits gives up when it does.
 */
#ifndef BIOMETRIC_LEDGER_RING_H
#define BIOMETRIC_LEDGER_RING_H

#include "postgres.h"

/* ledger_define_settings: biometric_audit.ledger_timeout (ms), .ring_size (kB), .max_databases. */
extern void ledger_define_settings(void);

/* ledger_shmem_size returns the bytes of shared memory that the ledger needs. */
extern Size ledger_shmem_size(void);

/* ledger_shmem_request requests memory and LWLock tranches; ledger_shmem_init sets up or attaches. */
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

/* ledger_timeout_ms returns biometric_audit.ledger_timeout in ms. */
extern int ledger_timeout_ms(void);

#endif

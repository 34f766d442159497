/*
 * signer.h - signs the ledger's head.
 *
 * The worker holds the signing key and writes a checkpoint, at most one a second and only
 * when the tree has grown: published in shared memory, and kept in
 * biometric.checkpoint (the newest, one a minute, and all that were cosigned).
 * Everybody else reads. What is published is copied under a version number,
 * as the slot's status is.
 *
 * A key's name, and the origin of what it signs, is biometric_audit.ledger_origin
 * and the log's id, so that no log ever signs under another's name.
 */
#ifndef BIOMETRIC_LEDGER_SIGNER_H
#define BIOMETRIC_LEDGER_SIGNER_H

#include "core/checkpoint.h"
#include "ledger/slot.h"

#define SIGNER_PROBLEM_SIZE 256

/* What a slot publishes of its newest checkpoint; read by signer_read only. */
typedef struct LedgerSigned
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	char vkey[NOTE_KEY_TEXT_MAX];	   /* of the key that signs now; "": none does */
	char problem[SIGNER_PROBLEM_SIZE]; /* why none does although one is set, or "" */
	uint64 size;					   /* entries; meaningless while length is 0 */
	int64 at;						   /* microseconds since 1970-01-01 UTC */
	uint32 length;
	char note[CHECKPOINT_MAX];
} LedgerSigned;

/* signer_define_settings defines signing_key and ledger_origin; part of ledger_define_settings. */
extern void signer_define_settings(void);

/* signer_key_file and signer_origin return the settings; "" when there is none. */
extern const char *signer_key_file(void);
extern const char *signer_origin(void);

/* signer_shmem_size returns bytes of shared memory; signer_shmem_init sets up or attaches. */
extern Size signer_shmem_size(void);
extern void signer_shmem_init(void);

/* signer_reset takes back what was published for a slot, anchors included: it changes hands. */
extern void signer_reset(int number);

/*
 * signer_start reads the key for a log, in the worker, in a transaction with
 * an active snapshot. The newest checkpoint that is stored stays published if it
 * was; otherwise the next signer_publish publishes it, which is to be called
 * when all that is in the tables is durable. Without a usable key nothing is signed, and
 * a WARNING says why.
 */
extern void signer_start(int number, uint32 generation, const uint8 *log_id);

/*
 * signer_write signs a frontier that is durable or becomes so with the
 * caller's transaction, and writes its row, when that is due; returns true
 * when signer_publish is to be called after the commit. A key that has not
 * signed this log before gets its entry key_changed first, which the first
 * checkpoint covers. Worker only.
 */
extern bool signer_write(int number, const uint8 *log_id, const MerkleFrontier *frontier);
extern void signer_publish(int number);

/* signer_hurry lets the next signer_write not wait for the second: it is the worker's last. */
extern void signer_hurry(void);

/* signer_wait_ms returns in how many ms to sign a tree of this size; -1: not at all. */
extern long signer_wait_ms(uint64 size);

/* signer_post replaces what a slot has published. The worker's. */
extern void signer_post(int number, const LedgerSigned *newest);

/* signer_read copies what a slot has published; false when it has no checkpoint. */
extern bool signer_read(int number, LedgerSigned *newest);

/*
 * signer_wait waits until a checkpoint of this database's log covers size
 * entries, at most ledger_timeout. Errors: 55000 without a signing key, on a
 * standby, or at the deadline; 57014 on cancel.
 */
extern void signer_wait(uint64 size, LedgerSigned *newest);

/*
 * signer_durable returns how many entries are durable, once the worker has
 * taken up the ledger; waits for it as signer_wait does.
 */
extern uint64 signer_durable(void);

#endif

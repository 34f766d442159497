/*
 * signer.h - signs the ledger's head.
 *
 * The worker holds the signing key and writes a checkpoint, at most one a second and only
 * when the tree has grown: published in the slot's shared memory, and kept in
 * biometric.checkpoint (the newest, one a minute, and all that were cosigned).
 * Everybody else reads.
 */
#ifndef BIOMETRIC_LEDGER_SIGNER_H
#define BIOMETRIC_LEDGER_SIGNER_H

#include "core/checkpoint.h"
#include "ledger/slot.h"

/* What a slot publishes of its newest checkpoint; read by signer_read only. */
typedef struct LedgerSigned
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	uint64 size; /* entries; meaningless while length is 0 */
	int64 at;	 /* microseconds since 1970-01-01 UTC */
	uint32 length;
	char note[CHECKPOINT_MAX];
} LedgerSigned;

/* signer_define_settings defines signing_key and ledger_origin; part of ledger_define_settings. */
extern void signer_define_settings(void);

/*
 * signer_start reads the key for a log, in the worker, in a transaction with
 * an active snapshot; without a usable key nothing is signed, and a WARNING says why.
 * Puts an entry key_changed into the ring when the key is not the one that signed last.
 */
extern void signer_start(int number, uint32 generation, const uint8 *log_id);

/*
 * signer_write signs a frontier that is durable or becomes so with the
 * caller's transaction, and writes its row, when that is due; returns true
 * when signer_publish is to be called after the commit. Worker only.
 */
extern bool signer_write(int number, const uint8 *log_id, const MerkleFrontier *frontier);
extern void signer_publish(int number);

/* signer_wait_ms returns in how many ms to sign a tree of this size; -1: not at all. */
extern long signer_wait_ms(uint64 size);

/* signer_read copies what a slot has published; false when there is nothing. */
extern bool signer_read(int number, LedgerSigned *newest);

/*
 * signer_wait waits until a checkpoint of this database's log covers size
 * entries, at most ledger_timeout. Errors: 55000 without a signing key
 * or at the deadline; 57014 on cancel.
 */
extern void signer_wait(uint64 size, LedgerSigned *newest);

#endif

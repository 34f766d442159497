/*
 * fork.h - how a log begins, is forked, adopted, handed over and retired.
 *
 * Private to the ledger. CREATE EXTENSION makes the first identity.
 * fork_ledger(), hand_over_ledger() and retire_ledger() change biometric.log in the caller's
 * transaction; their entries are appended and durable just before its commit,
 * and the worker takes up what was committed.
 */
#ifndef BIOMETRIC_LEDGER_FORK_H
#define BIOMETRIC_LEDGER_FORK_H

#include "ledger/store.h"

/* fork_own_identity sets a log to a new random id (UUID version 4) of this database, ordinal 1. */
extern void fork_own_identity(LedgerLog *log);

/*
 * fork_detail returns the detail of a `forked` entry, a JSON object: the log
 * that was forked from or adopted, with its size and root. reason: NULL for
 * none. Palloc'd.
 */
extern char *fork_detail(const uint8 *parent, int64 size, const MerkleHash *root,
						 const char *reason, bool adopted);

/*
 * fork_detach_detail returns the detail of the entry that a segment was
 * detached, a JSON object: its number, its entries, and their root. size: entries of a
 * segment. Palloc'd.
 */
extern char *fork_detach_detail(int64 segment, int64 size, const MerkleHash *root,
								const char *reason);

/* fork_present_log returns the present log, palloc'd. Error 55000 when there is none. */
extern LedgerLog *fork_present_log(void);

/* fork_log_id_text returns a log id as uuid_out would, palloc'd. */
extern char *fork_log_id_text(const uint8 *log_id);

#endif

/*
 * tree.h - takes up a database's tree: identity, frontier, and whether both
 * are what they should be. Private to the ledger; the worker's only.
 */
#ifndef BIOMETRIC_LEDGER_TREE_H
#define BIOMETRIC_LEDGER_TREE_H

#include "ledger/slot.h"

/* The tree that a worker advances. */
typedef struct LedgerTree
{
	LedgerState state; /* READY, BROKEN, FOREIGN or RETIRED */
	char problem[LEDGER_ERROR_SIZE];
	Oid tile_relation; /* biometric.tile: by which the extension's tables are known */
	int64 segment_size;
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	MerkleFrontier frontier;
} LedgerTree;

/*
 * tree_load reads the identity and the tree from the tables, in the caller's
 * transaction and active snapshot: a renewed identity is written, a
 * fork is settled with its `forked` entry, a log that this system continues
 * after another gets an entry that says so, the head row is written even when
 * nothing has changed, so that the caller's synchronous commit confirms what a
 * predecessor may have committed without a standby's answer.
 *
 * number: the slot; what shared memory still knows of the same log must agree.
 * Returns false when the extension is not in this database.
 */
extern bool tree_load(int number, LedgerTree *tree);

/*
 * tree_is_current tells whether a log id is still the newest, and neither
 * retired nor fenced, nor either undone, since tree_load; needs a transaction.
 */
extern bool tree_is_current(const uint8 *log_id);

#endif

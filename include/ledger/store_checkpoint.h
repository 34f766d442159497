/*
 * store_checkpoint.h - checkpoints, the keys that signed them, and the
 * signatures of witnesses: rows in, rows out.
 *
 * As store.h; private to the ledger and to the audit room. Notes and signature
 * lines are bytes in UTF-8, whatever the database's encoding.
 */
#ifndef BIOMETRIC_LEDGER_STORE_CHECKPOINT_H
#define BIOMETRIC_LEDGER_STORE_CHECKPOINT_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "ledger/store.h"

/* Attribute numbers, as sql/21_checkpoint.sql declares the columns. */
enum
{
	CHECKPOINT_COL_LOG_ID = 1,
	CHECKPOINT_COL_SIZE,
	CHECKPOINT_COL_AT,
	CHECKPOINT_COL_NOTE,
	CHECKPOINT_COLUMNS = CHECKPOINT_COL_NOTE
};
enum
{
	VERIFIER_COL_LOG_ID = 1,
	VERIFIER_COL_VKEY,
	VERIFIER_COL_SINCE,
	VERIFIER_COL_AT,
	VERIFIER_COLUMNS = VERIFIER_COL_AT
};
enum
{
	COSIGNATURE_COL_LOG_ID = 1,
	COSIGNATURE_COL_SIZE,
	COSIGNATURE_COL_VKEY,
	COSIGNATURE_COL_LINE,
	COSIGNATURE_COLUMNS = COSIGNATURE_COL_LINE
};

typedef struct StoredCheckpoint
{
	int64 size; /* entries */
	TimestampTz at;
	const char *note; /* palloc'd, NUL-terminated */
	Size length;
	ItemPointerData row;
} StoredCheckpoint;

typedef struct StoredVerifier
{
	char *vkey;
	int64 since; /* sequence number of its entry key_changed */
	TimestampTz at;
} StoredVerifier;

typedef struct StoredCosignature
{
	int64 size; /* of the checkpoint */
	char *vkey; /* the witness's */
	char *line; /* NUL-terminated, with its newline */
	Size length;
} StoredCosignature;

/*
 * store_newest_checkpoints reads the checkpoints of the largest sizes, at most
 * count, largest first; returns how many there are.
 */
extern int store_newest_checkpoints(const uint8 *log_id, Snapshot snapshot,
									StoredCheckpoint *newest, int count);

/* store_checkpoint_from reads the checkpoint of the smallest size from size on; false: none. */
extern bool store_checkpoint_from(const uint8 *log_id, int64 size, Snapshot snapshot,
								  StoredCheckpoint *found);

/* A look at a row; a row that lacks a value comes as a checkpoint of size -1. */
typedef void (*StoreCheckpointLook)(const StoredCheckpoint *checkpoint, void *context);

/* store_scan_checkpoints looks at every row of a log, in whatever order the table has them. */
extern void store_scan_checkpoints(const uint8 *log_id, Snapshot snapshot, StoreCheckpointLook look,
								   void *context);

/* store_verifiers lists palloc'd StoredVerifier, ascending by since. Reads the table, no index. */
extern List *store_verifiers(const uint8 *log_id, Snapshot snapshot);

/* store_cosignatures lists palloc'd StoredCosignature of a checkpoint; of all, for size -1. */
extern List *store_cosignatures(const uint8 *log_id, int64 size, Snapshot snapshot);

/* Writing; as store_insert. Each does nothing when its table is gone. */
extern void store_insert_checkpoint(const uint8 *log_id, const StoredCheckpoint *checkpoint);
extern void store_insert_verifier(const uint8 *log_id, const StoredVerifier *verifier);
extern void store_insert_cosignature(const uint8 *log_id, const StoredCosignature *cosignature);

/*
 * store_prune_checkpoint deletes a checkpoint that nobody has cosigned and that nobody
 * holds by store_hold_checkpoint. Never waits. Returns whether it is gone.
 */
extern bool store_prune_checkpoint(const uint8 *log_id, int64 size);

/*
 * store_hold_checkpoint keeps the row of a checkpoint from being pruned until
 * the end of the transaction; false when there is none.
 */
extern bool store_hold_checkpoint(const uint8 *log_id, int64 size);

#endif

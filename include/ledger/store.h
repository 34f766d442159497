/*
 * store.h - the ledger's tables: rows in, rows out.
 *
 * Private to the ledger. Everything here needs a transaction. Rows are
 * written by the heap and its indexes directly, without triggers, rules or
 * privileges: for the worker and for fork_ledger only. Rows are read by the
 * tables' primary keys.
 */
#ifndef BIOMETRIC_LEDGER_STORE_H
#define BIOMETRIC_LEDGER_STORE_H

#include "base/compat.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "core/merkle.h"
#include "ledger/slot.h"

/* Attribute numbers, as sql/20_ledger.sql declares the columns. */
enum
{
	ENTRY_COL_LOG_ID = 1,
	ENTRY_COL_SEQ,
	ENTRY_COL_BYTES,
	ENTRY_COLUMNS = ENTRY_COL_BYTES
};
enum
{
	TILE_COL_LOG_ID = 1,
	TILE_COL_LEVEL,
	TILE_COL_INDEX,
	TILE_COL_HASHES,
	TILE_COLUMNS = TILE_COL_HASHES
};
enum
{
	HEAD_COL_LOG_ID = 1,
	HEAD_COL_SIZE,
	HEAD_COL_ROOT,
	HEAD_COL_TAIL,
	HEAD_COLUMNS = HEAD_COL_TAIL
};
enum
{
	LOG_COL_LOG_ID = 1,
	LOG_COL_ORDINAL,
	LOG_COL_DATABASE_OID,
	LOG_COL_SYSTEM_IDENTIFIER,
	LOG_COL_TIMELINE,
	LOG_COL_CREATED_AT,
	LOG_COL_PARENT,
	LOG_COL_PARENT_SIZE,
	LOG_COL_PARENT_ROOT,
	LOG_COL_REASON,
	LOG_COLUMNS = LOG_COL_REASON
};

/* One row of biometric.log. */
typedef struct LedgerLog
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int32 ordinal;
	Oid database_oid;
	int64 system_identifier;
	bool has_parent;
	uint8 parent[LEDGER_LOG_ID_SIZE];
	int64 parent_size; /* -1: not yet known, the worker fills it in */
	MerkleHash parent_root;
	char *reason; /* NULL: none */
} LedgerLog;

/* One row of biometric.head. */
typedef struct LedgerHead
{
	int64 size;
	MerkleHash root;
	int tail_count; /* -1: the column's length is no multiple of a hash's */
	MerkleHash tail[MERKLE_TILE_WIDTH];
} LedgerHead;

/* The tables of one log, opened for reading. */
typedef struct LedgerReader
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	Relation entry;
	Relation entry_key;
	Relation tile;
	Relation tile_key;
	Snapshot snapshot; /* borrowed */
} LedgerReader;

/*
 * store_open opens one of the tables by name; NULL when the extension or the
 * table is not there. The caller closes it with table_close. Error 55000 when
 * the table has lost the columns that the extension gave it.
 */
extern Relation store_open(const char *name, LOCKMODE mode);

/*
 * store_logs returns a list of palloc'd LedgerLog, ascending by ordinal, as
 * snapshot sees them; NIL also when the table is not there.
 */
extern List *store_logs(Snapshot snapshot);

/* store_head reads the head row of a log; false when there is none. */
extern bool store_head(const uint8 *log_id, Snapshot snapshot, LedgerHead *head);

/*
 * store_reader_open opens the tables for reading a log; false, with nothing
 * open, when they are not there. store_reader_close closes them.
 */
extern bool store_reader_open(LedgerReader *reader, const uint8 *log_id, Snapshot snapshot);
extern void store_reader_close(LedgerReader *reader);

/* store_size returns the highest sequence number of the log + 1, 0 for none. */
extern int64 store_size(LedgerReader *reader);

/* store_entry returns an entry's bytes, palloc'd, detoasted; NULL when there is none. */
extern bytea *store_entry(LedgerReader *reader, int64 sequence);

/* store_leaves computes the leaf hashes of count entries from first on; false if one is missing. */
extern bool store_leaves(LedgerReader *reader, int64 first, int count, MerkleHash *hashes);

/* store_tile reads a full tile; false when it is missing or not MERKLE_TILE_SIZE long. */
extern bool store_tile(LedgerReader *reader, int level, uint64 index, MerkleHash *hashes);

/* store_source is a MerkleTileSource over a LedgerReader: tiles, entries where none is full. */
extern bool store_source(int level, uint64_t index, int count, MerkleHash *hashes, void *reader);

/* store_root computes the root of the log's first size entries; false when rows are missing. */
extern bool store_root(LedgerReader *reader, int64 size, MerkleHash *root);

/* Rows for the tables. */

/*
 * store_insert inserts one row with its index entries. relation: open with
 * RowExclusiveLock. values, nulls: of the table's first columns, as declared above.
 */
extern void store_insert(Relation relation, const Datum *values, const bool *nulls, int columns);

/* One entry that is to be written. */
typedef struct StoreEntry
{
	bytea *bytes;
	MerkleHash leaf;
} StoreEntry;

/* store_insert_entries inserts count entries, numbered from sequence on. */
extern void store_insert_entries(Relation relation, const uint8 *log_id, int64 sequence,
								 const StoreEntry *entries, int count);

/* store_insert_tile inserts a full tile. */
extern void store_insert_tile(Relation relation, const uint8 *log_id, int level, uint64 index,
							  const MerkleHash *hashes);

/* store_insert_log inserts a row of biometric.log; of parent_size -1 NULL is written. */
extern void store_insert_log(Relation relation, const LedgerLog *log);

/* store_write_head brings the head row of a log to a frontier. The worker's (by SPI). */
extern void store_write_head(const uint8 *log_id, const MerkleFrontier *frontier);

/* store_settle_fork writes a log's parent_size and parent_root. The worker's (by SPI). */
extern void store_settle_fork(const LedgerLog *log);

/* store_renew_identity makes a log without entries this database's own, under a new id (SPI). */
extern void store_renew_identity(const uint8 *old_id, const LedgerLog *log);

/* store_hashes makes a palloc'd bytea of count hashes. */
extern bytea *store_hashes(const MerkleHash *hashes, int count);

#endif

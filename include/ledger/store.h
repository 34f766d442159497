/*
 * store.h - the ledger's tables: rows in, rows out.
 *
 * Private to the ledger. Everything here needs a transaction. Rows are
 * written by the heap and its indexes directly, without triggers, rules or
 * privileges: for the worker, fork_ledger, retire_ledger and the transaction
 * that created the extension only. Rows are read by the
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
	HEAD_COL_SETTLED,
	HEAD_COL_UNSETTLED,
	HEAD_COLUMNS = HEAD_COL_UNSETTLED
};
enum
{
	IMAGE_COL_LOG_ID = 1,
	IMAGE_COL_IMAGE_ID,
	IMAGE_COL_SEQ,
	IMAGE_COLUMNS = IMAGE_COL_SEQ
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
	LOG_COL_RETIRED_AT,
	LOG_COL_ADOPTED_AT,
	LOG_COL_ADOPTED_SIZE,
	LOG_COL_ADOPTED_ROOT,
	LOG_COL_SEGMENT_SIZE,
	LOG_COL_INSTANCE,
	LOG_COL_FENCED_AT,
	LOG_COL_FENCED_BY,
	LOG_COLUMNS = LOG_COL_FENCED_BY
};

/* One row of biometric.log. */
typedef struct LedgerLog
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	bool restored; /* came from a dump: has no ordinal, is not this database's own */
	int32 ordinal; /* from 1 */
	Oid database_oid;
	int64 system_identifier;
	int32 timeline;
	bool has_parent;
	uint8 parent[LEDGER_LOG_ID_SIZE];
	int64 parent_size; /* -1: not yet known, the worker fills it in */
	MerkleHash parent_root;
	char *reason; /* NULL: none */
	bool retired;
	bool adopted; /* a restored log; what was verified then: */
	int64 adopted_size;
	MerkleHash adopted_root;
	int64 segment_size; /* entries of a segment: a power of 32 */
	char *instance;		/* the data directory that writes it; NULL: not known */
	bool fenced;		/* this copy of the log takes no more entries */
	char *fenced_by;	/* NULL: nothing */
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
 * store_open_key opens the index of a table's primary key; the caller closes
 * it with index_close. Error 55000 when somebody has taken it away.
 */
extern Relation store_open_key(Relation relation);

/*
 * store_logs returns a list of palloc'd LedgerLog, this database's own,
 * ascending by ordinal, as snapshot sees them; NIL also when the table is not
 * there. The last one is the present log.
 */
extern List *store_logs(Snapshot snapshot);

/* store_restored_logs returns the logs that came from dumps, ascending by id. */
extern List *store_restored_logs(Snapshot snapshot);

/*
 * store_log_is_taken tells whether a log is one of this database's own or
 * adopted, even if only by a transaction that is still running.
 */
extern bool store_log_is_taken(const uint8 *log_id);

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

/*
 * store_insert_rows inserts count rows with their index entries, as
 * store_insert. values: count times columns datums, none of them null.
 */
extern void store_insert_rows(Relation relation, const Datum *values, int columns, int count);

/*
 * store_insert_entries inserts count entries, numbered from sequence on, and
 * the rows of biometric.image_entry that lead from images to them.
 */
extern void store_insert_entries(Relation relation, const uint8 *log_id, int64 sequence,
								 const StoreEntry *entries, int count);

/* store_insert_tile inserts a full tile. */
extern void store_insert_tile(Relation relation, const uint8 *log_id, int level, uint64 index,
							  const MerkleHash *hashes);

/* store_insert_log inserts a row of biometric.log; of parent_size -1 NULL is written. */
extern void store_insert_log(Relation relation, const LedgerLog *log);

/*
 * store_retire_log and store_adopt_log write a log's retired_at, and its
 * adopted_at, adopted_size and adopted_root. relation: as for store_insert.
 */
extern void store_retire_log(Relation relation, const uint8 *log_id);
extern void store_adopt_log(Relation relation, const LedgerLog *log);

/* store_write_head brings the head row of a log to a frontier. The worker's (by SPI). */
extern void store_write_head(const uint8 *log_id, const MerkleFrontier *frontier);

/* What became of the transactions that entries below a sequence number name. */
typedef struct LedgerSettled
{
	int64 size;		 /* entries below it are settled, except those of: */
	int count;		 /* transactions that had not ended */
	uint64 *open;	 /* their full ids */
	uint64 *entries; /* how many entries each has */
} LedgerSettled;

/*
 * store_settled reads what the head row of a log says of transactions,
 * palloc'd; nothing is settled when there is no row, or it does not say.
 * store_write_settled writes it, where there is a row. The worker's (by SPI).
 */
extern void store_settled(const uint8 *log_id, Snapshot snapshot, LedgerSettled *settled);
extern void store_write_settled(const uint8 *log_id, const LedgerSettled *settled);

/*
 * store_insert_head inserts the head row of a log that has none yet; as
 * whoever creates the extension.
 */
extern void store_insert_head(const uint8 *log_id, const MerkleFrontier *frontier);

/* store_settle_fork writes a log's parent_size and parent_root. The worker's (by SPI). */
extern void store_settle_fork(const LedgerLog *log);

/* store_renew_identity makes a log without entries this database's own, under a new id (SPI). */
extern void store_renew_identity(const uint8 *old_id, const LedgerLog *log);

/* store_hashes makes a palloc'd bytea of count hashes. */
extern bytea *store_hashes(const MerkleHash *hashes, int count);

#endif

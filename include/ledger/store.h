/*
 * store.h - the ledger's tables: rows in, rows out.
 *
 * The rooms above read here, and have their own tables follow the catalogs (store_follow).
 * Everything here needs a transaction. Rows of the ledger are written by the heap and its indexes
 * directly, without triggers, rules or privileges: for the worker, fork_ledger, retire_ledger and
 * the transaction that created the extension only. Rows are read by the tables' primary keys.
 */
#ifndef BIOMETRIC_LEDGER_STORE_H
#define BIOMETRIC_LEDGER_STORE_H

#include "base/compat.h"
#include "datatype/timestamp.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "core/merkle.h"
#include "ledger/slot.h"

/* Attribute numbers, as sql/20_ledger.sql and sql/24_activity.sql declare the columns. */
enum
{
	ENTRY_COL_LOG_ID = 1,
	ENTRY_COL_SEQ,
	ENTRY_COL_HINT,
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
	SEGMENT_COL_LOG_ID = 1,
	SEGMENT_COL_SEGMENT,
	SEGMENT_COL_ROOT,
	SEGMENT_COL_DETACHED_AT,
	SEGMENT_COL_REASON,
	SEGMENT_COLUMNS = SEGMENT_COL_REASON
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
	ACTIVITY_COL_LOG_ID = 1,
	ACTIVITY_COL_PARTY,
	ACTIVITY_COL_BLOCK,
	ACTIVITY_COL_USER,
	ACTIVITY_COL_ENTRIES,
	ACTIVITY_COL_DISCLOSURES,
	ACTIVITY_COL_FIRST_AT,
	ACTIVITY_COL_LAST_AT,
	ACTIVITY_COLUMNS = ACTIVITY_COL_LAST_AT
};
enum
{
	TRACED_COL_LOG_ID = 1,
	TRACED_COL_BLOCK,
	TRACED_COL_STORED,
	TRACED_COL_DISCLOSED,
	TRACED_COLUMNS = TRACED_COL_DISCLOSED
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

/*
 * Entries are kept in a fixed number of tables, biometric.entry_00 and so on:
 * segment n of a log, its entries from n * segment_size on, in table number
 * n % LEDGER_SLICES. They are all made by the extension's script, so that a
 * dump brings them back.
 */
#define LEDGER_SLICES 16

/* One row of biometric.log. */
typedef struct LedgerLog
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	bool restored; /* came from a dump: has no ordinal, is not this database's own */
	int32 ordinal; /* from 1 */
	Oid database_oid;
	int64 system_identifier;
	int32 timeline;
	TimestampTz created_at;
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

/* A table and the index of its primary key; NULL until they are needed. */
typedef struct LedgerTable
{
	Relation table;
	Relation key;
} LedgerTable;

/* The tables of one log, for reading. */
typedef struct LedgerReader
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int64 segment_size; /* a valid one, whatever the log's row says */
	int64 first;		/* store_first's; -1: not looked up yet */
	LedgerTable entry[LEDGER_SLICES];
	LedgerTable tile;
	Snapshot snapshot; /* borrowed */
} LedgerReader;

/*
 * store_open opens one of the tables by name; NULL when the extension or the
 * table is not there. The caller closes it with table_close. Error 55000 when
 * the table has lost the columns that the extension gave it.
 */
extern Relation store_open(const char *name, LOCKMODE mode);

/*
 * store_open_slice opens the table of entries number slice, 0 to
 * LEDGER_SLICES - 1, as store_open does. store_slice returns in which one a
 * log with segments of this size has an entry.
 */
extern Relation store_open_slice(int slice, LOCKMODE mode);
extern int store_slice(int64 segment_size, int64 sequence);

/* store_segment_size_is_valid tells whether a log can have segments of so many entries. */
extern bool store_segment_size_is_valid(int64 segment_size);

/* store_top_level returns the level of the one tile that covers a whole segment: 1 to 4. */
extern int store_top_level(int64 segment_size);

/*
 * store_kept_level returns the lowest level of tiles that stay when a segment
 * is detached: the topmost, but for segments of 32,768 entries level 1, too.
 * The tiles of an export are eight levels high, and those that reach beyond
 * the segment must stay computable.
 */
extern int store_kept_level(int64 segment_size);

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

/*
 * store_rank tells how a log ranks among those whose rows count in the tables of other rooms: this
 * database's present log is 0, its older ones follow, then those that were restored and adopted, the
 * youngest first; -1: its rows do not count. own, restored: as store_logs and store_restored_logs;
 * NIL leaves those out. is_own: set to whether it is one of own.
 */
extern int store_rank(const List *own, const List *restored, const uint8 *log_id, bool *is_own);

/*
 * A StoreFollow brings one row of such a table in line with the catalogs; true when it wrote. own:
 * as store_logs. store_follow does so with each row of a table that is open for it, as it is now,
 * and makes the changes seen, by whoever caches the table, too.
 */
typedef bool (*StoreFollow)(Relation table, HeapTuple tuple, const List *own, Snapshot snapshot);
extern void store_follow(Relation table, StoreFollow follow);

/*
 * store_follow_delete deletes a row, store_follow_rename gives it another name in a column of type
 * name; by an insertion, as the old row may be being changed. Both return false for a row that
 * another transaction has deleted or changed meanwhile, which is that one's business.
 */
extern bool store_follow_delete(Relation table, HeapTuple tuple, Snapshot snapshot);
extern bool store_follow_rename(Relation table, HeapTuple tuple, int column, const char *name,
								Snapshot snapshot);

/* store_present_log returns the present log, palloc'd; NULL when there is none. */
extern LedgerLog *store_present_log(Snapshot snapshot);

/* store_find_log returns a log by its id, palloc'd, this database's own or not; NULL: none. */
extern LedgerLog *store_find_log(const uint8 *log_id, Snapshot snapshot);

/*
 * store_restored_logs returns the logs that came from dumps, ascending by when they were begun:
 * of a log and one that was forked from it, or came to be where it had been restored to, the
 * older one comes first. Of the same moment, by id.
 */
extern List *store_restored_logs(Snapshot snapshot);

/*
 * store_log_is_taken tells whether a log is one of this database's own or
 * adopted, even if only by a transaction that is still running.
 */
extern bool store_log_is_taken(const uint8 *log_id);

/* store_head reads the head row of a log; false when there is none. */
extern bool store_head(const uint8 *log_id, Snapshot snapshot, LedgerHead *head);

/*
 * store_reader_open prepares to read a log; false when the tables are not
 * there. They are opened as they are needed: all functions that take a reader
 * raise 42P01 when one of them is gone, and 55000 as store_open and store_open_key do.
 * store_reader_close closes them.
 */
extern bool store_reader_open(LedgerReader *reader, const uint8 *log_id, Snapshot snapshot);
extern void store_reader_close(LedgerReader *reader);

/*
 * store_size returns the highest sequence number of the log + 1, 0 for none:
 * of its rows, and of its segments that were detached.
 */
extern int64 store_size(LedgerReader *reader);

/*
 * store_size_near is store_size where it is known how many entries the log
 * has had: it looks into the segments around that one only, whatever rows
 * others may hold, so that its time does not grow with the log.
 */
extern int64 store_size_near(LedgerReader *reader, int64 known);

/*
 * store_first returns how many of the log's first entries are in segments that
 * were detached: the smallest sequence number that may have a row.
 */
extern int64 store_first(LedgerReader *reader);

/* store_require_entry raises 55000 for an entry that was detached; sequence: below store_size. */
extern void store_require_entry(LedgerReader *reader, int64 sequence);

/*
 * store_require_size raises 55000 for a size of the tree whose root can no
 * longer be computed: one that cuts through a segment that was detached.
 */
extern void store_require_size(LedgerReader *reader, int64 size);

/* store_leaf_hint returns what column leaf_hint says of an entry with this number and leaf hash. */
extern int32 store_leaf_hint(int64 sequence, const MerkleHash *leaf);

/* store_entry returns an entry's bytes, palloc'd, detoasted; NULL when there is none. */
extern bytea *store_entry(LedgerReader *reader, int64 sequence);

/*
 * store_entries reads entries from first on, count at most, as store_entry
 * does; returns how many there are before the first that is missing, or before
 * the end of first's segment.
 */
extern int store_entries(LedgerReader *reader, int64 first, int count, bytea **entries);

/* store_leaves computes the leaf hashes of count entries from first on; false if one is missing. */
extern bool store_leaves(LedgerReader *reader, int64 first, int count, MerkleHash *hashes);

/* store_tile reads a full tile; false when it is missing or not MERKLE_TILE_SIZE long. */
extern bool store_tile(LedgerReader *reader, int level, uint64 index, MerkleHash *hashes);

/*
 * store_source is a MerkleTileSource over a LedgerReader. Level 0 is computed
 * from the entries, so that of a segment that was detached it has only the
 * tiles from store_kept_level on.
 */
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
 * store_insert_entries inserts count entries of a log with segments of this
 * size, numbered from sequence on, the rows of biometric.image_entry that
 * lead from images to them, and those of biometric.activity and biometric.traced
 * of the blocks that they fill. Error 42P01 when a table is gone.
 */
extern void store_insert_entries(const uint8 *log_id, int64 segment_size, int64 sequence,
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

/*
 * store_fence_log writes that this copy of a log takes no more entries, and by
 * what; store_continue_log that it takes them again: the log's system
 * identifier, timeline and instance. relation: as for store_insert.
 */
extern void store_fence_log(Relation relation, const uint8 *log_id, const char *by);
extern void store_continue_log(Relation relation, const LedgerLog *log);

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

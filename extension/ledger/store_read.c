/*
 * store_read.c - reads the ledger's tables by their keys.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "ledger/store_checkpoint.h"

/* Levels of a tile of c2sp.org/tlog-tiles. */
#define EXPORT_TILE_HEIGHT 8

/* The columns of the tables, in order: rows are put together and taken apart by them. */
static const struct
{
	const char *name;
	int columns;
	Oid types[LOG_COLUMNS];
} tables[] = {
	{"entry_", ENTRY_COLUMNS, {UUIDOID, INT8OID, INT4OID, BYTEAOID}},
	{"segment", SEGMENT_COLUMNS, {UUIDOID, INT8OID, BYTEAOID, TIMESTAMPTZOID, TEXTOID}},
	{"tile", TILE_COLUMNS, {UUIDOID, INT2OID, INT8OID, BYTEAOID}},
	{"head", HEAD_COLUMNS, {UUIDOID, INT8OID, BYTEAOID, BYTEAOID, INT8OID, INT8ARRAYOID}},
	{"image_entry", IMAGE_COLUMNS, {UUIDOID, UUIDOID, INT8OID}},
	{"activity",
	 ACTIVITY_COLUMNS,
	 {UUIDOID, TEXTOID, INT8OID, TEXTOID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID}},
	{"traced", TRACED_COLUMNS, {UUIDOID, INT8OID, BYTEAOID, BYTEAOID}},
	{"checkpoint", CHECKPOINT_COLUMNS, {UUIDOID, INT8OID, TIMESTAMPTZOID, BYTEAOID}},
	{"verifier", VERIFIER_COLUMNS, {UUIDOID, TEXTOID, INT8OID, TIMESTAMPTZOID}},
	{"cosignature", COSIGNATURE_COLUMNS, {UUIDOID, INT8OID, TEXTOID, BYTEAOID}},
	{"log",
	 LOG_COLUMNS,
	 {UUIDOID, INT4OID, OIDOID, INT8OID, INT4OID, TIMESTAMPTZOID, UUIDOID, INT8OID, BYTEAOID,
	  TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, BYTEAOID, INT8OID, TEXTOID, TIMESTAMPTZOID,
	  TEXTOID}},
};

/* Whether a table still has the columns that the extension gave it. */
static bool
has_columns(Relation relation, const char *name)
{
	TupleDesc desc = RelationGetDescr(relation);
	int table = 0;

	/* one description for all tables of entries, which end in their number */
	while (strncmp(name, tables[table].name, strcspn(name, "0123456789")) != 0 ||
		   strlen(tables[table].name) != strcspn(name, "0123456789"))
		if (++table == lengthof(tables))
			return false;
	if (desc->natts < tables[table].columns)
		return false;
	/* Columns that somebody added behind them stay NULL. */
	for (int i = 0; i < tables[table].columns; i++)
		if (TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->atttypid != tables[table].types[i])
			return false;
	return true;
}

Relation
store_open(const char *name, LOCKMODE mode)
{
	Oid oid = extension_relation(name);
	Relation relation = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (relation != NULL && !has_columns(relation, name))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"biometric.%s\" has not the columns that the extension "
							   "gave it",
							   name),
						errhint("Undo what ALTER TABLE did.")));
	return relation;
}

Relation
store_open_key(Relation relation)
{
	Oid key;

	/* Brings rd_pkindex up to date. */
	list_free(RelationGetIndexList(relation));
	key = relation->rd_pkindex;
	if (!OidIsValid(key))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("ledger table \"%s\" has lost its primary key",
							   RelationGetRelationName(relation)),
						errhint("Create the extension's primary key again.")));
	return index_open(key, AccessShareLock);
}

bool
store_segment_size_is_valid(int64 segment_size)
{
	int64 valid = LEDGER_SEGMENT_MIN;

	while (valid < segment_size && valid < LEDGER_SEGMENT_MAX)
		valid *= MERKLE_TILE_WIDTH;
	return valid == segment_size;
}

int
store_top_level(int64 segment_size)
{
	int level = 1;

	while ((int64) 1 << ((level + 1) * MERKLE_TILE_HEIGHT) < segment_size)
		level++;
	return level;
}

int
store_kept_level(int64 segment_size)
{
	int height = (store_top_level(segment_size) + 1) * MERKLE_TILE_HEIGHT;

	return height / EXPORT_TILE_HEIGHT * EXPORT_TILE_HEIGHT / MERKLE_TILE_HEIGHT;
}

int
store_slice(int64 segment_size, int64 sequence)
{
	return (int) (sequence / segment_size % LEDGER_SLICES);
}

Relation
store_open_slice(int slice, LOCKMODE mode)
{
	char name[16];

	snprintf(name, sizeof(name), "entry_%02d", slice);
	return store_open(name, mode);
}

int32
store_leaf_hint(int64 sequence, const MerkleHash *leaf)
{
	uint32 word;

	memcpy(&word, leaf->bytes, sizeof(word));
	/* with the number in it, so that entries that have changed places are told, too */
	return (int32) (pg_ntoh32(word) ^ (uint32) sequence);
}

bool
store_reader_open(LedgerReader *reader, const uint8 *log_id, Snapshot snapshot)
{
	LedgerLog *log;

	memset(reader, 0, sizeof(*reader));
	memcpy(reader->log_id, log_id, LEDGER_LOG_ID_SIZE);
	reader->snapshot = snapshot;
	reader->first = -1;
	if (!OidIsValid(extension_relation("tile")))
		return false;
	log = store_find_log(log_id, snapshot);
	/* of a log without a row, or with one that was tampered with, something is missing anyway */
	reader->segment_size = log != NULL && store_segment_size_is_valid(log->segment_size)
							   ? log->segment_size
							   : LEDGER_SEGMENT_MIN;
	return true;
}

static void
close_table(LedgerTable *table)
{
	if (table->key != NULL)
		index_close(table->key, AccessShareLock);
	if (table->table != NULL)
		table_close(table->table, AccessShareLock);
	table->key = table->table = NULL;
}

void
store_reader_close(LedgerReader *reader)
{
	for (int slice = 0; slice < LEDGER_SLICES; slice++)
		close_table(&reader->entry[slice]);
	close_table(&reader->tile);
}

/* Takes over a table that was opened, and opens its key. */
static LedgerTable *
keep_table(LedgerTable *table, Relation relation)
{
	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing"),
						errhint("Create the extension again, and restore a dump.")));
	table->key = store_open_key(relation);
	table->table = relation;
	return table;
}

static LedgerTable *
slice_table(LedgerReader *reader, int slice)
{
	LedgerTable *table = &reader->entry[slice];

	return table->table != NULL ? table
								: keep_table(table, store_open_slice(slice, AccessShareLock));
}

static LedgerTable *
tile_table(LedgerReader *reader)
{
	LedgerTable *table = &reader->tile;

	return table->table != NULL ? table : keep_table(table, store_open("tile", AccessShareLock));
}

static void
key_log_id(ScanKey key, const uint8 *log_id)
{
	ScanKeyInit(key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum((pg_uuid_t *) log_id));
}

/* The highest number that a log has in one of its tables, in the key's second column, or -1. */
static int64
highest_number(LedgerReader *reader, const LedgerTable *table)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	int64 highest = -1;

	key_log_id(&key, reader->log_id);
	scan = systable_beginscan_ordered(table->table, table->key, reader->snapshot, 1, &key);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, ENTRY_COL_SEQ, RelationGetDescr(table->table), &isnull);

		highest = isnull ? -1 : DatumGetInt64(value);
	}
	systable_endscan_ordered(scan);
	return highest;
}

int64
store_first(LedgerReader *reader)
{
	LedgerTable segment = {NULL, NULL};

	if (reader->first < 0)
	{
		keep_table(&segment, store_open("segment", AccessShareLock));
		reader->first = (highest_number(reader, &segment) + 1) * reader->segment_size;
		close_table(&segment);
	}
	return reader->first;
}

int64
store_size(LedgerReader *reader)
{
	int64 size = store_first(reader);

	for (int slice = 0; slice < LEDGER_SLICES; slice++)
		size = Max(size, highest_number(reader, slice_table(reader, slice)) + 1);
	return size;
}

int64
store_size_near(LedgerReader *reader, int64 known)
{
	int64 size = store_first(reader);
	int64 segment = known / reader->segment_size;

	/* the segment before, too: an older snapshot may not see any of the present one */
	for (int64 near = Max(segment - 1, 0); near <= segment + 1; near++)
	{
		int slice = store_slice(reader->segment_size, near * reader->segment_size);

		size = Max(size, highest_number(reader, slice_table(reader, slice)) + 1);
	}
	return size;
}

void
store_require_entry(LedgerReader *reader, int64 sequence)
{
	if (sequence < store_first(reader))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("entry " INT64_FORMAT " is in a segment that was detached", sequence),
				 errdetail("The ledger's first " INT64_FORMAT " entries are in an archive; "
						   "the roots over their segments were kept.",
						   store_first(reader)),
				 errhint("Read the archive, with biometric-verify. See "
						 "biometric.segments.")));
}

void
store_require_size(LedgerReader *reader, int64 size)
{
	if (size < store_first(reader) && size % reader->segment_size != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the root over the first " INT64_FORMAT " entries is no longer known here",
						size),
				 errdetail("The ledger's first " INT64_FORMAT " entries are in an archive; of "
						   "sizes below, only multiples of " INT64_FORMAT " have a root here.",
						   store_first(reader), reader->segment_size),
				 errhint("Read the archive, with biometric-verify. See "
						 "biometric.segments.")));
}

/* Begins a scan of the entries from first to last, both included and of one segment, in order. */
static SysScanDesc
scan_entries(LedgerReader *reader, ScanKeyData keys[3], int64 first, int64 last)
{
	LedgerTable *table = slice_table(reader, store_slice(reader->segment_size, first));

	key_log_id(&keys[0], reader->log_id);
	ScanKeyInit(&keys[1], ENTRY_COL_SEQ, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(first));
	ScanKeyInit(&keys[2], ENTRY_COL_SEQ, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	return systable_beginscan_ordered(table->table, table->key, reader->snapshot, 3, keys);
}

/* The entry of a tuple, detoasted, if the tuple says itself what the index says of it; or NULL. */
static bytea *
entry_of_tuple(LedgerReader *reader, HeapTuple tuple, int64 sequence)
{
	int slice = store_slice(reader->segment_size, sequence);
	TupleDesc desc = RelationGetDescr(reader->entry[slice].table);
	bool isnull;
	Datum value;

	value = heap_getattr(tuple, ENTRY_COL_SEQ, desc, &isnull);
	if (isnull || DatumGetInt64(value) != sequence)
		return NULL;
	value = heap_getattr(tuple, ENTRY_COL_LOG_ID, desc, &isnull);
	if (isnull || memcmp(DatumGetUUIDP(value)->data, reader->log_id, LEDGER_LOG_ID_SIZE) != 0)
		return NULL;
	value = heap_getattr(tuple, ENTRY_COL_BYTES, desc, &isnull);
	return isnull ? NULL : DatumGetByteaPP(value);
}

/* A copy, with a header of four bytes; NULL of NULL. */
static bytea *
copy_of_entry(bytea *found)
{
	Size length = found == NULL ? 0 : VARSIZE_ANY_EXHDR(found);
	bytea *entry;

	if (found == NULL)
		return NULL;
	entry = palloc(VARHDRSZ + length);
	SET_VARSIZE(entry, VARHDRSZ + length);
	memcpy(VARDATA(entry), VARDATA_ANY(found), length);
	return entry;
}

bytea *
store_entry(LedgerReader *reader, int64 sequence)
{
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple tuple;
	bytea *entry = NULL;

	if (sequence < 0)
		return NULL;
	scan = scan_entries(reader, keys, sequence, sequence);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
		entry = copy_of_entry(entry_of_tuple(reader, tuple, sequence));
	systable_endscan_ordered(scan);
	return entry;
}

int
store_entries(LedgerReader *reader, int64 first, int count, bytea **entries)
{
	int64 end = (first / reader->segment_size + 1) * reader->segment_size;
	ScanKeyData keys[3];
	SysScanDesc scan;
	int found = 0;

	count = (int) Min((int64) count, end - first);
	scan = scan_entries(reader, keys, first, first + count - 1);
	while (found < count)
	{
		HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);

		if (!HeapTupleIsValid(tuple))
			break;
		entries[found] = copy_of_entry(entry_of_tuple(reader, tuple, first + found));
		if (entries[found] == NULL)
			break;
		found++;
	}
	systable_endscan_ordered(scan);
	return found;
}

/* As store_leaves, of entries of one segment. */
static bool
segment_leaves(LedgerReader *reader, int64 first, int count, MerkleHash *hashes)
{
	ScanKeyData keys[3];
	SysScanDesc scan = scan_entries(reader, keys, first, first + count - 1);
	int found = 0;

	while (found < count)
	{
		HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		bytea *entry;

		if (!HeapTupleIsValid(tuple))
			break;
		entry = entry_of_tuple(reader, tuple, first + found);
		if (entry == NULL)
			break;
		merkle_leaf(VARDATA_ANY(entry), VARSIZE_ANY_EXHDR(entry), &hashes[found]);
		found++;
	}
	systable_endscan_ordered(scan);
	return found == count;
}

bool
store_leaves(LedgerReader *reader, int64 first, int count, MerkleHash *hashes)
{
	if (first < 0)
		return false;
	while (count > 0)
	{
		int64 left = reader->segment_size - first % reader->segment_size;
		int some = (int) Min(left, (int64) count);

		if (!segment_leaves(reader, first, some, hashes))
			return false;
		first += some;
		hashes += some;
		count -= some;
	}
	return true;
}

bool
store_tile(LedgerReader *reader, int level, uint64 index, MerkleHash *hashes)
{
	LedgerTable *table = tile_table(reader);
	TupleDesc desc = RelationGetDescr(table->table);
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	key_log_id(&keys[0], reader->log_id);
	ScanKeyInit(&keys[1], TILE_COL_LEVEL, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(level));
	ScanKeyInit(&keys[2], TILE_COL_INDEX, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) index));
	scan = systable_beginscan_ordered(table->table, table->key, reader->snapshot, 3, keys);
	tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull[4];
		pg_uuid_t *id = DatumGetUUIDP(heap_getattr(tuple, TILE_COL_LOG_ID, desc, &isnull[0]));
		int16 its_level = DatumGetInt16(heap_getattr(tuple, TILE_COL_LEVEL, desc, &isnull[1]));
		int64 its_index = DatumGetInt64(heap_getattr(tuple, TILE_COL_INDEX, desc, &isnull[2]));
		Datum value = heap_getattr(tuple, TILE_COL_HASHES, desc, &isnull[3]);

		if (!isnull[0] && !isnull[1] && !isnull[2] && !isnull[3] && its_level == level &&
			its_index == (int64) index && memcmp(id->data, reader->log_id, UUID_LEN) == 0)
		{
			bytea *bytes = DatumGetByteaPP(value);

			found = VARSIZE_ANY_EXHDR(bytes) == MERKLE_TILE_SIZE;
			if (found)
				memcpy(hashes, VARDATA_ANY(bytes), MERKLE_TILE_SIZE);
		}
	}
	systable_endscan_ordered(scan);
	return found;
}

bool
store_source(int level, uint64_t index, int count, MerkleHash *hashes, void *context)
{
	LedgerReader *reader = context;
	MerkleHash tile[MERKLE_TILE_WIDTH];

	if (level == 0)
		return store_leaves(reader, (int64) (index * MERKLE_TILE_WIDTH), count, hashes);
	if (!store_tile(reader, level, index, tile))
		return false;
	memcpy(hashes, tile, (Size) count * sizeof(MerkleHash));
	return true;
}

bool
store_root(LedgerReader *reader, int64 size, MerkleHash *root)
{
	return size >= 0 && merkle_range_root((uint64_t) size, store_source, reader, root);
}

bool
store_head(const uint8 *log_id, Snapshot snapshot, LedgerHead *head)
{
	Relation relation = store_open("head", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	memset(head, 0, sizeof(*head));
	if (relation == NULL)
		return false;
	key_log_id(&key, log_id);
	/* A heap scan: the table has a row a log, and its index is one thing less to trust. */
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		TupleDesc desc = RelationGetDescr(relation);
		bool isnull;
		bytea *root;
		bytea *tail;
		Size length;

		head->size = DatumGetInt64(heap_getattr(tuple, HEAD_COL_SIZE, desc, &isnull));
		root = DatumGetByteaPP(heap_getattr(tuple, HEAD_COL_ROOT, desc, &isnull));
		if (VARSIZE_ANY_EXHDR(root) == MERKLE_HASH_SIZE)
			memcpy(head->root.bytes, VARDATA_ANY(root), MERKLE_HASH_SIZE);
		tail = DatumGetByteaPP(heap_getattr(tuple, HEAD_COL_TAIL, desc, &isnull));
		length = VARSIZE_ANY_EXHDR(tail);
		head->tail_count = -1;
		if (length < MERKLE_TILE_SIZE && length % MERKLE_HASH_SIZE == 0)
		{
			head->tail_count = length / MERKLE_HASH_SIZE;
			memcpy(head->tail, VARDATA_ANY(tail), length);
		}
		found = true;
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return found;
}

/* Reads pairs of a transaction id and a number of entries. */
static void
read_unsettled(ArrayType *array, LedgerSettled *settled)
{
	Datum *values;
	bool *nulls;
	int count;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values,
					  &nulls, &count);
	settled->open = palloc(Max(1, count / 2) * sizeof(uint64));
	settled->entries = palloc(Max(1, count / 2) * sizeof(uint64));
	for (int i = 0; i + 1 < count; i += 2)
	{
		if (nulls[i] || nulls[i + 1])
			continue;
		settled->open[settled->count] = (uint64) DatumGetInt64(values[i]);
		settled->entries[settled->count++] = (uint64) DatumGetInt64(values[i + 1]);
	}
}

void
store_settled(const uint8 *log_id, Snapshot snapshot, LedgerSettled *settled)
{
	Relation relation = store_open("head", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	memset(settled, 0, sizeof(*settled));
	if (relation == NULL)
		return;
	key_log_id(&key, log_id);
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		TupleDesc desc = RelationGetDescr(relation);
		bool isnull[2];
		Datum size = heap_getattr(tuple, HEAD_COL_SETTLED, desc, &isnull[0]);
		Datum unsettled = heap_getattr(tuple, HEAD_COL_UNSETTLED, desc, &isnull[1]);

		if (!isnull[0] && !isnull[1])
		{
			settled->size = DatumGetInt64(size);
			read_unsettled(DatumGetArrayTypeP(unsettled), settled);
		}
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/* Takes a hash out of a column; zeroes when it does not hold one. */
static void
hash_of_value(Datum value, bool isnull, MerkleHash *hash)
{
	bytea *bytes;

	memset(hash, 0, sizeof(*hash));
	if (isnull)
		return;
	bytes = DatumGetByteaPP(value);
	if (VARSIZE_ANY_EXHDR(bytes) == MERKLE_HASH_SIZE)
		memcpy(hash->bytes, VARDATA_ANY(bytes), MERKLE_HASH_SIZE);
}

static LedgerLog *
log_of_tuple(HeapTuple tuple, TupleDesc desc)
{
	LedgerLog *log = palloc0(sizeof(LedgerLog));
	Datum *values = palloc(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));

	heap_deform_tuple(tuple, desc, values, nulls);
	memcpy(log->log_id, DatumGetUUIDP(values[LOG_COL_LOG_ID - 1])->data, LEDGER_LOG_ID_SIZE);
	log->restored = nulls[LOG_COL_ORDINAL - 1];
	log->ordinal = log->restored ? 0 : DatumGetInt32(values[LOG_COL_ORDINAL - 1]);
	log->database_oid = DatumGetObjectId(values[LOG_COL_DATABASE_OID - 1]);
	log->system_identifier = DatumGetInt64(values[LOG_COL_SYSTEM_IDENTIFIER - 1]);
	log->timeline = DatumGetInt32(values[LOG_COL_TIMELINE - 1]);
	log->created_at = DatumGetTimestampTz(values[LOG_COL_CREATED_AT - 1]);
	log->has_parent = !nulls[LOG_COL_PARENT - 1];
	if (log->has_parent)
		memcpy(log->parent, DatumGetUUIDP(values[LOG_COL_PARENT - 1])->data, LEDGER_LOG_ID_SIZE);
	log->parent_size =
		nulls[LOG_COL_PARENT_SIZE - 1] ? -1 : DatumGetInt64(values[LOG_COL_PARENT_SIZE - 1]);
	hash_of_value(values[LOG_COL_PARENT_ROOT - 1], nulls[LOG_COL_PARENT_ROOT - 1],
				  &log->parent_root);
	if (!nulls[LOG_COL_REASON - 1])
		log->reason = TextDatumGetCString(values[LOG_COL_REASON - 1]);
	log->retired = !nulls[LOG_COL_RETIRED_AT - 1];
	log->adopted = !nulls[LOG_COL_ADOPTED_AT - 1];
	if (!nulls[LOG_COL_ADOPTED_SIZE - 1])
		log->adopted_size = DatumGetInt64(values[LOG_COL_ADOPTED_SIZE - 1]);
	hash_of_value(values[LOG_COL_ADOPTED_ROOT - 1], nulls[LOG_COL_ADOPTED_ROOT - 1],
				  &log->adopted_root);
	log->segment_size = DatumGetInt64(values[LOG_COL_SEGMENT_SIZE - 1]);
	if (!nulls[LOG_COL_INSTANCE - 1])
		log->instance = TextDatumGetCString(values[LOG_COL_INSTANCE - 1]);
	log->fenced = !nulls[LOG_COL_FENCED_AT - 1];
	if (!nulls[LOG_COL_FENCED_BY - 1])
		log->fenced_by = TextDatumGetCString(values[LOG_COL_FENCED_BY - 1]);
	return log;
}

static int
compare_logs(const ListCell *a, const ListCell *b)
{
	const LedgerLog *left = lfirst(a);
	const LedgerLog *right = lfirst(b);

	if (left->restored && right->restored && left->created_at != right->created_at)
		return left->created_at < right->created_at ? -1 : 1;
	if (left->restored && right->restored)
		return memcmp(left->log_id, right->log_id, LEDGER_LOG_ID_SIZE);
	return (left->ordinal > right->ordinal) - (left->ordinal < right->ordinal);
}

static List *
read_logs(Snapshot snapshot, bool restored)
{
	Relation relation = store_open("log", AccessShareLock);
	List *logs = NIL;
	SysScanDesc scan;
	HeapTuple tuple;

	if (relation == NULL)
		return NIL;
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		LedgerLog *log = log_of_tuple(tuple, RelationGetDescr(relation));

		if (log->restored == restored)
			logs = lappend(logs, log);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	list_sort(logs, compare_logs);
	return logs;
}

LedgerLog *
store_find_log(const uint8 *log_id, Snapshot snapshot)
{
	Relation relation = store_open("log", AccessShareLock);
	LedgerLog *log = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	if (relation == NULL)
		return NULL;
	key_log_id(&key, log_id);
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		log = log_of_tuple(tuple, RelationGetDescr(relation));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return log;
}

List *
store_logs(Snapshot snapshot)
{
	return read_logs(snapshot, false);
}

LedgerLog *
store_present_log(Snapshot snapshot)
{
	List *logs = store_logs(snapshot);

	return logs == NIL ? NULL : llast(logs);
}

List *
store_restored_logs(Snapshot snapshot)
{
	return read_logs(snapshot, true);
}

bool
store_log_is_taken(const uint8 *log_id)
{
	Relation relation = store_open("log", AccessShareLock);
	SnapshotData dirty;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool taken = false;

	if (relation == NULL)
		return true;
	InitDirtySnapshot(dirty);
	key_log_id(&key, log_id);
	/* the heap, not the index: a row that an index does not have counts all the same */
	scan = systable_beginscan(relation, InvalidOid, false, &dirty, 1, &key);
	while (!taken && HeapTupleIsValid(tuple = systable_getnext(scan)))
		taken = !heap_attisnull(tuple, LOG_COL_ORDINAL, RelationGetDescr(relation)) ||
				!heap_attisnull(tuple, LOG_COL_ADOPTED_AT, RelationGetDescr(relation));
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return taken;
}

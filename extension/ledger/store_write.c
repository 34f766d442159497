/*
 * store_write.c - writes the ledger's tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "ledger/derived.h"
#include "ledger/image_index.h"
#include "ledger/store.h"

/* As many rows go into one multi-insert as COPY takes. */
#define ROWS_AT_ONCE 1000

bytea *
store_hashes(const MerkleHash *hashes, int count)
{
	Size length = (Size) count * MERKLE_HASH_SIZE;
	bytea *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), hashes, length);
	return result;
}

/*
 * Makes the index entries of rows that are in the heap. Plain indexes only:
 * an expression would run somebody's code in the worker.
 */
static void
insert_index_entries(Relation relation, TupleTableSlot **slots, int count)
{
	List *indexes = RelationGetIndexList(relation);
	ListCell *cell;

	foreach(cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
		IndexInfo *info = BuildIndexInfo(index);
		IndexUniqueCheck unique = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;

		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("index \"%s\" on a ledger table has expressions or a predicate",
								   RelationGetRelationName(index)),
							errhint("Drop the index.")));
		for (int i = 0; info->ii_ReadyForInserts && i < count; i++)
		{
			Datum values[INDEX_MAX_KEYS];
			bool nulls[INDEX_MAX_KEYS];

			FormIndexDatum(info, slots[i], NULL, values, nulls);
			index_insert(index, values, nulls, &slots[i]->tts_tid, relation, unique, false, info);
		}
		index_close(index, NoLock);
	}
	list_free(indexes);
}

/* Makes a row of the extension's own columns; columns that somebody added are NULL. */
static HeapTuple
form_row(Relation relation, const Datum *values, const bool *nulls, int columns)
{
	TupleDesc desc = RelationGetDescr(relation);
	Datum *all_values = palloc0(desc->natts * sizeof(Datum));
	bool *all_nulls = palloc(desc->natts * sizeof(bool));
	HeapTuple tuple;

	memset(all_nulls, true, desc->natts * sizeof(bool));
	memcpy(all_values, values, columns * sizeof(Datum));
	memcpy(all_nulls, nulls, columns * sizeof(bool));
	tuple = heap_form_tuple(desc, all_values, all_nulls);
	pfree(all_values);
	pfree(all_nulls);
	return tuple;
}

void
store_insert(Relation relation, const Datum *values, const bool *nulls, int columns)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsHeapTuple);

	ExecStoreHeapTuple(form_row(relation, values, nulls, columns), slot, true);
	heap_multi_insert(relation, &slot, 1, GetCurrentCommandId(true), 0, NULL);
	insert_index_entries(relation, &slot, 1);
	ExecDropSingleTupleTableSlot(slot);
}

void
store_insert_rows(Relation relation, const Datum *values, int columns, int count)
{
	TupleDesc desc = RelationGetDescr(relation);
	int width = Min(count, ROWS_AT_ONCE);
	TupleTableSlot **slots = palloc(width * sizeof(TupleTableSlot *));
	bool *nulls = palloc0(columns * sizeof(bool));

	for (int i = 0; i < width; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	for (int done = 0; done < count; done += width)
	{
		int rows = Min(width, count - done);

		for (int i = 0; i < rows; i++)
		{
			const Datum *row = values + (Size) (done + i) * columns;

			ExecStoreHeapTuple(form_row(relation, row, nulls, columns), slots[i], true);
		}
		heap_multi_insert(relation, slots, rows, GetCurrentCommandId(true), 0, NULL);
		insert_index_entries(relation, slots, rows);
		for (int i = 0; i < rows; i++)
			ExecClearTuple(slots[i]);
	}
	for (int i = 0; i < width; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	pfree(slots);
	pfree(nulls);
}

/* Inserts entries of one segment. */
static void
insert_into_slice(int slice, const uint8 *log_id, int64 sequence, const StoreEntry *entries,
				  int count)
{
	Relation relation = store_open_slice(slice, RowExclusiveLock);
	Datum *values = palloc((Size) count * ENTRY_COLUMNS * sizeof(Datum));

	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	for (int i = 0; i < count; i++)
	{
		Datum *row = values + (Size) i * ENTRY_COLUMNS;

		row[ENTRY_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log_id);
		row[ENTRY_COL_SEQ - 1] = Int64GetDatum(sequence + i);
		row[ENTRY_COL_HINT - 1] = Int32GetDatum(store_leaf_hint(sequence + i, &entries[i].leaf));
		row[ENTRY_COL_BYTES - 1] = PointerGetDatum(entries[i].bytes);
	}
	store_insert_rows(relation, values, ENTRY_COLUMNS, count);
	pfree(values);
	table_close(relation, NoLock);
}

void
store_insert_entries(const uint8 *log_id, int64 segment_size, int64 sequence,
					 const StoreEntry *entries, int count)
{
	for (int done = 0; done < count;)
	{
		int64 left = segment_size - (sequence + done) % segment_size;
		int some = (int) Min(left, (int64) (count - done));

		insert_into_slice(store_slice(segment_size, sequence + done), log_id, sequence + done,
						  entries + done, some);
		done += some;
	}
	image_index_add(log_id, sequence, entries, count);
	derived_add(log_id, segment_size, sequence, entries, count);
}

void
store_insert_tile(Relation relation, const uint8 *log_id, int level, uint64 index,
				  const MerkleHash *hashes)
{
	bool nulls[TILE_COLUMNS] = {false};
	Datum values[TILE_COLUMNS];

	values[TILE_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[TILE_COL_LEVEL - 1] = Int16GetDatum(level);
	values[TILE_COL_INDEX - 1] = Int64GetDatum((int64) index);
	values[TILE_COL_HASHES - 1] = PointerGetDatum(store_hashes(hashes, MERKLE_TILE_WIDTH));
	store_insert(relation, values, nulls, TILE_COLUMNS);
}

void
store_insert_log(Relation relation, const LedgerLog *log)
{
	bool nulls[LOG_COLUMNS] = {false};
	Datum values[LOG_COLUMNS] = {0};

	values[LOG_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log->log_id);
	values[LOG_COL_ORDINAL - 1] = Int32GetDatum(log->ordinal);
	values[LOG_COL_DATABASE_OID - 1] = ObjectIdGetDatum(log->database_oid);
	values[LOG_COL_SYSTEM_IDENTIFIER - 1] = Int64GetDatum(log->system_identifier);
	values[LOG_COL_TIMELINE - 1] = Int32GetDatum(log->timeline);
	values[LOG_COL_CREATED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[LOG_COL_PARENT - 1] = UUIDPGetDatum((pg_uuid_t *) log->parent);
	nulls[LOG_COL_PARENT - 1] = !log->has_parent;
	values[LOG_COL_PARENT_SIZE - 1] = Int64GetDatum(log->parent_size);
	nulls[LOG_COL_PARENT_SIZE - 1] = !log->has_parent || log->parent_size < 0;
	values[LOG_COL_PARENT_ROOT - 1] = PointerGetDatum(store_hashes(&log->parent_root, 1));
	nulls[LOG_COL_PARENT_ROOT - 1] = nulls[LOG_COL_PARENT_SIZE - 1];
	if (log->reason != NULL)
		values[LOG_COL_REASON - 1] = CStringGetTextDatum(log->reason);
	nulls[LOG_COL_REASON - 1] = log->reason == NULL;
	for (int i = LOG_COL_RETIRED_AT; i <= LOG_COLUMNS; i++)
		nulls[i - 1] = true;
	values[LOG_COL_SEGMENT_SIZE - 1] = Int64GetDatum(log->segment_size);
	nulls[LOG_COL_SEGMENT_SIZE - 1] = false;
	if (log->instance != NULL)
		values[LOG_COL_INSTANCE - 1] = CStringGetTextDatum(log->instance);
	nulls[LOG_COL_INSTANCE - 1] = log->instance == NULL;
	store_insert(relation, values, nulls, LOG_COLUMNS);
}

/* Changes some columns of a log's row, as whoever runs this. nulls: NULL for none. */
static void
update_log(Relation relation, const uint8 *log_id, const int *columns, const Datum *values,
		   const bool *nulls, int count)
{
	static const bool no_nulls[LOG_COLUMNS] = {false};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, LOG_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) log_id));
	scan = systable_beginscan(relation, InvalidOid, false, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a row of biometric.log has gone"),
						errhint("biometric.verify_ledger() says what else has changed.")));
	tuple =
		heap_modify_tuple_by_cols(tuple, RelationGetDescr(relation), count, (int *) columns,
								  (Datum *) values, (bool *) (nulls != NULL ? nulls : no_nulls));
	CatalogTupleUpdate(relation, &tuple->t_self, tuple);
	systable_endscan(scan);
	CommandCounterIncrement();
}

void
store_retire_log(Relation relation, const uint8 *log_id)
{
	int column = LOG_COL_RETIRED_AT;
	Datum value = TimestampTzGetDatum(GetCurrentTimestamp());

	update_log(relation, log_id, &column, &value, NULL, 1);
}

void
store_fence_log(Relation relation, const uint8 *log_id, const char *by)
{
	int columns[] = {LOG_COL_FENCED_AT, LOG_COL_FENCED_BY};
	Datum values[lengthof(columns)];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = CStringGetTextDatum(by);
	update_log(relation, log_id, columns, values, NULL, lengthof(columns));
}

void
store_continue_log(Relation relation, const LedgerLog *log)
{
	int columns[] = {LOG_COL_SYSTEM_IDENTIFIER, LOG_COL_TIMELINE, LOG_COL_INSTANCE,
					 LOG_COL_FENCED_AT, LOG_COL_FENCED_BY};
	bool nulls[] = {false, false, false, true, true};
	Datum values[lengthof(columns)] = {0};

	values[0] = Int64GetDatum(log->system_identifier);
	values[1] = Int32GetDatum(log->timeline);
	values[2] = CStringGetTextDatum(log->instance);
	update_log(relation, log->log_id, columns, values, nulls, lengthof(columns));
}

void
store_adopt_log(Relation relation, const LedgerLog *log)
{
	int columns[] = {LOG_COL_ADOPTED_AT, LOG_COL_ADOPTED_SIZE, LOG_COL_ADOPTED_ROOT};
	Datum values[lengthof(columns)];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(log->adopted_size);
	values[2] = PointerGetDatum(store_hashes(&log->adopted_root, 1));
	update_log(relation, log->log_id, columns, values, NULL, lengthof(columns));
}

/* Runs one of our own statements as its own user; raises unless it did what was expected. */
static void
run_on(InternalTables tables, const char *statement, int count, Oid *types, Datum *values,
	   int expected)
{
	int result;

	PushActiveSnapshot(GetTransactionSnapshot());
	internal_write_begin(tables);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	result = SPI_execute_with_args(statement, count, types, values, NULL, false, 0);
	if (result != expected)
		elog(ERROR, "unexpected result of a ledger statement: %s", SPI_result_code_string(result));
	SPI_finish();
	internal_write_end();
	PopActiveSnapshot();
}

static void
run(const char *statement, int count, Oid *types, Datum *values, int expected)
{
	run_on(INTERNAL_LEDGER, statement, count, types, values, expected);
}

void
store_write_head(const uint8 *log_id, const MerkleFrontier *frontier)
{
	Oid types[] = {UUIDOID, INT8OID, BYTEAOID, BYTEAOID};
	Datum values[lengthof(types)];
	MerkleHash root;

	merkle_frontier_root(frontier, &root);
	values[0] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[1] = Int64GetDatum((int64) frontier->size);
	values[2] = PointerGetDatum(store_hashes(&root, 1));
	values[3] = PointerGetDatum(
		store_hashes(frontier->partial[0], (int) (frontier->size % MERKLE_TILE_WIDTH)));
	run("INSERT INTO biometric.head AS h (log_id, size, root, tail) VALUES ($1, $2, $3, $4) "
		"ON CONFLICT (log_id) DO UPDATE SET size = excluded.size, root = excluded.root, "
		"tail = excluded.tail",
		lengthof(types), types, values, SPI_OK_INSERT);
}

void
store_write_settled(const uint8 *log_id, const LedgerSettled *settled)
{
	Oid types[] = {UUIDOID, INT8OID, INT8ARRAYOID};
	Datum values[lengthof(types)];
	Datum *pairs = palloc(Max(1, 2 * settled->count) * sizeof(Datum));

	for (int i = 0; i < settled->count; i++)
	{
		pairs[2 * i] = Int64GetDatum((int64) settled->open[i]);
		pairs[2 * i + 1] = Int64GetDatum((int64) settled->entries[i]);
	}
	values[0] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[1] = Int64GetDatum(settled->size);
	values[2] = PointerGetDatum(construct_array(pairs, 2 * settled->count, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	run("UPDATE biometric.head SET settled = $2, unsettled = $3 "
		"WHERE log_id OPERATOR(pg_catalog.=) $1",
		lengthof(types), types, values, SPI_OK_UPDATE);
}

void
store_insert_head(const uint8 *log_id, const MerkleFrontier *frontier)
{
	Relation relation = store_open("head", RowExclusiveLock);
	Datum values[HEAD_COLUMNS] = {0};
	bool nulls[HEAD_COLUMNS];
	MerkleHash root;

	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	/* of its transactions, nothing is settled yet */
	memset(nulls, true, sizeof(nulls));
	memset(nulls, false, HEAD_COL_TAIL * sizeof(bool));
	merkle_frontier_root(frontier, &root);
	values[HEAD_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[HEAD_COL_SIZE - 1] = Int64GetDatum((int64) frontier->size);
	values[HEAD_COL_ROOT - 1] = PointerGetDatum(store_hashes(&root, 1));
	values[HEAD_COL_TAIL - 1] = PointerGetDatum(
		store_hashes(frontier->partial[0], (int) (frontier->size % MERKLE_TILE_WIDTH)));
	store_insert(relation, values, nulls, HEAD_COLUMNS);
	table_close(relation, NoLock);
}

void
store_settle_fork(const LedgerLog *log)
{
	Oid types[] = {UUIDOID, INT8OID, BYTEAOID};
	Datum values[lengthof(types)];

	values[0] = UUIDPGetDatum((pg_uuid_t *) log->log_id);
	values[1] = Int64GetDatum(log->parent_size);
	values[2] = PointerGetDatum(store_hashes(&log->parent_root, 1));
	run("UPDATE biometric.log SET parent_size = $2, parent_root = $3 "
		"WHERE log_id OPERATOR(pg_catalog.=) $1",
		lengthof(types), types, values, SPI_OK_UPDATE);
}

void
store_renew_identity(const uint8 *old_id, const LedgerLog *log)
{
	Oid types[] = {UUIDOID, UUIDOID, OIDOID, INT8OID, INT4OID, TEXTOID};
	Datum values[lengthof(types)];

	values[0] = UUIDPGetDatum((pg_uuid_t *) old_id);
	values[1] = UUIDPGetDatum((pg_uuid_t *) log->log_id);
	values[2] = ObjectIdGetDatum(log->database_oid);
	values[3] = Int64GetDatum(log->system_identifier);
	values[4] = Int32GetDatum(log->timeline);
	values[5] = CStringGetTextDatum(log->instance);
	run("DELETE FROM biometric.head WHERE log_id OPERATOR(pg_catalog.=) $1", 1, types, values,
		SPI_OK_DELETE);
	run("UPDATE biometric.log SET log_id = $2, database_oid = $3, system_identifier = $4, "
		"timeline = $5, instance = $6, fenced_at = NULL, fenced_by = NULL, "
		"created_at = pg_catalog.now() WHERE log_id OPERATOR(pg_catalog.=) $1",
		lengthof(types), types, values, SPI_OK_UPDATE);
	/* what else is this log's: the homes of the columns */
	if (OidIsValid(extension_relation("home")))
	{
		run_on(internal_tables_of(extension_relation("home")),
			   "UPDATE biometric.home SET log_id = $2 WHERE log_id OPERATOR(pg_catalog.=) $1", 2,
			   types, values, SPI_OK_UPDATE);
		CacheInvalidateRelcacheByRelid(extension_relation("home"));
	}
	/* backends remember homes by the log */
	CacheInvalidateRelcacheByRelid(extension_relation("log"));
}

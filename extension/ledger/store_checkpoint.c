/*
 * store_checkpoint.c - checkpoints, verifier keys and cosignatures: rows in, rows out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ledger/store_checkpoint.h"

static void
key_log_id(ScanKey key, const uint8 *log_id)
{
	ScanKeyInit(key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum((pg_uuid_t *) log_id));
}

/* The bytes of a column with a NUL behind them, palloc'd. */
static char *
bytes_of(Datum value, Size *length)
{
	bytea *bytes = DatumGetByteaPP(value);

	*length = VARSIZE_ANY_EXHDR(bytes);
	return pnstrdup(VARDATA_ANY(bytes), *length);
}

static Datum
bytes_datum(const char *bytes, Size length)
{
	return PointerGetDatum(cstring_to_text_with_len(bytes, (int) length));
}

/* Takes a row apart; false, with size -1, when it lacks a value. */
static bool
checkpoint_of_tuple(HeapTuple tuple, TupleDesc desc, StoredCheckpoint *checkpoint)
{
	bool isnull[3];
	Datum size = heap_getattr(tuple, CHECKPOINT_COL_SIZE, desc, &isnull[0]);
	Datum at = heap_getattr(tuple, CHECKPOINT_COL_AT, desc, &isnull[1]);
	Datum note = heap_getattr(tuple, CHECKPOINT_COL_NOTE, desc, &isnull[2]);

	memset(checkpoint, 0, sizeof(*checkpoint));
	checkpoint->size = -1;
	checkpoint->row = tuple->t_self;
	if (isnull[0] || isnull[1] || isnull[2])
		return false;
	checkpoint->size = DatumGetInt64(size);
	checkpoint->at = DatumGetTimestampTz(at);
	checkpoint->note = bytes_of(note, &checkpoint->length);
	return true;
}

/* A scan of one log's checkpoints by the primary key, from a size on. */
typedef struct CheckpointScan
{
	Relation relation;
	Relation index;
	SysScanDesc scan;
} CheckpointScan;

static bool
scan_begin(CheckpointScan *it, const uint8 *log_id, StrategyNumber strategy, int64 size,
		   Snapshot snapshot)
{
	RegProcedure compare = strategy == BTEqualStrategyNumber ? F_INT8EQ : F_INT8GE;
	ScanKeyData keys[2];

	it->relation = store_open("checkpoint", AccessShareLock);
	if (it->relation == NULL)
		return false;
	it->index = store_open_key(it->relation);
	key_log_id(&keys[0], log_id);
	ScanKeyInit(&keys[1], CHECKPOINT_COL_SIZE, strategy, compare, Int64GetDatum(size));
	it->scan = systable_beginscan_ordered(it->relation, it->index, snapshot, 2, keys);
	return true;
}

static void
scan_end(CheckpointScan *it)
{
	systable_endscan_ordered(it->scan);
	index_close(it->index, AccessShareLock);
	table_close(it->relation, AccessShareLock);
}

static bool
scan_next(CheckpointScan *it, ScanDirection direction, StoredCheckpoint *found)
{
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext_ordered(it->scan, direction)))
		if (checkpoint_of_tuple(tuple, RelationGetDescr(it->relation), found))
			return true;
	return false;
}

int
store_newest_checkpoints(const uint8 *log_id, Snapshot snapshot, StoredCheckpoint *newest,
						 int count)
{
	CheckpointScan it;
	int found = 0;

	if (!scan_begin(&it, log_id, BTGreaterEqualStrategyNumber, 0, snapshot))
		return 0;
	while (found < count && scan_next(&it, BackwardScanDirection, &newest[found]))
		found++;
	scan_end(&it);
	return found;
}

bool
store_checkpoint_from(const uint8 *log_id, int64 size, Snapshot snapshot, StoredCheckpoint *found)
{
	CheckpointScan it;
	bool result;

	if (!scan_begin(&it, log_id, BTGreaterEqualStrategyNumber, size, snapshot))
		return false;
	result = scan_next(&it, ForwardScanDirection, found);
	scan_end(&it);
	return result;
}

void
store_scan_checkpoints(const uint8 *log_id, Snapshot snapshot, StoreCheckpointLook look,
					   void *context)
{
	Relation relation = store_open("checkpoint", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	key_log_id(&key, log_id);
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		StoredCheckpoint checkpoint;

		(void) checkpoint_of_tuple(tuple, RelationGetDescr(relation), &checkpoint);
		look(&checkpoint, context);
		if (checkpoint.note != NULL)
			pfree((char *) checkpoint.note);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

static int
compare_verifiers(const ListCell *a, const ListCell *b)
{
	const StoredVerifier *left = lfirst(a);
	const StoredVerifier *right = lfirst(b);

	return (left->since > right->since) - (left->since < right->since);
}

List *
store_verifiers(const uint8 *log_id, Snapshot snapshot)
{
	Relation relation = store_open("verifier", AccessShareLock);
	List *result = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	if (relation == NULL)
		return NIL;
	key_log_id(&key, log_id);
	scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(relation);
		StoredVerifier *verifier = palloc0(sizeof(StoredVerifier));
		bool isnull[3];
		Datum vkey = heap_getattr(tuple, VERIFIER_COL_VKEY, desc, &isnull[0]);
		Datum since = heap_getattr(tuple, VERIFIER_COL_SINCE, desc, &isnull[1]);
		Datum at = heap_getattr(tuple, VERIFIER_COL_AT, desc, &isnull[2]);

		/* without its entry a key is nobody's */
		verifier->vkey = isnull[0] ? pstrdup("") : TextDatumGetCString(vkey);
		verifier->since = isnull[1] ? -1 : DatumGetInt64(since);
		verifier->at = isnull[2] ? 0 : DatumGetTimestampTz(at);
		result = lappend(result, verifier);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	list_sort(result, compare_verifiers);
	return result;
}

static StoredCosignature *
cosignature_of_tuple(HeapTuple tuple, TupleDesc desc)
{
	StoredCosignature *result = palloc0(sizeof(StoredCosignature));
	bool isnull[3];
	Datum size = heap_getattr(tuple, COSIGNATURE_COL_SIZE, desc, &isnull[0]);
	Datum vkey = heap_getattr(tuple, COSIGNATURE_COL_VKEY, desc, &isnull[1]);
	Datum line = heap_getattr(tuple, COSIGNATURE_COL_LINE, desc, &isnull[2]);

	result->size = isnull[0] ? -1 : DatumGetInt64(size);
	result->vkey = isnull[1] ? pstrdup("") : TextDatumGetCString(vkey);
	result->line = isnull[2] ? pstrdup("") : bytes_of(line, &result->length);
	return result;
}

List *
store_cosignatures(const uint8 *log_id, int64 size, Snapshot snapshot)
{
	Relation relation = store_open("cosignature", AccessShareLock);
	Relation index = NULL;
	List *result = NIL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	if (relation == NULL)
		return NIL;
	key_log_id(&keys[0], log_id);
	ScanKeyInit(&keys[1], COSIGNATURE_COL_SIZE, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(size));
	if (size >= 0)
	{
		index = store_open_key(relation);
		scan = systable_beginscan_ordered(relation, index, snapshot, 2, keys);
	}
	else
		scan = systable_beginscan(relation, InvalidOid, false, snapshot, 1, keys);
	while (HeapTupleIsValid(tuple = index != NULL
										? systable_getnext_ordered(scan, ForwardScanDirection)
										: systable_getnext(scan)))
		result = lappend(result, cosignature_of_tuple(tuple, RelationGetDescr(relation)));
	if (index != NULL)
	{
		systable_endscan_ordered(scan);
		index_close(index, AccessShareLock);
	}
	else
		systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return result;
}

static void
insert_row(const char *table, const Datum *values, int columns)
{
	Relation relation = store_open(table, RowExclusiveLock);

	if (relation == NULL)
		return;
	store_insert_rows(relation, values, columns, 1);
	table_close(relation, NoLock);
}

void
store_insert_checkpoint(const uint8 *log_id, const StoredCheckpoint *checkpoint)
{
	Datum values[CHECKPOINT_COLUMNS];

	values[CHECKPOINT_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[CHECKPOINT_COL_SIZE - 1] = Int64GetDatum(checkpoint->size);
	values[CHECKPOINT_COL_AT - 1] = TimestampTzGetDatum(checkpoint->at);
	values[CHECKPOINT_COL_NOTE - 1] = bytes_datum(checkpoint->note, checkpoint->length);
	insert_row("checkpoint", values, CHECKPOINT_COLUMNS);
}

void
store_insert_verifier(const uint8 *log_id, const StoredVerifier *verifier)
{
	Datum values[VERIFIER_COLUMNS];

	values[VERIFIER_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[VERIFIER_COL_VKEY - 1] = CStringGetTextDatum(verifier->vkey);
	values[VERIFIER_COL_SINCE - 1] = Int64GetDatum(verifier->since);
	values[VERIFIER_COL_AT - 1] = TimestampTzGetDatum(verifier->at);
	insert_row("verifier", values, VERIFIER_COLUMNS);
}

void
store_insert_cosignature(const uint8 *log_id, const StoredCosignature *cosignature)
{
	Datum values[COSIGNATURE_COLUMNS];

	values[COSIGNATURE_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) log_id);
	values[COSIGNATURE_COL_SIZE - 1] = Int64GetDatum(cosignature->size);
	values[COSIGNATURE_COL_VKEY - 1] = CStringGetTextDatum(cosignature->vkey);
	values[COSIGNATURE_COL_LINE - 1] = bytes_datum(cosignature->line, cosignature->length);
	insert_row("cosignature", values, COSIGNATURE_COLUMNS);
}

/* Locks a row until the end of the transaction; false when it has gone, or is held and wait is not. */
static bool
lock_row(const uint8 *log_id, int64 size, LockTupleMode mode, LockWaitPolicy wait, ItemPointer row)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	StoredCheckpoint found;
	CheckpointScan it;
	TupleTableSlot *slot;
	TM_FailureData failure;
	TM_Result result = TM_Deleted;

	if (scan_begin(&it, log_id, BTEqualStrategyNumber, size, snapshot))
	{
		if (scan_next(&it, ForwardScanDirection, &found))
		{
			*row = found.row;
			slot = table_slot_create(it.relation, NULL);
			result = table_tuple_lock(it.relation, row, snapshot, slot, GetCurrentCommandId(true),
									  mode, wait, 0, &failure);
			ExecDropSingleTupleTableSlot(slot);
		}
		scan_end(&it);
	}
	UnregisterSnapshot(snapshot);
	return result == TM_Ok;
}

bool
store_hold_checkpoint(const uint8 *log_id, int64 size)
{
	ItemPointerData row;

	return lock_row(log_id, size, LockTupleKeyShare, LockWaitBlock, &row);
}

bool
store_prune_checkpoint(const uint8 *log_id, int64 size)
{
	ItemPointerData row;
	Snapshot snapshot;
	Relation relation;
	bool cosigned;

	/* whoever holds it is about to add a cosignature */
	if (!lock_row(log_id, size, LockTupleExclusive, LockWaitSkip, &row))
		return false;
	/* and whoever did so meanwhile has committed before the lock was got */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	cosigned = store_cosignatures(log_id, size, snapshot) != NIL;
	UnregisterSnapshot(snapshot);
	if (cosigned)
		return false;
	relation = store_open("checkpoint", RowExclusiveLock);
	simple_heap_delete(relation, &row);
	table_close(relation, NoLock);
	return true;
}

/*
 * purge_stamp.c - writes the time of a row into the header of its image.
 *
 * Past triggers and rules: it is the same image in the same row.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "image/bind.h"
#include "retention/purger.h"

static void
stamp_write(Relation relation, const PurgeRow *row, HeapTuple tuple)
{
	EState *estate = CreateExecutorState();
	ResultRelInfo *info = makeNode(ResultRelInfo);
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	ItemPointerData where = row->where;
	UPDATE_INDEXES_VARIABLE(updates);

	/* 0: in no range table, for there is none to look up which columns are updated */
	InitResultRelInfo(info, relation, 0, NULL, 0);
	ExecOpenIndices(info, false);
	CheckCmdReplicaIdentity(relation, CMD_UPDATE);
	ExecForceStoreHeapTuple(tuple, slot, false);
	simple_table_tuple_update(relation, &where, slot, GetActiveSnapshot(), &updates);
	list_free(insert_updated_index_tuples(info, slot, estate, updates));
	ExecDropSingleTupleTableSlot(slot);
	ExecCloseIndices(info);
	FreeExecutorState(estate);
	CommandCounterIncrement();
}

bool
purge_stamp_row(const PurgeTarget *target, const PurgeRow *row, TupleTableSlot *slot)
{
	const ImageBinding binding = {
		.home = target->home, .stamp = true, .counts_from_ms = (uint64) row->counts_from};
	int column = target->attribute;
	bool isnull;
	Datum value = slot_getattr(slot, target->attribute, &isnull);
	Datum stamped;
	HeapTuple tuple;

	if (isnull)
		return false;
	stamped = image_bind(target->kind, value, &binding);
	if (stamped == value)
		return false;
	tuple = ExecCopySlotHeapTuple(slot);
	tuple = heap_modify_tuple_by_cols(tuple, RelationGetDescr(target->relation), 1, &column,
									  &stamped, &isnull);
	stamp_write(target->relation, row, tuple);
	return true;
}

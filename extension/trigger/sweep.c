/*
 * sweep.c - binds and records images that are in a table already.
 *
 * Rows are changed past triggers, rules and row security: what is written is
 * the same image in the same row. Nobody else can be writing meanwhile.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "executor/tuptable.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "home/named.h"
#include "image/bind.h"
#include "trigger/attach.h"
#include "trigger/limits.h"
#include "retention/retention.h"
#include "trigger/queue.h"
#include "trigger/reseal.h"
#include "trigger/row.h"
#include "trigger/table.h"
#include "trigger/trigger.h"

typedef struct SweepState
{
	const Sweep *sweep;
	Relation relation;
	const TriggerTable *table;
	EState *estate;
	ResultRelInfo *info;
	Snapshot snapshot;
	TupleTableSlot *changed; /* a row to be written */
	uint64 images;			 /* recorded so far */
} SweepState;

/* A column of the present row whose image has been bound. */
typedef struct SweptColumn
{
	const TriggerColumn *column;
	ImageFacts facts; /* as it was found */
	Datum stored;	  /* what the row has now, under its period's key perhaps */
	bool changed;
} SweptColumn;

static bool
sweep_wants(const SweepState *state, const TriggerColumn *column)
{
	return state->sweep->attributes == NULL ||
		   bms_is_member(column->attribute, state->sweep->attributes);
}

static bool
sweep_is_settled(const TriggerColumn *column, const EnvelopeHeader *header)
{
	return (header->flags & ENVELOPE_FLAG_IMPORTED) == 0 &&
		   memcmp(header->home, column->home, ENVELOPE_HOME_SIZE) == 0;
}

/* What the retention of an image of a row counts from; false: its column has no time column. */
static bool
sweep_counts_from(const SweepState *state, const TriggerColumn *column,
				  const EnvelopeHeader *header, TupleTableSlot *slot, int64 *counts_from)
{
	Datum value;
	bool isnull;

	if (column->time == InvalidAttrNumber)
	{
		if (state->sweep->adopt || !row_counts_from_sealing(column, header))
			return false;
		*counts_from = 0;
		return true;
	}
	value = slot_getattr(slot, column->time, &isnull);
	*counts_from = retention_counts_from_value(value, isnull, column->time_type);
	/* what is adopted comes from nowhere else any more */
	if (!state->sweep->adopt)
		*counts_from = retention_stamp(header, column->home, *counts_from);
	return true;
}

/*
 * Only a custodian who adopts it takes the mark from an imported image: it may have been in
 * the table before, and whoever alters the table need not know where it came from.
 */
static Datum
sweep_bind(const SweepState *state, const TriggerColumn *column, const EnvelopeHeader *header,
		   TupleTableSlot *slot, Datum value)
{
	int64 counts_from = (int64) header->counts_from_ms;
	bool timed = sweep_counts_from(state, column, header, slot, &counts_from);
	const ImageBinding binding = {.home = column->home,
								  .origin = home_origin(column->home, header),
								  .stamp = timed,
								  .counts_from_ms = (uint64) counts_from,
								  .clear_imported = state->sweep->adopt,
								  .renew_origin = state->sweep->adopt};

	if ((header->flags & ENVELOPE_FLAG_IMPORTED) != 0 && !state->sweep->adopt)
		return value;
	return trigger_seal_value(column->home, column->kind, header, (uint64) counts_from,
							  image_bind(column->kind, value, &binding));
}

static void
sweep_write(SweepState *state, ItemPointer tid, HeapTuple row)
{
	UPDATE_INDEXES_VARIABLE(updates);
	ItemPointerData where = *tid;
	TupleConstr *constraints = RelationGetDescr(state->relation)->constr;

	CheckCmdReplicaIdentity(state->relation, CMD_UPDATE);
	ExecForceStoreHeapTuple(row, state->changed, false);
	state->changed->tts_tableOid = RelationGetRelid(state->relation);
	/* they may depend on an image's key, which its column may have periods for */
	if (constraints != NULL && constraints->has_generated_stored)
		ExecComputeStoredGenerated(state->info, state->estate, state->changed, CMD_INSERT);
	simple_table_tuple_update(state->relation, &where, state->changed, state->snapshot, &updates);
	if (insert_updated_index_tuples(state->info, state->changed, state->estate, updates) != NIL)
		reseal_refuse_deferrable(state->relation);
	ExecClearTuple(state->changed);
	ResetPerTupleExprContext(state->estate);
}

static void
sweep_record(SweepState *state, const SweptColumn *swept, int count, HeapTuple row)
{
	const char *key = table_row_key(state->table, state->relation, row);
	const char *collected = table_collected(state->table, state->relation, row);

	for (int i = 0; i < count; i++)
	{
		QueuedChange change = {.event = ENTRY_STORED,
							   .operation = state->sweep->describe ? OPERATION_DESCRIBE
											: state->sweep->adopt  ? OPERATION_ADOPT
																   : OPERATION_CREATE,
							   .kind = swept[i].column->kind,
							   .relation = RelationGetRelid(state->relation),
							   .column = swept[i].column->name,
							   .row_key = key,
							   .collected = limits_collected(swept[i].column, collected)};
		ImageFacts facts = swept[i].facts;

		if (state->sweep->enrol && swept[i].column->limits != NULL)
			limits_rewritten(state->relation, swept[i].column, row, &swept[i].facts);
		if (swept[i].changed)
			image_read_facts(swept[i].column->kind, swept[i].stored, &facts);
		queue_facts(&change, &facts);
		queue_add(&change);
		state->images++;
	}
}

static void
sweep_row(SweepState *state, TupleTableSlot *slot)
{
	SweptColumn *swept = palloc0_array(SweptColumn, state->table->columns);
	int *changed = palloc_array(int, state->table->columns);
	Datum *values = palloc_array(Datum, state->table->columns);
	bool *nulls = palloc0_array(bool, state->table->columns);
	int recorded = 0;
	int changes = 0;
	HeapTuple row;

	for (int i = 0; i < state->table->columns; i++)
	{
		const TriggerColumn *column = &state->table->column[i];
		bool isnull;
		Datum value;

		if (!sweep_wants(state, column))
			continue;
		value = slot_getattr(slot, column->attribute, &isnull);
		if (isnull)
			continue;
		image_read_facts(column->kind, value, &swept[recorded].facts);
		if (state->sweep->describe)
		{
			swept[recorded++].column = column;
			continue;
		}
		if (sweep_is_settled(column, &swept[recorded].facts.header) &&
			!bms_is_member(column->attribute, state->sweep->anew))
			continue;
		values[changes] = sweep_bind(state, column, &swept[recorded].facts.header, slot, value);
		/* what cannot be bound stays as it is; that it is there now is still a fact */
		if (values[changes] == value && state->sweep->adopt)
			continue;
		swept[recorded].column = column;
		swept[recorded].stored = values[changes];
		swept[recorded].changed = values[changes] != value;
		if (swept[recorded++].changed)
			changed[changes++] = column->attribute;
	}
	if (recorded == 0)
		return;
	row = ExecCopySlotHeapTuple(slot);
	if (changes > 0)
	{
		row = heap_modify_tuple_by_cols(row, RelationGetDescr(state->relation), changes, changed,
										values, nulls);
		sweep_write(state, &slot->tts_tid, row);
	}
	sweep_record(state, swept, recorded, row);
}

static void
sweep_scan(void *argument)
{
	SweepState *state = argument;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric sweep", ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(state->relation, NULL);
	TableScanDesc scan = table_beginscan(state->relation, state->snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		sweep_row(state, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(context);
}

uint64
sweep_rows(Oid relation, const Sweep *sweep)
{
	SweepState state = {.sweep = sweep};

	state.relation = table_open(relation, ShareRowExclusiveLock);
	state.table = trigger_table(state.relation);
	state.estate = CreateExecutorState();
	state.info = makeNode(ResultRelInfo);
	/* 0: in no range table, for there is none to look up which columns are updated */
	InitResultRelInfo(state.info, state.relation, 0, NULL, 0);
	ExecOpenIndices(state.info, false);
	state.changed = table_slot_create(state.relation, NULL);
	/* rows that others have committed count, whatever this transaction's snapshot shows */
	PushActiveSnapshot(GetLatestSnapshot());
	state.snapshot = GetActiveSnapshot();

	reseal_for_owner(state.relation, sweep_scan, &state);

	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(state.changed);
	ExecCloseIndices(state.info);
	FreeExecutorState(state.estate);
	table_close(state.relation, NoLock);
	CommandCounterIncrement();
	return state.images;
}

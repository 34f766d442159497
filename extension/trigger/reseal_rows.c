/*
 * reseal_rows.c - seals the images of a table again, while others read and write it.
 *
 * A row is looked at by a snapshot and locked before anything is made of it; only if that very
 * version is the latest, and nobody else has it locked, is a version with the image sealed anew
 * put in its place. So no change of anybody's can be lost. What depends on an image's bytes, as
 * indexes and generated columns may, follows; no trigger of a user's fires.
 *
 * What is wrong with one image must not keep all others from being sealed: it is
 * looked at in subtransactions, which cost no transaction id as they write nothing.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "executor/tuptable.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/bufmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "image/bind.h"
#include "image/reseal.h"
#include "keyring/keyring.h"
#include "keyring/pins.h"
#include "keys/keys.h"
#include "retention/hold.h"
#include "trigger/queue.h"
#include "trigger/reseal.h"
#include "trigger/table.h"

typedef struct ResealState
{
	ResealStretch *stretch;
	Relation relation;
	const TriggerTable *table;
	const TriggerColumn *column;
	bool checked; /* a constraint depends on the image, or on what is generated from it */
	EState *estate;
	ResultRelInfo *info;
	Snapshot snapshot;
	TupleTableSlot *seen;	 /* the row that is looked at */
	TupleTableSlot *changed; /* and what is written in its place */
	MemoryContext caller;	 /* of whoever called reseal_rows */
	MemoryContext row;		 /* reset for each */

	/* of the present row */
	Datum image;
	EnvelopeHeader header;
	uint32 wanted; /* the key that it should have */
	Datum sealed;
} ResealState;

/* ---- steps that may fail for one image alone */

typedef void (*ResealStep)(ResealState *state);

/* Whether an error says something of an image or its key, rather than of the server. */
static bool
is_of_image(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_INVALID_BINARY_REPRESENTATION:
		case ERRCODE_DATA_CORRUPTED:
		case ERRCODE_INDEX_CORRUPTED:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return true;
		default:
			return false;
	}
}

static void
note_problem(ResealStretch *stretch, MemoryContext context, const char *problem)
{
	stretch->unopened++;
	if (stretch->problem == NULL)
		stretch->problem = MemoryContextStrdup(context, problem);
	reseal_progress_add(0, 0, 1);
}

/* Takes a step; false when it failed for the image's sake, which has been noted. */
static bool
reseal_try(ResealState *state, ResealStep step)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(state);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!is_of_image(error->sqlerrcode))
			ReThrowError(error);
		reseal_progress_again();
		note_problem(state->stretch, state->caller, error->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * The key that an image should have. One that is imported counts as no column's own; a copy from
 * a column with periods goes with what it is a copy of.
 */
static void
find_wanted(ResealState *state)
{
	const EnvelopeHeader *header = &state->header;
	const TriggerColumn *column = state->column;
	KeyPin pin;

	image_read_header(column->kind, state->image, &state->header);
	state->wanted = 0;
	if ((header->flags & ENVELOPE_FLAG_IMPORTED) == 0 &&
		memcmp(header->home, column->home, ENVELOPE_HOME_SIZE) == 0)
		state->wanted = keys_for_home(column->home, header->counts_from_ms != 0
														? (int64) header->counts_from_ms
														: (int64) envelope_sealed_at_ms(header));
	if (state->wanted != 0)
		return;
	if (header->key_id != state->stretch->active && pins_find(header->key_id, &pin) &&
		pin.scope.bound && memcmp(pin.scope.home, column->home, ENVELOPE_HOME_SIZE) != 0)
		state->wanted = header->key_id;
	else
		state->wanted = state->stretch->active;
}

static void
seal_anew(ResealState *state)
{
	state->sealed = image_reseal(state->column->kind, state->image, state->wanted);
}

/* ---- one row */

/* Locks the very version that was seen; false when it is not there any more, or somebody else's. */
static bool
lock_row(ResealState *state)
{
	TM_FailureData failure;
	ItemPointerData where = state->seen->tts_tid;
	TM_Result result = table_tuple_lock(state->relation, &where, state->snapshot, state->seen,
										GetCurrentCommandId(true), LockTupleNoKeyExclusive,
										LockWaitSkip, 0, &failure);

	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_Updated:
		case TM_WouldBlock:
			state->stretch->locked++;
			reseal_progress_add(0, 0, 1);
			return false;
		case TM_Deleted:
		case TM_SelfModified:
			return false;
		default:
			elog(ERROR, "unexpected result of locking a row: %d", (int) result);
			return false;
	}
}

static void
check_row(ResealState *state)
{
	if (state->relation->rd_rel->relispartition &&
		!ExecPartitionCheck(state->info, state->changed, state->estate, false))
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("an image of table \"%s\" cannot be sealed again where it is",
						RelationGetRelationName(state->relation)),
				 errdetail("Its row would belong into another partition, by a partition key that "
						   "depends on the key or digest of an image."),
				 errhint("Do not partition by what depends on how an image is sealed.")));
	if (state->checked)
		ExecConstraints(state->info, state->changed, state->estate);
}

void
reseal_refuse_deferrable(Relation relation)
{
	ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
					errmsg("an image of table \"%s\" cannot be sealed again where it is",
						   RelationGetRelationName(relation)),
					errdetail("Its row may conflict with another by a constraint that is "
							  "DEFERRABLE."),
					errhint("Try again when nobody else is writing such rows; do not make unique "
							"what depends on how an image is sealed.")));
}

/*
 * Raises an error again that was caught while rows were written for a custodian, who need not have
 * the right to read them: what constraints say of a row goes to the log alone.
 */
pg_noreturn static void
rethrow(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	/* only the server's own errors name the table; the detail then is the row, or its key */
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		error->table_name == NULL || error->detail == NULL)
		PG_RE_THROW();
	FlushErrorState();
	error->detail_log = error->detail;
	error->detail = pstrdup("The row is shown in the server's log alone.");
	ReThrowError(error);
}

static void
write_row(ResealState *state, HeapTuple row)
{
	UPDATE_INDEXES_VARIABLE(updates);
	ItemPointerData where = state->seen->tts_tid;
	TupleConstr *constraints = RelationGetDescr(state->relation)->constr;

	CheckCmdReplicaIdentity(state->relation, CMD_UPDATE);
	ExecForceStoreHeapTuple(row, state->changed, false);
	state->changed->tts_tableOid = RelationGetRelid(state->relation);
	/* as for an insertion: all of them, whichever columns are updated */
	if (constraints != NULL && constraints->has_generated_stored)
		ExecComputeStoredGenerated(state->info, state->estate, state->changed, CMD_INSERT);
	check_row(state);
	simple_table_tuple_update(state->relation, &where, state->changed, state->snapshot, &updates);
	if (insert_updated_index_tuples(state->info, state->changed, state->estate, updates) != NIL)
		reseal_refuse_deferrable(state->relation);
	ResetPerTupleExprContext(state->estate);
}

static void
record_row(const ResealState *state, HeapTuple row)
{
	QueuedChange change = {.event = ENTRY_REPLACED,
						   .operation = OPERATION_RESEAL,
						   .kind = state->column->kind,
						   .old_image_id = state->header.image_id,
						   .relation = RelationGetRelid(state->relation),
						   .column = state->column->name,
						   .row_key = table_row_key(state->table, state->relation, row)};
	ImageFacts facts;

	image_read_facts(state->column->kind, state->sealed, &facts);
	queue_facts(&change, &facts);
	queue_add(&change);
}

/* Puts the row with the image sealed anew in the place of the row that was locked. */
static void
replace_row(ResealState *state)
{
	int attribute = state->column->attribute;
	bool isnull = false;
	HeapTuple row = ExecCopySlotHeapTuple(state->seen);

	row = heap_modify_tuple_by_cols(row, RelationGetDescr(state->relation), 1, &attribute,
									&state->sealed, &isnull);
	write_row(state, row);
	record_row(state, row);
	if (hold_keeps(state->relation))
		hold_resealed(RelationGetRelid(state->relation), state->header.image_id,
					  state->header.key_id, state->wanted);
	ExecClearTuple(state->changed);
	state->stretch->sealed++;
	reseal_progress_add(0, 1, 0);
}

static void
reseal_row(ResealState *state)
{
	bool isnull;

	state->image = slot_getattr(state->seen, state->column->attribute, &isnull);
	if (isnull || !reseal_try(state, find_wanted) || state->wanted == state->header.key_id)
		return;
	if (keyring_find(state->header.key_id) == NULL)
	{
		note_problem(state->stretch, state->caller,
					 psprintf("the keyring does not have key %u", state->header.key_id));
		return;
	}
	if (!lock_row(state))
		return;
	/* locking has stored the row in the slot anew */
	state->image = slot_getattr(state->seen, state->column->attribute, &isnull);
	if (isnull || !reseal_try(state, seal_anew))
		return;
	replace_row(state);
}

/* ---- a stretch of a table */

static void
scan_rows(ResealState *state, BlockNumber blocks)
{
	ResealStretch *stretch = state->stretch;
	ItemPointerData first;
	ItemPointerData last;
	TableScanDesc scan;

	ItemPointerSet(&first, stretch->next, FirstOffsetNumber);
	ItemPointerSet(&last, blocks - 1, MaxOffsetNumber);
	scan = table_beginscan_tidrange(state->relation, state->snapshot, &first, &last);
	while (stretch->sealed < stretch->limit &&
		   table_scan_getnextslot_tidrange(scan, ForwardScanDirection, state->seen))
	{
		BlockNumber block = ItemPointerGetBlockNumber(&state->seen->tts_tid);
		MemoryContext old = MemoryContextSwitchTo(state->row);

		CHECK_FOR_INTERRUPTS();
		reseal_progress_add((int64) block - stretch->next, 0, 0);
		stretch->next = block;
		reseal_row(state);
		MemoryContextSwitchTo(old);
		MemoryContextReset(state->row);
	}
	table_endscan(scan);
	ExecClearTuple(state->seen);
}

static void
scan_table(void *argument)
{
	ResealState *state = argument;
	ResealStretch *stretch = state->stretch;
	BlockNumber blocks = RelationGetNumberOfBlocks(state->relation);

	stretch->next = stretch->first;
	if (stretch->next < blocks)
		scan_rows(state, blocks);
	/* the block in which the limit was reached may have more */
	stretch->ended = stretch->sealed < stretch->limit;
	if (!stretch->ended)
		return;
	if (blocks > stretch->next)
		reseal_progress_add((int64) blocks - stretch->next, 0, 0);
	stretch->next = blocks;
}

void
reseal_for_owner(Relation relation, void (*work)(void *), void *argument)
{
	int level = NewGUCNestLevel();
	MemoryContext context = CurrentMemoryContext;
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(relation->rd_rel->relowner, security | SECURITY_RESTRICTED_OPERATION);
	restrict_search_path();
	PG_TRY();
	{
		work(argument);
	}
	PG_CATCH();
	{
		rethrow(context);
	}
	PG_END_TRY();
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, security);
}

/* ---- what is known of the table before */

/* Whether a CHECK constraint looks at the column, or at what is generated from others. */
static bool
is_checked(Relation relation, AttrNumber attribute)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	Bitmapset *looked_at = NULL;

	if (descriptor->constr == NULL)
		return false;
	for (int i = 0; i < descriptor->constr->num_check; i++)
		pull_varattnos(stringToNode(descriptor->constr->check[i].ccbin), 1, &looked_at);
	if (bms_is_member(-FirstLowInvalidHeapAttributeNumber, looked_at) ||
		bms_is_member(attribute - FirstLowInvalidHeapAttributeNumber, looked_at))
		return true;
	for (int i = 0; i < descriptor->natts; i++)
		if (TupleDescAttr(descriptor, i)->attgenerated != '\0' &&
			bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, looked_at))
			return true;
	return false;
}

static const TriggerColumn *
find_column(const TriggerTable *table, const char *name)
{
	for (int i = 0; i < table->columns; i++)
		if (strcmp(table->column[i].name, name) == 0)
			return &table->column[i];
	elog(ERROR, "column \"%s\" has gone while it was locked", name);
}

static void
check_method(Relation relation)
{
	if (relation->rd_tableam->scan_set_tidrange != NULL)
		return;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("images of table \"%s\" cannot be sealed again",
						   RelationGetRelationName(relation)),
					errdetail("Its access method cannot scan a range of a table."),
					errhint("Copy the rows into a table of access method heap.")));
}

void
reseal_rows(ResealStretch *stretch)
{
	ResealState state = {.stretch = stretch, .caller = CurrentMemoryContext};

	state.relation = table_open(stretch->table, RowExclusiveLock);
	check_method(state.relation);
	state.table = trigger_table(state.relation);
	state.column = find_column(state.table, stretch->column);
	state.checked = is_checked(state.relation, state.column->attribute);
	state.row =
		AllocSetContextCreate(CurrentMemoryContext, "biometric reseal", ALLOCSET_DEFAULT_SIZES);
	state.estate = CreateExecutorState();
	state.info = makeNode(ResultRelInfo);
	/* 0: in no range table, for there is none to look up which columns are updated */
	InitResultRelInfo(state.info, state.relation, 0, NULL, 0);
	ExecOpenIndices(state.info, false);
	state.seen = table_slot_create(state.relation, NULL);
	state.changed = table_slot_create(state.relation, NULL);
	state.snapshot = GetActiveSnapshot();

	reseal_for_owner(state.relation, scan_table, &state);

	ExecDropSingleTupleTableSlot(state.seen);
	ExecDropSingleTupleTableSlot(state.changed);
	ExecCloseIndices(state.info);
	FreeExecutorState(state.estate);
	MemoryContextDelete(state.row);
	table_close(state.relation, NoLock);
	CommandCounterIncrement();
}

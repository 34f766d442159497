/*
 * record.c - AFTER ROW: puts every change of an image on record; BEFORE
 * TRUNCATE: how many images are about to be lost.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "image/bind.h"
#include "keyring/keyring.h"
#include "trigger/queue.h"
#include "trigger/row.h"
#include "trigger/table.h"
#include "trigger/trigger.h"

PG_FUNCTION_INFO_V1(biometric_record_trigger);
PG_FUNCTION_INFO_V1(biometric_truncate_trigger);

/* A row before and after; NULL: there was or is none. */
typedef struct RowChange
{
	const TriggerTable *table;
	Relation relation;
	HeapTuple old;
	HeapTuple new;
	EntryOperation operation;
	const char *row_key;   /* made at first use */
	const char *collected; /* likewise */
} RowChange;

/*
 * A trigger that fires after ours may have put another image into the row.
 * Unbound, it would be judged by no column; bound to another, by a wrong one.
 */
static void
check_binding(const RowChange *change, const TriggerColumn *column, const EnvelopeHeader *header)
{
	if ((header->flags & ENVELOPE_FLAG_IMPORTED) != 0 ||
		memcmp(header->home, column->home, ENVELOPE_HOME_SIZE) == 0)
		return;
	/* what cannot be bound for lack of its key cannot be opened here either */
	if (keyring_find(header->key_id) == NULL)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("image in column \"%s\" of table \"%s\" is not bound to it", column->name,
				RelationGetRelationName(change->relation)),
		 errdetail("A BEFORE ROW trigger has put it in after trigger ~biometric_bind had fired."),
		 errhint("Triggers fire in the order of their names: give that trigger a name that "
				 "sorts before \"~biometric_bind\".")));
}

static const char *
change_row_key(RowChange *change)
{
	if (change->row_key == NULL)
		change->row_key = table_row_key(change->table, change->relation,
										change->new != NULL ? change->new : change->old);
	return change->row_key;
}

/* What is collected of the row as it is now. */
static const char *
change_collected(RowChange *change)
{
	if (change->collected == NULL && change->table->collection != NULL)
		change->collected = table_collected(change->table, change->relation, change->new);
	return change->collected;
}

/*
 * Whether two values are one image: the same bytes but for the mark and the stamp, which nothing
 * authenticates. That two headers are the same says nothing of what follows them.
 */
static bool
is_same_image(Datum one, Datum other)
{
	struct varlena *a = PG_DETOAST_DATUM_PACKED(one);
	struct varlena *b = PG_DETOAST_DATUM_PACKED(other);
	const char *a_bytes = VARDATA_ANY(a);
	const char *b_bytes = VARDATA_ANY(b);
	Size length = VARSIZE_ANY_EXHDR(a);
	bool same = length == VARSIZE_ANY_EXHDR(b) && length >= ENVELOPE_HEADER_SIZE &&
				memcmp(a_bytes, b_bytes, ENVELOPE_FLAGS_OFFSET) == 0 &&
				memcmp(a_bytes + ENVELOPE_HEADER_SIZE, b_bytes + ENVELOPE_HEADER_SIZE,
					   length - ENVELOPE_HEADER_SIZE) == 0;

	if ((Pointer) a != DatumGetPointer(one))
		pfree(a);
	if ((Pointer) b != DatumGetPointer(other))
		pfree(b);
	return same;
}

/* Records what became of one column. */
static void
record_column(RowChange *change, const TriggerColumn *column)
{
	QueuedChange queued = {.operation = change->operation,
						   .kind = column->kind,
						   .relation = RelationGetRelid(change->relation),
						   .column = column->name};
	EnvelopeHeader old_header;
	ImageFacts facts;
	Datum old;
	Datum new;
	bool was = row_value(change->old, change->relation, column, &old);
	bool is = row_value(change->new, change->relation, column, &new);

	if ((!was && !is) || (was && is && row_value_same(old, new)))
		return;
	if (was)
		image_read_header(column->kind, old, &old_header);
	if (is)
	{
		image_read_facts(column->kind, new, &facts);
		check_binding(change, column, &facts.header);
	}
	if (was && is && memcmp(old_header.image_id, facts.header.image_id, ENVELOPE_ID_SIZE) == 0 &&
		memcmp(old_header.home, facts.header.home, ENVELOPE_HOME_SIZE) == 0 &&
		is_same_image(old, new))
		return;
	queued.event = !was ? ENTRY_STORED : !is ? ENTRY_ERASED : ENTRY_REPLACED;
	queued.old_image_id = was && is ? old_header.image_id : NULL;
	if (is)
	{
		queue_facts(&queued, &facts);
		queued.collected = change_collected(change);
	}
	else
		queued.image_id = old_header.image_id;
	queued.row_key = change_row_key(change);
	queue_add(&queued);
}

static void
describe_change(const TriggerData *trigger, RowChange *change)
{
	change->relation = trigger->tg_relation;
	change->table = trigger_table(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
	{
		change->operation = OPERATION_INSERT;
		change->new = trigger->tg_trigtuple;
	}
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		change->operation = OPERATION_UPDATE;
		change->old = trigger->tg_trigtuple;
		change->new = trigger->tg_newtuple;
	}
	else
	{
		change->operation = OPERATION_DELETE;
		change->old = trigger->tg_trigtuple;
	}
}

PGDLLEXPORT Datum
biometric_record_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	RowChange change = {0};

	row_trigger_check(fcinfo, "record_trigger",
					  CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_AFTER(trigger->tg_event) &&
						  TRIGGER_FIRED_FOR_ROW(trigger->tg_event));
	describe_change(trigger, &change);
	for (int i = 0; i < change.table->columns; i++)
		record_column(&change, &change.table->column[i]);
	PG_RETURN_POINTER(NULL);
}

/*
 * Counts the images of each column. TRUNCATE takes them all, whatever the
 * transaction's snapshot shows; nobody else can be writing meanwhile.
 */
static void
count_images(Relation relation, const TriggerTable *table, uint64 *images)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < table->columns; i++)
			if (!slot_attisnull(slot, table->column[i].attribute))
				images[i]++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
}

static void
record_truncated(Relation relation, const TriggerTable *table)
{
	uint64 *images = palloc0(table->columns * sizeof(uint64));

	count_images(relation, table, images);
	for (int i = 0; i < table->columns; i++)
	{
		QueuedChange queued = {.event = ENTRY_TRUNCATED,
							   .operation = OPERATION_TRUNCATE,
							   .kind = table->column[i].kind,
							   .relation = RelationGetRelid(relation),
							   .column = table->column[i].name};

		if (images[i] == 0)
			continue;
		queued.detail = psprintf("{\"images\": " UINT64_FORMAT "}", images[i]);
		queue_add(&queued);
	}
}

PGDLLEXPORT Datum
biometric_truncate_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const TriggerTable *table;

	row_trigger_check(fcinfo, "truncate_trigger",
					  CALLED_AS_TRIGGER(fcinfo) && TRIGGER_FIRED_BEFORE(trigger->tg_event) &&
						  TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event));
	table = trigger_table(trigger->tg_relation);
	if (table->columns > 0)
		record_truncated(trigger->tg_relation, table);
	PG_RETURN_POINTER(NULL);
}

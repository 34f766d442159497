/*
 * record.c - AFTER ROW: puts every change of an image on record; BEFORE
 * TRUNCATE: how many images are about to be lost.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "image/bind.h"
#include "keyring/keyring.h"
#include "retention/retention.h"
#include "retention/purge.h"
#include "trigger/limits.h"
#include "trigger/attach.h"
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

/*
 * A trigger that fires after ours may have given the row another time: its image would be kept
 * by the one that the row does not say.
 */
static void
check_time(const RowChange *change, const TriggerColumn *column, const EnvelopeHeader *header)
{
	int64 counts_from;

	if ((header->flags & ENVELOPE_FLAG_IMPORTED) != 0 ||
		!row_counts_from(change->new, change->relation, column, &counts_from) ||
		retention_stamp(header, column->home, counts_from) == (int64) header->counts_from_ms ||
		keyring_find(header->key_id) == NULL)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("image in column \"%s\" of table \"%s\" has not the time of its row", column->name,
				RelationGetRelationName(change->relation)),
		 errdetail("A BEFORE ROW trigger has changed the time that its retention counts from after "
				   "trigger ~biometric_bind had fired."),
		 errhint("Triggers fire in the order of their names: give that trigger a name that "
				 "sorts before \"~biometric_bind\".")));
}

/* Whether an update gave a row another time. */
static bool
time_changed(const RowChange *change, const TriggerColumn *column)
{
	int64 before;
	int64 now;

	return row_counts_from(change->old, change->relation, column, &before) &&
		   row_counts_from(change->new, change->relation, column, &now) && before != now;
}

/* What a replaced image that is the same image is replaced for; NULL: it is not. */
static const char *
time_detail(const EnvelopeHeader *old, const EnvelopeHeader *new)
{
	char from[MAXDATELEN + 1];
	char to[MAXDATELEN + 1];
	TimestampTz old_time;
	TimestampTz new_time;
	int utc = 0;

	if (memcmp(old->image_id, new->image_id, ENVELOPE_ID_SIZE) != 0 ||
		old->counts_from_ms == new->counts_from_ms || !retention_time(old, &old_time) ||
		!retention_time(new, &new_time))
		return NULL;
	JsonEncodeDateTime(from, TimestampTzGetDatum(old_time), TIMESTAMPTZOID, &utc);
	JsonEncodeDateTime(to, TimestampTzGetDatum(new_time), TIMESTAMPTZOID, &utc);
	return psprintf("{\"counted_from\": \"%s\", \"counts_from\": \"%s\"}", from, to);
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

/* What goes because its time is over says so. */
static void
record_purged(const RowChange *change, const TriggerColumn *column, QueuedChange *queued)
{
	if (!purge_running())
		return;
	queued->detail =
		purge_entry(RelationGetRelid(change->relation), column->attribute, &change->old->t_self);
	if (queued->detail != NULL)
		queued->event = ENTRY_PURGED;
}

/* Whether an image that was the column's is one from outside now, which opens for fewer. */
static bool
becomes_imported(const EnvelopeHeader *old, const EnvelopeHeader *new)
{
	return (old->flags & ENVELOPE_FLAG_IMPORTED) == 0 && (new->flags &ENVELOPE_FLAG_IMPORTED) != 0;
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

	if (!was && !is)
		return;
	if (was && is && row_value_same(old, new))
	{
		if (time_changed(change, column))
		{
			image_read_header(column->kind, new, &old_header);
			check_time(change, column, &old_header);
		}
		return;
	}
	if (was)
		image_read_header(column->kind, old, &old_header);
	if (is)
	{
		image_read_facts(column->kind, new, &facts);
		check_binding(change, column, &facts.header);
		check_time(change, column, &facts.header);
	}
	if (was && is && memcmp(old_header.image_id, facts.header.image_id, ENVELOPE_ID_SIZE) == 0 &&
		memcmp(old_header.home, facts.header.home, ENVELOPE_HOME_SIZE) == 0 &&
		row_value_is_image(old, new, ENVELOPE_FLAGS_OFFSET) &&
		!becomes_imported(&old_header, &facts.header))
		return;
	if (was)
		kept_change(change->relation, &old_header, old, is ? &facts : NULL, is ? new : (Datum) 0);
	if (is && column->limits != NULL)
		limits_stored(change->relation, column, change->new, was ? &old_header : NULL, &facts);
	queued.event = !was ? ENTRY_STORED : !is ? ENTRY_ERASED : ENTRY_REPLACED;
	queued.old_image_id = was && is ? old_header.image_id : NULL;
	queued.detail = was && is ? time_detail(&old_header, &facts.header) : NULL;
	if (is)
	{
		queue_facts(&queued, &facts);
		queued.collected = limits_collected(column, change_collected(change));
	}
	else
	{
		queued.image_id = old_header.image_id;
		record_purged(change, column, &queued);
	}
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

	kept_table(relation, 0, "truncate");
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

/*
 * dropped.c - images that go with the table, column or view that holds them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/smgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "home/relations.h"
#include "image/image.h"
#include "trigger/attach.h"
#include "trigger/queue.h"

/* A flag a column of an image type itself; NULL when there is none. */
static bool *
dropped_columns(Relation relation)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	bool *images = palloc0_array(bool, Max(descriptor->natts, 1));
	bool any = false;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		images[i] =
			!attribute->attisdropped && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE;
		any |= images[i];
	}
	return any ? images : NULL;
}

static bool *
dropped_members(const Bitmapset *columns, int natts)
{
	bool *wanted = palloc0_array(bool, Max(natts, 1));

	for (int i = 0; i < natts; i++)
		wanted[i] = bms_is_member(i + 1, columns);
	return wanted;
}

/* Whether a value is null stands before all values, so that none need be found. */
static void
dropped_count_row(TupleTableSlot *slot, const bool *wanted, uint64 *images)
{
	TupleDesc descriptor = slot->tts_tupleDescriptor;
	bool copied;
	HeapTuple row = ExecFetchSlotHeapTuple(slot, false, &copied);

	for (int i = 0; i < descriptor->natts; i++)
		if (wanted[i] && !heap_attisnull(row, i + 1, descriptor))
			images[i]++;
	if (copied)
		heap_freetuple(row);
}

/*
 * By then the TOAST table and the indexes may be gone, and columns may have
 * another type than the rows have it yet.
 */
uint64 *
dropped_count(Relation relation, const Bitmapset *columns)
{
	int natts = RelationGetDescr(relation)->natts;
	bool *wanted = columns == NULL ? dropped_columns(relation) : dropped_members(columns, natts);
	uint64 *images;
	Snapshot snapshot;
	TupleTableSlot *slot;
	TableScanDesc scan;

	/* files of temporary tables that a crash has left are gone before their catalog entries */
	if (wanted == NULL || RELATION_IS_OTHER_TEMP(relation) ||
		!smgrexists(RelationGetSmgr(relation), MAIN_FORKNUM))
		return NULL;
	images = palloc0_array(uint64, natts);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(relation, NULL);
	scan = table_beginscan(relation, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		dropped_count_row(slot, wanted, images);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	return images;
}

void
dropped_queue(Relation relation, const uint64 *images, AttrNumber attribute, EntryEvent event,
			  EntryOperation operation)
{
	TupleDesc descriptor = RelationGetDescr(relation);

	for (int i = 0; images != NULL && i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);
		QueuedChange change = {.event = event,
							   .operation = operation,
							   .relation = RelationGetRelid(relation),
							   .column = NameStr(column->attname)};

		/* columns may have been added since they were counted */
		if ((attribute != 0 && attribute != column->attnum) || images[i] == 0)
			continue;
		change.kind = image_type_kind(column->atttypid);
		change.detail = psprintf("{\"images\": " UINT64_FORMAT "}", images[i]);
		queue_add(&change);
	}
}

/* Another session's temporary table: what it held stands in that session's memory. */
static void
dropped_queue_unknown(Relation relation, AttrNumber attribute)
{
	TupleDesc descriptor = RelationGetDescr(relation);

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);
		QueuedChange change = {.event = ENTRY_DROPPED,
							   .operation = OPERATION_DROP,
							   .relation = RelationGetRelid(relation),
							   .column = NameStr(column->attname),
							   .detail = "{\"images\": null}"};

		if (column->attisdropped || (attribute != 0 && attribute != column->attnum))
			continue;
		change.kind = image_type_kind(column->atttypid);
		if (change.kind != IMAGE_KIND_NONE)
			queue_add(&change);
	}
}

/* DISCARD TEMP comes the same way, but before the session ends. */
bool
dropped_by_server(int flags)
{
	if (proc_exit_inprogress || MyBackendType == B_AUTOVAC_WORKER)
		return true;
	return (flags & PERFORM_DELETION_INTERNAL) != 0 &&
		   (flags & PERFORM_DELETION_SKIP_ORIGINAL) == 0;
}

bool
dropped_object(Oid oid, AttrNumber attribute, int flags)
{
	char relkind = get_rel_relkind(oid);
	Oid transient = InvalidOid;
	Relation relation;

	if ((relkind != RELKIND_RELATION && relkind != RELKIND_MATVIEW) || dropped_by_server(flags) ||
		relation_images(oid)->columns == 0)
		return false;
	(void) receiver_refreshing(&transient);
	if (oid == transient)
		return false;
	relation = relation_open(oid, NoLock);
	if (RELATION_IS_OTHER_TEMP(relation))
		dropped_queue_unknown(relation, attribute);
	else
		dropped_queue(relation, dropped_count(relation, NULL), attribute, ENTRY_DROPPED,
					  OPERATION_DROP);
	relation_close(relation, NoLock);
	return true;
}

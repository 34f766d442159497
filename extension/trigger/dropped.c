/*
 * dropped.c - images that go with the table, column or view that holds them.
 */
#include "postgres.h"

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

/*
 * By then the TOAST table and the indexes may be gone, but whether a value is
 * null stands in the row itself.
 */
uint64 *
dropped_count(Relation relation)
{
	int natts = RelationGetDescr(relation)->natts;
	bool *columns = dropped_columns(relation);
	uint64 *images;
	Snapshot snapshot;
	TupleTableSlot *slot;
	TableScanDesc scan;

	/* files of temporary tables that a crash has left are gone before their catalog entries */
	if (columns == NULL || !smgrexists(RelationGetSmgr(relation), MAIN_FORKNUM))
		return NULL;
	images = palloc0_array(uint64, natts);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(relation, NULL);
	scan = table_beginscan(relation, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < natts; i++)
			if (columns[i] && !slot_attisnull(slot, i + 1))
				images[i]++;
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

/*
 * Dropped by the server itself: a transient heap whose content lives on, or
 * temporary tables at the end of a transaction or session, when nothing can be
 * put on record any more. DISCARD TEMP comes the same way, but earlier.
 */
static bool
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
	dropped_queue(relation, dropped_count(relation), attribute, ENTRY_DROPPED, OPERATION_DROP);
	relation_close(relation, NoLock);
	return true;
}

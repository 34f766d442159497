/*
 * receiver.c - binds the images of rows that a query puts into a table or
 * materialized view which no row trigger guards while it is being filled.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tupdesc.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "tcop/dest.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "image/bind.h"
#include "image/image.h"
#include "trigger/attach.h"
#include "trigger/queue.h"
#include "trigger/table.h"
#include "trigger/trigger.h"

/* How make_new_heap names the transient heap of a relation. */
#define TRANSIENT_HEAP_FORMAT "pg_temp_%u"

typedef struct Binder
{
	DestReceiver pub;
	DestReceiver *inner;
	Oid relation; /* that the rows are going to be of */
	const TriggerTable *table;
	TupleTableSlot *slot;
	MemoryContext row; /* reset for each row */
} Binder;

/* The materialized view that is being refreshed, or otherwise rewritten. */
typedef struct Refresh
{
	Oid view;
	Oid transient;
	int depth; /* of the command */
	SubTransactionId subtransaction;
	uint64 *images; /* as dropped_count(), of what the view held before */
	HTAB *kept;		/* the images of it that are under legal hold, and not in the new rows so far */
} Refresh;

static Refresh refresh;

/* The relation that CREATE TABLE AS has made, while a binder waits to learn it. */
static bool awaiting = false;
static Oid awaited = InvalidOid;

void
receiver_forget(void)
{
	memset(&refresh, 0, sizeof(refresh));
	awaiting = false;
}

void
receiver_end_of_subtransaction(bool committed, SubTransactionId mine, SubTransactionId parent)
{
	/* a function of the query may have caught an error of its own */
	if (refresh.subtransaction != mine)
		return;
	if (committed)
		refresh.subtransaction = parent;
	else
		receiver_forget();
}

Oid
receiver_refreshing(Oid *transient)
{
	if (transient != NULL)
		*transient = refresh.transient;
	return refresh.view;
}

Oid
receiver_rewritten(Oid transient)
{
	Relation catalog = table_open(RelationRelationId, AccessShareLock);
	Oid rewritten = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	/* made by the command that is running, so that only SnapshotSelf sees it */
	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(transient));
	scan = systable_beginscan(catalog, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && sscanf(NameStr(((Form_pg_class) GETSTRUCT(tuple))->relname),
										  TRANSIENT_HEAP_FORMAT, &rewritten) != 1)
		rewritten = InvalidOid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return rewritten;
}

/* Counts before the heaps are swapped: WITH NO DATA runs no query that could tell. */
static void
receiver_note_refresh(Oid transient)
{
	Oid view = receiver_rewritten(transient);
	MemoryContext old;
	Relation relation;

	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_MATVIEW)
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	relation = relation_open(view, NoLock);
	refresh = (Refresh){.view = view, .transient = transient, .depth = internal_depth()};
	refresh.subtransaction = GetCurrentSubTransactionId();
	refresh.images = dropped_count(relation, NULL);
	refresh.kept = kept_images(relation);
	relation_close(relation, NoLock);
	MemoryContextSwitchTo(old);
}

void
receiver_note_created(Oid relation, bool internal)
{
	if (internal)
		receiver_note_refresh(relation);
	else if (awaiting)
	{
		awaited = relation;
		awaiting = false;
	}
}

/* Records that what the view held is gone; once. */
static void
receiver_record_emptied(void)
{
	Relation relation = relation_open(refresh.view, NoLock);

	dropped_queue(relation, refresh.images, 0, ENTRY_TRUNCATED, OPERATION_TRUNCATE);
	refresh.images = NULL;
	relation_close(relation, NoLock);
}

void
receiver_utility_end(Node *statement)
{
	if (!OidIsValid(refresh.view) || refresh.depth < internal_depth())
		return;
	if (IsA(statement, RefreshMatViewStmt))
		kept_missing(refresh.kept, "refresh away");
	if (IsA(statement, RefreshMatViewStmt) && ((RefreshMatViewStmt *) statement)->skipData)
		receiver_record_emptied();
	memset(&refresh, 0, sizeof(refresh));
}

bool
binder_wanted(QueryDesc *query)
{
	if (query->operation != CMD_SELECT || query->tupDesc == NULL ||
		(query->dest->mydest != DestIntoRel && query->dest->mydest != DestTransientRel))
		return false;
	for (int i = 0; i < query->tupDesc->natts; i++)
		if (image_type_kind(TupleDescAttr(query->tupDesc, i)->atttypid) != IMAGE_KIND_NONE)
			return true;
	return false;
}

/* ---- the destination ---- */

/* Starts the destination behind this one, and learns what relation it fills. */
static Oid
binder_start_inner(Binder *binder, int operation, TupleDesc descriptor)
{
	Oid relation;

	if (binder->inner->mydest == DestTransientRel)
	{
		binder->inner->rStartup(binder->inner, operation, descriptor);
		return refresh.view;
	}
	awaited = InvalidOid;
	awaiting = true;
	binder->inner->rStartup(binder->inner, operation, descriptor);
	relation = awaited;
	awaiting = false;
	return relation;
}

/* Whether the columns with images are where the rows have them. */
static bool
binder_fits(const TriggerTable *table, TupleDesc descriptor)
{
	int images = 0;

	for (int i = 0; i < table->columns; i++)
	{
		const TriggerColumn *column = &table->column[i];

		if (column->attribute > descriptor->natts ||
			image_type_kind(TupleDescAttr(descriptor, column->attribute - 1)->atttypid) !=
				column->kind)
			return false;
	}
	for (int i = 0; i < descriptor->natts; i++)
		if (image_type_kind(TupleDescAttr(descriptor, i)->atttypid) != IMAGE_KIND_NONE)
			images++;
	return images == table->columns;
}

static void
binder_startup(DestReceiver *self, int operation, TupleDesc descriptor)
{
	Binder *binder = (Binder *) self;
	Relation relation;

	binder->relation = binder_start_inner(binder, operation, descriptor);
	if (!OidIsValid(binder->relation))
		elog(ERROR, "the relation that a query with images fills is not known");
	relation = relation_open(binder->relation, NoLock);
	/* the homes are made here, since parallel mode begins later */
	binder->table = trigger_table(relation);
	relation_close(relation, NoLock);
	if (!binder_fits(binder->table, descriptor))
		elog(ERROR, "relation %u does not fit the query that fills it", binder->relation);
	if (binder->inner->mydest == DestTransientRel)
		receiver_record_emptied();
	binder->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(descriptor), &TTSOpsVirtual);
}

static void
binder_record(const Binder *binder, const TriggerColumn *column, Datum image)
{
	ImageFacts facts;
	QueuedChange change = {.event = ENTRY_STORED,
						   .operation = OPERATION_CREATE,
						   .kind = column->kind,
						   .relation = binder->relation,
						   .column = column->name};

	image_read_facts(column->kind, image, &facts);
	if (binder->inner->mydest == DestTransientRel)
		kept_found(refresh.kept, facts.header.image_id);
	queue_facts(&change, &facts);
	queue_add(&change);
}

static bool
binder_receive(TupleTableSlot *row, DestReceiver *self)
{
	Binder *binder = (Binder *) self;
	TupleTableSlot *slot = binder->slot;
	int natts = slot->tts_tupleDescriptor->natts;
	MemoryContext old;

	MemoryContextReset(binder->row);
	old = MemoryContextSwitchTo(binder->row);
	slot_getallattrs(row);
	ExecClearTuple(slot);
	memcpy(slot->tts_values, row->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, row->tts_isnull, natts * sizeof(bool));
	for (int i = 0; i < binder->table->columns; i++)
	{
		const TriggerColumn *column = &binder->table->column[i];
		Datum *value = &slot->tts_values[column->attribute - 1];

		if (slot->tts_isnull[column->attribute - 1])
			continue;
		*value = trigger_bind_value(column->home, column->kind, *value, NULL);
		binder_record(binder, column, *value);
	}
	ExecStoreVirtualTuple(slot);
	MemoryContextSwitchTo(old);
	return binder->inner->receiveSlot(slot, binder->inner);
}

static void
binder_shutdown(DestReceiver *self)
{
	Binder *binder = (Binder *) self;

	binder->inner->rShutdown(binder->inner);
}

/* Whoever made the inner destination destroys it. */
static void
binder_destroy(DestReceiver *self)
{
}

DestReceiver *
binder_create(QueryDesc *query)
{
	Binder *binder = palloc0(sizeof(Binder));

	binder->pub.receiveSlot = binder_receive;
	binder->pub.rStartup = binder_startup;
	binder->pub.rShutdown = binder_shutdown;
	binder->pub.rDestroy = binder_destroy;
	binder->pub.mydest = query->dest->mydest;
	binder->inner = query->dest;
	binder->row = AllocSetContextCreate(CurrentMemoryContext, "biometric row to bind",
										ALLOCSET_DEFAULT_SIZES);
	return &binder->pub;
}

void
binder_free(DestReceiver *destination)
{
	Binder *binder = (Binder *) destination;

	if (binder->slot != NULL)
		ExecDropSingleTupleTableSlot(binder->slot);
	MemoryContextDelete(binder->row);
	pfree(binder);
}

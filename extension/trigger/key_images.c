/*
 * key_images.c - counts the images of the database by the keys that they are sealed under.
 */
#include "base/compat.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/envelope.h"
#include "image/image.h"

PG_FUNCTION_INFO_V1(biometric_key_images);

typedef struct KeyImages
{
	uint32 key_id; /* hash key; 0: of those whose header is damaged */
	int64 images;
} KeyImages;

typedef struct KeyScan
{
	HTAB *keys;
	Snapshot snapshot;
	MemoryContext row; /* reset for each */
} KeyScan;

/* Whether a relation has rows that can be read here. */
static bool
is_readable(const FormData_pg_class *class)
{
	if (class->relkind != RELKIND_RELATION &&
		(class->relkind != RELKIND_MATVIEW || !class->relispopulated))
		return false;
	/* on a standby there is nothing in a table that is not logged */
	if (class->relpersistence != RELPERSISTENCE_PERMANENT && RecoveryInProgress())
		return false;
	return class->oid >= FirstNormalObjectId && !isOtherTempNamespace(class->relnamespace);
}

/* The tables and materialized views whose rows can be read here; none of them is locked. */
static List *
list_relations(void)
{
	Relation catalog = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	List *relations = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		if (is_readable(class))
			relations = lappend_oid(relations, class->oid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return relations;
}

static void
count_image(const KeyScan *scan, Datum value)
{
	struct varlena *slice = PG_DETOAST_DATUM_SLICE(value, 0, ENVELOPE_HEADER_SIZE);
	EnvelopeHeader header;
	uint32 key_id = 0;
	KeyImages *images;
	bool found;

	if (envelope_parse((uint8 *) VARDATA_ANY(slice), VARSIZE_ANY_EXHDR(slice),
					   toast_raw_datum_size(value) - VARHDRSZ, &header) == CORE_OK)
		key_id = header.key_id;
	images = hash_search(scan->keys, &key_id, HASH_ENTER, &found);
	if (!found)
		images->images = 0;
	images->images++;
}

static void
scan_relation(const KeyScan *scan, Relation relation, const Bitmapset *columns)
{
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc rows = table_beginscan(relation, scan->snapshot, 0, NULL);

	while (table_scan_getnextslot(rows, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(scan->row);
		int column = -1;

		CHECK_FOR_INTERRUPTS();
		while ((column = bms_next_member(columns, column)) >= 0)
		{
			bool isnull;
			Datum value = slot_getattr(slot, (AttrNumber) column, &isnull);

			if (!isnull)
				count_image(scan, value);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(scan->row);
	}
	table_endscan(rows);
	ExecDropSingleTupleTableSlot(slot);
}

static void
count_relation(const KeyScan *scan, Oid oid)
{
	Relation relation = try_relation_open(oid, AccessShareLock);
	Bitmapset *columns = NULL;

	/* dropped meanwhile */
	if (relation == NULL)
		return;
	for (int i = 0; i < RelationGetNumberOfAttributes(relation); i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation), i);

		if (!attribute->attisdropped && image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE)
			columns = bms_add_member(columns, attribute->attnum);
	}
	if (columns != NULL)
		scan_relation(scan, relation, columns);
	relation_close(relation, columns != NULL ? NoLock : AccessShareLock);
}

static void
put_counts(ReturnSetInfo *result, HTAB *keys)
{
	HASH_SEQ_STATUS scan;
	KeyImages *images;

	hash_seq_init(&scan, keys);
	while ((images = hash_seq_search(&scan)) != NULL)
	{
		Datum values[2] = {Int64GetDatum((int64) images->key_id), Int64GetDatum(images->images)};
		bool nulls[2] = {images->key_id == 0, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

PGDLLEXPORT Datum
biometric_key_images(PG_FUNCTION_ARGS)
{
	HASHCTL control = {.keysize = sizeof(uint32), .entrysize = sizeof(KeyImages)};
	KeyScan scan = {.snapshot = GetActiveSnapshot()};
	List *relations;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	control.hcxt = CurrentMemoryContext;
	scan.keys =
		hash_create("biometric images by key", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	scan.row =
		AllocSetContextCreate(CurrentMemoryContext, "biometric counted row", ALLOCSET_SMALL_SIZES);
	relations = list_relations();
	foreach(cell, relations)
		count_relation(&scan, lfirst_oid(cell));
	put_counts((ReturnSetInfo *) fcinfo->resultinfo, scan.keys);
	MemoryContextDelete(scan.row);
	return (Datum) 0;
}

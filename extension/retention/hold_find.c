/*
 * hold_find.c - the set of images of a hold, and finding them by their ids.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "image/bind.h"
#include "image/image.h"
#include "retention/hold_find.h"

/* An image that is looked for. */
typedef struct WantedImage
{
	uint8 image_id[ENVELOPE_ID_SIZE]; /* hash key */
	bool found;
} WantedImage;

void
hold_find_begin(HoldImages *images)
{
	HASHCTL control = {
		.keysize = sizeof(HoldImage), .entrysize = sizeof(HoldImage), .hcxt = CurrentMemoryContext};

	memset(images, 0, sizeof(*images));
	images->table = hash_create("biometric images to hold", 1024, &control,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static HTAB *
wanted_images(ArrayType *ids)
{
	HASHCTL control = {.keysize = ENVELOPE_ID_SIZE,
					   .entrysize = sizeof(WantedImage),
					   .hcxt = CurrentMemoryContext};
	HTAB *wanted = hash_create("biometric images wanted", 1024, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Datum *values;
	bool *nulls;
	int count;

	deconstruct_array(ids, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &values, &nulls, &count);
	if (count == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"image_ids\" cannot be used: it is empty"),
						errhint("biometric.image_id() of an image returns its id.")));
	for (int i = 0; i < count; i++)
	{
		WantedImage *image;

		if (nulls[i])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("argument \"image_ids\" cannot be used: one of them is NULL"),
							errhint("Leave it out.")));
		image = hash_search(wanted, DatumGetUUIDP(values[i])->data, HASH_ENTER, NULL);
		image->found = false;
	}
	return wanted;
}

/* ---- scanning ---- */

/* All permanent relations that store rows. */
static List *
stored_relations(void)
{
	Relation catalog = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	List *relations = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->oid >= FirstNormalObjectId &&
			(form->relkind == RELKIND_RELATION || form->relkind == RELKIND_MATVIEW) &&
			form->relpersistence != RELPERSISTENCE_TEMP)
			relations = lappend_oid(relations, form->oid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return relations;
}

/* The kinds of a relation's columns, by attribute number - 1; NULL when none holds images. */
static ImageKind *
image_columns(TupleDesc descriptor)
{
	ImageKind *kinds = palloc0_array(ImageKind, Max(descriptor->natts, 1));
	bool any = false;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		kinds[i] = attribute->attisdropped ? IMAGE_KIND_NONE : image_type_kind(attribute->atttypid);
		any |= kinds[i] != IMAGE_KIND_NONE;
	}
	return any ? kinds : NULL;
}

static void
look_at_row(TupleTableSlot *slot, const ImageKind *kinds, HTAB *wanted, HoldImages *images,
			bool *hit)
{
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		EnvelopeHeader header;
		WantedImage *one;
		HoldImage image;
		bool isnull;
		Datum value;

		if (kinds[i] == IMAGE_KIND_NONE)
			continue;
		value = slot_getattr(slot, i + 1, &isnull);
		if (isnull)
			continue;
		image_read_header(kinds[i], value, &header);
		one = hash_search(wanted, header.image_id, HASH_FIND, NULL);
		if (one == NULL)
			continue;
		one->found = *hit = true;
		memcpy(image.image_id, header.image_id, ENVELOPE_ID_SIZE);
		image.key_id = header.key_id;
		(void) hash_search(images->table, &image, HASH_ENTER, NULL);
	}
}

static void
scan_relation(Relation relation, const ImageKind *kinds, HTAB *wanted, HoldImages *images)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric hold scan", ALLOCSET_DEFAULT_SIZES);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	bool hit = false;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		look_at_row(slot, kinds, wanted, images, &hit);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(context);
	images->unlogged |= hit && relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED;
}

const uint8 *
hold_find_ids(ArrayType *ids, HoldImages *images)
{
	HTAB *wanted = wanted_images(ids);
	const uint8 *missing = NULL;
	HASH_SEQ_STATUS status;
	WantedImage *image;
	ListCell *cell;

	foreach(cell, stored_relations())
	{
		/* gone meanwhile: so are its images */
		Relation relation = try_relation_open(lfirst_oid(cell), AccessShareLock);
		ImageKind *kinds;

		if (relation == NULL)
			continue;
		kinds = image_columns(RelationGetDescr(relation));
		if (kinds != NULL)
			scan_relation(relation, kinds, wanted, images);
		relation_close(relation, kinds != NULL ? NoLock : AccessShareLock);
	}
	hash_seq_init(&status, wanted);
	while ((image = hash_seq_search(&status)) != NULL)
		if (!image->found)
			missing = image->image_id;
	return missing;
}

void
hold_find_arrays(const HoldImages *images, Datum *ids, Datum *keys)
{
	long count = hash_get_num_entries(images->table);
	Datum *id_values = palloc_extended(Max(count, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	Datum *key_values = palloc_extended(Max(count, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	HASH_SEQ_STATUS status;
	HoldImage *image;
	int i = 0;

	hash_seq_init(&status, images->table);
	while ((image = hash_seq_search(&status)) != NULL)
	{
		id_values[i] = UUIDPGetDatum((pg_uuid_t *) image->image_id);
		key_values[i++] = Int64GetDatum(image->key_id);
	}
	*ids = PointerGetDatum(construct_array(id_values, i, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
	*keys = PointerGetDatum(
		construct_array(key_values, i, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

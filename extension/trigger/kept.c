/*
 * kept.c - images that are held stay, whatever a command would make of them.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "executor/tuptable.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "core/seal.h"
#include "home/relations.h"
#include "image/bind.h"
#include "image/image.h"
#include "keyring/keyring.h"
#include "keys/keys.h"
#include "retention/hold.h"
#include "trigger/attach.h"
#include "trigger/row.h"

/* A held image that a relation has. */
typedef struct KeptImage
{
	uint8 image_id[ENVELOPE_ID_SIZE]; /* hash key */
	int64 hold;
} KeptImage;

/* ---- one row ---- */

/*
 * Whether a value is an image that was sealed again, as reseal() does it, and a subscriber that is
 * sent the same image once more: the id alone says nothing, since a value whose key was not at hand
 * was let in as it came.
 */
static bool
is_resealed(const EnvelopeHeader *before, const ImageFacts *facts, Datum value)
{
	const EnvelopeHeader *header = &facts->header;
	const SealKey *key;
	struct varlena *image;
	bool authentic;

	if (!facts->authentic || memcmp(header->image_id, before->image_id, ENVELOPE_ID_SIZE) != 0 ||
		header->plaintext_length != before->plaintext_length)
		return false;
	key = keyring_find(header->key_id);
	if (key == NULL)
		return false;
	image = PG_DETOAST_DATUM_PACKED(value);
	authentic = VARSIZE_ANY_EXHDR(image) == ENVELOPE_OVERHEAD + header->plaintext_length &&
				seal_verify(key, (const uint8 *) VARDATA_ANY(image), header) == CORE_OK;
	if ((Pointer) image != DatumGetPointer(value))
		pfree(image);
	return authentic;
}

/* Whether somebody gave an image from outside who could not show that it is the column's. */
static bool
is_foreign(const EnvelopeHeader *before, const ImageFacts *facts)
{
	return (facts->header.flags & ENVELOPE_FLAG_IMPORTED) != 0 &&
		   (before->flags & ENVELOPE_FLAG_IMPORTED) == 0;
}

/*
 * Whether an image that is in place of its own sealing opens as before: not one with another
 * header that nobody can authenticate.
 */
static bool
is_as_good(Datum old, const ImageFacts *facts, Datum new)
{
	struct varlena *a;
	struct varlena *b;

	if (facts->authentic)
		return true;
	a = PG_DETOAST_DATUM_SLICE(old, 0, ENVELOPE_HEADER_SIZE);
	b = PG_DETOAST_DATUM_SLICE(new, 0, ENVELOPE_HEADER_SIZE);
	return memcmp(VARDATA_ANY(a), VARDATA_ANY(b), ENVELOPE_FLAGS_OFFSET) == 0;
}

void
kept_change(Relation relation, const EnvelopeHeader *before, Datum old, const ImageFacts *facts,
			Datum new)
{
	int64 hold = hold_keeps(relation) ? hold_of(before->image_id) : 0;

	if (hold == 0)
		return;
	if (facts == NULL)
		hold_refuse(hold, "erase");
	if (is_foreign(before, facts))
		hold_refuse(hold, "replace");
	if (row_value_is_image(old, new, ENVELOPE_AAD_SIZE) && is_as_good(old, facts, new))
		return;
	if (!is_resealed(before, facts, new))
		hold_refuse(hold, "replace");
	if (facts->header.key_id != before->key_id)
		hold_resealed(RelationGetRelid(relation), before->image_id, before->key_id,
					  facts->header.key_id);
}

/* ---- all rows of a relation ---- */

typedef void (*KeptVisit)(const uint8 *image_id, int64 hold, void *arg);

/* The kinds of the columns to look at, by attribute number - 1; NULL when there are none. */
static ImageKind *
kept_columns(TupleDesc descriptor, AttrNumber attribute)
{
	ImageKind *kinds = palloc0_array(ImageKind, Max(descriptor->natts, 1));
	bool any = false;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(descriptor, i);

		if (column->attisdropped || (attribute != 0 && attribute != column->attnum))
			continue;
		kinds[i] = image_type_kind(column->atttypid);
		any |= kinds[i] != IMAGE_KIND_NONE;
	}
	return any ? kinds : NULL;
}

static void
kept_visit_row(TupleTableSlot *slot, const ImageKind *kinds, KeptVisit visit, void *arg)
{
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		EnvelopeHeader header;
		bool isnull;
		Datum value;
		int64 hold;

		if (kinds[i] == IMAGE_KIND_NONE)
			continue;
		value = slot_getattr(slot, i + 1, &isnull);
		if (isnull)
			continue;
		image_read_header(kinds[i], value, &header);
		hold = hold_of(header.image_id);
		if (hold != 0)
			visit(header.image_id, hold, arg);
	}
}

/* Visits the held images of a relation that nobody else can be writing to. */
static void
kept_visit_all(Relation relation, AttrNumber attribute, KeptVisit visit, void *arg)
{
	ImageKind *kinds = kept_columns(RelationGetDescr(relation), attribute);
	MemoryContext context;
	Snapshot snapshot;
	TupleTableSlot *slot;
	TableScanDesc scan;

	if (kinds == NULL || !hold_keeps(relation))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "biometric kept", ALLOCSET_SMALL_SIZES);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = table_slot_create(relation, NULL);
	scan = table_beginscan(relation, snapshot, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		kept_visit_row(slot, kinds, visit, arg);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(context);
}

static void
visit_refuse(const uint8 *image_id, int64 hold, void *what)
{
	hold_refuse(hold, what);
}

void
kept_table(Relation relation, AttrNumber attribute, const char *what)
{
	kept_visit_all(relation, attribute, visit_refuse, (void *) what);
}

static void
visit_note(const uint8 *image_id, int64 hold, void *arg)
{
	*(int64 *) arg = hold;
}

int64
kept_column(Relation relation, AttrNumber attribute)
{
	int64 hold = 0;

	kept_visit_all(relation, attribute, visit_note, &hold);
	return hold;
}

/* ---- what a materialized view had ---- */

static void
visit_collect(const uint8 *image_id, int64 hold, void *set)
{
	KeptImage *image = hash_search(set, image_id, HASH_ENTER, NULL);

	image->hold = hold;
}

HTAB *
kept_images(Relation relation)
{
	HASHCTL control = {
		.keysize = ENVELOPE_ID_SIZE, .entrysize = sizeof(KeptImage), .hcxt = CurrentMemoryContext};
	HTAB *set;

	if (!hold_keeps(relation))
		return NULL;
	set = hash_create("biometric kept images", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	kept_visit_all(relation, 0, visit_collect, set);
	return set;
}

void
kept_found(HTAB *images, const uint8 *image_id)
{
	if (images != NULL)
		(void) hash_search(images, image_id, HASH_REMOVE, NULL);
}

void
kept_missing(HTAB *images, const char *what)
{
	HASH_SEQ_STATUS status;
	KeptImage *image;

	if (images == NULL)
		return;
	hash_seq_init(&status, images);
	while ((image = hash_seq_search(&status)) != NULL)
		hold_refuse(image->hold, what);
}

/* ---- what is dropped ---- */

/* The relation that a TOAST table belongs to, or InvalidOid. */
static Oid
owner_of_toast(Oid toast)
{
	Relation catalog = table_open(DependRelationId, AccessShareLock);
	Oid owner = InvalidOid;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(toast));
	scan = systable_beginscan(catalog, DependDependerIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend depend = (Form_pg_depend) GETSTRUCT(tuple);

		if (depend->refclassid == RelationRelationId && depend->deptype == DEPENDENCY_INTERNAL)
			owner = depend->refobjid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return owner;
}

/*
 * The relation whose images an object takes with it: a table is dropped after its TOAST table, and
 * that after its index, so images can be read for the last time when the index goes.
 */
static Oid
kept_owner(Oid relation, AttrNumber column)
{
	Oid toast;

	if (column > 0)
		return relation;
	if (get_rel_relkind(relation) != RELKIND_INDEX ||
		get_rel_namespace(relation) != PG_TOAST_NAMESPACE)
		return InvalidOid;
	toast = IndexGetRelation(relation, true);
	return OidIsValid(toast) ? owner_of_toast(toast) : InvalidOid;
}

void
kept_dropping(Oid relation, AttrNumber column, int flags)
{
	Oid owner;
	char relkind;
	Relation opened;

	if (dropped_by_server(flags))
		return;
	if (relation == extension_relation("held"))
	{
		int64 hold = hold_first();

		if (hold != 0)
			hold_refuse(hold, "drop");
		return;
	}
	if (relation == extension_relation("key_pin"))
	{
		keys_check_drop();
		return;
	}
	owner = kept_owner(relation, column);
	relkind = OidIsValid(owner) ? get_rel_relkind(owner) : '\0';
	if ((relkind != RELKIND_RELATION && relkind != RELKIND_MATVIEW) ||
		relation_images(owner)->columns == 0)
		return;
	opened = relation_open(owner, NoLock);
	kept_table(opened, column, "drop");
	relation_close(opened, NoLock);
}

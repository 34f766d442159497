/*
 * relations.c - the cache of relations' image columns.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "gate/relations.h"
#include "image/image.h"

static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static bool cache_stale = false;

static void
relations_changed(Datum arg, Oid relation)
{
	cache_stale = true;
}

static void
relations_types_changed(Datum arg, int cache_id, uint32 hash)
{
	cache_stale = true;
}

void
relations_init(void)
{
	CacheRegisterRelcacheCallback(relations_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, relations_types_changed, (Datum) 0);
}

static void
relations_reset(void)
{
	HASHCTL info;

	cache = NULL;
	if (cache_context == NULL)
		cache_context =
			AllocSetContextCreate(CacheMemoryContext, "biometric relations", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(cache_context);
	info.keysize = sizeof(Oid);
	info.entrysize = sizeof(RelationImages);
	info.hcxt = cache_context;
	cache = hash_create("biometric relations", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_stale = false;
}

/* Appends the parents of a relation to a lineage, unless they are in it. */
static List *
lineage_add_parents(List *lineage, Oid relation)
{
	Relation catalog = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		lineage = list_append_unique_oid(lineage, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return lineage;
}

/* The relation and all its ancestors, level by level. */
static List *
lineage_build(Oid relation)
{
	List *lineage = list_make1_oid(relation);

	/* the list grows while it is walked: each ancestor's parents come after it */
	for (int i = 0; i < list_length(lineage); i++)
		lineage = lineage_add_parents(lineage, list_nth_oid(lineage, i));
	return lineage;
}

static void
relation_describe(Oid oid, RelationImages *images)
{
	Relation relation = relation_open(oid, NoLock);
	TupleDesc descriptor = RelationGetDescr(relation);

	memset(images, 0, sizeof(*images));
	images->relation = oid;
	images->relkind = relation->rd_rel->relkind;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		uint32 kinds = attribute->attisdropped ? 0 : image_type_kinds(attribute->atttypid);

		if (kinds == 0)
			continue;
		if (images->attribute_kinds == NULL)
		{
			images->attributes = descriptor->natts;
			images->attribute_kinds = palloc0_array(uint32, descriptor->natts);
		}
		images->attribute_kinds[i] = kinds;
		images->kinds |= kinds;
	}
	relation_close(relation, NoLock);
	if (images->kinds != 0)
		images->lineage = lineage_build(oid);
}

const RelationImages *
relation_images(Oid relation)
{
	RelationImages described;
	RelationImages *entry;
	MemoryContext old;

	if (cache == NULL || cache_stale)
		relations_reset();
	entry = hash_search(cache, &relation, HASH_FIND, NULL);
	if (entry)
		return entry;

	/* described first, entered then: an error in between must leave no half an entry */
	old = MemoryContextSwitchTo(cache_context);
	relation_describe(relation, &described);
	MemoryContextSwitchTo(old);
	entry = hash_search(cache, &relation, HASH_ENTER, NULL);
	*entry = described;
	return entry;
}

uint32
relation_selected_kinds(const RelationImages *images, const Bitmapset *selected)
{
	uint32 kinds = 0;
	int member = -1;

	if (images->kinds == 0)
		return 0;
	while ((member = bms_next_member(selected, member)) >= 0)
	{
		int attribute = member + FirstLowInvalidHeapAttributeNumber;

		if (attribute == InvalidAttrNumber)
			return images->kinds;
		if (attribute > 0 && attribute <= images->attributes)
			kinds |= images->attribute_kinds[attribute - 1];
	}
	return kinds;
}

/*
 * relations.c - the cache of relations' image columns.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_inherits.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/lineage.h"
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
	if (images->kinds == 0)
		return;
	images->lineage = relation_lineage(oid);
	images->heirs = list_delete_oid(find_all_inheritors(oid, NoLock, NULL), oid);
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
gate_selected_kinds(const PermissionInfo *info)
{
	const RelationImages *images;
	uint32 kinds = 0;
	int member = -1;

	if ((info->requiredPerms & ACL_SELECT) == 0 || info->relid < FirstNormalObjectId)
		return 0;
	images = relation_images(info->relid);
	if (images->kinds == 0 || images->relkind == RELKIND_VIEW)
		return 0;
	while ((member = bms_next_member(info->selectedCols, member)) >= 0)
	{
		/* offset so that system columns fit in; attribute 0 is the whole row */
		int attribute = member + FirstLowInvalidHeapAttributeNumber;

		if (attribute == InvalidAttrNumber)
			return images->kinds;
		if (attribute > 0 && attribute <= images->attributes)
			kinds |= images->attribute_kinds[attribute - 1];
	}
	return kinds;
}

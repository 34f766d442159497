/*
 * relations.c - the cache of relations' image columns.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/relcache.h"
#include "home/relations.h"
#include "image/image.h"
#include "policy/policy.h"

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
	relcache_watch(relations_changed);
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

/* The heirs, and ancestors of theirs that are no ancestors of the relation itself. */
static List *
relation_relatives(const RelationImages *images)
{
	List *relatives = list_copy(images->heirs);
	ListCell *cell;

	foreach(cell, images->heirs)
		/* a partition has one parent only */
		if (!get_rel_relispartition(lfirst_oid(cell)))
			relatives = list_concat_unique_oid(relatives, relation_lineage(lfirst_oid(cell)));
	return list_difference_oid(relatives, images->lineage);
}

/* The bit of one of our triggers in relation_has_triggers; 0 for any other. */
static int
trigger_bit(Form_pg_trigger trigger)
{
	const int16 bind =
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE;
	const int16 record =
		TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
	const int16 truncate = TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE;

	/* an ordinary trigger that somebody made of our function may have a condition */
	if (!trigger->tgisinternal || trigger->tgenabled != TRIGGER_FIRES_ALWAYS ||
		getExtensionOfObject(ProcedureRelationId, trigger->tgfoid) != extension_oid())
		return 0;
	return trigger->tgtype == bind		 ? 1
		   : trigger->tgtype == record	 ? 2
		   : trigger->tgtype == truncate ? 4
										 : 0;
}

bool
relation_has_triggers(Oid relation)
{
	Relation catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	int found = 0;

	if (!OidIsValid(extension_oid()))
		return false;
	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		found |= trigger_bit((Form_pg_trigger) GETSTRUCT(tuple));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found == 7;
}

/* Whether a table with images, and those of its heirs that hold rows, have their triggers. */
static bool
relation_is_guarded(const RelationImages *images)
{
	ListCell *cell;

	if (images->relkind == RELKIND_RELATION && !relation_has_triggers(images->relation))
		return false;
	foreach(cell, images->heirs)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION &&
			!relation_has_triggers(lfirst_oid(cell)))
			return false;
	return true;
}

/* Whether a table has a column that can hold images; asked of heirs, which may be unlocked. */
static bool
relation_has_images(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	int columns = HeapTupleIsValid(tuple) ? ((Form_pg_class) GETSTRUCT(tuple))->relnatts : 0;
	bool images = false;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	for (int i = 1; i <= columns; i++)
	{
		Oid type = get_atttype(relation, (AttrNumber) i);

		/* none: the column was dropped */
		images |= OidIsValid(type) && image_type_kinds(type) != 0;
	}
	return images;
}

/* Whether the heirs with images of a table that has none have their triggers. */
static bool
relation_heirs_are_guarded(Relation relation)
{
	List *heirs;
	ListCell *cell;
	bool guarded = true;

	/* partitions have no more columns than their root */
	if (relation->rd_rel->relkind != RELKIND_RELATION || !relation->rd_rel->relhassubclass)
		return true;
	heirs = find_all_inheritors(RelationGetRelid(relation), NoLock, NULL);
	foreach(cell, heirs)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION &&
			relation_has_images(lfirst_oid(cell)) && !relation_has_triggers(lfirst_oid(cell)))
			guarded = false;
	list_free(heirs);
	return guarded;
}

static void
relation_describe(Oid oid, RelationImages *images)
{
	Relation relation = relation_open(oid, NoLock);
	TupleDesc descriptor = RelationGetDescr(relation);

	memset(images, 0, sizeof(*images));
	images->guarded = true;
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
		if (image_type_kind(attribute->atttypid) != IMAGE_KIND_NONE)
			images->columns++;
		else
			images->guarded = false;
		images->attribute_kinds[i] = kinds;
		images->kinds |= kinds;
	}
	if (images->kinds == 0)
		images->guarded = relation_heirs_are_guarded(relation);
	relation_close(relation, NoLock);
	if (images->kinds == 0)
		return;
	images->lineage = relation_lineage(oid);
	images->heirs = list_delete_oid(find_all_inheritors(oid, NoLock, NULL), oid);
	images->relatives = relation_relatives(images);
	images->guarded = images->guarded && relation_is_guarded(images);
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

/* Whether a permit names one of some relations that are not among others. */
static bool
relations_are_named(const List *relations, const List *others)
{
	ListCell *cell;

	foreach(cell, relations)
		if (OidIsValid(lfirst_oid(cell)) && !list_member_oid(others, lfirst_oid(cell)) &&
			policy_names_relation(lfirst_oid(cell)))
			return true;
	return false;
}

List *
relations_heirs_to_judge(const List *lineage, const List *heirs, const List *relatives)
{
	List *judged = NIL;
	ListCell *cell;

	if (!relations_are_named(relatives, NIL))
		return NIL;
	foreach(cell, heirs)
	{
		List *of_heir = relation_lineage(lfirst_oid(cell));

		if (relations_are_named(of_heir, lineage))
			judged = lappend(judged, of_heir);
	}
	return judged;
}

uint32
relations_selected_kinds(const PermissionInfo *info)
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

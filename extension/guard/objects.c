/*
 * objects.c - which objects the guard looks after.
 *
 * Membership is looked up in pg_depend each time, one index probe: commands
 * that make or change objects are rare and cost far more, and nothing can be stale.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "guard/objects.h"

/* What belongs to a relation, and where its catalog says to which. */
typedef struct PartOf
{
	Oid class_id;
	Oid index;
	AttrNumber key;
	AttrNumber relation;
} PartOf;

static const PartOf parts[] = {
	{TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, Anum_pg_trigger_tgrelid},
	{RewriteRelationId, RewriteOidIndexId, Anum_pg_rewrite_oid, Anum_pg_rewrite_ev_class},
	{PolicyRelationId, PolicyOidIndexId, Anum_pg_policy_oid, Anum_pg_policy_polrelid},
	{ConstraintRelationId, ConstraintOidIndexId, Anum_pg_constraint_oid,
	 Anum_pg_constraint_conrelid},
	{AttrDefaultRelationId, AttrDefaultOidIndexId, Anum_pg_attrdef_oid, Anum_pg_attrdef_adrelid},
	{StatisticExtRelationId, StatisticExtOidIndexId, Anum_pg_statistic_ext_oid,
	 Anum_pg_statistic_ext_stxrelid},
	{IndexRelationId, IndexRelidIndexId, Anum_pg_index_indexrelid, Anum_pg_index_indrelid}};

/*
 * A row of a catalog, as the running command has left it, which no syscache
 * can see yet; a copy. NULL when there is none.
 */
static HeapTuple
row_by_oid(Relation catalog, Oid index, AttrNumber key_column, Oid key_value)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, key_column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(key_value));
	scan = systable_beginscan(catalog, index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static Oid
catalog_oid(Oid class_id, Oid index, AttrNumber key_column, Oid key_value, AttrNumber wanted)
{
	Relation catalog = table_open(class_id, AccessShareLock);
	HeapTuple tuple = row_by_oid(catalog, index, key_column, key_value);
	Oid result = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, wanted, RelationGetDescr(catalog), &isnull);

		if (!isnull)
			result = DatumGetObjectId(value);
		heap_freetuple(tuple);
	}
	table_close(catalog, AccessShareLock);
	return result;
}

HeapTuple
guard_new_row(Oid class_id, Oid object_id)
{
	Relation catalog = table_open(class_id, AccessShareLock);
	HeapTuple tuple = row_by_oid(catalog, get_object_oid_index(class_id),
								 get_object_attnum_oid(class_id), object_id);

	table_close(catalog, AccessShareLock);
	return tuple;
}

bool
guard_in_own_script(void)
{
	char *name;

	if (!creating_extension)
		return false;
	name = get_extension_name(CurrentExtensionObject);
	return name != NULL && strcmp(name, "biometric_audit") == 0;
}

bool
guard_is_member(Oid class_id, Oid object_id)
{
	return object_id >= FirstNormalObjectId &&
		   getExtensionOfObject(class_id, object_id) == extension_oid();
}

Oid
guard_relation_of(Oid class_id, Oid object_id)
{
	for (int i = 0; i < (int) lengthof(parts); i++)
		if (parts[i].class_id == class_id)
			return catalog_oid(class_id, parts[i].index, parts[i].key, object_id,
							   parts[i].relation);
	return InvalidOid;
}

bool
guard_is_attached_trigger(Oid trigger)
{
	Oid function = catalog_oid(TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid, trigger,
							   Anum_pg_trigger_tgfoid);

	return OidIsValid(function) && guard_is_member(ProcedureRelationId, function);
}

/* The table that a TOAST table belongs to: a catalog says so in this direction only. */
static Oid
table_of_toast(Oid toast)
{
	Relation catalog = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	Oid result = InvalidOid;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(toast));
	scan = systable_beginscan(catalog, DependDependerIndexId, true, SnapshotSelf, 2, key);
	while (!OidIsValid(result) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->refclassid == RelationRelationId && form->deptype == DEPENDENCY_INTERNAL)
			result = form->refobjid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

bool
guard_protects_relation(Oid relation)
{
	Oid table;
	int32 column;

	if (relation < FirstNormalObjectId)
		return false;
	if (guard_is_member(RelationRelationId, relation))
		return true;
	switch (get_rel_relkind(relation))
	{
		case RELKIND_SEQUENCE:
			return (sequenceIsOwned(relation, DEPENDENCY_INTERNAL, &table, &column) ||
					sequenceIsOwned(relation, DEPENDENCY_AUTO, &table, &column)) &&
				   guard_is_member(RelationRelationId, table);
		case '\0': /* just made */
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			table = guard_relation_of(IndexRelationId, relation);
			return OidIsValid(table) && guard_protects_relation(table);
		case RELKIND_TOASTVALUE:
			table = table_of_toast(relation);
			return OidIsValid(table) && guard_is_member(RelationRelationId, table);
		default:
			return false; /* only these are parts of tables that commands can name */
	}
}

/* Row types and array types are no members by themselves. */
static bool
protects_type(Oid type)
{
	Oid relation = get_typ_typrelid(type);
	Oid element = get_element_type(type);

	if (guard_is_member(TypeRelationId, type))
		return true;
	if (OidIsValid(element))
		return protects_type(element);
	return OidIsValid(relation) && guard_protects_relation(relation);
}

static Oid
own_schema(void)
{
	return catalog_oid(ExtensionRelationId, ExtensionOidIndexId, Anum_pg_extension_oid,
					   extension_oid(), Anum_pg_extension_extnamespace);
}

bool
guard_protects(Oid class_id, Oid object_id)
{
	Oid relation;

	if (object_id < FirstNormalObjectId)
		return false;
	switch (class_id)
	{
		case RelationRelationId:
			return guard_protects_relation(object_id);
		case TypeRelationId:
			return protects_type(object_id);
		case ExtensionRelationId:
			return object_id == extension_oid();
		case NamespaceRelationId:
			return object_id == own_schema();
		default:
			if (guard_is_member(class_id, object_id))
				return true;
			relation = guard_relation_of(class_id, object_id);
			return OidIsValid(relation) && guard_protects_relation(relation);
	}
}

bool
guard_owns(Oid role)
{
	Oid owner = catalog_oid(ExtensionRelationId, ExtensionOidIndexId, Anum_pg_extension_oid,
							extension_oid(), Anum_pg_extension_extowner);
	Oid schema_owner = catalog_oid(NamespaceRelationId, NamespaceOidIndexId, Anum_pg_namespace_oid,
								   own_schema(), Anum_pg_namespace_nspowner);

	return OidIsValid(role) && (role == owner || role == schema_owner);
}

/* "table public.lane": the same whatever the search path. */
static char *
describe(Oid class_id, Oid object_id)
{
	ObjectAddress address;
	char *identity;

	if (!OidIsValid(object_id))
		return NULL;
	ObjectAddressSet(address, class_id, object_id);
	identity = getObjectIdentity(&address, true);
	return identity ? psprintf("%s %s", getObjectTypeDescription(&address, true), identity) : NULL;
}

char *
guard_describe(Oid class_id, Oid object_id)
{
	char *description = describe(class_id, object_id);

	if (description != NULL)
		return description;
	if (class_id == RelationRelationId)
		class_id = IndexRelationId;
	return describe(RelationRelationId, guard_relation_of(class_id, object_id));
}

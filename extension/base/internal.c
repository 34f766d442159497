/*
 * internal.c - whether the running statement is our own, and where the
 * extension's objects are.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/internal.h"

#define EXTENSION_NAME "biometric_audit"
#define EXTENSION_SCHEMA "biometric"

static InternalTables writing = INTERNAL_NONE;
static int writing_depth = 0;
static int depth = 0;
static int ddl = 0;

/*
 * pg_extension has no syscache and sends no invalidation. Creating and
 * dropping the extension creates and drops types, which do, so that a change
 * of any type empties this.
 */
static bool cache_valid = false;
static uint64 cache_invalidations = 0;
static Oid cached_oid = InvalidOid;
static TransactionId cached_creator = InvalidTransactionId;

/* More than the extension has, or a superuser adds to it by ALTER EXTENSION. */
#define OWN_TABLES_MAX 128

typedef struct OwnTable
{
	Oid relation;
	InternalTables tables;
} OwnTable;

static OwnTable own_tables[OWN_TABLES_MAX];
static int own_table_count = 0;

static void
internal_end_of_transaction(XactEvent event, void *arg)
{
	writing = INTERNAL_NONE;
	ddl = 0;
}

/* A stretch that an error ended inside of a subtransaction must not outlive it. */
static void
internal_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							   void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		writing = INTERNAL_NONE;
		ddl = 0;
	}
}

static void
internal_types_changed(Datum arg, int cache, uint32 hash)
{
	cache_valid = false;
	cache_invalidations++;
}

void
internal_init(void)
{
	RegisterXactCallback(internal_end_of_transaction, NULL);
	RegisterSubXactCallback(internal_end_of_subtransaction, NULL);
	CacheRegisterSyscacheCallback(TYPEOID, internal_types_changed, (Datum) 0);
}

void
internal_depth_enter(void)
{
	depth++;
}

void
internal_depth_leave(void)
{
	depth--;
}

int
internal_depth(void)
{
	return depth;
}

void
internal_ddl_begin(void)
{
	ddl++;
}

void
internal_ddl_end(void)
{
	if (ddl > 0)
		ddl--;
}

bool
internal_ddl(void)
{
	return ddl > 0;
}

int
internal_write_depth(void)
{
	return writing_depth;
}

void
internal_write_begin(InternalTables tables)
{
	writing = tables;
	writing_depth = depth;
}

void
internal_write_end(void)
{
	writing = INTERNAL_NONE;
}

InternalTables
internal_write_tables(void)
{
	return writing;
}

InternalTables
internal_tables_of(Oid relation)
{
	if (relation < FirstNormalObjectId || !OidIsValid(extension_oid()))
		return INTERNAL_NONE;
	for (int i = 0; i < own_table_count; i++)
		if (own_tables[i].relation == relation)
			return own_tables[i].tables;
	return INTERNAL_NONE;
}

bool
internal_some_table(InternalTables tables, bool (*is_so)(Oid relation))
{
	if (!OidIsValid(extension_oid()))
		return false;
	for (int i = 0; i < own_table_count; i++)
		if (own_tables[i].tables == tables && is_so(own_tables[i].relation))
			return true;
	return false;
}

static InternalTables
sort_of_table(Oid relation)
{
	static const char *const ledger_tables[] = {
		"tile",		  "head",	  "log",		 "segment",	 "image_entry",
		"checkpoint", "verifier", "cosignature", "activity", "traced"};
	const char *name = get_rel_name(relation);

	/* entry_00 and its like; of the policy's tables none begins so */
	if (name != NULL && strncmp(name, "entry_", strlen("entry_")) == 0)
		return INTERNAL_LEDGER;
	for (int i = 0; i < (int) lengthof(ledger_tables); i++)
		if (name != NULL && strcmp(name, ledger_tables[i]) == 0)
			return INTERNAL_LEDGER;
	return INTERNAL_POLICY;
}

/* Lists the extension's tables, by membership: a name or schema can be changed. */
static void
own_tables_look_up(Oid extension)
{
	Relation catalog = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	own_table_count = 0;
	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ExtensionRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(catalog, DependReferenceIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend member = (Form_pg_depend) GETSTRUCT(tuple);

		if (member->deptype != DEPENDENCY_EXTENSION || member->classid != RelationRelationId ||
			get_rel_relkind(member->objid) != RELKIND_RELATION)
			continue;
		if (own_table_count == OWN_TABLES_MAX)
			elog(ERROR, "biometric_audit has more tables than it knows of");
		own_tables[own_table_count].relation = member->objid;
		own_tables[own_table_count++].tables = sort_of_table(member->objid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/* Fills the cache from pg_extension. */
static void
extension_look_up(void)
{
	uint64 before = cache_invalidations;
	Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid oid = InvalidOid;
	TransactionId creator = InvalidTransactionId;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		oid = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		creator = HeapTupleHeaderGetXmin(tuple->t_data);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	if (OidIsValid(oid))
		own_tables_look_up(oid);
	cached_oid = oid;
	cached_creator = creator;
	/* what changed while we looked is looked up again */
	cache_valid = before == cache_invalidations;
}

Oid
extension_oid(void)
{
	if (!cache_valid)
	{
		if (!IsTransactionState() || !OidIsValid(MyDatabaseId))
			return InvalidOid;
		extension_look_up();
	}
	return cached_oid;
}

void
extension_forget(void)
{
	cache_valid = false;
	cache_invalidations++;
}

bool
extension_may_be_here(void)
{
	return OidIsValid(MyDatabaseId) && (!cache_valid || OidIsValid(cached_oid));
}

bool
extension_created_here(void)
{
	return OidIsValid(extension_oid()) && TransactionIdIsNormal(cached_creator) &&
		   TransactionIdIsCurrentTransactionId(cached_creator);
}

Oid
extension_relation(const char *name)
{
	Oid schema;
	Oid relation;

	if (!OidIsValid(extension_oid()))
		return InvalidOid;
	schema = get_namespace_oid(EXTENSION_SCHEMA, true);
	relation = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
	/* what merely has the name is somebody else's, and guarded by nobody */
	return internal_tables_of(relation) != INTERNAL_NONE ? relation : InvalidOid;
}

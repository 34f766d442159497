/*
 * internal.c - whether the running statement is our own, and where the
 * extension's objects are.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
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

static int write_depth = 0;

/*
 * pg_extension has no syscache and sends no invalidation. Creating and
 * dropping the extension creates and drops types, which do, so that a change
 * of any type empties this.
 */
static bool cache_valid = false;
static Oid cached_oid = InvalidOid;
static TransactionId cached_creator = InvalidTransactionId;

static void
internal_end_of_transaction(XactEvent event, void *arg)
{
	write_depth = 0;
}

/* A stretch that an error ended inside of a subtransaction must not outlive it. */
static void
internal_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							   void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		write_depth = 0;
}

static void
internal_types_changed(Datum arg, int cache, uint32 hash)
{
	cache_valid = false;
}

void
internal_init(void)
{
	RegisterXactCallback(internal_end_of_transaction, NULL);
	RegisterSubXactCallback(internal_end_of_subtransaction, NULL);
	CacheRegisterSyscacheCallback(TYPEOID, internal_types_changed, (Datum) 0);
}

void
internal_write_begin(void)
{
	write_depth++;
}

void
internal_write_end(void)
{
	if (write_depth > 0)
		write_depth--;
}

bool
internal_write_active(void)
{
	return write_depth > 0;
}

/* Fills the cache from pg_extension. */
static void
extension_look_up(void)
{
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
	cached_oid = oid;
	cached_creator = creator;
	cache_valid = true;
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

	if (!OidIsValid(extension_oid()))
		return InvalidOid;
	schema = get_namespace_oid(EXTENSION_SCHEMA, true);
	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

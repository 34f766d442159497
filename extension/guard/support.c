/*
 * support.c - functions that run without being called by a query: support
 * functions of indexes, and those of operators.
 *
 * Indexes, sorts and estimates call them past the check of function calls, so
 * they are looked at where a function gets such a place; and, since that may
 * have been before lockdown, once more while lockdown is on. The latter looks
 * at all of a database's own operators and families, once until these change.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"

static bool looked = false;	   /* found is what is there */
static Oid found = InvalidOid; /* the first function that reaches files */
static bool registered = false;

static void
support_changed(Datum arg, int cache, uint32 hash)
{
	looked = false;
}

static bool
reaches_files(Oid function)
{
	GuardRule rule;

	return OidIsValid(function) && guard_lockdown_forbids_function(function, &rule);
}

/* A catalog's column of functions, for objects that are not initdb's: those do not change. */
static Oid
find_in(Oid class_id, AttrNumber oid_column, AttrNumber function_column)
{
	Relation catalog = table_open(class_id, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	Oid result = InvalidOid;

	while (!OidIsValid(result) && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		TupleDesc desc = RelationGetDescr(catalog);
		bool isnull;
		Oid object = DatumGetObjectId(heap_getattr(tuple, oid_column, desc, &isnull));
		Oid function = DatumGetObjectId(heap_getattr(tuple, function_column, desc, &isnull));

		if (object >= FirstNormalObjectId && reaches_files(function))
			result = function;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

Oid
guard_support_function(void)
{
	Oid function;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(AMPROCNUM, support_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(OPEROID, support_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, support_changed, (Datum) 0);
		registered = true;
	}
	if (looked)
		return found;
	looked = true; /* what changes while this looks makes the next one look again */
	found = InvalidOid;
	function = find_in(AccessMethodProcedureRelationId, Anum_pg_amproc_oid, Anum_pg_amproc_amproc);
	if (!OidIsValid(function))
		function = find_in(OperatorRelationId, Anum_pg_operator_oid, Anum_pg_operator_oprcode);
	found = function;
	return found;
}

/* The function that an object that was just made runs; InvalidOid for other objects. */
static Oid
function_of(Oid class_id, Oid object_id)
{
	HeapTuple tuple;
	Oid function = InvalidOid;

	if (class_id != AccessMethodProcedureRelationId && class_id != AccessMethodOperatorRelationId &&
		class_id != OperatorRelationId)
		return InvalidOid;
	tuple = guard_new_row(class_id, object_id);
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	if (class_id == AccessMethodProcedureRelationId)
		function = ((Form_pg_amproc) GETSTRUCT(tuple))->amproc;
	else if (class_id == OperatorRelationId)
		function = ((Form_pg_operator) GETSTRUCT(tuple))->oprcode;
	else
		function = get_opcode(((Form_pg_amop) GETSTRUCT(tuple))->amopopr);
	heap_freetuple(tuple);
	return function;
}

void
guard_support_check_new(Oid class_id, Oid object_id)
{
	Oid function = function_of(class_id, object_id);
	GuardRule rule;

	if (OidIsValid(function) && guard_lockdown_forbids_function(function, &rule))
		guard_refuse_command(rule, guard_command_name(),
							 psprintf("function %s", get_func_name(function)));
}

/*
 * access.c - objects that are made, changed or dropped by whatever command.
 *
 * What ddl.c finds by the words of a command, before any lock is taken, is
 * found here by what happens: the second line, which no name can mislead.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_event_trigger.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "guard/ddl.h"
#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"
#include "image/image.h"
#include "ledger/database.h"

#define LIBRARY_NAME "biometric_audit"
#define OWN_SCHEMA "biometric"

pg_noreturn static void
refuse_object(GuardRule rule, Oid class_id, Oid object_id)
{
	guard_refuse_command(rule, guard_command_name(), guard_describe(class_id, object_id));
}

/* Rebuilding indexes and tables leaves them as they are; ddl.c says when it may be done. */
static bool
is_maintenance(void)
{
	const GuardCommand *command = guard_command_current();

	if (command == NULL)
		return false;
	return command->tag == T_ReindexStmt || command->tag == T_ClusterStmt ||
		   command->tag == T_VacuumStmt;
}

static bool
is_catalog(Oid class_id, Oid object_id)
{
	Oid relation =
		class_id == RelationRelationId ? object_id : guard_relation_of(class_id, object_id);

	return OidIsValid(relation) && IsCatalogRelationOid(relation);
}

/*
 * Asked again at the first object that goes, before any is gone: by now the
 * command has all its locks, and what it was let pass for may have ended while
 * it waited for them.
 */
static void
confirm_drop(GuardCommand *command)
{
	if (command->drop_confirmed)
		return;
	if (!ledger_may_drop())
		refuse_object(GUARD_EXTENSION, ExtensionRelationId, extension_oid());
	command->drop_confirmed = true;
}

static void
check_drop(Oid class_id, Oid object_id, const ObjectAccessDrop *drop)
{
	GuardCommand *command = guard_command_current();

	if (command != NULL && command->may_drop)
	{
		confirm_drop(command);
		return;
	}
	if (drop != NULL && (drop->dropflags & PERFORM_DELETION_INTERNAL) != 0 &&
		class_id != ExtensionRelationId)
		return;
	if (class_id == ExtensionRelationId && object_id == extension_oid())
		refuse_object(GUARD_EXTENSION, class_id, object_id);
	if (guard_protects(class_id, object_id))
		refuse_object(GUARD_MEMBER, class_id, object_id);
	/* with their table or column they go, by themselves they do not */
	if (class_id == TriggerRelationId && command != NULL && command->drops_triggers &&
		guard_is_attached_trigger(object_id))
		refuse_object(GUARD_TRIGGER, class_id, object_id);
	if (is_catalog(class_id, object_id))
		refuse_object(GUARD_CATALOG, class_id, object_id);
}

/*
 * What is found by name in pg_catalog is trusted, by the extension's own statements
 * too: nobody may put a better match beside it. Other extensions' scripts may.
 */
static void
refuse_in_catalog_schema(Oid schema, const char *what, const char *name)
{
	if (schema == PG_CATALOG_NAMESPACE && !creating_extension)
		guard_refuse_command(GUARD_CATALOG, guard_command_name(),
							 psprintf("%s pg_catalog.%s", what, name));
}

/*
 * A function that takes an int4 is a better match for leaf(17) than leaf(int8): nobody may put
 * one beside the extension's own, nor into pg_catalog, by making or by moving it.
 */
static void
check_function_schema(HeapTuple function)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(function);

	refuse_in_catalog_schema(form->pronamespace, "function", NameStr(form->proname));
	if (form->pronamespace == get_namespace_oid(OWN_SCHEMA, true))
		guard_refuse_command(GUARD_SHADOW, guard_command_name(),
							 psprintf("function " OWN_SCHEMA ".%s", NameStr(form->proname)));
}

static void
check_operator_schema(Oid operator)
{
	HeapTuple tuple = guard_new_row(OperatorRelationId, operator);

	if (!HeapTupleIsValid(tuple))
		return;
	refuse_in_catalog_schema(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace, "operator",
							 NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname));
	heap_freetuple(tuple);
}

/* A function or operator that was moved or renamed. */
static void
check_moved(Oid class_id, Oid object_id)
{
	HeapTuple function;

	if (class_id == OperatorRelationId)
		check_operator_schema(object_id);
	else if (class_id == ProcedureRelationId)
	{
		function = guard_new_row(ProcedureRelationId, object_id);
		if (HeapTupleIsValid(function))
			check_function_schema(function);
	}
}

static void
check_alter(Oid class_id, Oid object_id, const ObjectAccessPostAlter *alter)
{
	const GuardCommand *command = guard_command_current();

	if (class_id == InheritsRelationId)
	{
		if (guard_protects_relation(object_id))
			refuse_object(GUARD_HANG, RelationRelationId, object_id);
		if (alter != NULL && (guard_protects_relation(alter->auxiliary_id) ||
							  IsCatalogRelationOid(alter->auxiliary_id)))
			refuse_object(GUARD_HANG, RelationRelationId, alter->auxiliary_id);
		return;
	}
	if (alter != NULL && alter->is_internal)
		return;
	if (class_id == ExtensionRelationId && command != NULL && command->tag == T_AlterExtensionStmt)
		return;
	if ((class_id == RelationRelationId || class_id == IndexRelationId) && is_maintenance())
		return;
	if (class_id == TriggerRelationId && guard_is_attached_trigger(object_id))
		refuse_object(GUARD_TRIGGER, class_id, object_id);
	if (guard_protects(class_id, object_id))
		refuse_object(GUARD_MEMBER, class_id, object_id);
	if ((class_id == ProcedureRelationId || class_id == OperatorRelationId) &&
		object_id < FirstNormalObjectId)
		refuse_object(GUARD_CATALOG, class_id, object_id);
	if (is_catalog(class_id, object_id))
		refuse_object(GUARD_CATALOG, class_id, object_id);
	check_moved(class_id, object_id);
}

/* Whether a file name is this library's: in any directory, with suffix or without. */
static bool
is_own_library(const char *file)
{
	const char *slash = strrchr(file, '/');
	const char *base = slash ? slash + 1 : file;
	size_t length = strlen(LIBRARY_NAME);

	return strncmp(base, LIBRARY_NAME, length) == 0 &&
		   (base[length] == '\0' || base[length] == '.');
}

static void
check_new_function(Oid function)
{
	HeapTuple tuple;
	Relation catalog;
	Datum file;
	bool isnull;

	/* it was there before: CREATE OR REPLACE */
	if (guard_is_member(ProcedureRelationId, function))
		refuse_object(GUARD_MEMBER, ProcedureRelationId, function);
	tuple = guard_new_row(ProcedureRelationId, function);
	if (!HeapTupleIsValid(tuple))
		return;
	check_function_schema(tuple);
	catalog = table_open(ProcedureRelationId, AccessShareLock);
	file = heap_getattr(tuple, Anum_pg_proc_probin, RelationGetDescr(catalog), &isnull);
	if (!isnull && is_own_library(TextDatumGetCString(file)))
		guard_refuse_command(
			GUARD_SYMBOL, guard_command_name(),
			psprintf("function %s", NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname)));
	table_close(catalog, AccessShareLock);
	heap_freetuple(tuple);
}

static void
check_new_cast(Oid cast)
{
	HeapTuple tuple = guard_new_row(CastRelationId, cast);
	Form_pg_cast form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_cast) GETSTRUCT(tuple);
	if (form->castmethod == COERCION_METHOD_BINARY &&
		(image_type_kinds(form->castsource) != 0 || image_type_kinds(form->casttarget) != 0))
		guard_refuse_command(GUARD_CAST, guard_command_name(),
							 psprintf("cast from %s to %s", format_type_be(form->castsource),
									  format_type_be(form->casttarget)));
	heap_freetuple(tuple);
}

static void
check_create(Oid class_id, Oid object_id, int sub_id)
{
	switch (class_id)
	{
		case ProcedureRelationId:
			check_new_function(object_id);
			return;
		case OperatorRelationId:
			check_operator_schema(object_id);
			break;
		case CastRelationId:
			check_new_cast(object_id);
			return;
		case RelationRelationId:
			if (is_maintenance())
				return;
			break;
		case TriggerRelationId:
			if (guard_is_attached_trigger(object_id))
				refuse_object(GUARD_TRIGGER, class_id, object_id);
			break;
		default:
			break; /* looked at like all others */
	}
	if (guard_protects(class_id, object_id))
		refuse_object(GUARD_HANG, class_id, object_id);
	/* a relation that is made may be a catalog's index; a column has a catalog before it */
	if (is_catalog(class_id, object_id) ||
		(class_id == RelationRelationId && sub_id == 0 && is_catalog(IndexRelationId, object_id)))
		refuse_object(GUARD_CATALOG, class_id, object_id);
}

/* Whether an enabled event trigger could run code of somebody's inside a script of ours. */
static char *
foreign_event_trigger(void)
{
	/* none is made or enabled before the script has ended */
	Relation catalog = table_open(EventTriggerRelationId, ShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	char *name = NULL;

	while (name == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_event_trigger form = (Form_pg_event_trigger) GETSTRUCT(tuple);
		HeapTuple function;

		if (form->evtenabled == TRIGGER_DISABLED || strcmp(NameStr(form->evtevent), "login") == 0)
			continue;
		function = SearchSysCache1(PROCOID, ObjectIdGetDatum(form->evtfoid));
		if (!HeapTupleIsValid(function) ||
			(((Form_pg_proc) GETSTRUCT(function))->prolang != ClanguageId &&
			 ((Form_pg_proc) GETSTRUCT(function))->prolang != INTERNALlanguageId))
			name = pstrdup(NameStr(form->evtname));
		if (HeapTupleIsValid(function))
			ReleaseSysCache(function);
	}
	systable_endscan(scan);
	table_close(catalog, NoLock);
	return name;
}

/* A script of ours is about to run, and what runs in it is not looked at. */
static void
check_script(Oid extension)
{
	HeapTuple tuple = guard_new_row(ExtensionRelationId, extension);
	char *name;

	if (!HeapTupleIsValid(tuple) ||
		strcmp(NameStr(((Form_pg_extension) GETSTRUCT(tuple))->extname), LIBRARY_NAME) != 0)
		return;
	name = foreign_event_trigger();
	if (name == NULL)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("%s is refused while event trigger \"%s\" is enabled", guard_command_name(), name),
		 errdetail("Its function would run inside the scripts of biometric_audit, which may "
				   "change what nobody else may."),
		 errhint("Run ALTER EVENT TRIGGER %s DISABLE, and ENABLE it afterwards.",
				 quote_identifier(name))));
}

/* What is looked at even in a script of our own, and in databases without the extension. */
static void
check_everywhere(ObjectAccessType access, Oid class_id, Oid object_id)
{
	if (access == OAT_TRUNCATE)
	{
		if (OidIsValid(extension_oid()) && guard_protects_relation(object_id))
			refuse_object(GUARD_WRITE, class_id, object_id);
		if (is_catalog(class_id, object_id) && guard_keeps_catalog(object_id))
			refuse_object(GUARD_CATALOG, class_id, object_id);
	}
	else if (class_id == ExtensionRelationId && access != OAT_DROP)
		check_script(object_id);
	else if (access == OAT_POST_CREATE)
	{
		guard_support_check_new(class_id, object_id);
		if (class_id == ProcedureRelationId)
			guard_lockdown_check_new_function(object_id);
	}
}

void
guard_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (access != OAT_POST_CREATE && access != OAT_POST_ALTER && access != OAT_DROP &&
		access != OAT_TRUNCATE)
		return; /* searching a schema and calling a function change nothing */
	if (IsBinaryUpgrade || internal_ddl() || !OidIsValid(MyDatabaseId) || !IsTransactionState())
		return;
	check_everywhere(access, class_id, object_id);
	if (guard_in_own_script() || !OidIsValid(extension_oid()))
		return;
	if (access == OAT_DROP)
		check_drop(class_id, object_id, (const ObjectAccessDrop *) arg);
	else if (access == OAT_POST_ALTER)
		check_alter(class_id, object_id, (const ObjectAccessPostAlter *) arg);
	else if (access == OAT_POST_CREATE)
		check_create(class_id, object_id, sub_id);
}

/*
 * install.c - gives tables with images their triggers, and takes them away.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "home/relations.h"
#include "image/image.h"
#include "trigger/attach.h"

typedef struct TriggerKind
{
	char *name;
	char *function;
	int16 type; /* as pg_trigger.tgtype */
} TriggerKind;

static const TriggerKind trigger_kinds[] = {
	{"~biometric_bind", "bind_trigger",
	 TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE},
	{"biometric_record", "record_trigger",
	 TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE},
	{"biometric_truncate", "truncate_trigger", TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE},
};

/*
 * REFRESH CONCURRENTLY compares rows in a temporary table of whole rows, whose
 * images are bound to the view already.
 */
static bool
holds_rows_to_compare(Relation relation, Oid type)
{
	Oid transient;
	Oid view = receiver_refreshing(&transient);

	/* which of the two differs between minor releases */
	return OidIsValid(view) && relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP &&
		   (type == get_rel_type_id(view) || type == get_rel_type_id(transient));
}

static void
refuse_container(Relation relation, const char *column)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		 errmsg("column \"%s\" of relation \"%s\" cannot hold images inside of another type",
				column, RelationGetRelationName(relation)),
		 errdetail("Images inside of arrays, composite types and ranges can be neither bound to "
				   "a column nor put on record, so tables and materialized views must not "
				   "have such columns."),
		 errhint("Give the image a column of its own, in a table of its own if there are "
				 "several.")));
}

static void
refuse_generated(Relation relation, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("column \"%s\" of relation \"%s\" is an image and cannot be generated", column,
					RelationGetRelationName(relation)),
			 errdetail("Generated columns are computed after triggers have bound a row's images."),
			 errhint("Use an ordinary column, filled by a BEFORE trigger or by the application.")));
}

void
install_check_columns(Relation relation)
{
	TupleDesc descriptor = RelationGetDescr(relation);

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (attribute->attisdropped || image_type_kinds(attribute->atttypid) == 0)
			continue;
		if (image_type_kind(attribute->atttypid) == IMAGE_KIND_NONE)
		{
			if (!holds_rows_to_compare(relation, attribute->atttypid))
				refuse_container(relation, NameStr(attribute->attname));
		}
		else if (attribute->attgenerated != '\0')
			refuse_generated(relation, NameStr(attribute->attname));
	}
}

/* A function of ours, by name and membership. */
static Oid
install_function(const TriggerKind *kind)
{
	List *name = list_make2(makeString("biometric"), makeString(kind->function));
	Oid function = LookupFuncName(name, 0, NULL, true);

	if (!OidIsValid(function) ||
		getExtensionOfObject(ProcedureRelationId, function) != extension_oid())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function biometric.%s() is not there", kind->function),
				 errdetail("Tables with images need triggers that call it."),
				 errhint("Update the extension by ALTER EXTENSION biometric_audit UPDATE.")));
	return function;
}

/*
 * Internal triggers are neither dumped nor cloned to partitions, and need no
 * privilege of whoever makes the table.
 */
static void
install_one(Oid relation, const TriggerKind *kind)
{
	CreateTrigStmt *statement = makeNode(CreateTrigStmt);

	statement->trigname = kind->name;
	statement->funcname = list_make2(makeString("biometric"), makeString(kind->function));
	statement->row = TRIGGER_FOR_ROW(kind->type);
	statement->timing = kind->type & TRIGGER_TYPE_TIMING_MASK;
	statement->events = kind->type & TRIGGER_TYPE_EVENT_MASK;
	CreateTriggerFiringOn(statement, NULL, relation, InvalidOid, InvalidOid, InvalidOid,
						  install_function(kind), InvalidOid, NULL, true, false,
						  TRIGGER_FIRES_ALWAYS);
}

/* The OIDs of those triggers of a table that are ours, whatever became of them. */
static List *
installed_triggers(Oid relation)
{
	Relation catalog = table_open(TriggerRelationId, AccessShareLock);
	List *found = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(catalog, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger trigger = (Form_pg_trigger) GETSTRUCT(tuple);

		if (trigger->tgisinternal &&
			getExtensionOfObject(ProcedureRelationId, trigger->tgfoid) == extension_oid())
			found = lappend_oid(found, trigger->oid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

static void
uninstall(Oid relation)
{
	List *found = installed_triggers(relation);
	ListCell *cell;

	foreach(cell, found)
	{
		ObjectAddress trigger = {TriggerRelationId, lfirst_oid(cell), 0};

		performDeletion(&trigger, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	}
	list_free(found);
}

bool
install_triggers(Oid relation)
{
	bool images = relation_images(relation)->columns > 0;

	if (images && relation_has_triggers(relation))
		return false;
	internal_ddl_begin();
	uninstall(relation);
	for (int i = 0; images && i < (int) lengthof(trigger_kinds); i++)
		install_one(relation, &trigger_kinds[i]);
	internal_ddl_end();
	CommandCounterIncrement();
	return images;
}

/*
 * adopt.c - the SQL functions by which tables and images come under guard
 * after the fact.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "base/roles.h"
#include "home/relations.h"
#include "image/image.h"
#include "policy/proposal.h"
#include "trigger/attach.h"

PG_FUNCTION_INFO_V1(biometric_adopt);
PG_FUNCTION_INFO_V1(biometric_attach_triggers);

static void
adopt_refuse_role(const char *what, const char *rule, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("role \"%s\" may not %s", GetUserNameFromId(GetUserId(), false), what),
					errdetail_internal("%s", rule), errhint("%s", hint)));
}

List *
adopt_tables(Oid relation)
{
	List *tables = NIL;
	List *all;
	ListCell *cell;

	LockRelationOid(relation, ShareRowExclusiveLock);
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_MATVIEW:
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s\" is a materialized view", get_rel_name(relation)),
							errdetail("Its images are copies, bound whenever it is refreshed, as "
									  "far as they may be; it has no triggers."),
							errhint("Adopt the images of the tables that it reads, then run "
									"REFRESH MATERIALIZED VIEW.")));
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("relation with OID %u is not a table", relation),
							errdetail("Only tables have triggers and images of their own."),
							errhint("Name a table.")));
	}
	all = find_all_inheritors(relation, ShareRowExclusiveLock, NULL);
	foreach(cell, all)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
			tables = lappend_oid(tables, lfirst_oid(cell));
	return tables;
}

/* Attaches triggers to a table with images that lacks them; 1 if it did. */
static int
attach_table(Oid table)
{
	const Sweep all = {0};
	Relation relation;

	if (relation_images(table)->kinds == 0)
		return 0;
	relation = table_open(table, NoLock);
	install_check_columns(relation);
	table_close(relation, NoLock);
	if (!install_triggers(table))
		return 0;
	(void) sweep_rows(table, &all);
	return 1;
}

/* The OIDs of tables with image columns, found without locking any table. */
static List *
attach_candidates(void)
{
	Relation catalog = table_open(AttributeRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	List *tables = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_attribute attribute = (Form_pg_attribute) GETSTRUCT(tuple);

		if (!attribute->attisdropped && image_type_kinds(attribute->atttypid) != 0 &&
			get_rel_relkind(attribute->attrelid) == RELKIND_RELATION)
			tables = list_append_unique_oid(tables, attribute->attrelid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return tables;
}

static int
attach_everywhere(void)
{
	List *tables = attach_candidates();
	int attached = 0;
	ListCell *cell;

	foreach(cell, tables)
	{
		Oid table = lfirst_oid(cell);

		/* other sessions' temporary tables are theirs to write to, and to attach to */
		if (get_rel_persistence(table) == RELPERSISTENCE_TEMP &&
			!isTempOrTempToastNamespace(get_rel_namespace(table)))
			continue;
		LockRelationOid(table, AccessShareLock);
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(table)) ||
			relation_images(table)->guarded)
			continue;
		LockRelationOid(table, ShareRowExclusiveLock);
		attached += attach_table(table);
	}
	return attached;
}

PGDLLEXPORT Datum
biometric_attach_triggers(PG_FUNCTION_ARGS)
{
	bool custodian = superuser() || role_is_custodian(GetUserId());
	int attached = 0;
	ListCell *cell;
	List *tables;

	PreventCommandIfReadOnly("biometric.attach_triggers()");
	if (PG_ARGISNULL(0))
	{
		if (!custodian)
			adopt_refuse_role("attach triggers to all tables",
							  "Superusers and members of biometric_custodian may.",
							  "Name a table of your own.");
		PG_RETURN_INT32(attach_everywhere());
	}
	if (!custodian && !relation_owner_check(PG_GETARG_OID(0), GetUserId()))
		adopt_refuse_role("attach triggers to a table of somebody else",
						  "Its owner, superusers and members of biometric_custodian may.",
						  "Ask the table's owner to call biometric.attach_triggers().");
	tables = adopt_tables(PG_GETARG_OID(0));
	foreach(cell, tables)
		attached += attach_table(lfirst_oid(cell));
	PG_RETURN_INT32(attached);
}

/* Adopts one column of one table; returns the number of images. */
static uint64
adopt_column(Oid table, const char *column)
{
	Sweep sweep = {.adopt = true};

	sweep.attributes = bms_make_singleton(image_column(table, column));
	return sweep_rows(table, &sweep);
}

/* What two persons have agreed on goes on record by itself, besides the images. */
static void
adopt_note(Oid relation, const char *column, uint64 images)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"action\": \"adopt\", \"relation\": ");
	escape_json(&detail, quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
													get_rel_name(relation)));
	appendStringInfoString(&detail, ", \"column\": ");
	escape_json(&detail, column);
	appendStringInfo(&detail, ", \"attribute\": %d, \"images\": %llu}",
					 get_attnum(relation, column), (unsigned long long) images);
	proposal_note(detail.data);
}

PGDLLEXPORT Datum
biometric_adopt(PG_FUNCTION_ARGS)
{
	const char *column = NameStr(*PG_GETARG_NAME(1));
	uint64 adopted = 0;
	ListCell *cell;
	List *tables;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_NULL();
	}
	PreventCommandIfReadOnly("biometric.adopt()");
	if (!role_is_custodian(GetUserId()))
		adopt_refuse_role("adopt images",
						  "Whoever adopts images vouches for where they come from: members of "
						  "biometric_custodian only, not superusers as such.",
						  "Ask a custodian, or have biometric_custodian granted to the role.");
	tables = adopt_tables(PG_GETARG_OID(0));
	foreach(cell, tables)
	{
		(void) attach_table(lfirst_oid(cell));
		adopted += adopt_column(lfirst_oid(cell), column);
	}
	adopt_note(PG_GETARG_OID(0), column, adopted);
	PG_RETURN_INT64((int64) adopted);
}

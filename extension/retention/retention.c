/*
 * retention.c - retain(): declares, replaces and ends the period of a column.
 */
#include "base/compat.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "image/image.h"
#include "keys/binding.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/proposal.h"
#include "retention/purge.h"
#include "retention/rules.h"

PG_FUNCTION_INFO_V1(biometric_retain);
PG_FUNCTION_INFO_V1(biometric_end_past_retention);

/* The arguments of retain(), by number. */
enum
{
	ARG_RELATION,
	ARG_COLUMN,
	ARG_PERIOD,
	ARG_ON_EXPIRY,
	ARG_TIME_COLUMN,
	ARG_REASON
};

/* What is to be declared. */
typedef struct Declaration
{
	Oid relation;
	const char *column;
	AttrNumber attribute;
	List *tables; /* OIDs of the relation and its heirs, locked, as far as they hold rows */
	Interval *period;
	char *on_expiry;
	const char *time_column; /* NULL: none */
	AttrNumber time;
	bool prepared; /* no row needs to be stamped */
	char *reason;  /* NULL: none */
} Declaration;

void
retention_init(void)
{
	rules_past_init();
	purge_init();
}

static void
refuse_argument(const char *name, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" cannot be used: %s", name, problem), errhint("%s", hint)));
}

/* ---- the arguments ---- */

static void
check_relation(Oid relation)
{
	char kind = get_rel_relkind(relation);

	if (kind == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("there is no relation with OID %u", relation),
						errhint("Name a table with images.")));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", get_rel_name(relation)),
				 errdetail("A materialized view has copies, which go by the period of the column "
						   "that they come from; other relations hold no images."),
				 errhint("Name the table that the images are stored in.")));
	if (get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a temporary table", get_rel_name(relation)),
				 errdetail("No other process can purge it, and it is dropped with its session."),
				 errhint("Name the table that the images come from.")));
}

/* Within bounds that every time in the past can be added to. */
static Interval *
check_period(Interval *period)
{
	bool negative = period->month < 0 || period->day < 0 || period->time < 0;
	bool long_one = period->month > RETENTION_MAX_YEARS * MONTHS_PER_YEAR ||
					period->day > RETENTION_MAX_YEARS * 366 ||
					period->time > RETENTION_MAX_YEARS * 366 * USECS_PER_DAY;

	if (negative || (period->month == 0 && period->day == 0 && period->time == 0))
		refuse_argument("period", "it is not longer than nothing, or has parts that are negative",
						"Give a period such as '30 days' or '5 years'; NULL ends retention.");
	if (long_one)
		refuse_argument("period", "it is longer than 1000 years",
						"Without a period images are kept until somebody erases them.");
	return period;
}

static char *
expiry_argument(FunctionCallInfo fcinfo)
{
	char *name =
		PG_ARGISNULL(ARG_ON_EXPIRY) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(ARG_ON_EXPIRY));

	if (name != NULL &&
		(strcmp(name, "erase") == 0 || strcmp(name, "delete") == 0 || strcmp(name, "shred") == 0))
		return name;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 name ? errmsg("images cannot be purged by \"%s\"", name)
			  : errmsg("argument \"on_expiry\" cannot be used: it is NULL"),
		 errhint("Use erase (the image becomes NULL), delete (its row goes) or shred (the key of "
				 "its key_period is shredded).")));
	return NULL;
}

/* Its value must be there when the BEFORE ROW trigger sees the row. */
static AttrNumber
time_argument(Oid relation, const char *name)
{
	HeapTuple tuple = SearchSysCacheAttName(relation, name);
	Form_pg_attribute attribute;
	AttrNumber number;
	bool generated;
	Oid type;

	if (!HeapTupleIsValid(tuple) || ((Form_pg_attribute) GETSTRUCT(tuple))->attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of table \"%s\" does not exist", name,
							   get_rel_name(relation)),
						errhint("Name a column of the table itself.")));
	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	number = attribute->attnum;
	generated = attribute->attgenerated != '\0';
	type = getBaseType(attribute->atttypid);
	ReleaseSysCache(tuple);
	if (type != DATEOID && type != TIMESTAMPOID && type != TIMESTAMPTZOID)
		refuse_argument("time_column", "it holds no time",
						"Name a column of type date, timestamp or timestamptz.");
	if (generated)
		refuse_argument("time_column",
						"it is a generated column, computed after the image is bound",
						"Name the column that it is generated from.");
	return number;
}

/* Whether a column can never be NULL, in a table or any heir of it. */
static bool
column_not_null(const List *tables, const char *column)
{
	ListCell *cell;

	foreach(cell, tables)
	{
		HeapTuple tuple = SearchSysCacheAttName(lfirst_oid(cell), column);
		bool refuses;

		if (!HeapTupleIsValid(tuple))
			continue;
		refuses = ((Form_pg_attribute) GETSTRUCT(tuple))->attnotnull;
		ReleaseSysCache(tuple);
		if (refuses)
			return true;
	}
	return false;
}

static void
check_expiry(const Declaration *declaration)
{
	if (strcmp(declaration->on_expiry, "erase") == 0 &&
		column_not_null(declaration->tables, declaration->column))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("images of column \"%s\" of table \"%s\" cannot be erased",
						declaration->column, get_rel_name(declaration->relation)),
				 errdetail("Erasing makes them NULL, and the column, there or in an heir, is NOT "
						   "NULL."),
				 errhint("Use delete, or take NOT NULL from the column.")));
	if (strcmp(declaration->on_expiry, "shred") == 0 &&
		binding_find(binding_read_all(), relation_lineage(declaration->relation),
					 declaration->column) == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("images of column \"%s\" of table \"%s\" cannot be shredded",
					declaration->column, get_rel_name(declaration->relation)),
			 errdetail("They are sealed under a key that images of other columns and times have, "
					   "too."),
			 errhint("Call biometric.key_period() for the column first, and "
					 "biometric.reseal() for the images that are there.")));
}

/* ---- the tables ---- */

/*
 * Keeps others from writing until the rule is committed, so that whoever writes afterwards stamps
 * by it. Fills in what holds rows or may come to.
 */
static List *
lock_tables(Oid relation)
{
	LockRelationOid(relation, ShareRowExclusiveLock);
	return find_all_inheritors(relation, ShareRowExclusiveLock, NULL);
}

static bool
table_has_rows(Oid oid)
{
	Relation relation = table_open(oid, NoLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(relation, NULL);
	TableScanDesc scan = table_beginscan(relation, snapshot, 0, NULL);
	bool any = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return any;
}

static bool
any_has_rows(const List *tables)
{
	ListCell *cell;

	foreach(cell, tables)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION &&
			table_has_rows(lfirst_oid(cell)))
			return true;
	return false;
}

/* Whether the images are stamped with this very column already, by the rule that is replaced. */
static bool
stamped_before(const Declaration *declaration)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(declaration->relation), false);
	change_add(&arguments, INT2OID, Int16GetDatum(declaration->attribute), false);
	change_add(&arguments, INT2OID, Int16GetDatum(declaration->time), false);
	return change_execute("SELECT FROM ONLY biometric.retention AS r "
						  "JOIN ONLY biometric.log AS l ON l.log_id = r.log_id "
						  "WHERE l.ordinal IS NOT NULL AND r.relation = $1 AND r.attnum = $2 "
						  "AND r.time_attnum = $3 AND r.stamped_at IS NOT NULL",
						  &arguments) > 0;
}

/* ---- the change ---- */

/* Deletes the rule that is there; tells whether there was one, and since when it was in force. */
static bool
delete_rule(const Declaration *declaration, TimestampTz *in_force_at, bool *in_force)
{
	ChangeArguments arguments = {0};
	bool isnull = true;
	bool found;

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(declaration->relation), false);
	change_add(&arguments, INT2OID, Int16GetDatum(declaration->attribute), false);
	found =
		change_execute("DELETE FROM ONLY biometric.retention AS r USING ONLY biometric.log AS l "
					   "WHERE l.log_id = r.log_id AND l.ordinal IS NOT NULL "
					   "AND r.relation = $1 AND r.attnum = $2 RETURNING r.in_force_at",
					   &arguments) > 0;
	*in_force_at = 0;
	if (found)
		*in_force_at = DatumGetTimestampTz(
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	*in_force = !isnull;
	return found;
}

/* By number, too: columns may have changed their names since the change was proposed. */
static void
record_end(const PolicyChange *change, const Declaration *declaration)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(declaration->relation), false);
	change_add_text(&arguments, declaration->column);
	change_add_text(&arguments, declaration->reason);
	change_add(&arguments, INT2OID, Int16GetDatum(declaration->attribute), false);
	change_execute("SELECT jsonb_strip_nulls(jsonb_build_object('action', 'retain', "
				   "'relation', $1::text, 'column', $2, 'attnum', $4, 'ended', true, "
				   "'reason', $3))::text",
				   &arguments);
	change_record(change, change_result(1), 0);
}

static Datum
name_datum(const char *text)
{
	Name name = palloc0(sizeof(NameData));

	namestrcpy(name, text);
	return NameGetDatum(name);
}

static void
insert_rule(const PolicyChange *change, const Declaration *declaration, TimestampTz in_force_at,
			bool in_force)
{
	ChangeArguments arguments = {0};
	bool timeless = declaration->time_column == NULL;

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(declaration->relation), false);
	change_add(&arguments, INT2OID, Int16GetDatum(declaration->attribute), false);
	change_add(&arguments, NAMEOID, name_datum(declaration->column), false);
	change_add(&arguments, INTERVALOID, IntervalPGetDatum(declaration->period), false);
	change_add_text(&arguments, declaration->on_expiry);
	change_add(&arguments, INT2OID, Int16GetDatum(declaration->time), timeless);
	change_add(&arguments, NAMEOID, timeless ? (Datum) 0 : name_datum(declaration->time_column),
			   timeless);
	change_add_text(&arguments, declaration->reason);
	change_add_text(&arguments, change->caller_name);
	change_add(&arguments, TIMESTAMPTZOID, TimestampTzGetDatum(in_force_at), !in_force);
	change_add(&arguments, BOOLOID, BoolGetDatum(declaration->prepared), false);
	change_execute(
		"INSERT INTO biometric.retention (log_id, relation, attnum, column_name, period, "
		"on_expiry, time_attnum, time_column, reason, declared_at, declared_by, in_force_at, "
		"stamped_at) SELECT l.log_id, $1, $2, $3, $4, $5, $6, $7, $8, now(), $9, "
		"coalesce($10, CASE WHEN $11 THEN now() END), CASE WHEN $11 THEN now() END "
		"FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL ORDER BY l.ordinal DESC LIMIT 1 "
		"RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'retain', "
		"'relation', relation::text, 'column', column_name, 'attnum', attnum, 'period', period, "
		"'on_expiry', on_expiry, 'time_column', time_column, 'time_attnum', time_attnum, "
		"'reason', reason))::text",
		&arguments);
	if (SPI_processed == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger of this database has no identity yet"),
						errhint("See biometric.ledger_status() and the server's log.")));
	change_record(change, change_result(1), 0);
}

/* What does not fit into shared memory would close every image. */
static void
check_capacity(void)
{
	int count;

	pfree(rules_read(&count));
	if (count > retention_capacity())
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("there is no room for another retention period"),
						errdetail("biometric_audit.max_retention_rules allows %d in a database.",
								  retention_capacity()),
						errhint("Declare it for a common ancestor of several tables, or increase "
								"biometric_audit.max_retention_rules and restart the server.")));
}

/* Makes whoever writes look the rule up again. */
static void
invalidate(const List *tables)
{
	ListCell *cell;

	CacheInvalidateRelcacheByRelid(rules_table());
	foreach(cell, tables)
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
	CommandCounterIncrement();
}

static void
end_rule(const PolicyChange *change, const Declaration *declaration)
{
	TimestampTz unused;
	bool in_force;

	if (!delete_rule(declaration, &unused, &in_force))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of table \"%s\" has no retention period of its own",
							   declaration->column, get_rel_name(declaration->relation)),
						errdetail("A partition or heir goes by its nearest ancestor's."),
						errhint("View biometric.retention_status lists what was declared.")));
	record_end(change, declaration);
}

static void
replace_rule(const PolicyChange *change, Declaration *declaration)
{
	TimestampTz in_force_at;
	bool in_force;

	declaration->prepared = declaration->time_column == NULL || stamped_before(declaration) ||
							!any_has_rows(declaration->tables);
	(void) delete_rule(declaration, &in_force_at, &in_force);
	insert_rule(change, declaration, in_force_at, in_force);
	check_capacity();
	if (!declaration->prepared && !in_force)
		ereport(
			NOTICE,
			(errmsg("the retention period of column \"%s\" of table \"%s\" comes into force when "
					"its images have been stamped with their time",
					declaration->column, get_rel_name(declaration->relation)),
			 errhint("View biometric.retention_status shows how far that is; "
					 "biometric.purge_expired() does it at once.")));
}

static void
read_arguments(FunctionCallInfo fcinfo, Declaration *declaration)
{
	if (PG_ARGISNULL(ARG_RELATION))
		refuse_argument("relation", "it is NULL", "Name a table with images.");
	if (PG_ARGISNULL(ARG_COLUMN))
		refuse_argument("column_name", "it is NULL", "Name a column that holds images.");
	declaration->relation = PG_GETARG_OID(ARG_RELATION);
	declaration->column = NameStr(*PG_GETARG_NAME(ARG_COLUMN));
	declaration->reason = argument_text(fcinfo, ARG_REASON, "reason");
	check_relation(declaration->relation);
	declaration->tables = lock_tables(declaration->relation);
	check_relation(declaration->relation);
	declaration->attribute = image_column(declaration->relation, declaration->column);
	if (PG_ARGISNULL(ARG_PERIOD))
		return;
	declaration->period = check_period(PG_GETARG_INTERVAL_P(ARG_PERIOD));
	declaration->on_expiry = expiry_argument(fcinfo);
	check_expiry(declaration);
	if (PG_ARGISNULL(ARG_TIME_COLUMN))
		return;
	declaration->time_column = NameStr(*PG_GETARG_NAME(ARG_TIME_COLUMN));
	declaration->time = time_argument(declaration->relation, declaration->time_column);
}

/*
 * biometric_retain(relation regclass, column_name name, period interval, on_expiry text,
 * time_column name, reason text)
 */
PGDLLEXPORT Datum
biometric_retain(PG_FUNCTION_ARGS)
{
	Declaration declaration = {0};
	PolicyChange change;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	PreventCommandIfReadOnly("biometric.retain()");
	change_begin(&change);
	read_arguments(fcinfo, &declaration);
	if (declaration.period == NULL)
		end_rule(&change, &declaration);
	else
		replace_rule(&change, &declaration);
	invalidate(declaration.tables);
	change_end(&change);
	PG_RETURN_VOID();
}

/* biometric_end_past_retention(home uuid, reason text) */
PGDLLEXPORT Datum
biometric_end_past_retention(PG_FUNCTION_ARGS)
{
	ChangeArguments arguments = {0};
	PolicyChange change;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	PreventCommandIfReadOnly("biometric.end_past_retention()");
	change_begin(&change);
	if (PG_ARGISNULL(0))
		refuse_argument("home", "it is NULL",
						"Table biometric.retention_past lists the columns that are gone.");
	change_add(&arguments, UUIDOID, PG_GETARG_DATUM(0), false);
	change_add_text(&arguments, argument_reason(fcinfo, 1));
	if (change_execute(
			"DELETE FROM ONLY biometric.retention_past AS p "
			"USING ONLY biometric.log AS l WHERE l.log_id = p.log_id "
			"AND l.ordinal IS NOT NULL AND p.home = $1 "
			"RETURNING jsonb_build_object('action', 'end_past_retention', 'home', p.home, "
			"'relation', p.relation, 'column', p.column_name, 'period', p.period, "
			"'reason', $2)::text",
			&arguments) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no retention period is kept for that home"),
				 errhint("Table biometric.retention_past lists the columns that are gone.")));
	change_record(&change, change_result(1), 0);
	CacheInvalidateRelcacheByRelid(extension_relation("retention_past"));
	change_end(&change);
	PG_RETURN_VOID();
}

/*
 * limit.c - declarations of collections: read, judged, kept up.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "core/formats.h"
#include "ledger/store.h"
#include "report/limit.h"

/* Attribute numbers, as sql/36_collection.sql declares the columns. */
enum
{
	LIMIT_COL_LOG_ID = 1,
	LIMIT_COL_RELATION,
	LIMIT_COL_ATTRIBUTE,
	LIMIT_COL_COLUMN,
	LIMIT_COL_DECLARATION,
	LIMIT_COL_MAX_WIDTH,
	LIMIT_COL_MAX_HEIGHT,
	LIMIT_COL_FORMATS,
	LIMIT_COL_MAX_PER_DAY,
	LIMIT_COL_PURPOSE,
	LIMIT_COL_LEGAL_BASIS,
	LIMIT_COL_DECLARED_AT,
	LIMIT_COL_DECLARED_BY,
	LIMIT_COLUMNS = LIMIT_COL_DECLARED_BY
};

/* The rows of logs that count. */
#define COUNTING_LOG "(l.ordinal IS NOT NULL OR l.adopted_at IS NOT NULL)"

/* A row of the table. */
typedef struct LimitRow
{
	CollectionLimit limit;
	bool own; /* of a log of this database's own: by attribute number */
} LimitRow;

Oid
limit_table(void)
{
	return extension_relation("collection_limit");
}

/* Opens the table; NULL when it is not there. */
static Relation
limit_open(LOCKMODE mode)
{
	Oid oid = limit_table();
	Relation table = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (table != NULL && RelationGetDescr(table)->natts < LIMIT_COLUMNS)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"biometric.collection_limit\" has not the columns that the "
							   "extension gave it"),
						errhint("Undo what ALTER TABLE did.")));
	return table;
}

/* ---- rows of the table ---- */

static int32
read_number(HeapTuple tuple, TupleDesc desc, AttrNumber column)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static char *
read_text(HeapTuple tuple, TupleDesc desc, AttrNumber column)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* A format that this version does not know allows nothing; its bit is that of no format. */
static uint32
read_formats(HeapTuple tuple, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, LIMIT_COL_FORMATS, desc, &isnull);
	uint32 formats = 0;
	Datum *names;
	bool *nulls;
	int count;

	if (isnull)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls,
					  &count);
	formats = 1u << IMAGE_FORMAT_NONE;
	for (int i = 0; i < count; i++)
		for (int format = IMAGE_FORMAT_NONE + 1; !nulls[i] && format <= IMAGE_FORMAT_LAST; format++)
			if (strcmp(TextDatumGetCString(names[i]), image_format_name(format)) == 0)
				formats |= 1u << format;
	return formats;
}

Datum
limit_formats_array(uint32 formats)
{
	Datum names[IMAGE_FORMAT_LAST];
	int count = 0;

	for (int format = IMAGE_FORMAT_NONE + 1; format <= IMAGE_FORMAT_LAST; format++)
		if ((formats & (1u << format)) != 0)
			names[count++] = CStringGetTextDatum(image_format_name(format));
	return PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
read_limit(HeapTuple tuple, TupleDesc desc, CollectionLimit *limit)
{
	bool isnull;

	memset(limit, 0, sizeof(*limit));
	memcpy(limit->log_id, DatumGetUUIDP(heap_getattr(tuple, LIMIT_COL_LOG_ID, desc, &isnull))->data,
		   sizeof(limit->log_id));
	limit->relation = DatumGetObjectId(heap_getattr(tuple, LIMIT_COL_RELATION, desc, &isnull));
	limit->attribute = DatumGetInt16(heap_getattr(tuple, LIMIT_COL_ATTRIBUTE, desc, &isnull));
	limit->column = *DatumGetName(heap_getattr(tuple, LIMIT_COL_COLUMN, desc, &isnull));
	limit->max_width = read_number(tuple, desc, LIMIT_COL_MAX_WIDTH);
	limit->max_height = read_number(tuple, desc, LIMIT_COL_MAX_HEIGHT);
	limit->formats = read_formats(tuple, desc);
	limit->max_per_day = read_number(tuple, desc, LIMIT_COL_MAX_PER_DAY);
	limit->purpose = read_text(tuple, desc, LIMIT_COL_PURPOSE);
	limit->legal_basis = read_text(tuple, desc, LIMIT_COL_LEGAL_BASIS);
}

/* All declarations that count. */
static List *
read_all(void)
{
	Relation table = limit_open(AccessShareLock);
	List *all = NIL;
	Snapshot snapshot;
	List *own;
	List *restored;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return NIL;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	/* what the snapshot sees committed, the catalogs' caches must see, too */
	AcceptInvalidationMessages();
	own = store_logs(snapshot);
	restored = store_restored_logs(snapshot);
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		LimitRow *row = palloc0_object(LimitRow);

		read_limit(tuple, RelationGetDescr(table), &row->limit);
		if (store_rank(own, restored, row->limit.log_id, &row->own) >= 0)
			all = lappend(all, row);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return all;
}

/* ---- looking up ---- */

/* The number that a declared column has now; InvalidAttrNumber when it is gone. */
static AttrNumber
present_number(const LimitRow *row)
{
	if (!row->own)
		return get_attnum(row->limit.relation, NameStr(row->limit.column));
	return OidIsValid(get_atttype(row->limit.relation, row->limit.attribute)) ? row->limit.attribute
																			  : InvalidAttrNumber;
}

/* Whether a row is of a column by its present name; attribute: set to its number. */
static bool
row_is_of(LimitRow *row, const char *column)
{
	AttrNumber number = present_number(row);
	char *name = number > 0 ? get_attname(row->limit.relation, number, true) : NULL;

	if (name == NULL || strcmp(name, column) != 0)
		return false;
	row->limit.attribute = number;
	namestrcpy(&row->limit.column, name);
	return true;
}

List *
limit_find(const List *lineage, const char *column)
{
	List *all = OidIsValid(limit_table()) ? read_all() : NIL;
	List *found = NIL;
	ListCell *relation;
	ListCell *cell;

	if (all == NIL)
		return NIL;
	foreach(relation, lineage)
		foreach(cell, all)
		{
			LimitRow *row = lfirst(cell);

			if (OidIsValid(lfirst_oid(relation)) && row->limit.relation == lfirst_oid(relation) &&
				row_is_of(row, column))
				found = lappend(found, &row->limit);
		}
	return found;
}

bool
limit_per_day_of(Oid relation)
{
	List *all = OidIsValid(limit_table()) ? read_all() : NIL;
	ListCell *cell;

	foreach(cell, all)
	{
		const LimitRow *row = lfirst(cell);

		if (row->limit.relation == relation && row->limit.max_per_day > 0)
			return true;
	}
	return false;
}

bool
limit_empty(const CollectionLimit *limit)
{
	return limit->max_width == 0 && limit->max_height == 0 && limit->formats == 0 &&
		   limit->max_per_day == 0 && limit->purpose == NULL && limit->legal_basis == NULL;
}

/* Whether a greatest number that there was is gone, or greater. */
static bool
number_relaxes(int32 from, int32 to)
{
	return from != 0 && (to == 0 || to > from);
}

/* Whoever reads what was declared must find it as it was agreed on. */
static bool
text_differs(const char *from, const char *to)
{
	return from != NULL && (to == NULL || strcmp(from, to) != 0);
}

bool
limit_relaxes(const CollectionLimit *from, const CollectionLimit *to)
{
	return number_relaxes(from->max_width, to->max_width) ||
		   number_relaxes(from->max_height, to->max_height) ||
		   number_relaxes(from->max_per_day, to->max_per_day) ||
		   (from->formats != 0 && (to->formats == 0 || (to->formats & ~from->formats) != 0)) ||
		   text_differs(from->purpose, to->purpose) ||
		   text_differs(from->legal_basis, to->legal_basis);
}

bool
limit_declared(Oid relation, AttrNumber attribute, CollectionLimit *limit)
{
	List *all = read_all();
	ListCell *cell;

	memset(limit, 0, sizeof(*limit));
	foreach(cell, all)
	{
		const LimitRow *row = lfirst(cell);

		if (row->limit.relation != relation || present_number(row) != attribute)
			continue;
		*limit = row->limit;
		return true;
	}
	return false;
}

/* ---- replacing ---- */

static void
add_number(ChangeArguments *arguments, int32 number)
{
	change_add(arguments, INT4OID, Int32GetDatum(number), number == 0);
}

static void
add_column(ChangeArguments *arguments, const CollectionLimit *limit)
{
	change_add(arguments, REGCLASSOID, ObjectIdGetDatum(limit->relation), false);
	change_add(arguments, INT2OID, Int16GetDatum(limit->attribute), false);
	change_add(arguments, NAMEOID, NameGetDatum(&limit->column), false);
}

/*
 * Deletes what was declared, by number or, of restored rows, by name, with its counts. Returns
 * its name in the ledger; NULL: there was none.
 */
static char *
delete_declaration(const CollectionLimit *limit)
{
	ChangeArguments arguments = {0};
	char *declaration = NULL;

	add_column(&arguments, limit);
	if (change_execute("DELETE FROM ONLY biometric.collection_limit AS c "
					   "USING ONLY biometric.log AS l WHERE c.relation = $1 "
					   "AND l.log_id = c.log_id AND " COUNTING_LOG " AND CASE WHEN l.ordinal "
					   "IS NOT NULL THEN c.attnum = $2 ELSE c.column_name = $3 END "
					   "RETURNING c.declaration::text",
					   &arguments) > 0)
		declaration = change_result(1);
	return declaration;
}

static void
delete_counts(const CollectionLimit *limit)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(limit->relation), false);
	change_add(&arguments, INT2OID, Int16GetDatum(limit->attribute), false);
	change_execute("DELETE FROM ONLY biometric.collection_count "
				   "WHERE relation = $1 AND attnum = $2",
				   &arguments);
}

static void
insert_declaration(const PolicyChange *change, const CollectionLimit *limit, const char *replaces)
{
	ChangeArguments arguments = {0};

	add_column(&arguments, limit);
	add_number(&arguments, limit->max_width);
	add_number(&arguments, limit->max_height);
	change_add(&arguments, TEXTARRAYOID, limit_formats_array(limit->formats), limit->formats == 0);
	add_number(&arguments, limit->max_per_day);
	change_add_text(&arguments, limit->purpose);
	change_add_text(&arguments, limit->legal_basis);
	change_add_text(&arguments, change->caller_name);
	change_add_text(&arguments, replaces);
	change_execute(
		"INSERT INTO biometric.collection_limit SELECT l.log_id, $1, $2, $3, gen_random_uuid(), "
		"$4, $5, $6, $7, $8, $9, now(), $10 "
		"FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL ORDER BY l.ordinal DESC LIMIT 1 "
		"RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'collect', 'relation', "
		"relation::text, 'column', column_name, 'declaration', declaration, 'replaces', $11, "
		"'max_width', max_width, 'max_height', max_height, 'formats', formats, "
		"'max_per_subject_per_day', max_per_subject_per_day, 'purpose', purpose, "
		"'legal_basis', legal_basis))::text",
		&arguments);
	change_record(change, change_result(1), 0);
}

static void
record_end(const PolicyChange *change, const CollectionLimit *limit, const char *replaces)
{
	ChangeArguments arguments = {0};

	add_column(&arguments, limit);
	change_add_text(&arguments, replaces);
	change_execute("SELECT jsonb_build_object('action', 'collect', 'relation', $1::text, "
				   "'column', $3, 'replaces', $4)::text",
				   &arguments);
	change_record(change, change_result(1), 0);
}

bool
limit_declare(const PolicyChange *change, const CollectionLimit *limit)
{
	char *replaces = delete_declaration(limit);

	if (limit->max_per_day == 0)
		delete_counts(limit);
	if (limit_empty(limit) && replaces == NULL)
		return false;
	if (limit_empty(limit))
		record_end(change, limit, replaces);
	else
		insert_declaration(change, limit, replaces);
	CacheInvalidateRelcacheByRelid(limit_table());
	CommandCounterIncrement();
	return true;
}

/* ---- keeping up with the catalogs ---- */

/* Puts on record that what was declared has ended with its column. */
static void
sync_record_gone(HeapTuple tuple, TupleDesc desc)
{
	PolicyChange change = {.caller = GetUserId()};
	bool isnull;
	Datum declaration = heap_getattr(tuple, LIMIT_COL_DECLARATION, desc, &isnull);
	char *text = DatumGetCString(DirectFunctionCall1(uuid_out, declaration));

	change.caller_name = GetUserNameFromId(change.caller, false);
	change_record(
		&change,
		psprintf("{\"action\": \"collect\", \"replaces\": \"%s\", \"dropped\": true}", text), 0);
}

/* Brings one row in line with the catalogs; tells whether it was changed. */
static bool
sync_row(Relation table, HeapTuple tuple, const List *own, Snapshot snapshot)
{
	LimitRow row = {0};
	bool counts;
	char *name;

	read_limit(tuple, RelationGetDescr(table), &row.limit);
	counts = store_rank(own, NIL, row.limit.log_id, &row.own) >= 0;
	if (get_rel_name(row.limit.relation) == NULL || (counts && present_number(&row) <= 0))
	{
		if (!store_follow_delete(table, tuple, snapshot))
			return false;
		if (counts)
			sync_record_gone(tuple, RelationGetDescr(table));
		return true;
	}
	/* columns of restored rows had other numbers where they come from */
	if (!counts)
		return false;
	name = get_attname(row.limit.relation, row.limit.attribute, false);
	return strcmp(name, NameStr(row.limit.column)) != 0 &&
		   store_follow_rename(table, tuple, LIMIT_COL_COLUMN, name, snapshot);
}

void
limit_sync(void)
{
	Relation table = limit_open(RowExclusiveLock);

	if (table == NULL)
		return;
	store_follow(table, sync_row);
	table_close(table, NoLock);
}

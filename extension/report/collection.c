/*
 * collection.c - the descriptions of tables: looked up, replaced, kept up.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "ledger/store.h"
#include "report/collection.h"

/* Attribute numbers, as sql/36_collection.sql declares the columns. */
enum
{
	COLLECTION_COL_LOG_ID = 1,
	COLLECTION_COL_RELATION,
	COLLECTION_COL_SUBJECT_NUMBERS,
	COLLECTION_COL_SUBJECT_NAMES,
	COLLECTION_COL_PLACE_NUMBERS,
	COLLECTION_COL_PLACE_NAMES,
	COLLECTION_COL_TIME_NUMBER,
	COLLECTION_COL_TIME_NAME,
	COLLECTION_COL_DESCRIBED_AT,
	COLLECTION_COL_DESCRIBED_BY,
	COLLECTION_COLUMNS = COLLECTION_COL_DESCRIBED_BY
};

/* Some columns of a row of the table. */
typedef struct NamedColumns
{
	int count;
	AttrNumber number[COLLECTION_MAX_COLUMNS];
	char *name[COLLECTION_MAX_COLUMNS];
} NamedColumns;

/* A row of the table. */
typedef struct Description
{
	Oid relation;
	bool own; /* of a log of this database's own: by numbers */
	int rank; /* of its log: the lowest counts */
	NamedColumns subject;
	NamedColumns place;
	NamedColumns time;
} Description;

Oid
collection_table(void)
{
	return extension_relation("collection");
}

/* Opens the table; NULL when it is not there. */
static Relation
collection_open(LOCKMODE mode)
{
	Oid oid = collection_table();
	Relation table = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (table != NULL && RelationGetDescr(table)->natts < COLLECTION_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"biometric.collection\" has not the columns that the extension "
						"gave it"),
				 errhint("Undo what ALTER TABLE did.")));
	return table;
}

/* ---- rows of the table ---- */

static void
read_columns(HeapTuple tuple, TupleDesc desc, AttrNumber numbers, NamedColumns *columns)
{
	bool no_numbers;
	bool no_names;
	Datum number_array = heap_getattr(tuple, numbers, desc, &no_numbers);
	Datum name_array = heap_getattr(tuple, numbers + 1, desc, &no_names);
	Datum *number;
	Datum *name;
	int count;
	int names;

	columns->count = 0;
	if (no_numbers || no_names)
		return;
	deconstruct_array(DatumGetArrayTypeP(number_array), INT2OID, sizeof(int16), true,
					  TYPALIGN_SHORT, &number, NULL, &count);
	deconstruct_array(DatumGetArrayTypeP(name_array), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR,
					  &name, NULL, &names);
	for (int i = 0; i < Min(Min(count, names), COLLECTION_MAX_COLUMNS); i++)
	{
		columns->number[i] = DatumGetInt16(number[i]);
		columns->name[i] = pstrdup(NameStr(*DatumGetName(name[i])));
		columns->count++;
	}
}

static void
read_time(HeapTuple tuple, TupleDesc desc, NamedColumns *time)
{
	bool no_number;
	bool no_name;
	Datum number = heap_getattr(tuple, COLLECTION_COL_TIME_NUMBER, desc, &no_number);
	Datum name = heap_getattr(tuple, COLLECTION_COL_TIME_NAME, desc, &no_name);

	time->count = no_number || no_name ? 0 : 1;
	if (time->count == 0)
		return;
	time->number[0] = DatumGetInt16(number);
	time->name[0] = pstrdup(NameStr(*DatumGetName(name)));
}

static Description *
read_description(HeapTuple tuple, TupleDesc desc)
{
	Description *description = palloc0(sizeof(Description));
	bool isnull;

	description->relation =
		DatumGetObjectId(heap_getattr(tuple, COLLECTION_COL_RELATION, desc, &isnull));
	read_columns(tuple, desc, COLLECTION_COL_SUBJECT_NUMBERS, &description->subject);
	read_columns(tuple, desc, COLLECTION_COL_PLACE_NUMBERS, &description->place);
	read_time(tuple, desc, &description->time);
	return description;
}

static const uint8 *
log_of_tuple(HeapTuple tuple, TupleDesc desc)
{
	bool isnull;

	return DatumGetUUIDP(heap_getattr(tuple, COLLECTION_COL_LOG_ID, desc, &isnull))->data;
}

/* All descriptions that count. */
static List *
read_all(void)
{
	Relation table = collection_open(AccessShareLock);
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
		TupleDesc desc = RelationGetDescr(table);
		bool is_own = false;
		int rank = store_rank(own, restored, log_of_tuple(tuple, desc), &is_own);
		Description *description;

		if (rank < 0)
			continue;
		description = read_description(tuple, desc);
		description->rank = rank;
		description->own = is_own;
		all = lappend(all, description);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return all;
}

/* ---- looking up ---- */

/* The name that a column has now; NULL when it is gone. */
static char *
present_name(Oid relation, AttrNumber attribute)
{
	return OidIsValid(get_atttype(relation, attribute)) ? get_attname(relation, attribute, true)
														: NULL;
}

/* The number of a described column in a relation; InvalidAttrNumber when it has none. */
static AttrNumber
number_in(Oid relation, const Description *description, const NamedColumns *columns, int index)
{
	char *name = columns->name[index];
	AttrNumber number;

	if (description->own)
	{
		name = present_name(description->relation, columns->number[index]);
		if (description->relation == relation)
			return name == NULL ? InvalidAttrNumber : columns->number[index];
	}
	number = name == NULL ? InvalidAttrNumber : get_attnum(relation, name);
	return number > 0 ? number : InvalidAttrNumber;
}

static int
numbers_in(Oid relation, const Description *description, const NamedColumns *columns,
		   AttrNumber *numbers)
{
	int count = 0;

	for (int i = 0; i < columns->count; i++)
	{
		AttrNumber number = number_in(relation, description, columns, i);

		if (number != InvalidAttrNumber)
			numbers[count++] = number;
	}
	return count;
}

/* The description of one relation itself, under the log that counts most; NULL: none. */
static const Description *
description_of(const List *all, Oid relation)
{
	const Description *found = NULL;
	ListCell *cell;

	foreach(cell, all)
	{
		const Description *description = lfirst(cell);

		if (description->relation == relation && (found == NULL || description->rank < found->rank))
			found = description;
	}
	return found;
}

bool
collection_find(Oid relation, List **lineage, Collection *collection)
{
	List *all = read_all();
	const Description *found = NULL;
	ListCell *cell;

	memset(collection, 0, sizeof(*collection));
	*lineage = NIL;
	if (!OidIsValid(collection_table()))
		return false;
	*lineage = relation_lineage(relation);
	foreach(cell, *lineage)
	{
		found = OidIsValid(lfirst_oid(cell)) ? description_of(all, lfirst_oid(cell)) : NULL;
		if (found != NULL)
			break;
	}
	if (found == NULL)
		return false;
	collection->of = found->relation;
	collection->subjects = numbers_in(relation, found, &found->subject, collection->subject);
	collection->places = numbers_in(relation, found, &found->place, collection->place);
	(void) numbers_in(relation, found, &found->time, &collection->time);
	return collection->subjects > 0 || collection->places > 0 ||
		   collection->time != InvalidAttrNumber;
}

/* ---- replacing ---- */

static Datum
number_array(const AttrNumber *numbers, int count)
{
	Datum *values = palloc_array(Datum, Max(count, 1));

	for (int i = 0; i < count; i++)
		values[i] = Int16GetDatum(numbers[i]);
	return PointerGetDatum(
		construct_array(values, count, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
}

static Datum
name_value(const char *text)
{
	Name name = palloc0(sizeof(NameData));

	namestrcpy(name, text);
	return NameGetDatum(name);
}

static Datum
name_array(char *const *names, int count)
{
	Datum *values = palloc_array(Datum, Max(count, 1));

	for (int i = 0; i < count; i++)
		values[i] = name_value(names[i]);
	return PointerGetDatum(
		construct_array(values, count, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
}

static void
add_columns(ChangeArguments *arguments, Oid relation, const AttrNumber *numbers, int count)
{
	char *names[COLLECTION_MAX_COLUMNS];

	for (int i = 0; i < count; i++)
		names[i] = get_attname(relation, numbers[i], false);
	change_add(arguments, INT2ARRAYOID, number_array(numbers, count), false);
	change_add(arguments, NAMEARRAYOID, name_array(names, count), false);
}

static bool
delete_description(Oid relation)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(relation), false);
	return change_execute(
			   "DELETE FROM ONLY biometric.collection AS c USING ONLY biometric.log AS l "
			   "WHERE c.relation = $1 AND l.log_id = c.log_id "
			   "AND (l.ordinal IS NOT NULL OR l.adopted_at IS NOT NULL)",
			   &arguments) > 0;
}

static void
insert_description(const PolicyChange *change, Oid relation, const Collection *collection)
{
	ChangeArguments arguments = {0};
	bool timeless = collection->time == InvalidAttrNumber;

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(relation), false);
	add_columns(&arguments, relation, collection->subject, collection->subjects);
	add_columns(&arguments, relation, collection->place, collection->places);
	change_add(&arguments, INT2OID, Int16GetDatum(collection->time), timeless);
	change_add(&arguments, NAMEOID,
			   timeless ? (Datum) 0 : name_value(get_attname(relation, collection->time, false)),
			   timeless);
	change_add_text(&arguments, change->caller_name);
	change_execute(
		"INSERT INTO biometric.collection SELECT l.log_id, $1, $2, $3, $4, $5, $6, $7, now(), $8 "
		"FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL ORDER BY l.ordinal DESC LIMIT 1 "
		"RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'describe_collection', "
		"'relation', relation::text, 'subject_columns', subject_columns, "
		"'place_columns', place_columns, 'time_column', time_column))::text",
		&arguments);
	change_record(change, change_result(1), 0);
}

static void
record_removal(const PolicyChange *change, Oid relation)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, REGCLASSOID, ObjectIdGetDatum(relation), false);
	change_execute("SELECT jsonb_build_object('action', 'describe_collection', "
				   "'relation', $1::text, 'subject_columns', '[]'::jsonb, "
				   "'place_columns', '[]'::jsonb)::text",
				   &arguments);
	change_record(change, change_result(1), 0);
}

bool
collection_describe(const PolicyChange *change, Oid relation, const Collection *collection)
{
	bool removed = delete_description(relation);
	bool empty = collection->subjects == 0 && collection->places == 0 &&
				 collection->time == InvalidAttrNumber;

	if (empty && !removed)
		return false;
	if (empty)
		record_removal(change, relation);
	else
		insert_description(change, relation, collection);
	CacheInvalidateRelcacheByRelid(collection_table());
	CommandCounterIncrement();
	return true;
}

/* ---- keeping up with the catalogs ---- */

/* Brings columns in line with the catalogs; tells whether anything has changed. */
static bool
sync_columns(Oid relation, NamedColumns *columns)
{
	bool changed = false;
	int kept = 0;

	for (int i = 0; i < columns->count; i++)
	{
		char *name = present_name(relation, columns->number[i]);

		changed |= name == NULL || strcmp(name, columns->name[i]) != 0;
		if (name == NULL)
			continue;
		columns->number[kept] = columns->number[i];
		columns->name[kept++] = name;
	}
	columns->count = kept;
	return changed;
}

/* Replaces a row; by an insertion, as the old row may be being changed. */
static bool
sync_replace(Relation table, HeapTuple tuple, const Description *description, Snapshot snapshot)
{
	Datum values[COLLECTION_COLUMNS] = {0};
	bool nulls[COLLECTION_COLUMNS] = {0};
	bool replace[COLLECTION_COLUMNS] = {0};
	bool timeless = description->time.count == 0;

	if (!store_follow_delete(table, tuple, snapshot))
		return false;
	if (description->subject.count == 0 && description->place.count == 0 && timeless)
		return true;
	for (int i = COLLECTION_COL_SUBJECT_NUMBERS; i <= COLLECTION_COL_TIME_NAME; i++)
		replace[i - 1] = true;
	values[COLLECTION_COL_SUBJECT_NUMBERS - 1] =
		number_array(description->subject.number, description->subject.count);
	values[COLLECTION_COL_SUBJECT_NAMES - 1] =
		name_array(description->subject.name, description->subject.count);
	values[COLLECTION_COL_PLACE_NUMBERS - 1] =
		number_array(description->place.number, description->place.count);
	values[COLLECTION_COL_PLACE_NAMES - 1] =
		name_array(description->place.name, description->place.count);
	nulls[COLLECTION_COL_TIME_NUMBER - 1] = nulls[COLLECTION_COL_TIME_NAME - 1] = timeless;
	if (!timeless)
	{
		values[COLLECTION_COL_TIME_NUMBER - 1] = Int16GetDatum(description->time.number[0]);
		values[COLLECTION_COL_TIME_NAME - 1] = name_value(description->time.name[0]);
	}
	CatalogTupleInsert(table,
					   heap_modify_tuple(tuple, RelationGetDescr(table), values, nulls, replace));
	return true;
}

/* Brings one row in line with the catalogs; tells whether it was changed. */
static bool
sync_row(Relation table, HeapTuple tuple, const List *own, Snapshot snapshot)
{
	Description *description = read_description(tuple, RelationGetDescr(table));
	bool is_own = false;
	bool changed;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(description->relation)))
		return store_follow_delete(table, tuple, snapshot);
	/* columns of restored rows had other numbers where they come from */
	if (store_rank(own, NIL, log_of_tuple(tuple, RelationGetDescr(table)), &is_own) < 0)
		return false;
	changed = sync_columns(description->relation, &description->subject);
	changed |= sync_columns(description->relation, &description->place);
	changed |= sync_columns(description->relation, &description->time);
	return changed && sync_replace(table, tuple, description, snapshot);
}

void
collection_sync(void)
{
	Relation table = collection_open(RowExclusiveLock);

	if (table == NULL)
		return;
	store_follow(table, sync_row);
	table_close(table, NoLock);
}

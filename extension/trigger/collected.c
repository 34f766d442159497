/*
 * collected.c - what a row says of whom its images show, and where and when
 * they were taken.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "report/collection.h"
#include "trigger/queue.h"
#include "trigger/table.h"

/* A JSON string of a time has no room for others. */
#define YEAR_FIRST 1
#define YEAR_LAST 9999

/* More days than there are to those years, and few enough to be multiplied. */
#define DAYS_MAX 4000000

static TriggerKey *
describe_collected(Relation relation, const AttrNumber *numbers, int count, bool *pins_settings)
{
	TriggerKey *keys = palloc0_array(TriggerKey, Max(count, 1));

	for (int i = 0; i < count; i++)
		*pins_settings |=
			table_describe_key(TupleDescAttr(RelationGetDescr(relation), numbers[i] - 1), &keys[i]);
	return keys;
}

TriggerCollection *
table_describe_collection(Relation relation, List **lineage)
{
	Collection described;
	TriggerCollection *collection;

	if (!collection_find(RelationGetRelid(relation), lineage, &described))
		return NULL;
	collection = palloc0_object(TriggerCollection);
	collection->of = described.of;
	collection->subjects = described.subjects;
	collection->subject = describe_collected(relation, described.subject, described.subjects,
											 &collection->pins_settings);
	collection->places = described.places;
	collection->place =
		describe_collected(relation, described.place, described.places, &collection->pins_settings);
	collection->time = described.time;
	if (described.time != InvalidAttrNumber)
		collection->time_type =
			getBaseType(TupleDescAttr(RelationGetDescr(relation), described.time - 1)->atttypid);
	return collection;
}

/* Writes columns as an object that is a member of the one at hand; none where all are null. */
static void
append_member(StringInfo json, const char *member, TriggerKey *keys, int count, Relation relation,
			  HeapTuple row)
{
	int before = json->len;
	bool any = false;

	appendStringInfo(json, ",\"%s\":{", member);
	for (int i = 0; i < count; i++)
	{
		bool isnull;
		Datum value = heap_getattr(row, keys[i].attribute, RelationGetDescr(relation), &isnull);

		any |= !isnull;
		if (i > 0)
			appendStringInfoChar(json, ',');
		escape_json(json, keys[i].name);
		appendStringInfoChar(json, ':');
		if (isnull)
			appendStringInfoString(json, "null");
		else
			table_append_value(json, &keys[i], value);
	}
	appendStringInfoChar(json, '}');
	if (any)
		return;
	json->len = before;
	json->data[before] = '\0';
}

/* A value of a time column as a timestamp in UTC; false for what an ISO 8601 date cannot say. */
static bool
time_of(Oid type, Datum value, Timestamp *time)
{
	switch (type)
	{
		case DATEOID:
			if (DatumGetDateADT(value) < -DAYS_MAX || DatumGetDateADT(value) > DAYS_MAX)
				return false;
			*time = (Timestamp) DatumGetDateADT(value) * USECS_PER_DAY;
			return true;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			*time = DatumGetTimestamp(value);
			return !TIMESTAMP_NOT_FINITE(*time);
		default:
			return false;
	}
}

static void
append_time(StringInfo json, const TriggerCollection *collection, Relation relation, HeapTuple row)
{
	struct pg_tm parts;
	Timestamp time;
	fsec_t fraction;
	bool isnull = true;
	Datum value = (Datum) 0;

	if (collection->time != InvalidAttrNumber)
		value = heap_getattr(row, collection->time, RelationGetDescr(relation), &isnull);
	if (isnull || !time_of(collection->time_type, value, &time) ||
		timestamp2tm(time, NULL, &parts, &fraction, NULL, NULL) != 0 ||
		parts.tm_year < YEAR_FIRST || parts.tm_year > YEAR_LAST)
		return;
	appendStringInfo(json, ",\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year, parts.tm_mon,
					 parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
	if (fraction != 0)
		appendStringInfo(json, ".%06d", (int) fraction);
	appendStringInfoString(json, "Z\"");
}

/* Writes the object; nothing when there is nothing to be said but whose columns they are. */
static void
append_collected(StringInfo json, const TriggerCollection *collection, Relation relation,
				 HeapTuple row)
{
	int empty;

	appendStringInfoString(json, "{\"of\":");
	escape_json(json, queue_relation_name(collection->of));
	empty = json->len;
	append_member(json, "subject", collection->subject, collection->subjects, relation, row);
	append_member(json, "place", collection->place, collection->places, relation, row);
	append_time(json, collection, relation, row);
	appendStringInfoChar(json, '}');
	if (json->len == empty + 1)
		resetStringInfo(json);
}

char *
table_collected(const TriggerTable *table, Relation relation, HeapTuple row)
{
	const TriggerCollection *collection = table->collection;
	StringInfoData json;

	if (collection == NULL)
		return NULL;
	initStringInfo(&json);
	if (collection->pins_settings)
	{
		int level = NewGUCNestLevel();

		table_pin_settings();
		append_collected(&json, collection, relation, row);
		AtEOXact_GUC(false, level);
	}
	else
		append_collected(&json, collection, relation, row);
	if (json.len > COLLECTION_MAX_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("what is to be collected of a row of table \"%s\" is too long",
						RelationGetRelationName(relation)),
				 errdetail("The columns that describe its images take %d bytes in the ledger; at "
						   "most %d are possible.",
						   json.len, COLLECTION_MAX_SIZE),
				 errhint("Store shorter values, or name other columns with "
						 "biometric.describe_collection().")));
	return json.len > 0 ? json.data : NULL;
}

/*
 * notify_mark.c - putting on record who has been told.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "ledger/encoding.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "report/collection.h"
#include "report/incident.h"

/*
 * The subjects of an entry, in bytes: half of what it can hold, so that one
 * more still fits.
 */
#define SUBJECTS_SIZE (CHANGE_DETAIL_SIZE / 2)

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_mark_notified);

/* One call of mark_notified(). */
typedef struct Marking
{
	const PolicyChange *change;
	Incident incident;
	NotifyList *list;
	const char *means;
	const char *relation; /* NULL: all */
	List *relations;	  /* of char *: those that somebody is marked in */
	List *subjects;		  /* beside it, Lists of char *: who */
	int64 marked;
} Marking;

static char *
mark_means(FunctionCallInfo fcinfo, int index)
{
	char *means = argument_text(fcinfo, index, "means");

	if (means == NULL || means[strspn(means, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"means\" cannot be used: it is empty"),
						errhint("Say how they were told: letter, mail, telephone, publication.")));
	return encoding_recorded(means);
}

/* The canonical texts of a jsonb[] argument. */
static List *
mark_subjects(FunctionCallInfo fcinfo, int index)
{
	List *subjects = NIL;
	Datum *values;
	bool *nulls;
	int count;

	if (PG_ARGISNULL(index) || array_contains_nulls(PG_GETARG_ARRAYTYPE_P(index)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"subjects\" cannot be used: it is, or contains, NULL"),
						errhint("Give subjects as biometric.notify_list() has them.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(index), JSONBOID, -1, false, TYPALIGN_INT, &values,
					  &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		Jsonb *subject = DatumGetJsonbP(values[i]);

		subjects = lappend(subjects, JsonbToCString(NULL, &subject->root, VARSIZE(subject)));
	}
	return subjects;
}

static void
mark_in(Marking *marking, const char *relation, const char *subject)
{
	for (int i = 0; i < list_length(marking->relations); i++)
		if (strcmp(list_nth(marking->relations, i), relation) == 0)
		{
			ListCell *cell = list_nth_cell(marking->subjects, i);

			lfirst(cell) = lappend(lfirst(cell), unconstify(char *, subject));
			return;
		}
	marking->relations = lappend(marking->relations, unconstify(char *, relation));
	marking->subjects = lappend(marking->subjects, list_make1(unconstify(char *, subject)));
}

/* Whether somebody may have been lost who belongs on the list. */
static bool
mark_incomplete(const NotifyList *list)
{
	return list->detached > 0 || list->lost > 0;
}

static void
mark_refuse(const Marking *marking, const char *subject)
{
	const char *in = marking->relation ? psprintf(" in %s", marking->relation) : "";

	if (mark_incomplete(marking->list) && marking->relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("somebody is not on the list of incident %lld",
							   (long long) marking->incident.id),
						errdetail("Subject %s is not, but the list is not complete: entries were "
								  "detached.",
								  subject),
						errhint("Give the relation, too, to mark somebody whom the list has "
								"lost.")));
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("somebody is not on the list of incident %lld",
						   (long long) marking->incident.id),
					errdetail("Subject %s is not%s.", subject, in),
					errhint("Give subjects as biometric.notify_list() has them.")));
}

/* Every relation that anybody on the list is in, each once. */
static List *
mark_relations(const NotifyList *list)
{
	List *relations = NIL;

	for (int i = 0; i < list->count; i++)
	{
		const char *relation = list->people[i]->relation;
		ListCell *cell;
		bool known = false;

		foreach(cell, relations)
			known = known || strcmp(lfirst(cell), relation) == 0;
		if (!known)
			relations = lappend(relations, unconstify(char *, relation));
	}
	return relations;
}

/* Finds each subject on the list: in the relation that was given, or in all
 * that have it. */
static void
mark_find(Marking *marking, List *subjects)
{
	List *relations = marking->relation ? list_make1(unconstify(char *, marking->relation))
										: mark_relations(marking->list);
	ListCell *subject;

	foreach(subject, subjects)
	{
		ListCell *relation;
		bool found = false;

		foreach(relation, relations)
			if (notify_find(marking->list, lfirst(relation), lfirst(subject)))
			{
				mark_in(marking, lfirst(relation), lfirst(subject));
				found = true;
			}
		if (found)
			continue;
		if (!mark_incomplete(marking->list) || marking->relation == NULL)
			mark_refuse(marking, lfirst(subject));
		mark_in(marking, marking->relation, lfirst(subject));
	}
}

/* Queues an entry of the people that were marked in one relation. */
static void
mark_record(const Marking *marking, const char *relation, const char *subjects)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"action\": \"mark_notified\", \"incident\": %lld, \"relation\": ",
					 (long long) marking->incident.id);
	escape_json(&detail, relation);
	appendStringInfo(&detail, ", \"subjects\": [%s], \"means\": ", subjects);
	escape_json(&detail, marking->means);
	appendStringInfoChar(&detail, '}');
	change_record_incident(marking->change, detail.data);
	pfree(detail.data);
}

/* Puts the rows that were new into as many entries as they need. */
static void
mark_record_all(Marking *marking, const char *relation)
{
	SPITupleTable *table = SPI_tuptable;
	uint64 count = SPI_processed;
	StringInfoData subjects;

	initStringInfo(&subjects);
	for (uint64 i = 0; i < count; i++)
	{
		char *subject = SPI_getvalue(table->vals[i], table->tupdesc, 1);

		if (subjects.len > 0 && subjects.len + strlen(subject) > SUBJECTS_SIZE)
		{
			mark_record(marking, relation, subjects.data);
			resetStringInfo(&subjects);
		}
		appendStringInfo(&subjects, "%s%s", subjects.len > 0 ? ", " : "", subject);
		pfree(subject);
	}
	if (subjects.len > 0)
		mark_record(marking, relation, subjects.data);
	marking->marked += count;
}

static Datum
mark_text_array(List *texts)
{
	Datum *values = palloc(list_length(texts) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach(cell, texts)
		values[count++] = CStringGetTextDatum(lfirst(cell));
	return PointerGetDatum(construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static EntryText
mark_utf8(const char *text, bool json)
{
	return encoding_to_utf8((EntryText){.bytes = text, .length = strlen(text)}, json);
}

/*
 * What a person is told by: relation and subject as bytes that are the same in databases of
 * every encoding, whose jsonb may have an object's members in another order.
 */
static Datum
mark_names(const char *relation, List *subjects)
{
	EntryText of = mark_utf8(relation, false);
	Datum *values = palloc(list_length(subjects) * sizeof(Datum));
	int count = 0;
	ListCell *cell;

	foreach(cell, subjects)
	{
		StringInfoData name;

		initStringInfo(&name);
		appendBinaryStringInfo(&name, of.bytes, (int) of.length);
		appendStringInfoChar(&name, '\n');
		collected_sorted(mark_utf8(lfirst(cell), true), &name);
		values[count++] = PointerGetDatum(cstring_to_text_with_len(name.data, name.len));
	}
	return PointerGetDatum(construct_array(values, count, BYTEAOID, -1, false, TYPALIGN_INT));
}

/* Marks those of one relation who have not been marked yet. */
static void
mark_write(Marking *marking, char *relation, List *subjects)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, INT8OID, Int64GetDatum(marking->incident.id), false);
	change_add_text(&arguments, relation);
	change_add(&arguments, TEXTARRAYOID, mark_text_array(subjects), false);
	change_add_text(&arguments, marking->means);
	change_add_text(&arguments, encoding_recorded(marking->change->caller_name));
	change_add(&arguments, BYTEAARRAYOID, mark_names(relation, subjects), false);
	change_execute("INSERT INTO biometric.notification "
				   "(incident, person, relation, subject, notified_by, means) "
				   "SELECT $1, sha256(s.name), $2, s.subject::jsonb, $5, $4 "
				   "FROM unnest($3, $6) WITH ORDINALITY AS s (subject, name, place) "
				   "ORDER BY s.place "
				   "ON CONFLICT DO NOTHING RETURNING subject::text",
				   &arguments);
	mark_record_all(marking, relation);
}

/* biometric_mark_notified(incident bigint, subjects jsonb[], means text,
 * relation text) */
Datum
biometric_mark_notified(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	Marking marking = {0};
	List *subjects;

	change_begin(&change);
	marking.change = &change;
	incident_read(fcinfo, true, &marking.incident);
	incident_require_open(&marking.incident);
	subjects = mark_subjects(fcinfo, 1);
	marking.means = mark_means(fcinfo, 2);
	marking.relation = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	marking.list = notify_compute(marking.incident.party, marking.incident.during);
	notify_add_told(marking.list, marking.incident.id);
	mark_find(&marking, subjects);
	for (int i = 0; i < list_length(marking.relations); i++)
		mark_write(&marking, list_nth(marking.relations, i), list_nth(marking.subjects, i));
	change_end(&change);
	PG_RETURN_INT64(marking.marked);
}

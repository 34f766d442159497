/*
 * notify_list.c - the list of people to be told, for SQL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/kinds.h"
#include "policy/policy_sql.h"
#include "report/incident.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_notify_list);

#define LIST_COLUMNS 9

static Datum
kinds_array(uint32 kinds)
{
	Datum names[IMAGE_KIND_LAST + 1];
	int count = 0;

	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
		if (kinds & ((uint32) 1 << kind))
			names[count++] = CStringGetTextDatum(image_kind_name(kind));
	return PointerGetDatum(construct_array(names, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
json_datum(const char *text)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

static void
notify_row(const NotifyPerson *person, ReturnSetInfo *result)
{
	Datum values[LIST_COLUMNS] = {0};
	bool nulls[LIST_COLUMNS] = {0};

	values[0] = CStringGetTextDatum(person->relation);
	nulls[1] = person->subject == NULL;
	if (!nulls[1])
		values[1] = json_datum(person->subject);
	nulls[2] = person->row_keys == NULL;
	if (!nulls[2])
		values[2] = json_datum(psprintf("[%s]", person->row_keys->data));
	values[3] = kinds_array(person->kinds);
	values[4] = Int64GetDatum(person->images);
	nulls[5] = nulls[6] = person->images == 0;
	values[5] = TimestampTzGetDatum(person->first);
	values[6] = TimestampTzGetDatum(person->last);
	nulls[7] = nulls[8] = !person->notified;
	values[7] = TimestampTzGetDatum(person->notified_at);
	if (person->notified)
		values[8] = CStringGetTextDatum(person->means);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Says that the list is not all: nobody may take it for that. */
static void
notify_warn(const NotifyList *list, const Incident *incident)
{
	int cut = 0;

	if (list->detached > 0 || list->lost > 0)
		ereport(WARNING,
				(errmsg("the list of incident %lld is not complete", (long long) incident->id),
				 errdetail("In segments of the ledger that were detached are %lld entries that may "
						   "be releases, and entries about rows of %lld images.",
						   (long long) list->detached, (long long) list->lost),
				 errhint("Reconstruct them from the archive with biometric-report.")));
	for (int i = 0; i < list->count; i++)
		cut += list->people[i]->rows > NOTIFY_ROW_KEYS;
	if (cut > 0)
		ereport(WARNING,
				(errmsg("the list of incident %lld does not have the keys of all rows",
						(long long) incident->id),
				 errdetail("%d of those listed have more than %d rows; %d keys of each are listed.",
						   cut, NOTIFY_ROW_KEYS, NOTIFY_ROW_KEYS),
				 errhint("biometric.affected(party, during) lists all rows.")));
}

/* biometric_notify_list(incident bigint) */
Datum
biometric_notify_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext row_context;
	Incident incident;
	NotifyList *list;
	int settings;

	InitMaterializedSRF(fcinfo, 0);
	settings = policy_sql_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	incident_read(fcinfo, false, &incident);
	list = notify_compute(incident.party, incident.during);
	notify_add_told(list, incident.id);
	notify_sort(list);
	notify_warn(list, &incident);
	row_context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric_audit row", ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < list->count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(row_context);

		CHECK_FOR_INTERRUPTS();
		notify_row(list->people[i], result);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_context);
	}
	SPI_finish();
	policy_sql_settings_end(settings);
	return (Datum) 0;
}

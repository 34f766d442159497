/*
 * incident.c - opening and closing incidents, and their deadlines.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ledger/encoding.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/manage.h"
#include "report/incident.h"

#define HOURS(n) ((n) *60 * 60)

/* The longest that may be left for notification; what is added to now() must stay a time. */
#define LONGEST_PERIOD_YEARS 100

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_open_incident);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_set_incident_due);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_close_incident);

static int notification_period = HOURS(72);

void
incident_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.notification_period",
							"How long after an incident was opened everybody must be notified.",
							"The deadline of incidents that are opened without one of their own.",
							&notification_period, HOURS(72), 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
}

void
incident_read(FunctionCallInfo fcinfo, bool write, Incident *incident)
{
	static const char *const columns = "SELECT party, during, closed_at, closed_at::text "
									   "FROM ONLY biometric.incident WHERE id = $1";
	ChangeArguments arguments = {0};
	uint64 found;
	bool null;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"incident\" cannot be used: it is NULL"),
						errhint("biometric.open_incident() returned it; view "
								"biometric.incident_state lists the incidents.")));
	incident->id = PG_GETARG_INT64(0);
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	if (write)
		found = change_execute(psprintf("%s FOR NO KEY UPDATE", columns), &arguments);
	else if (SPI_execute_with_args(columns, 1, arguments.types, arguments.values, NULL, true, 0) ==
			 SPI_OK_SELECT)
		found = SPI_processed;
	else
		elog(ERROR, "reading an incident failed");
	if (found == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("there is no incident %lld", (long long) incident->id),
						errhint("View biometric.incident_state lists the incidents.")));
	incident->party = change_result(1);
	incident->during =
		datumCopy(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null), false, -1);
	(void) SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &null);
	incident->closed = !null;
	incident->closed_at = change_result(4);
}

void
incident_require_open(const Incident *incident)
{
	if (incident->closed)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("incident %lld is closed", (long long) incident->id),
						errdetail("It was closed at %s.", incident->closed_at),
						errhint("Open another with biometric.open_incident().")));
}

/* The time that is left for notification: the argument, or what the setting
 * says. */
static Interval *
incident_period(FunctionCallInfo fcinfo, int index)
{
	Interval *period;
	Interval zero = {0};
	Interval longest = {.month = LONGEST_PERIOD_YEARS * MONTHS_PER_YEAR};

	if (PG_ARGISNULL(index))
	{
		period = palloc0(sizeof(Interval));
		period->time = (int64) notification_period * USECS_PER_SEC;
		return period;
	}
	period = PG_GETARG_INTERVAL_P(index);
	if (DatumGetBool(
			DirectFunctionCall2(interval_lt, IntervalPGetDatum(period), IntervalPGetDatum(&zero))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"notify_within\" cannot be used: it is "
							   "less than nothing"),
						errhint("Leave it out: biometric_audit.notification_period "
								"then says how long.")));
	if (DatumGetBool(DirectFunctionCall2(interval_gt, IntervalPGetDatum(period),
										 IntervalPGetDatum(&longest))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"notify_within\" cannot be used: it is more than %d years",
						LONGEST_PERIOD_YEARS),
				 errhint("Give a shorter time; biometric.set_incident_due() moves the "
						 "deadline later on.")));
	return period;
}

static char *
incident_title(FunctionCallInfo fcinfo, int index)
{
	char *title = argument_text(fcinfo, index, "title");

	if (title == NULL || title[strspn(title, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"title\" cannot be used: it is empty"),
						errhint("Say in a few words what has happened.")));
	return title;
}

/* biometric_open_incident(party text, during tstzrange, title text,
 * notify_within interval) */
Datum
biometric_open_incident(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	char *party;
	Datum during;
	int64 id;
	bool null;

	change_begin(&change);
	party = argument_party(fcinfo, 0);
	during = argument_period(fcinfo, 1, "during", &null);
	if (null)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"during\" cannot be used: it is NULL"),
						errhint("Give the period whose releases the incident is about.")));
	change_add_text(&arguments, party);
	change_add(&arguments, TSTZRANGEOID, during, false);
	/* these as their entry reads, so that every client can be shown them */
	change_add_text(&arguments, encoding_recorded(incident_title(fcinfo, 2)));
	change_add_text(&arguments, encoding_recorded(change.caller_name));
	change_add(&arguments, INTERVALOID, IntervalPGetDatum(incident_period(fcinfo, 3)), false);
	manage_require_party(party);
	change_execute("INSERT INTO biometric.incident (party, during, title, opened_by, "
				   "due_at) "
				   "VALUES ($1, $2, $3, $4, now() + $5) "
				   "RETURNING jsonb_build_object('action', 'open_incident', 'incident', id, "
				   "'party', party, 'during', during, 'title', title, 'due', due_at)::text, "
				   "id",
				   &arguments);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	change_record_incident(&change, change_result(1));
	change_end(&change);
	PG_RETURN_INT64(id);
}

/* biometric_set_incident_due(incident bigint, due timestamptz, reason text) */
Datum
biometric_set_incident_due(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	Incident incident;

	change_begin(&change);
	incident_read(fcinfo, true, &incident);
	incident_require_open(&incident);
	if (PG_ARGISNULL(1) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"due\" cannot be used: it is no point in time"),
						errhint("An incident always has a deadline.")));
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	change_add(&arguments, TIMESTAMPTZOID, PG_GETARG_DATUM(1), false);
	change_add_text(&arguments, encoding_recorded(argument_reason(fcinfo, 2)));
	change_execute("UPDATE ONLY biometric.incident AS i SET due_at = $2 "
				   "FROM ONLY biometric.incident AS old WHERE i.id = $1 AND old.id = $1 "
				   "RETURNING jsonb_build_object('action', 'set_incident_due', 'incident', "
				   "i.id, "
				   "'due', i.due_at, 'previous_due', old.due_at, 'reason', $3)::text",
				   &arguments);
	change_record_incident(&change, change_result(1));
	change_end(&change);
	PG_RETURN_VOID();
}

/*
 * How many people the list has; how many of them have been told: by now, since whoever
 * marked some while this waited for the incident's row is to be counted.
 */
static void
incident_count(const Incident *incident, int64 *people, int64 *notified)
{
	NotifyList *list;

	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	list = notify_compute(incident->party, incident->during);
	notify_add_told(list, incident->id);
	PopActiveSnapshot();
	*people = *notified = 0;
	for (int i = 0; i < list->count; i++)
	{
		*people += list->people[i]->subject != NULL;
		*notified += list->people[i]->notified;
	}
}

/*
 * biometric_close_incident(incident bigint, reason text). Also while people are
 * not notified: that is a decision, and the entry says how many.
 */
Datum
biometric_close_incident(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	Incident incident;
	int64 people;
	int64 notified;

	change_begin(&change);
	incident_read(fcinfo, true, &incident);
	incident_require_open(&incident);
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	change_add_text(&arguments, encoding_recorded(argument_reason(fcinfo, 1)));
	change_add_text(&arguments, encoding_recorded(change.caller_name));
	incident_count(&incident, &people, &notified);
	change_add(&arguments, INT8OID, Int64GetDatum(people), false);
	change_add(&arguments, INT8OID, Int64GetDatum(notified), false);
	change_execute("UPDATE ONLY biometric.incident SET closed_at = now(), closed_by = $3, "
				   "close_reason = $2 WHERE id = $1 "
				   "RETURNING jsonb_build_object('action', 'close_incident', 'incident', "
				   "id, "
				   "'reason', close_reason, 'people', $4, 'notified', $5)::text",
				   &arguments);
	change_record_incident(&change, change_result(1));
	if (notified < people)
		ereport(NOTICE, (errmsg("%lld of %lld people have not been notified of incident %lld",
								(long long) (people - notified), (long long) people,
								(long long) incident.id)));
	change_end(&change);
	PG_RETURN_VOID();
}

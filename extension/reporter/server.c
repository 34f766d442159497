/*
 * server.c - the questions, and what their answers must look like.
 *
 * Nothing that is answered is trusted to be of any form; what it says is compared
 * with the archive.
 */
#define _GNU_SOURCE

#include "reporter/server.h"

#include "reporter/member.h"
#include "reporter/moment.h"

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

struct Server
{
	PGconn *connection;
	PGresult *affected;
	PGresult *people;
};

/* What the server warns of. */
static void
tell_notice(void *context, const char *message)
{
	size_t length = strlen(message);

	while (length > 0 && message[length - 1] == '\n')
		length--;
	report_warning("the server says: %.*s", (int) length, message);
}

Server *
server_open(const char *conninfo)
{
	const char *keywords[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *values[] = {conninfo, "biometric-report", "UTF8", NULL};
	Server *server = calloc(1, sizeof(*server));

	if (server == NULL)
		return NULL;
	server->connection = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(server->connection) == CONNECTION_OK)
	{
		PQsetNoticeProcessor(server->connection, tell_notice, NULL);
		return server;
	}
	(void) report_problem(TOOL_CONNECTION, "%s", PQerrorMessage(server->connection));
	server_close(server);
	return NULL;
}

void
server_close(Server *server)
{
	if (server == NULL)
		return;
	PQclear(server->affected);
	PQclear(server->people);
	PQfinish(server->connection);
	free(server);
}

static ToolExit
server_problem(const Server *server, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		message = PQerrorMessage(server->connection);
	return report_problem(TOOL_CONNECTION, "the server says: %s%s%s",
						  message[0] != '\0' ? message : "something else than rows",
						  hint != NULL ? ". " : "", hint != NULL ? hint : "");
}

/* Asks; NULL, reported, unless rows of so many columns come. */
static PGresult *
ask(Server *server, const char *query, int count, const char *const *values, int columns)
{
	PGresult *result = PQexecParams(server->connection, query, count, NULL, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) != columns)
	{
		(void) server_problem(server, result);
		PQclear(result);
		return NULL;
	}
	return result;
}

static ToolExit
command(Server *server, const char *text)
{
	PGresult *result = PQexec(server->connection, text);
	ToolExit code = TOOL_VERIFIED;

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		code = server_problem(server, result);
	PQclear(result);
	return code;
}

static int64_t
take_number(const PGresult *result, int row, int column, int64_t none)
{
	return PQgetisnull(result, row, column) ? none
											: strtoll(PQgetvalue(result, row, column), NULL, 10);
}

/* A timestamp, as the session's settings make the server write it; infinity is none. */
static int64_t
take_moment(const PGresult *result, int row, int column, int64_t none)
{
	int64_t moment;

	if (PQgetisnull(result, row, column) ||
		!moment_parse(PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column),
					  &moment))
		return none;
	return moment;
}

static uint32_t
take_text(Case *matter, const PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return 0;
	return texts_add(&matter->texts, PQgetvalue(result, row, column),
					 (size_t) PQgetlength(result, row, column));
}

/* A JSON value, as the archive's are put among the texts. sorted: it is a jsonb. */
static uint32_t
take_json(Case *matter, const PGresult *result, int row, int column, bool sorted)
{
	static Buffer plain;
	Span value = {PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)};

	if (PQgetisnull(result, row, column))
		return 0;
	if (sorted)
		member_sorted(value, &plain);
	else
		member_plain(value, &plain);
	return texts_add(&matter->texts, (const char *) plain.bytes, plain.length);
}

static ToolExit
ask_incident(Server *server, Case *matter)
{
	static const char query[] =
		"SELECT party, title, state, opened_by, people, notified, opened_at, due_at, closed_at, "
		"pg_catalog.lower(during), pg_catalog.upper(during), "
		"pg_catalog.lower_inc(during)::pg_catalog.int4, "
		"pg_catalog.upper_inc(during)::pg_catalog.int4 "
		"FROM biometric.incident_state WHERE id OPERATOR(pg_catalog.=) $1::pg_catalog.int8";
	Incident *incident = &matter->incident;
	char number[24];
	const char *values[1] = {number};
	PGresult *result;

	snprintf(number, sizeof(number), "%" PRIu64, incident->id);
	result = ask(server, query, 1, values, 13);
	if (result == NULL)
		return report_code();
	if (PQntuples(result) != 1)
	{
		PQclear(result);
		return report_problem(TOOL_CONNECTION, "the server has no incident %" PRIu64, incident->id);
	}
	matter->party = strdup(PQgetvalue(result, 0, 0));
	incident->title = take_text(matter, result, 0, 1);
	incident->state = take_text(matter, result, 0, 2);
	incident->opened_by = take_text(matter, result, 0, 3);
	incident->people = (uint64_t) take_number(result, 0, 4, 0);
	incident->notified = (uint64_t) take_number(result, 0, 5, 0);
	incident->opened_at = take_moment(result, 0, 6, INT64_MIN);
	incident->due_at = take_moment(result, 0, 7, INT64_MIN);
	incident->closed_at = take_moment(result, 0, 8, INT64_MIN);
	matter->from = take_moment(result, 0, 9, INT64_MIN);
	matter->to = take_moment(result, 0, 10, INT64_MAX);
	/* moments are whole microseconds: make the period begin with its first, end behind its last */
	if (matter->from != INT64_MIN && take_number(result, 0, 11, 1) == 0)
		matter->from++;
	if (matter->to != INT64_MAX && take_number(result, 0, 12, 0) != 0)
		matter->to++;
	PQclear(result);
	return TOOL_VERIFIED;
}

ToolExit
server_begin(Server *server, Case *matter)
{
	const char *values[1];
	PGresult *result;

	if (command(server, "SET search_path = pg_catalog") != TOOL_VERIFIED ||
		command(server, "SET TimeZone = 'UTC'") != TOOL_VERIFIED ||
		command(server, "SET DateStyle = 'ISO'") != TOOL_VERIFIED)
		return report_code();
	if (matter->incident.id != 0 && ask_incident(server, matter) != TOOL_VERIFIED)
		return report_code();
	values[0] = matter->party;
	result = ask(server,
				 "SELECT title FROM ONLY biometric.party WHERE name OPERATOR(pg_catalog.=) "
				 "$1::pg_catalog.text",
				 1, values, 1);
	if (result == NULL)
		return report_code();
	if (PQntuples(result) == 1)
		matter->party_title = take_text(matter, result, 0, 0);
	PQclear(result);
	return TOOL_VERIFIED;
}

static ToolExit
ask_size(Server *server, uint64_t *size)
{
	PGresult *result = ask(server, "SELECT size FROM biometric.ledger_status()", 0, NULL, 1);

	if (result == NULL)
		return report_code();
	*size = PQntuples(result) == 1 ? (uint64_t) take_number(result, 0, 0, 0) : 0;
	PQclear(result);
	return TOOL_VERIFIED;
}

/* Takes one row of breach_report(). */
static void
take_figure(Case *matter, const PGresult *result, int row)
{
	Dimension dimension;
	Figure *figure;
	uint32_t index;
	uint32_t value;

	if (!dimension_from_name(PQgetvalue(result, row, 0), &dimension))
	{
		report_warning("the server's report has a dimension that is not known here: %s",
					   PQgetvalue(result, row, 0));
		return;
	}
	value = dimension == DIMENSION_PLACE ? take_json(matter, result, row, 1, false)
										 : take_text(matter, result, row, 1);
	index = figures_get(&matter->server, dimension, value);
	figure = &matter->server.items[index];
	figure->taken = take_number(result, row, 2, 0) != 0;
	figure->disclosures = (uint64_t) take_number(result, row, 3, 0);
	figure->images = (uint64_t) take_number(result, row, 4, 0);
	figure->rows = (uint64_t) take_number(result, row, 5, 0);
	figure->subjects = (uint64_t) take_number(result, row, 6, 0);
	figure->first = take_moment(result, row, 7, 0);
	figure->last = take_moment(result, row, 8, 0);
	if (dimension == DIMENSION_DETACHED)
	{
		matter->detached = true;
		matter->missing += figure->disclosures;
	}
}

/* The party and its period, as parameters. */
typedef struct Period
{
	char from[MOMENT_TEXT_MAX];
	char to[MOMENT_TEXT_MAX];
	const char *values[3];
} Period;

static void
make_period(const Case *matter, Period *period)
{
	period->values[0] = matter->party;
	period->values[1] = matter->from != INT64_MIN ? period->from : NULL;
	period->values[2] = matter->to != INT64_MAX ? period->to : NULL;
	if (matter->from != INT64_MIN)
		moment_text(matter->from, period->from);
	if (matter->to != INT64_MAX)
		moment_text(matter->to, period->to);
}

static ToolExit
ask_figures(Server *server, Case *matter, const Period *period)
{
	PGresult *result = ask(server,
						   "SELECT dimension, value, taken::pg_catalog.int4, disclosures, images, "
						   "rows, subjects, first_released, last_released "
						   "FROM biometric.breach_report($1::pg_catalog.text, "
						   "pg_catalog.tstzrange($2::pg_catalog.timestamptz, "
						   "$3::pg_catalog.timestamptz))",
						   3, period->values, 9);

	if (result == NULL)
		return report_code();
	figures_free(&matter->server);
	matter->detached = false;
	matter->missing = 0;
	for (int row = 0; row < PQntuples(result); row++)
		take_figure(matter, result, row);
	PQclear(result);
	matter->asked = true;
	return TOOL_VERIFIED;
}

static ToolExit
ask_lists(Server *server, Case *matter, const Period *period)
{
	char number[24];
	const char *values[1] = {number};

	PQclear(server->affected);
	PQclear(server->people);
	server->people = NULL;
	server->affected = ask(server,
						   "SELECT image_id, relation, row_key, first_released, last_released, "
						   "times FROM biometric.affected($1::pg_catalog.text, "
						   "pg_catalog.tstzrange($2::pg_catalog.timestamptz, "
						   "$3::pg_catalog.timestamptz))",
						   3, period->values, 6);
	if (server->affected == NULL || matter->incident.id == 0)
		return report_code();
	snprintf(number, sizeof(number), "%" PRIu64, matter->incident.id);
	server->people = ask(server,
						 "SELECT relation, subject, images, first_released, last_released, "
						 "notified_at, means FROM biometric.notify_list($1::pg_catalog.int8)",
						 1, values, 7);
	return report_code();
}

/* How many logs have been signed, which the figures may be of: an archive is of one. */
static ToolExit
ask_logs(Server *server, Case *matter)
{
	PGresult *result =
		ask(server, "SELECT pg_catalog.count(DISTINCT log_id) FROM biometric.verifier_keys", 0,
			NULL, 1);

	if (result == NULL)
		return report_code();
	matter->logs = (uint64_t) take_number(result, 0, 0, 1);
	PQclear(result);
	return TOOL_VERIFIED;
}

ToolExit
server_ask(Server *server, Case *matter, uint64_t *in_doubt, uint64_t *limit)
{
	Period period;

	make_period(matter, &period);
	/* sizes are read outside: a snapshot is as old as its transaction's first query */
	if (ask_size(server, in_doubt) != TOOL_VERIFIED ||
		command(server, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") != TOOL_VERIFIED ||
		ask_figures(server, matter, &period) != TOOL_VERIFIED ||
		ask_lists(server, matter, &period) != TOOL_VERIFIED ||
		ask_logs(server, matter) != TOOL_VERIFIED || command(server, "COMMIT") != TOOL_VERIFIED ||
		ask_size(server, limit) != TOOL_VERIFIED)
		return report_code();
	return TOOL_VERIFIED;
}

/* The 16 bytes of a UUID's text. */
static bool
read_image_id(const char *text, uint8_t id[ENTRY_IMAGE_ID_SIZE])
{
	int digits = 0;

	memset(id, 0, ENTRY_IMAGE_ID_SIZE);
	for (; *text != '\0'; text++)
	{
		const char *found = strchr("0123456789abcdef", *text);

		if (*text == '-')
			continue;
		if (found == NULL || digits >= 2 * ENTRY_IMAGE_ID_SIZE)
			return false;
		id[digits / 2] = (uint8_t) (id[digits / 2] << 4 | (found - "0123456789abcdef"));
		digits++;
	}
	return digits == 2 * ENTRY_IMAGE_ID_SIZE;
}

static const Affected no_release = {0};

/* What was counted of an image in a row that the server names. */
static const Affected *
find_affected(Case *matter, const PGresult *result, int row)
{
	Count *count = &matter->count;
	uint8_t id[ENTRY_IMAGE_ID_SIZE];
	uint32_t image = 0;
	uint32_t held;
	uint32_t place;

	if (read_image_id(PQgetvalue(result, row, 0), id))
		image = texts_find(&count->image_ids, (const char *) id, sizeof(id));
	held = map_find(&count->row_index, map_pair(take_text(matter, result, row, 1),
												take_json(matter, result, row, 2, true)));
	if (image == 0 || held == 0)
		return &no_release;
	place = map_find(&count->affected_index, map_pair(image - 1, held - 1));
	return place == 0 ? &no_release : &count->affected[place - 1];
}

static void
compare_affected(Server *server, Case *matter)
{
	Comparison *comparison = &matter->comparison;
	const PGresult *result = server->affected;

	compare_numbers(comparison, "images in rows", (Span){0}, PQntuples(result),
					matter->count.affected_count);
	for (int row = 0; row < PQntuples(result); row++)
	{
		const Affected *counted = find_affected(matter, result, row);
		Span name = {PQgetvalue(result, row, 0), (size_t) PQgetlength(result, row, 0)};

		compare_numbers(comparison, "first release of image", name, take_moment(result, row, 3, 0),
						counted->first);
		compare_numbers(comparison, "last release of image", name, take_moment(result, row, 4, 0),
						counted->last);
		compare_numbers(comparison, "releases of image", name, take_number(result, row, 5, 0),
						(int64_t) counted->times);
	}
}

static void
compare_people(Server *server, Case *matter)
{
	static const Person nobody = {0};
	Comparison *comparison = &matter->comparison;
	const PGresult *result = server->people;
	Count *count = &matter->count;
	uint32_t people = 0;

	for (int row = 0; row < PQntuples(result); row++)
	{
		uint32_t place =
			map_find(&count->people_index, map_pair(take_text(matter, result, row, 0),
													take_json(matter, result, row, 1, true)));
		Person *person = place == 0 ? NULL : &count->people[place - 1];
		const Person *counted = person != NULL ? person : &nobody;
		Span name = {PQgetvalue(result, row, 1), (size_t) PQgetlength(result, row, 1)};

		/* who was told of what has turned out to be nothing */
		if (person == NULL && take_number(result, row, 2, 0) == 0)
			continue;
		people++;
		compare_numbers(comparison, "images of", name, take_number(result, row, 2, 0),
						counted->images);
		compare_numbers(comparison, "first release of", name, take_moment(result, row, 3, 0),
						counted->first);
		compare_numbers(comparison, "last release of", name, take_moment(result, row, 4, 0),
						counted->last);
		if (person == NULL)
			continue;
		person->notified_at = take_moment(result, row, 5, INT64_MIN);
		person->means = take_text(matter, result, row, 6);
	}
	compare_numbers(comparison, "people to notify", (Span){0}, people, count->people_count);
	matter->people_known = true;
}

void
server_compare(Server *server, Case *matter)
{
	/* what the server cannot read any more it cannot list either; its figures say so */
	if (server->affected != NULL && !matter->detached)
		compare_affected(server, matter);
	if (server->people != NULL && !matter->detached)
		compare_people(server, matter);
}

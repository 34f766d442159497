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

/* Makes one line of a message of libpq's, which ends in a newline; free it. */
static char *
one_line(const char *message)
{
	char *line = strdup(message != NULL ? message : "");
	size_t length = 0;

	for (size_t i = 0; line != NULL && line[i] != '\0'; i++)
	{
		bool blank = line[i] == '\n' || line[i] == '\t' || line[i] == ' ';

		if (!blank || (length > 0 && line[length - 1] != ' '))
			line[length++] = blank ? ' ' : line[i];
	}
	while (length > 0 && line[length - 1] == ' ')
		length--;
	if (line != NULL)
		line[length] = '\0';
	return line;
}

/* What the server warns of. */
static void
tell_notice(void *context, const char *message)
{
	char *line = one_line(message);

	report_warning("the server says: %s", line != NULL ? line : "");
	free(line);
}

Server *
server_open(const char *conninfo)
{
	const char *keywords[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *values[] = {conninfo, "biometric-report", "UTF8", NULL};
	Server *server = calloc(1, sizeof(*server));
	char *line;

	if (server == NULL)
		return NULL;
	server->connection = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(server->connection) == CONNECTION_OK)
	{
		PQsetNoticeProcessor(server->connection, tell_notice, NULL);
		return server;
	}
	line = one_line(PQerrorMessage(server->connection));
	(void) report_problem(TOOL_CONNECTION, "%s", line != NULL ? line : "out of memory");
	free(line);
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
	char *line = one_line(message != NULL ? message : PQerrorMessage(server->connection));

	(void) report_problem(TOOL_CONNECTION, "the server says: %s%s%s",
						  line != NULL && line[0] != '\0' ? line : "something else than rows",
						  hint != NULL ? ". " : "", hint != NULL ? hint : "");
	free(line);
	return TOOL_CONNECTION;
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

/* A JSON value, as the archive's are put among the texts. */
static uint32_t
take_json(Case *matter, const PGresult *result, int row, int column)
{
	static Buffer sorted;
	Span value = {PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)};

	if (PQgetisnull(result, row, column))
		return 0;
	member_sorted(value, &sorted);
	return texts_add(&matter->texts, (const char *) sorted.bytes, sorted.length);
}

/* Asks for an incident; until an entry has been read that says else, the report is of that. */
static ToolExit
ask_incident(Server *server, Case *matter)
{
	static const char query[] =
		"SELECT biometric.recorded_text(party), title, people, notified, opened_at, due_at, "
		"closed_at, during "
		"FROM biometric.incident_state WHERE id OPERATOR(pg_catalog.=) $1::pg_catalog.int8";
	Incident *told = &matter->told;
	char number[24];
	const char *values[1] = {number};
	PGresult *result;

	snprintf(number, sizeof(number), "%" PRIu64, matter->incident.id);
	result = ask(server, query, 1, values, 8);
	if (result == NULL)
		return report_code();
	incident_clear(told, matter->incident.id);
	if (PQntuples(result) != 1 ||
		!incident_period((Span){PQgetvalue(result, 0, 7), (size_t) PQgetlength(result, 0, 7)},
						 &told->from, &told->to))
	{
		PQclear(result);
		return report_problem(TOOL_CONNECTION, "the server has no incident %" PRIu64, told->id);
	}
	told->known = true;
	told->party = take_text(matter, result, 0, 0);
	told->title = take_text(matter, result, 0, 1);
	told->people = (uint64_t) take_number(result, 0, 2, 0);
	told->notified = (uint64_t) take_number(result, 0, 3, 0);
	told->opened_at = take_moment(result, 0, 4, INT64_MIN);
	told->due_at = take_moment(result, 0, 5, INT64_MIN);
	told->closed_at = take_moment(result, 0, 6, INT64_MIN);
	PQclear(result);
	return TOOL_VERIFIED;
}

static ToolExit
ask_party(Server *server, Case *matter)
{
	const char *values[1] = {matter->party};
	PGresult *result =
		ask(server,
			"SELECT biometric.recorded_text(title) FROM ONLY biometric.party "
			"WHERE biometric.recorded_text(name) OPERATOR(pg_catalog.=) $1::pg_catalog.text",
			1, values, 1);

	if (result == NULL)
		return report_code();
	matter->party_title = PQntuples(result) == 1 ? take_text(matter, result, 0, 0) : 0;
	PQclear(result);
	return TOOL_VERIFIED;
}

ToolExit
server_begin(Server *server, Case *matter)
{
	if (command(server, "SET search_path = pg_catalog") != TOOL_VERIFIED ||
		command(server, "SET TimeZone = 'UTC'") != TOOL_VERIFIED ||
		command(server, "SET DateStyle = 'ISO'") != TOOL_VERIFIED)
		return report_code();
	if (matter->incident.id == 0)
		return TOOL_VERIFIED;
	if (ask_incident(server, matter) != TOOL_VERIFIED)
		return report_code();
	return case_set_incident(matter, &matter->told);
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
	value = dimension == DIMENSION_PLACE || dimension == DIMENSION_COLLECTED_FOR
				? take_json(matter, result, row, 1)
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

/* What images are declared to be collected for, in the order of DeclaredMember. */
static ToolExit
ask_declared(Server *server, Case *matter)
{
	static const char query[] =
		"SELECT biometric.recorded_text(relation::pg_catalog.text), "
		"biometric.recorded_text(column_name::pg_catalog.text), "
		"biometric.recorded_text(purpose), biometric.recorded_text(legal_basis), max_width, "
		"max_height, pg_catalog.to_jsonb(formats), max_per_subject_per_day, declaration, kind "
		"FROM biometric.declared_collection ORDER BY declared DESC, 1, 2";
	PGresult *result = ask(server, query, 0, NULL, DECLARED_MEMBERS + 2);

	if (result == NULL)
		return report_code();
	declared_free(&matter->declared);
	for (int row = 0; row < PQntuples(result); row++)
	{
		Declared *declared =
			declared_add(&matter->declared, take_text(matter, result, row, DECLARED_MEMBERS));

		for (int i = 0; i < DECLARED_MEMBERS; i++)
			declared->said[i] = take_text(matter, result, row, i);
		declared->kind = take_text(matter, result, row, DECLARED_MEMBERS + 1);
	}
	PQclear(result);
	return TOOL_VERIFIED;
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
	if (ask_size(server, in_doubt) != TOOL_VERIFIED || ask_party(server, matter) != TOOL_VERIFIED ||
		command(server, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") != TOOL_VERIFIED ||
		(matter->incident.id != 0 && ask_incident(server, matter) != TOOL_VERIFIED) ||
		ask_figures(server, matter, &period) != TOOL_VERIFIED ||
		ask_lists(server, matter, &period) != TOOL_VERIFIED ||
		ask_declared(server, matter) != TOOL_VERIFIED ||
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

/* What was counted of an image in a row that the server names, plus 1; 0: nothing. */
static uint32_t
find_affected(Case *matter, const Count *count, const PGresult *result, int row)
{
	uint8_t id[ENTRY_IMAGE_ID_SIZE];
	uint32_t image = 0;
	uint32_t held;

	if (read_image_id(PQgetvalue(result, row, 0), id))
		image = texts_find(&count->image_ids, (const char *) id, sizeof(id));
	held = map_find(&count->row_index,
					map_pair(take_text(matter, result, row, 1), take_json(matter, result, row, 2)));
	if (image == 0 || held == 0)
		return 0;
	return map_find(&count->affected_index, map_pair(image - 1, held - 1));
}

/* Takes note of a place, plus 1, that a row of the server's has; false: another had it before. */
static bool
see_first(NumberMap *seen, uint32_t place)
{
	uint32_t *mark = map_place(seen, place);
	bool first = *mark == 0;

	*mark = 1;
	return first;
}

static void
compare_affected(Server *server, Case *matter, const Count *count)
{
	static const Affected no_release = {0};
	Comparison *comparison = &matter->comparison;
	const PGresult *result = server->affected;
	NumberMap seen = {0};

	compare_by_rows(comparison, "images in rows", (Span){0}, PQntuples(result),
					count->affected_count);
	for (int row = 0; row < PQntuples(result); row++)
	{
		uint32_t place = find_affected(matter, count, result, row);
		const Affected *counted =
			place != 0 && see_first(&seen, place) ? &count->affected[place - 1] : &no_release;
		Span name = {PQgetvalue(result, row, 0), (size_t) PQgetlength(result, row, 0)};

		if (comparison->several)
		{
			comparison->uncounted += 3;
			continue;
		}
		compare_moments(comparison, "first release of image", name, take_moment(result, row, 3, 0),
						counted->first);
		compare_moments(comparison, "last release of image", name, take_moment(result, row, 4, 0),
						counted->last);
		compare_numbers(comparison, "releases of image", name, take_number(result, row, 5, 0),
						(int64_t) counted->times);
	}
	map_free(&seen);
}

/* Compares whether, when and how somebody was told. */
static void
compare_told(Case *matter, const PGresult *result, int row, Span name, const Told *told)
{
	Comparison *comparison = &matter->comparison;
	uint32_t means = take_text(matter, result, row, 6);

	compare_done(comparison, "notification of", name, take_moment(result, row, 5, INT64_MIN),
				 told != NULL ? told->at : INT64_MIN);
	compare_texts(comparison, "means of notification of", name, texts_get(&matter->texts, means),
				  texts_get(&matter->texts, told != NULL ? told->means : 0));
}

static void
compare_people(Server *server, Case *matter, const Count *count)
{
	static const Person nobody = {0};
	Comparison *comparison = &matter->comparison;
	const PGresult *result = server->people;
	NumberMap seen = {0};
	uint32_t people = 0;

	for (int row = 0; row < PQntuples(result); row++)
	{
		uint32_t relation = take_text(matter, result, row, 0);
		uint32_t subject = take_json(matter, result, row, 1);
		uint32_t place = map_find(&count->people_index, map_pair(relation, subject));
		const Told *told = incident_find_told(&matter->incident, relation, subject);
		const Person *counted =
			place != 0 && see_first(&seen, place) ? &count->people[place - 1] : &nobody;
		Span name = {PQgetvalue(result, row, 1), (size_t) PQgetlength(result, row, 1)};

		if (matter->incident.known)
			compare_told(matter, result, row, name, told);
		/* who was told of what has turned out to be nothing */
		if (counted == &nobody && told != NULL && take_number(result, row, 2, 0) == 0)
			continue;
		people++;
		if (comparison->several)
		{
			comparison->uncounted += 3;
			continue;
		}
		compare_numbers(comparison, "images of", name, take_number(result, row, 2, 0),
						counted->images);
		compare_moments(comparison, "first release of", name, take_moment(result, row, 3, 0),
						counted->first);
		compare_moments(comparison, "last release of", name, take_moment(result, row, 4, 0),
						counted->last);
	}
	map_free(&seen);
	compare_by_rows(comparison, "people to notify", (Span){0}, people, count->people_count);
}

void
server_compare(Server *server, Case *matter, const Count *count)
{
	if (server->affected != NULL)
		compare_affected(server, matter, count);
	if (server->people != NULL)
		compare_people(server, matter, count);
}

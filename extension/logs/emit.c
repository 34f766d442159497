/*
 * emit.c - cuts literals and parameters from reports that are about to be
 * logged.
 *
 * Texts of a report belong to it and can be written to, and what is put in is
 * never longer than what it replaces: so nothing is allocated but the copy of
 * the client's statement, and a report about being out of memory is safe.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "parser/parser.h"
#include "tcop/tcopprot.h"

#include "base/internal.h"
#include "core/scrub.h"
#include "logs/logs.h"

/* A message, detail or hint of more than this is no message any more. */
#define PROSE_MAX 1024

/* AUDIT: type, statement, part, class, command, object's type and name, and then this. */
#define AUDIT_STATEMENT_FIELD 8

static const char unshown[] = "<statement not shown: out of memory>";

static bool
comes_from(const ErrorData *report, const char *file)
{
	return report->filename != NULL && strcmp(report->filename, file) == 0;
}

static void
logs_scrub(char *text, ScrubRules rules)
{
	rules.limit = LOGS_LITERAL_MAX;
	rules.backslash = !standard_conforming_strings;
	if (text != NULL)
		scrub_text(text, strlen(text), &rules);
}

/* In JSON and YAML auto_explain doubles the backslashes of the statement. */
static bool
explained_as_json(const char *message)
{
	return strstr(message, "\"Query Text\": \"") != NULL ||
		   strstr(message, "Query Text: \"") != NULL;
}

/*
 * pgaudit lists the parameters' values after the statement, the eighth of its
 * fields, which has quotation marks around it when it has commas.
 */
static void
hide_audited_parameters(char *message)
{
	static const char hidden[] = "<not shown>";
	bool quoted = false;
	int field = 1;
	char *values = message;

	for (; *values != '\0' && field <= AUDIT_STATEMENT_FIELD; values++)
	{
		if (*values == '"')
			quoted = !quoted;
		else if (*values == ',' && !quoted)
			field++;
	}
	if (*values == '\0' || strcmp(values, "<none>") == 0 || strcmp(values, "<not logged>") == 0)
		return;
	if (strlen(values) >= strlen(hidden))
		strlcpy(values, hidden, sizeof(hidden));
	else
		strlcpy(values, "?", 2);
}

/*
 * Who speaks says how a message is to be read, in all languages: the server
 * prints statements as they are, pgaudit quotes them, all others use words.
 */
static void
logs_scrub_message(ErrorData *report)
{
	ScrubRules rules = {.kind = SCRUB_PROSE, .prose_max = PROSE_MAX};

	if (report->message == NULL)
		return;
	if (comes_from(report, "postgres.c") && report->elevel <= LOG)
		rules.kind = SCRUB_SQL;
	else if (comes_from(report, "auto_explain.c"))
	{
		rules.doubled = explained_as_json(report->message);
		rules.kind = rules.doubled ? SCRUB_QUOTED : SCRUB_SQL;
		rules.every = logs_parameters_seen();
	}
	else if (comes_from(report, "pgaudit.c"))
	{
		rules.kind = SCRUB_QUOTED;
		hide_audited_parameters(report->message);
	}
	logs_scrub(report->message, rules);
}

/* Whether a text is what a format of the server says, up to its first %s. */
static bool
begins_as(const char *text, const char *format)
{
	const char *value = strstr(format, "%s");

	return value != NULL && value > format && strncmp(text, format, (size_t) (value - format)) == 0;
}

/* In 15 and from 16 on; translated as the server's own messages are. */
static bool
lists_parameters(const char *detail)
{
	return begins_as(detail, "parameters: %s") || begins_as(detail, "Parameters: %s") ||
		   begins_as(detail, _("parameters: %s")) || begins_as(detail, _("Parameters: %s"));
}

static void
logs_scrub_detail(ErrorData *report, char *detail)
{
	ScrubRules rules = {.kind = SCRUB_PROSE, .excerpts = true};

	if (detail == NULL)
		return;
	if (lists_parameters(detail))
	{
		strlcpy(detail, "parameters not shown", strlen(detail) + 1);
		return;
	}
	if (comes_from(report, "postgres.c"))
		rules.kind = SCRUB_SQL;
	else if (comes_from(report, "deadlock.c"))
		rules.kind = SCRUB_QUOTED;
	else if (comes_from(report, "pl_exec.c"))
		rules.prose_max = PROSE_MAX;
	logs_scrub(detail, rules);
}

/*
 * The STATEMENT line is printed from debug_query_string after the last hook,
 * which is kept until the next statement comes.
 */
static void
logs_scrub_statement(const ErrorData *report)
{
	static char *copy = NULL;
	const char *statement = debug_query_string;
	ScrubRules rules = {.kind = SCRUB_SQL};
	size_t size;
	char *fresh;

	if (report->hide_stmt || statement == NULL || statement == copy || statement == unshown)
		return;
	size = strlen(statement) + 1;
	if (size <= LOGS_LITERAL_MAX)
		return;
	fresh = malloc(size);
	if (fresh == NULL)
	{
		debug_query_string = unshown;
		return;
	}
	memcpy(fresh, statement, size);
	logs_scrub(fresh, rules);
	debug_query_string = fresh;
	free(copy);
	copy = fresh;
}

void
logs_emit(ErrorData *report)
{
	ScrubRules words = {.kind = SCRUB_PROSE};
	ScrubRules context = {.kind = SCRUB_QUOTED, .excerpts = true};
	ScrubRules query = {.kind = SCRUB_SQL};

	if (!extension_may_be_here())
		return;
	logs_scrub_message(report);
	logs_scrub_detail(report, report->detail);
	logs_scrub_detail(report, report->detail_log);
	if (comes_from(report, "pl_exec.c"))
		words.prose_max = PROSE_MAX;
	logs_scrub(report->hint, words);
	logs_scrub(report->context, context);
	logs_scrub(report->internalquery, query);
	logs_scrub_statement(report);
}

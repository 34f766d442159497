/*
 * report.c - gathers facts, prints them at the end.
 */
#define _GNU_SOURCE

#include "tool/report.h"

#include "tool/json.h"
#include "tool/print.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX 4

/* What the program is called. */
static const char *program = "biometric-verify";

/* The program's one report. */
static struct
{
	const char *command;
	bool json;
	bool quiet;
	bool terminal; /* standard error is one */
	bool progress; /* a progress line is on it */
	FILE *facts;
	char *text; /* what facts has written */
	size_t length;
	int depth;
	bool any[DEPTH_MAX];		 /* something has been written at this depth */
	const char *list[DEPTH_MAX]; /* the list that is open at it */
	ToolExit code;
	char *problem;
	char *limit; /* what a result that is good is limited to; may be NULL */
	struct timespec started;
	struct timespec shown;
} report;

static void
no_memory(void)
{
	fprintf(stderr, "%s: out of memory\n", program);
	exit(TOOL_INPUT);
}

void
report_program(const char *name)
{
	program = name;
}

void
report_start(const char *command, bool json, bool quiet)
{
	report.command = command;
	report.json = json;
	report.quiet = quiet;
	report.terminal = isatty(STDERR_FILENO) == 1;
	report.facts = open_memstream(&report.text, &report.length);
	if (report.facts == NULL)
		no_memory();
	clock_gettime(CLOCK_MONOTONIC, &report.started);
	report.shown = report.started;
}

/* Writes a text between quotes for JSON, without them for people. */
static void
write_text(const char *text, size_t length)
{
	if (report.json)
		json_string(report.facts, text, length);
	else
		json_plain(report.facts, text, length);
}

static void
close_list(void)
{
	if (report.list[report.depth] != NULL && report.json)
		fputc(']', report.facts);
	report.list[report.depth] = NULL;
}

/* Writes the name of a fact. */
static void
begin(const char *name)
{
	close_list();
	if (report.json)
		fprintf(report.facts, "%s\"%s\":", report.any[report.depth] ? "," : "", name);
	else
	{
		fprintf(report.facts, "%*s", 2 * report.depth, "");
		for (const char *c = name; *c != '\0'; c++)
			fputc(*c == '_' ? ' ' : *c, report.facts);
	}
	report.any[report.depth] = true;
}

/* Writes what comes before a fact's value. */
static void
begin_value(const char *name)
{
	size_t length = strlen(name);

	begin(name);
	if (!report.json)
		fprintf(report.facts, "%*s", length < 16 ? (int) (16 - length) : 1, "");
}

static void
end(void)
{
	if (!report.json)
		fputc('\n', report.facts);
}

void
report_text(const char *name, const char *text)
{
	begin_value(name);
	write_text(text, strlen(text));
	end();
}

void
report_raw(const char *name, const char *text)
{
	begin_value(name);
	fputs(text, report.facts);
	end();
}

void
report_number(const char *name, uint64_t number)
{
	begin_value(name);
	fprintf(report.facts, "%" PRIu64, number);
	end();
}

void
report_flag(const char *name, bool flag)
{
	begin_value(name);
	fputs(report.json ? (flag ? "true" : "false") : (flag ? "yes" : "no"), report.facts);
	end();
}

void
report_hash(const char *name, const MerkleHash *hash)
{
	char digits[2 * MERKLE_HASH_SIZE + 1];

	print_hex(hash->bytes, MERKLE_HASH_SIZE, digits);
	report_text(name, digits);
}

void
report_time(const char *name, int64_t time)
{
	char text[PRINT_TIME_MAX];

	print_time(time, text);
	report_text(name, text);
}

void
report_open(const char *name)
{
	const char *list = report.list[report.depth];

	if (report.depth + 1 >= DEPTH_MAX)
		return;
	if (list == NULL || strcmp(list, name) != 0)
	{
		begin(name);
		report.list[report.depth] = name;
		fputs(report.json ? "[" : "\n", report.facts);
	}
	else if (report.json)
		fputc(',', report.facts);
	if (report.json)
		fputc('{', report.facts);
	report.depth++;
	report.any[report.depth] = false;
}

void
report_close(void)
{
	if (report.depth == 0)
		return;
	close_list();
	if (report.json)
		fputc('}', report.facts);
	report.depth--;
}

/* Takes the progress line away, so that what comes next has a line of its own. */
static void
clear_progress(void)
{
	if (report.progress)
		fputs("\r\033[K", stderr);
	report.progress = false;
}

/* Prints one line on standard error, whatever the text has in it. */
static void
say(const char *prefix, const char *text)
{
	clear_progress();
	fprintf(stderr, "%s: %s", program, prefix);
	json_plain(stderr, text, strlen(text));
	fputc('\n', stderr);
}

__attribute__((format(printf, 1, 0))) static char *
format_text(const char *format, va_list arguments)
{
	char *text;

	if (vasprintf(&text, format, arguments) < 0)
		no_memory();
	return text;
}

ToolExit
report_problem(ToolExit code, const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	say(code == TOOL_FAILED ? "does not verify: " : "error: ", text);
	if (report.code == TOOL_VERIFIED)
	{
		report.code = code;
		report.problem = text;
	}
	else
		free(text);
	return code;
}

void
report_limit(const char *format, ...)
{
	char *before = report.limit;
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	report.limit = text;
	if (before == NULL)
		return;
	if (asprintf(&report.limit, "%s, %s", before, text) < 0)
		no_memory();
	free(before);
	free(text);
}

void
report_warning(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	text = format_text(format, arguments);
	va_end(arguments);
	say("warning: ", text);
	free(text);
}

void
report_progress(uint64_t done, uint64_t total)
{
	struct timespec now;
	double elapsed;

	if (!report.terminal || report.quiet || total == 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if ((now.tv_sec - report.shown.tv_sec) * 10 + (now.tv_nsec - report.shown.tv_nsec) / 100000000 <
		2)
		return;
	report.shown = now;
	elapsed = (double) (now.tv_sec - report.started.tv_sec) +
			  (double) (now.tv_nsec - report.started.tv_nsec) / 1e9;
	fprintf(stderr, "\r\033[K%5.1f%%  %" PRIu64 " of %" PRIu64 " entries, %.0f a second",
			100.0 * (double) done / (double) total, done, total, (double) done / elapsed);
	fflush(stderr);
	report.progress = true;
}

ToolExit
report_code(void)
{
	return report.code;
}

const char *
report_problem_text(void)
{
	return report.problem;
}

static const char *
result_name(void)
{
	switch (report.code)
	{
		case TOOL_VERIFIED:
			return "verified";
		case TOOL_FAILED:
			return "failed";
		default:
			return "error";
	}
}

int
report_finish(void)
{
	clear_progress();
	while (report.depth > 0)
		report_close();
	close_list();
	if (fclose(report.facts) != 0)
		no_memory();
	if (!report.quiet && report.json)
	{
		printf("{\"command\":\"%s\",\"result\":\"%s\"", report.command, result_name());
		if (report.problem != NULL)
		{
			fputs(",\"problem\":", stdout);
			json_string(stdout, report.problem, strlen(report.problem));
		}
		printf("%s%s}\n", report.length > 0 ? "," : "", report.text);
	}
	else if (!report.quiet)
	{
		bool limited = report.code == TOOL_VERIFIED && report.limit != NULL;

		printf("%s%-16s%s%s%s\n", report.text, "result",
			   report.code == TOOL_FAILED ? "DOES NOT VERIFY" : result_name(),
			   limited ? ", but only " : "", limited ? report.limit : "");
	}
	if ((fflush(stdout) != 0 || ferror(stdout)) && report.code == TOOL_VERIFIED)
		report_problem(TOOL_INPUT, "standard output cannot be written");
	free(report.text);
	free(report.problem);
	free(report.limit);
	return (int) report.code;
}

/*
 * report.h - what the program says: facts on standard output, problems and
 * progress on standard error.
 *
 * One report a run, kept here: the program does one thing and ends. Facts are
 * gathered and come out at the end, as lines or as one JSON object, so that
 * what is printed is whole or is not there. Texts from outside are printed so
 * that a terminal cannot be made to do anything by them.
 */
#ifndef BIOMETRIC_TOOL_REPORT_H
#define BIOMETRIC_TOOL_REPORT_H

#include "core/merkle.h"

/* How the program ends. */
typedef enum ToolExit
{
	TOOL_VERIFIED = 0,
	TOOL_FAILED = 1,	/* what was to be verified does not verify */
	TOOL_USAGE = 2,		/* the command line */
	TOOL_INPUT = 3,		/* an input is missing, unreadable or none of its format */
	TOOL_CONNECTION = 4 /* the server cannot be reached, or refuses */
} ToolExit;

/* report_program sets what the program is called where it speaks; "biometric-verify" unless set. */
extern void report_program(const char *name);

/* report_start begins the report of a command. quiet: no facts, and no progress. */
extern void report_start(const char *command, bool json, bool quiet);

/*
 * report_text, report_number, report_flag, report_hash and report_time add a fact.
 * time: microseconds since 1970.
 */
extern void report_text(const char *name, const char *text);
extern void report_number(const char *name, uint64_t number);
extern void report_flag(const char *name, bool flag);
extern void report_hash(const char *name, const MerkleHash *hash);
extern void report_time(const char *name, int64_t time);

/* report_raw adds a fact whose text is JSON, or safe to print, already. */
extern void report_raw(const char *name, const char *text);

/*
 * report_open begins a group of facts: an item of the list `name`. Groups of
 * one name that follow one another are items of one list. At most 3 deep.
 */
extern void report_open(const char *name);

/* report_close ends the group. */
extern void report_close(void);

/*
 * report_problem says what is wrong (a printf format) and how the program is
 * to end; the first one decides. Returns its code, for the caller to return.
 */
extern ToolExit report_problem(ToolExit code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * report_limit says what a result "verified" is limited to, a few words that
 * follow it where people read it; programs have facts of their own. May be called
 * more than once.
 */
extern void report_limit(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* report_warning says on standard error what one should know. */
extern void report_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* report_progress shows how far the work is, when standard error is a terminal. */
extern void report_progress(uint64_t done, uint64_t total);

/* report_code returns how the program would end now. */
extern ToolExit report_code(void);

/* report_problem_text returns what the first problem was, or NULL; valid until report_finish. */
extern const char *report_problem_text(void);

/* report_finish prints the report and returns what main returns. */
extern int report_finish(void);

#endif

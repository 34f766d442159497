/*
 * logs.h - keeps pictures out of the server's log and of pg_stat_activity.
 *
 * No hook can tell whether a literal is an image, so every literal of more
 * than LOGS_LITERAL_MAX bytes is cut from what the server logs of a
 * statement, and values of bound parameters are never printed.
 */
#ifndef BIOMETRIC_LOGS_LOGS_H
#define BIOMETRIC_LOGS_LOGS_H

#include "postgres.h"

#define LOGS_LITERAL_MAX 128

/*
 * logs_emit cuts literals, and values of parameters, from a report that is
 * about to be written: message, detail, hint, context, internal query and
 * the statement. From emit_log_hook. Never raises.
 */
extern void logs_emit(ErrorData *report);

/*
 * logs_conceal_statement overwrites the long literals in a statement's text,
 * in place and to the same length, and shows the overwritten text in
 * pg_stat_activity (keeping query id and times). text is overwritten only if it is the
 * client's message or the text of the portal that is running, which are ours to write to.
 * Called at parse analysis, at planning and when a top-level statement starts.
 */
extern void logs_conceal_statement(const char *text);

/*
 * logs_parameters_seen tells whether this session has bound parameters yet:
 * a plan made for them has their values as constants.
 */
extern bool logs_parameters_seen(void);

#endif

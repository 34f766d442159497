/*
 * gate.h - the one door: the column gate and the release gate.
 *
 * The gates build a request, call policy_decide, obey, and append to the
 * ledger. They decide nothing themselves.
 */
#ifndef BIOMETRIC_GATE_GATE_H
#define BIOMETRIC_GATE_GATE_H

#include "base/compat.h"
#include "executor/execdesc.h"
#include "tcop/dest.h"

/* gate_define_settings: biometric_audit.release_batch_rows, .release_batch_size (kB). */
extern void gate_define_settings(void);

/*
 * gate_check_columns is the column gate: refuses a statement that reads an
 * image column (selected columns, whole row) which the client's network may
 * not even have sealed.
 *
 * inside: the statement runs inside another, or inside the planner; what it
 *   reads is noted, since its images may reach the client by the other one.
 *   So is what deferred triggers read, which run inside no statement.
 * In a parallel worker the leader has checked the plan, and what functions
 * read there is an error (0A000). Backends without a client are not refused.
 * Returns false or raises according to abort_on_violation.
 */
extern bool gate_check_columns(List *permission_infos, bool inside, bool abort_on_violation);

/*
 * gate_refresh_at says at which depth the query of a REFRESH MATERIALIZED VIEW
 * runs, which nobody receives and is therefore not refused; 0: none does.
 * Returns what it was. For the utility hook, which puts it back.
 */
extern int gate_refresh_at(int depth);

typedef struct GateStatement GateStatement;

/*
 * gate_statement_enter makes a statement that is about to run at top level
 * the current one, if the client itself receives its rows (a remote
 * destination of a client backend); otherwise there is no current one.
 */
extern void gate_statement_enter(QueryDesc *query);

/* gate_statement_current returns the current top-level statement or NULL. */
extern GateStatement *gate_statement_current(void);

/* gate_statement_restore makes another the current one again; NULL: none. Never raises. */
extern void gate_statement_restore(GateStatement *statement);

/*
 * gate_wanted tells whether a top-level statement of a real client sends
 * image columns, or bytea columns that may be stamped, by a remote
 * destination, so that its rows must pass the release gate.
 */
extern bool gate_wanted(QueryDesc *query);

/*
 * gate_create wraps query->dest in a release gate for one ExecutorRun. Result
 * in the current memory context; the caller puts it into query->dest, restores
 * the original afterwards (also on error) and calls gate_free on success.
 */
extern DestReceiver *gate_create(QueryDesc *query);
extern void gate_free(DestReceiver *gate);

#endif

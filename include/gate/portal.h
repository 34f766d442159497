/*
 * portal.h - portals whose rows reach the client from a tuplestore.
 *
 * INSERT, UPDATE, DELETE and MERGE with RETURNING, data-modifying CTEs, FETCH,
 * EXECUTE and CALL fill a tuplestore first, from which PostgreSQL sends rows
 * where no hook is. Such a portal is given a stand-in query that replays the
 * store, so that its rows pass the release gate like any SELECT's.
 *
 * The stand-in is made, and made the current statement, before anything of
 * the statement runs, so that fill and replay are one statement: one purpose,
 * declared beforehand, and one number for the cast's stamp. A FETCH has the
 * number of its cursor, whose query may cast ahead of what is fetched.
 *
 * Rows go out sealed where the portal cannot be taken over, or must not be opened:
 *  - CALL of a procedure that committed or rolled back: what the portal owned
 *    ended with that transaction;
 *  - a cursor of a procedural language that the protocol's Execute runs, if it may
 *    be scrolled, so that its store must stay seekable, or if a FETCH has filled
 *    its store before;
 *  - FETCH from the cursor of pg_dump --inserts: a dump stays sealed.
 * Stamped bytes are sealed when another statement stamped them, and when none
 * was there: rows of a cursor WITH HOLD that its commit has stored, or that
 * MOVE made a plan compute ahead.
 * A portal of several queries (rules) has no store: what it sends passes the
 * gate query by query.
 */
#ifndef BIOMETRIC_GATE_PORTAL_H
#define BIOMETRIC_GATE_PORTAL_H

#include "executor/execdesc.h"
#include "nodes/plannodes.h"
#include "tcop/dest.h"
#include "tcop/utility.h"

/* portal_is_stand_in tells whether a query is one that this module made. */
extern bool portal_is_stand_in(const QueryDesc *query);

/*
 * portal_replay is the stand-in's ExecutorRun: sends count rows (0: all) of
 * the store to query->dest, and puts their number into es_processed.
 */
extern void portal_replay(QueryDesc *query, ScanDirection direction, uint64 count);

/* portal_end_stand_in is the stand-in's ExecutorEnd: gives the store back to the portal. */
extern void portal_end_stand_in(QueryDesc *query);

/*
 * portal_fill_begins is asked before a query runs at top level: when the
 * active portal puts its rows into a store, and they may hold images, the
 * portal's statement becomes the current one. True also for a replay that must
 * not pass the gate. Returns false for any other query, for which
 * gate_statement_enter is to be called.
 */
extern bool portal_fill_begins(const QueryDesc *query);

/*
 * portal_query_ends is called before a query's ExecutorEnd, portal_query_ended
 * after it with what the former returned: takes the active portal over when
 * that was the query that filled its store.
 */
extern bool portal_query_ends(const QueryDesc *query);
extern void portal_query_ended(bool take_over);

/*
 * portal_utility_begins and portal_utility_ended do the same for utility
 * commands that return rows; in between, the portal's statement is the
 * current one, and the caller restores the one before also after an error.
 * Called by the utility hook outside of its own depth (internal_depth() is 0
 * for what the client sent).
 */
extern bool portal_utility_begins(ProcessUtilityContext context, DestReceiver *dest);
extern void portal_utility_ended(bool take_over);

#endif

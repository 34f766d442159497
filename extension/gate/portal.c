/*
 * portal.c - takes portals over whose rows reach the client from a tuplestore.
 *
 * PortalRun fills such a store, then sends from it; but it looks at the
 * portal's strategy and store again in between. What fills the store ends in
 * a hook of ours, which takes the store out of the portal, makes a query of
 * it, and turns the portal into one of a SELECT: PortalRun then calls
 * ExecutorRun with the client's destination.
 *
 * All that belongs to a stand-in lives in the portal's holdContext, since
 * PortalRunMulti deletes the children of its portalContext.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "commands/portalcmds.h"
#include "commands/prepare.h"
#include "executor/executor.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "base/internal.h"
#include "gate/portal.h"
#include "gate/statement.h"
#include "image/image.h"

typedef struct StandIn
{
	dlist_node node;
	MemoryContextCallback forget;
	Portal portal;			/* NULL: its query has ended */
	QueryDesc *query;		/* NULL: has ended and is freed */
	PlannedStmt *fills;		/* the statement whose rows the store holds */
	Tuplestorestate *store; /* NULL: with the portal, before the takeover or after the end */
	bool sealed;			/* its rows must not pass the gate */
} StandIn;

/* Those of all portals that have not been dropped; mostly none. */
static dlist_head stand_ins = DLIST_STATIC_INIT(stand_ins);

/*
 * Stands for the client in a query that nobody has yet been asked to run, so
 * that the gate takes it for what it will be. Nothing is ever sent to it.
 */
static DestReceiver client_to_be = {.mydest = DestRemote};

static StandIn *
stand_in_of_portal(Portal portal)
{
	dlist_iter iter;

	dlist_foreach(iter, &stand_ins)
	{
		StandIn *stand_in = dlist_container(StandIn, node, iter.cur);

		if (stand_in->portal == portal)
			return stand_in;
	}
	return NULL;
}

static StandIn *
stand_in_of_query(const QueryDesc *query)
{
	dlist_iter iter;

	dlist_foreach(iter, &stand_ins)
	{
		StandIn *stand_in = dlist_container(StandIn, node, iter.cur);

		if (stand_in->query == query)
			return stand_in;
	}
	return NULL;
}

bool
portal_is_stand_in(const QueryDesc *query)
{
	return stand_in_of_query(query) != NULL;
}

static void
stand_in_forget(void *arg)
{
	StandIn *stand_in = arg;

	dlist_delete(&stand_in->node);
}

/* ---- whether ---- */

/* Whether values of a result can hold images, so that they are released or recorded by the gate. */
static bool
portal_may_show_images(TupleDesc descriptor)
{
	if (descriptor == NULL || !OidIsValid(extension_oid()))
		return false;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Oid type = TupleDescAttr(descriptor, i)->atttypid;

		if (type == BYTEAOID || type == RECORDOID || type == RECORDARRAYOID ||
			(type >= FirstNormalObjectId &&
			 (image_type_kinds(type) != 0 || getBaseType(type) == BYTEAOID)))
			return true;
	}
	return false;
}

/* Whether a portal is filling its store with rows that are to be sent once, forward. */
static bool
portal_fills_store(Portal portal, const DestReceiver *dest)
{
	return portal != NULL && portal->holdStore != NULL && portal->queryDesc == NULL &&
		   !portal->portalPinned && (portal->cursorOptions & CURSOR_OPT_NO_SCROLL) != 0 &&
		   (portal->cursorOptions & CURSOR_OPT_HOLD) == 0 && dest->mydest == DestTuplestore;
}

/* ---- what the gate wants to know of the statement ---- */

/* The origin of each result column, without the expressions. */
static List *
portal_copy_targets(const List *targets)
{
	List *copies = NIL;
	ListCell *cell;

	foreach(cell, targets)
	{
		const TargetEntry *target = lfirst(cell);
		TargetEntry *copy = makeTargetEntry(NULL, target->resno, NULL, target->resjunk);

		copy->resorigtbl = target->resorigtbl;
		copy->resorigcol = target->resorigcol;
		copies = lappend(copies, copy);
	}
	return copies;
}

/* Of the tables that a held cursor has read, those that still are there; they get locked. */
static List *
portal_permissions_left(List *permissions)
{
	List *left = NIL;
	ListCell *cell;

	foreach(cell, permissions)
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);

		if (!OidIsValid(info->relid))
			continue;
		LockRelationOid(info->relid, AccessShareLock);
		if (get_rel_relkind(info->relid) != '\0')
			left = lappend(left, info);
	}
	return left;
}

/*
 * The cursor that a statement fetches from, or NULL. A portal of the protocol
 * can itself be a FETCH, even of a portal that fetches from it: PostgreSQL
 * refuses to run that, but only when it comes to it.
 */
static Portal
portal_fetched(const PlannedStmt *statement)
{
	Portal cursor;
	PlannedStmt *read;

	if (statement->utilityStmt == NULL || !IsA(statement->utilityStmt, FetchStmt))
		return NULL;
	cursor = GetPortalByName(((FetchStmt *) statement->utilityStmt)->portalname);
	read = cursor ? PortalGetPrimaryStmt(cursor) : NULL;
	return read && read->utilityStmt && IsA(read->utilityStmt, FetchStmt) ? NULL : cursor;
}

/*
 * pg_dump --inserts reads by a cursor of this name. A dump is to be restored
 * bit for bit, so it is sealed like COPY's, even in a session with a purpose.
 */
static bool
portal_is_dump(const PlannedStmt *statement)
{
	Portal cursor = portal_fetched(statement);

	return cursor != NULL && strcmp(cursor->name, "_pg_dump_cursor") == 0;
}

/*
 * What the permission check looks at. EXECUTE and CALL have it checked while
 * they run, which the current statement is told of.
 */
static List *
portal_permissions(PlannedStmt *statement)
{
	Portal cursor = portal_fetched(statement);
	PlannedStmt *read = cursor ? PortalGetPrimaryStmt(cursor) : statement;

	if (read == NULL || read->utilityStmt != NULL)
		return NIL;
	if (cursor != NULL && cursor->createSubid == InvalidSubTransactionId)
		return copyObject(portal_permissions_left(planned_permissions(read)));
	return copyObject(planned_permissions(read));
}

static List *
portal_targets(PlannedStmt *statement)
{
	Node *utility = statement->utilityStmt;

	/* these have an error of their own coming */
	if (utility != NULL && IsA(utility, FetchStmt) && portal_fetched(statement) == NULL)
		return NIL;
	if (utility != NULL && IsA(utility, ExecuteStmt) &&
		FetchPreparedStatement(((ExecuteStmt *) utility)->name, false) == NULL)
		return NIL;
	return portal_copy_targets(FetchStatementTargetList((Node *) statement));
}

/* ---- making ---- */

static QueryDesc *
stand_in_query(Portal portal, PlannedStmt *statement)
{
	QueryDesc *query = palloc0(sizeof(QueryDesc));
	Result *node = makeNode(Result);

	node->plan.targetlist = portal_targets(statement);
	query->plannedstmt = makeNode(PlannedStmt);
	query->plannedstmt->commandType = CMD_SELECT;
	query->plannedstmt->planTree = &node->plan;
	planned_permissions_set(query->plannedstmt, portal_permissions(statement));
	query->operation = CMD_SELECT;
	query->sourceText = portal->sourceText;
	query->dest = &client_to_be;
	query->tupDesc = portal->tupDesc;
	query->estate = CreateExecutorState();
	return query;
}

static StandIn *
stand_in_create(Portal portal)
{
	MemoryContext old = MemoryContextSwitchTo(portal->holdContext);
	StandIn *stand_in = palloc0(sizeof(StandIn));

	stand_in->portal = portal;
	stand_in->fills = PortalGetPrimaryStmt(portal);
	stand_in->query = stand_in_query(portal, stand_in->fills);
	stand_in->sealed = portal_is_dump(stand_in->fills);
	stand_in->forget.func = stand_in_forget;
	stand_in->forget.arg = stand_in;
	dlist_push_head(&stand_ins, &stand_in->node);
	MemoryContextRegisterResetCallback(portal->holdContext, &stand_in->forget);
	MemoryContextSwitchTo(old);
	return stand_in;
}

/*
 * The number of the statement that a cursor's query is, whichever way it is
 * run; 0 when it has none. Its plan may cast all rows when the first is asked
 * for, so that the stamp of one FETCH would be foreign to the next.
 */
static uint64
portal_cursor_number(Portal cursor)
{
	QueryDesc *query = cursor ? cursor->queryDesc : NULL;
	DestReceiver *dest;
	GateStatement *statement;

	if (query == NULL)
		return 0;
	dest = query->dest;
	query->dest = &client_to_be;
	gate_statement_enter(query);
	query->dest = dest;
	statement = gate_statement_current();
	if (statement == NULL)
		return 0;
	statement->ledger.command = GetCommandTagName(cursor->commandTag);
	return statement->number;
}

/* Makes the stand-in's statement the current one. False when no client is there to receive it. */
static bool
stand_in_enter(StandIn *stand_in)
{
	GateStatement *statement;
	uint64 number;

	if (stand_in->sealed)
	{
		gate_statement_restore(NULL);
		return true;
	}
	number = portal_cursor_number(portal_fetched(stand_in->fills));
	gate_statement_enter(stand_in->query);
	statement = gate_statement_current();
	if (statement == NULL)
		return false;
	statement->ledger.query_id = stand_in->fills->queryId;
	if (number != 0)
	{
		statement->number = number;
		gate_statement_restore(statement);
	}
	return true;
}

/* ---- taking over ---- */

/* Before the portal is dropped, or when it has failed: its store must be closed by itself. */
static void
portal_cleanup(Portal portal)
{
	StandIn *stand_in = stand_in_of_portal(portal);

	portal->cleanup = PortalCleanup;
	PortalCleanup(portal);
	if (stand_in != NULL && stand_in->store != NULL)
	{
		portal->holdStore = stand_in->store;
		stand_in->store = NULL;
		stand_in->query = NULL;
		stand_in->portal = NULL;
	}
}

/* The snapshot that keeps what the rows point to in TOAST tables. */
static Snapshot
portal_rows_snapshot(const StandIn *stand_in)
{
	Portal cursor = portal_fetched(stand_in->fills);

	if (stand_in->portal->holdSnapshot != NULL)
		return stand_in->portal->holdSnapshot;
	if (cursor != NULL && cursor->queryDesc != NULL && cursor->queryDesc->snapshot != NULL)
		return cursor->queryDesc->snapshot;
	return ActiveSnapshotSet() ? GetActiveSnapshot() : GetTransactionSnapshot();
}

/*
 * A procedure that ended its transaction has left the portal without a
 * resource owner, so that nothing would take the snapshot back.
 */
static void
portal_take_over(Portal portal)
{
	StandIn *stand_in = portal ? stand_in_of_portal(portal) : NULL;

	if (stand_in == NULL || portal->resowner == NULL || portal->holdStore == NULL ||
		portal->cleanup != PortalCleanup)
		return;
	stand_in->query->snapshot =
		RegisterSnapshotOnOwner(portal_rows_snapshot(stand_in), portal->resowner);
	stand_in->store = portal->holdStore;
	portal->holdStore = NULL;
	portal->queryDesc = stand_in->query;
	portal->strategy = PORTAL_ONE_SELECT;
	portal->cleanup = portal_cleanup;
}

bool
portal_fill_begins(const QueryDesc *query)
{
	Portal portal = ActivePortal;
	StandIn *stand_in = stand_in_of_query(query);

	if (stand_in != NULL && stand_in->sealed)
		return stand_in_enter(stand_in);
	if (portal == NULL || portal->holdStore == NULL ||
		(portal->strategy != PORTAL_ONE_RETURNING && portal->strategy != PORTAL_ONE_MOD_WITH))
		return false;
	stand_in = stand_in_of_portal(portal);
	if (stand_in == NULL)
	{
		/* a rule's query may run before the one that fills the store: it is part of the statement */
		if (portal->queryDesc != NULL || portal->portalPinned ||
			(portal->cursorOptions & CURSOR_OPT_NO_SCROLL) == 0 ||
			(portal->cursorOptions & CURSOR_OPT_HOLD) != 0 ||
			!portal_may_show_images(portal->tupDesc))
			return false;
		stand_in = stand_in_create(portal);
	}
	return stand_in_enter(stand_in);
}

bool
portal_query_ends(const QueryDesc *query)
{
	StandIn *stand_in;

	if (dlist_is_empty(&stand_ins) || internal_depth() != 0 || ActivePortal == NULL)
		return false;
	stand_in = stand_in_of_portal(ActivePortal);
	return stand_in != NULL && stand_in->store == NULL && stand_in->fills == query->plannedstmt &&
		   portal_fills_store(ActivePortal, query->dest);
}

void
portal_query_ended(bool take_over)
{
	if (take_over)
		portal_take_over(ActivePortal);
}

bool
portal_utility_begins(ProcessUtilityContext context, DestReceiver *dest)
{
	Portal portal = ActivePortal;

	if (internal_depth() != 0 || context != PROCESS_UTILITY_TOPLEVEL || portal == NULL ||
		portal->strategy != PORTAL_UTIL_SELECT || !portal_fills_store(portal, dest) ||
		!portal_may_show_images(portal->tupDesc) || stand_in_of_portal(portal) != NULL)
		return false;
	return stand_in_enter(stand_in_create(portal));
}

void
portal_utility_ended(bool take_over)
{
	if (take_over)
		portal_take_over(ActivePortal);
}

/* ---- running ---- */

static bool
portal_next_row(const StandIn *stand_in, bool forward, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(stand_in->portal->holdContext);
	bool found = tuplestore_gettupleslot(stand_in->store, forward, false, slot);

	MemoryContextSwitchTo(old);
	return found;
}

void
portal_replay(QueryDesc *query, ScanDirection direction, uint64 count)
{
	StandIn *stand_in = stand_in_of_query(query);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(query->tupDesc, &TTSOpsMinimalTuple);
	DestReceiver *dest = query->dest;
	uint64 rows = 0;

	query->estate->es_processed = 0;
	dest->rStartup(dest, CMD_SELECT, query->tupDesc);
	while (!ScanDirectionIsNoMovement(direction) && (count == 0 || rows < count) &&
		   portal_next_row(stand_in, ScanDirectionIsForward(direction), slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!dest->receiveSlot(slot, dest))
			break;
		ExecClearTuple(slot);
		rows++;
	}
	dest->rShutdown(dest);
	ExecDropSingleTupleTableSlot(slot);
	query->estate->es_processed = rows;
}

void
portal_end_stand_in(QueryDesc *query)
{
	StandIn *stand_in = stand_in_of_query(query);

	FreeExecutorState(query->estate);
	query->estate = NULL;
	stand_in->portal->holdStore = stand_in->store;
	stand_in->store = NULL;
	stand_in->query = NULL;
	stand_in->portal = NULL;
}

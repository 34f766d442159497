/*
 * hooks.c - saves, chains and dispatches; decides nothing.
 */
#include "postgres.h"

#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "executor/executor.h"
#include "libpq/auth.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "parser/analyze.h"
#include "tcop/utility.h"

#include "base/compat.h"
#include "base/internal.h"
#include "gate/export.h"
#include "gate/gate.h"
#include "gate/portal.h"
#include "guard/ddl.h"
#include "guard/guard.h"
#include "hooks.h"
#include "keyring/keyring.h"
#include "keys/keys.h"
#include "ledger/database.h"
#include "logs/logs.h"
#include "policy/cutoff.h"
#include "policy/policy.h"
#include "policy/replication.h"
#include "policy/serving.h"
#include "trigger/trigger.h"

static emit_log_hook_type prev_emit_log = NULL;
static ClientAuthentication_hook_type prev_ClientAuthentication = NULL;
static post_parse_analyze_hook_type prev_post_parse_analyze = NULL;
static planner_hook_type prev_planner = NULL;
static ExecutorStart_hook_type prev_ExecutorStart = NULL;
static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static ExecutorCheckPerms_hook_type prev_ExecutorCheckPerms = NULL;
static ExecutorEnd_hook_type prev_ExecutorEnd = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;
static object_access_hook_type prev_object_access = NULL;

static void
hooks_emit_log(ErrorData *report)
{
	logs_emit(report);
	if (prev_emit_log)
		prev_emit_log(report);
}

static void
hooks_client_authentication(Port *port, int status)
{
	if (prev_ClientAuthentication)
		prev_ClientAuthentication(port, status);
	cutoff_enter(status);
	replication_check_client(port, status);
}

static void
hooks_post_parse_analyze(ParseState *state, Query *query, JumbleState *jumble)
{
	if (prev_post_parse_analyze)
		prev_post_parse_analyze(state, query, jumble);
	logs_conceal_statement(state->p_sourcetext);
	keyring_done();
}

/*
 * Folding a constant may run a function, and with it statements. A purpose is
 * declared by the session, not by what it is about to read.
 */
static PlannedStmt *
hooks_planner(Query *parse, const char *query_string, int options, ParamListInfo params)
{
	uint64 declarations = policy_purpose_declarations();
	PlannedStmt *volatile plan;

	logs_conceal_statement(query_string);
	internal_depth_enter();
	PG_TRY();
	{
		plan = prev_planner ? prev_planner(parse, query_string, options, params)
							: standard_planner(parse, query_string, options, params);
	}
	PG_FINALLY();
	{
		internal_depth_leave();
	}
	PG_END_TRY();
	keyring_done();
	policy_purpose_expect(declarations);
	return plan;
}

static void
hooks_start(QueryDesc *query, int flags)
{
	uint64 declarations = policy_purpose_declarations();

	if (internal_depth() == 0)
		logs_conceal_statement(query->sourceText);
	if (prev_ExecutorStart)
		prev_ExecutorStart(query, flags);
	else
		standard_ExecutorStart(query, flags);
	keyring_done();
	policy_purpose_expect(declarations);
}

static void
hooks_chain_run(EXECUTOR_RUN_ARGS)
{
	if (portal_is_stand_in(query))
		portal_replay(query, direction, count);
	else if (prev_ExecutorRun)
		prev_ExecutorRun(EXECUTOR_RUN_PASS);
	else
		standard_ExecutorRun(EXECUTOR_RUN_PASS);
}

/* What stands between a query and its destination while it runs. */
typedef struct RunWrap
{
	DestReceiver *gate;
	DestReceiver *binder;
} RunWrap;

static void
hooks_wrap_destination(QueryDesc *query, RunWrap *wrap)
{
	if (internal_depth() == 1 && !portal_fill_begins(query))
	{
		gate_statement_enter(query);
		if (gate_wanted(query))
		{
			wrap->gate = gate_create(query);
			query->dest = wrap->gate;
			return;
		}
	}
	if (binder_wanted(query))
	{
		wrap->binder = binder_create(query);
		query->dest = wrap->binder;
	}
}

/*
 * Whether hooks_finish comes at once, and releases the keys: what writes is run to its end
 * without hearing of the client, and its triggers need the keys once more.
 */
static bool
hooks_finish_follows(QueryDesc *query)
{
	return query->operation != CMD_SELECT && !portal_is_stand_in(query);
}

static void
hooks_run(EXECUTOR_RUN_ARGS)
{
	DestReceiver *client = query->dest;
	GateStatement *outer = gate_statement_current();
	RunWrap wrap = {0};
	ExportWatch watch;
	volatile bool succeeded = false;

	export_begin(&watch, query);
	internal_depth_enter();
	PG_TRY();
	{
		hooks_wrap_destination(query, &wrap);
		hooks_chain_run(EXECUTOR_RUN_PASS);
		succeeded = true;
	}
	PG_FINALLY();
	{
		internal_depth_leave();
		query->dest = client;
		export_end(&watch, query->estate ? query->estate->es_processed : 0, !succeeded);
		gate_statement_restore(outer);
		if (!succeeded || !hooks_finish_follows(query))
			keyring_statement_over();
	}
	PG_END_TRY();
	if (wrap.gate)
		gate_free(wrap.gate);
	if (wrap.binder)
		binder_free(wrap.binder);
}

/* The triggers that were queued run here: part of the statement that ran. */
static void
hooks_finish(QueryDesc *query)
{
	ExportWatch watch;
	volatile bool succeeded = false;

	if (portal_is_stand_in(query))
		return;
	export_resume(&watch, query);
	internal_depth_enter();
	PG_TRY();
	{
		if (prev_ExecutorFinish)
			prev_ExecutorFinish(query);
		else
			standard_ExecutorFinish(query);
		succeeded = true;
	}
	PG_FINALLY();
	{
		internal_depth_leave();
		export_end(&watch, query->estate->es_processed, !succeeded);
		keyring_statement_over();
	}
	PG_END_TRY();
}

static void
hooks_end(QueryDesc *query)
{
	bool take_over;

	if (portal_is_stand_in(query))
	{
		portal_end_stand_in(query);
		return;
	}
	take_over = portal_query_ends(query);
	if (prev_ExecutorEnd)
		prev_ExecutorEnd(query);
	else
		standard_ExecutorEnd(query);
	portal_query_ended(take_over);
	keyring_done();
}

/* Whoever was there before us is asked first; each may deny. */
static bool
hooks_check_perms(CHECK_PERMS_ARGS)
{
	List *infos = CHECK_PERMS_LIST(range_table, permission_infos);

	if (prev_ExecutorCheckPerms && !prev_ExecutorCheckPerms(CHECK_PERMS_PASS))
		return false;
	return guard_check_perms(infos, abort_on_violation) &&
		   guard_check_catalogs(infos, abort_on_violation) &&
		   attach_check_writes(infos, abort_on_violation) &&
		   gate_check_columns(infos, internal_depth() > 0, abort_on_violation);
}

static void
hooks_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (prev_object_access)
		prev_object_access(access, class_id, object_id, sub_id, arg);
	if (access == OAT_FUNCTION_EXECUTE)
	{
		guard_check_function(object_id);
		gate_check_function(object_id);
		return;
	}
	guard_object_access(access, class_id, object_id, sub_id, arg);
	attach_object_access(access, class_id, object_id, sub_id, arg);
	/* last, since all before may have looked it up once more */
	if (access == OAT_DROP && class_id == ExtensionRelationId)
		extension_forget();
}

static void
hooks_chain_utility(PlannedStmt *plan, const char *query_string, bool read_only_tree,
					ProcessUtilityContext context, ParamListInfo params,
					QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	if (prev_ProcessUtility)
		prev_ProcessUtility(plan, query_string, read_only_tree, context, params, environment, dest,
							completion);
	else
		standard_ProcessUtility(plan, query_string, read_only_tree, context, params, environment,
								dest, completion);
}

static void
hooks_utility(PlannedStmt *plan, const char *query_string, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			  DestReceiver *dest, QueryCompletion *completion)
{
	GateStatement *outer = gate_statement_current();
	GuardCommand command;
	AttachCommand attached;
	DatabaseCommand database = {.slot = -1};
	ExportWatch watch;
	bool take_over;
	int refresh;
	volatile bool succeeded = false;

	if (context == PROCESS_UTILITY_TOPLEVEL)
		logs_conceal_statement(query_string);
	guard_check_utility(plan, context == PROCESS_UTILITY_TOPLEVEL, &command);
	attach_check_lineage(plan->utilityStmt, command.name);
	serving_check_command(plan->utilityStmt);
	take_over = portal_utility_begins(context, dest);
	export_begin(&watch, NULL);
	/* what is entered here must be left again: from here on nothing raises before PG_TRY */
	guard_enter(&command);
	internal_depth_enter();
	attach_enter(&attached, plan->utilityStmt);
	refresh = gate_refresh_at(IsA(plan->utilityStmt, RefreshMatViewStmt) ? internal_depth() : 0);
	PG_TRY();
	{
		ledger_database_begin(plan->utilityStmt, &database);
		if (database.drop && database.slot >= 0)
			keys_check_drop_database(database.database);
		guard_drop_begin(&command);
		hooks_chain_utility(plan, query_string, read_only_tree, context, params, environment, dest,
							completion);
		guard_drop_end(&command);
		attach_utility_end(plan->utilityStmt);
		succeeded = true;
	}
	PG_FINALLY();
	{
		gate_refresh_at(refresh);
		attach_leave(&attached);
		internal_depth_leave();
		guard_leave(&command);
		ledger_database_end(&database, succeeded);
		export_end(&watch, completion ? completion->nprocessed : 0, !succeeded);
		gate_statement_restore(outer);
		keyring_statement_over();
	}
	PG_END_TRY();
	portal_utility_ended(take_over);
}

void
hooks_install(void)
{
	prev_emit_log = emit_log_hook;
	emit_log_hook = hooks_emit_log;
	prev_ClientAuthentication = ClientAuthentication_hook;
	ClientAuthentication_hook = hooks_client_authentication;
	prev_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = hooks_post_parse_analyze;
	prev_planner = planner_hook;
	planner_hook = hooks_planner;
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = hooks_start;
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = hooks_run;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = hooks_finish;
	prev_ExecutorEnd = ExecutorEnd_hook;
	ExecutorEnd_hook = hooks_end;
	prev_ExecutorCheckPerms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = hooks_check_perms;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
	prev_object_access = object_access_hook;
	object_access_hook = hooks_object_access;
}

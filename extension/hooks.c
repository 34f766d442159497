/*
 * hooks.c - saves, chains and dispatches; decides nothing.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "tcop/utility.h"

#include "base/compat.h"
#include "base/internal.h"
#include "gate/gate.h"
#include "guard/guard.h"
#include "hooks.h"
#include "ledger/database.h"
#include "policy/policy.h"

static planner_hook_type prev_planner = NULL;
static ExecutorStart_hook_type prev_ExecutorStart = NULL;
static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static ExecutorCheckPerms_hook_type prev_ExecutorCheckPerms = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;

/*
 * Folding a constant may run a function, and with it statements. A purpose is
 * declared by the session, not by what it is about to read.
 */
static PlannedStmt *
hooks_planner(Query *parse, const char *query_string, int options, ParamListInfo params)
{
	uint64 declarations = policy_purpose_declarations();
	PlannedStmt *volatile plan;

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
	policy_purpose_expect(declarations);
	return plan;
}

static void
hooks_start(QueryDesc *query, int flags)
{
	uint64 declarations = policy_purpose_declarations();

	if (prev_ExecutorStart)
		prev_ExecutorStart(query, flags);
	else
		standard_ExecutorStart(query, flags);
	policy_purpose_expect(declarations);
}

static void
hooks_chain_run(EXECUTOR_RUN_ARGS)
{
	if (prev_ExecutorRun)
		prev_ExecutorRun(EXECUTOR_RUN_PASS);
	else
		standard_ExecutorRun(EXECUTOR_RUN_PASS);
}

static void
hooks_run(EXECUTOR_RUN_ARGS)
{
	DestReceiver *client = query->dest;
	GateStatement *outer = gate_statement_current();
	DestReceiver *volatile gate = NULL;

	internal_depth_enter();
	PG_TRY();
	{
		if (internal_depth() == 1)
		{
			gate_statement_enter(query);
			if (gate_wanted(query))
			{
				gate = gate_create(query);
				query->dest = gate;
			}
		}
		hooks_chain_run(EXECUTOR_RUN_PASS);
	}
	PG_FINALLY();
	{
		internal_depth_leave();
		query->dest = client;
		gate_statement_restore(outer);
	}
	PG_END_TRY();
	if (gate)
		gate_free(gate);
}

static void
hooks_finish(QueryDesc *query)
{
	internal_depth_enter();
	PG_TRY();
	{
		if (prev_ExecutorFinish)
			prev_ExecutorFinish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_FINALLY();
	{
		internal_depth_leave();
	}
	PG_END_TRY();
}

/* Whoever was there before us is asked first; each may deny. */
static bool
hooks_check_perms(CHECK_PERMS_ARGS)
{
	List *infos = CHECK_PERMS_LIST(range_table, permission_infos);

	if (prev_ExecutorCheckPerms && !prev_ExecutorCheckPerms(CHECK_PERMS_PASS))
		return false;
	return guard_check_perms(infos, abort_on_violation) &&
		   gate_check_columns(infos, internal_depth() > 0, abort_on_violation);
}

static void
hooks_utility(PlannedStmt *plan, const char *query_string, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			  DestReceiver *dest, QueryCompletion *completion)
{
	DatabaseCommand database;
	volatile bool succeeded = false;

	ledger_database_begin(plan->utilityStmt, &database);
	internal_depth_enter();
	PG_TRY();
	{
		if (prev_ProcessUtility)
			prev_ProcessUtility(plan, query_string, read_only_tree, context, params, environment,
								dest, completion);
		else
			standard_ProcessUtility(plan, query_string, read_only_tree, context, params,
									environment, dest, completion);
		succeeded = true;
	}
	PG_FINALLY();
	{
		internal_depth_leave();
		ledger_database_end(&database, succeeded);
	}
	PG_END_TRY();
}

void
hooks_install(void)
{
	prev_planner = planner_hook;
	planner_hook = hooks_planner;
	prev_ExecutorStart = ExecutorStart_hook;
	ExecutorStart_hook = hooks_start;
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = hooks_run;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = hooks_finish;
	prev_ExecutorCheckPerms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = hooks_check_perms;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
}

/*
 * hooks.c - saves, chains and dispatches; decides nothing.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "tcop/utility.h"

#include "base/compat.h"
#include "gate/gate.h"
#include "guard/guard.h"
#include "hooks.h"
#include "ledger/database.h"

static planner_hook_type prev_planner = NULL;
static ExecutorRun_hook_type prev_ExecutorRun = NULL;
static ExecutorFinish_hook_type prev_ExecutorFinish = NULL;
static ExecutorCheckPerms_hook_type prev_ExecutorCheckPerms = NULL;
static ProcessUtility_hook_type prev_ProcessUtility = NULL;

/*
 * How deep we are in statements run by statements, or by the planner. Only
 * what runs at depth 0 answers the client itself.
 */
static int depth = 0;

/* Folding a constant may run a function, and with it statements. */
static PlannedStmt *
hooks_planner(Query *parse, const char *query_string, int options, ParamListInfo params)
{
	PlannedStmt *plan;

	depth++;
	PG_TRY();
	{
		plan = prev_planner ? prev_planner(parse, query_string, options, params)
							: standard_planner(parse, query_string, options, params);
	}
	PG_FINALLY();
	{
		depth--;
	}
	PG_END_TRY();
	return plan;
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

	depth++;
	PG_TRY();
	{
		if (depth == 1)
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
		depth--;
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
	depth++;
	PG_TRY();
	{
		if (prev_ExecutorFinish)
			prev_ExecutorFinish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_FINALLY();
	{
		depth--;
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
		   gate_check_columns(infos, depth > 0, abort_on_violation);
}

static void
hooks_utility(PlannedStmt *plan, const char *query_string, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			  DestReceiver *dest, QueryCompletion *completion)
{
	DatabaseCommand database;
	volatile bool succeeded = false;

	ledger_database_begin(plan->utilityStmt, &database);
	depth++;
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
		depth--;
		ledger_database_end(&database, succeeded);
	}
	PG_END_TRY();
}

void
hooks_install(void)
{
	prev_planner = planner_hook;
	planner_hook = hooks_planner;
	prev_ExecutorRun = ExecutorRun_hook;
	ExecutorRun_hook = hooks_run;
	prev_ExecutorFinish = ExecutorFinish_hook;
	ExecutorFinish_hook = hooks_finish;
	prev_ExecutorCheckPerms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = hooks_check_perms;
	prev_ProcessUtility = ProcessUtility_hook;
	ProcessUtility_hook = hooks_utility;
}

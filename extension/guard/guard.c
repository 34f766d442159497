/*
 * guard.c - refuses DML on the extension's own tables.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "guard/guard.h"

#define GUARDED_WRITES (ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE)

PG_FUNCTION_INFO_V1(biometric_guard_trigger);

static void
guard_refuse(Oid relation)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("table \"%s\" is written by biometric_audit only", get_rel_name(relation)),
		 errdetail("The ledger and the policy can be changed by nobody directly, not even by a "
				   "superuser."),
		 errhint(
			 "Change the policy with the functions of schema biometric; the ledger only grows.")));
}

/*
 * Whether a write to a relation is somebody else's than our own code's, which
 * runs at a certain depth: what is deeper is a trigger's.
 */
static bool
guard_forbids(Oid relation, int depth)
{
	InternalTables tables = internal_tables_of(relation);

	return tables != INTERNAL_NONE &&
		   (tables != internal_write_tables() || depth != internal_write_depth());
}

/* Foreign keys between our tables lock rows, deeper than the statement that needs it. */
static bool
guard_sees_lock_only(const PermissionInfo *info)
{
	return (info->requiredPerms & GUARDED_WRITES) == ACL_UPDATE && bms_is_empty(info->updatedCols);
}

bool
guard_check_perms(List *permission_infos, bool abort_on_violation)
{
	ListCell *cell;

	if (!IsTransactionState())
		return true;
	foreach(cell, permission_infos)
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);
		int depth = internal_depth();

		if ((info->requiredPerms & GUARDED_WRITES) == 0)
			continue;
		if (guard_sees_lock_only(info) && depth > internal_write_depth())
			depth = internal_write_depth();
		if (!guard_forbids(info->relid, depth))
			continue;
		if (abort_on_violation)
			guard_refuse(info->relid);
		return false;
	}
	return true;
}

/* What a BEFORE ROW trigger returns for the row to be written as it is. */
static HeapTuple
guard_same_row(const TriggerData *trigger)
{
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return NULL;
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
													  : trigger->tg_trigtuple;
}

/*
 * biometric_guard_trigger stops every write that reaches a guarded table past
 * the permission check: TRUNCATE, through a parent that the table was made to
 * inherit from, and logical replication. An apply worker passes the row over,
 * since it would only fail again and again: FOR ALL TABLES publishes our
 * tables, too.
 */
PGDLLEXPORT Datum
biometric_guard_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Oid relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("biometric_guard_trigger can be called as a trigger only"),
						errhint("The extension attaches it to its own tables by itself.")));
	relation = RelationGetRelid(trigger->tg_relation);
	/* a trigger runs inside of its statement */
	if (!guard_forbids(relation, internal_depth() - 1))
		/* a pointer, and for a statement a null one, which is not an SQL null */
		PG_RETURN_POINTER(guard_same_row(trigger));
	if (!IsLogicalWorker() || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		guard_refuse(relation);
	PG_RETURN_POINTER(NULL);
}

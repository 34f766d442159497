/*
 * guard.c - refuses DML on the extension's own tables.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "guard/guard.h"

#define GUARDED_WRITES (ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE)

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_guard_trigger);

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

/* Whether a relation belongs to the extension. */
static bool
guard_owns(Oid relation)
{
	return relation >= FirstNormalObjectId && OidIsValid(extension_oid()) &&
		   get_rel_relkind(relation) == RELKIND_RELATION &&
		   getExtensionOfObject(RelationRelationId, relation) == extension_oid();
}

bool
guard_check_perms(List *permission_infos, bool abort_on_violation)
{
	ListCell *cell;

	if (internal_write_active() || !IsTransactionState())
		return true;
	foreach(cell, permission_infos)
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);

		if ((info->requiredPerms & GUARDED_WRITES) == 0 || !guard_owns(info->relid))
			continue;
		if (abort_on_violation)
			guard_refuse(info->relid);
		return false;
	}
	return true;
}

/*
 * biometric_guard_trigger raises for every statement that reaches a guarded
 * table past the permission check: TRUNCATE, and whatever else does not go
 * by the executor's permission list.
 */
Datum
biometric_guard_trigger(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("biometric_guard_trigger can be called as a trigger only"),
						errhint("The extension attaches it to its own tables by itself.")));
	if (!internal_write_active())
		guard_refuse(RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation));
	/* a trigger returns a null pointer, not an SQL null */
	PG_RETURN_POINTER(NULL);
}

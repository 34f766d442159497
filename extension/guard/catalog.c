/*
 * catalog.c - DML on system catalogs, and foreign tables under lockdown.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_largeobject.h"
#include "catalog/pg_largeobject_metadata.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "base/roles.h"
#include "guard/ddl.h"
#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"

#define CATALOG_WRITES (ACL_INSERT | ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE)

/* A write, not just a row lock: SELECT ... FOR UPDATE asks for the same right. */
static bool
writes_rows(const PermissionInfo *info)
{
	AclMode writes = info->requiredPerms & CATALOG_WRITES;

	return writes != 0 && (writes != ACL_UPDATE || !bms_is_empty(info->updatedCols));
}

/* Large objects are data, which pg_dump and others handle as such. */
static bool
is_guarded_catalog(Oid relation)
{
	return OidIsValid(relation) && IsCatalogRelationOid(relation) &&
		   relation != LargeObjectRelationId && relation != LargeObjectMetadataRelationId;
}

bool
guard_keeps_catalog(Oid relation)
{
	return guard_lockdown_on() || OidIsValid(extension_oid()) ||
		   (IsSharedRelation(relation) && OidIsValid(get_role_oid(CUSTODIAN_ROLE, true)));
}

bool
guard_check_catalogs(List *permission_infos, bool abort_on_violation)
{
	bool lockdown = guard_lockdown_on();
	ListCell *cell;

	if (lockdown && IsTransactionState() &&
		!guard_lockdown_check_support("a query", abort_on_violation))
		return false;

	foreach(cell, permission_infos)
	{
		const PermissionInfo *info = (const PermissionInfo *) lfirst(cell);
		GuardRule rule;

		if (lockdown && (info->requiredPerms & ACL_SELECT) != 0 && IsTransactionState() &&
			guard_lockdown_reads_files(info->relid))
			rule = GUARD_LOCKDOWN;
		else if (is_guarded_catalog(info->relid) && writes_rows(info) && !IsBinaryUpgrade &&
				 IsTransactionState() && !guard_in_own_script() && guard_keeps_catalog(info->relid))
			rule = GUARD_CATALOG;
		else
			continue;
		if (abort_on_violation)
			guard_refuse_command(rule,
								 (info->requiredPerms & ACL_INSERT)	  ? "INSERT"
								 : (info->requiredPerms & ACL_UPDATE) ? "UPDATE"
								 : (info->requiredPerms & ACL_DELETE) ? "DELETE"
																	  : "SELECT",
								 guard_describe(RelationRelationId, info->relid));
		return false;
	}
	return true;
}

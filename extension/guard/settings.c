/*
 * settings.c - who may change our settings for longer than a session, and
 * the roles that say who may.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_db_role_setting.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "base/roles.h"
#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"

#define OUR_PREFIX "biometric_audit."

static bool
is_our_setting(const char *name)
{
	return pg_strncasecmp(name, OUR_PREFIX, strlen(OUR_PREFIX)) == 0;
}

static bool
is_our_role(const char *name)
{
	return name != NULL && (strcmp(name, CUSTODIAN_ROLE) == 0 || strcmp(name, AUDITOR_ROLE) == 0);
}

/* What ALTER SYSTEM, ROLE or DATABASE sets; NULL for other statements. */
static VariableSetStmt *
set_statement_of(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterSystemStmt:
			return ((AlterSystemStmt *) statement)->setstmt;
		case T_AlterRoleSetStmt:
			return ((AlterRoleSetStmt *) statement)->setstmt;
		case T_AlterDatabaseSetStmt:
			return ((AlterDatabaseSetStmt *) statement)->setstmt;
		default:
			return NULL; /* no other statement outlives the session */
	}
}

const char *
guard_settings_name_changed(Node *statement)
{
	VariableSetStmt *set = set_statement_of(statement);

	return set ? set->name : NULL;
}

/* Whether an array of "name=value" texts has a setting of ours. */
static bool
array_has_ours(Datum array)
{
	Datum *elements;
	int count;
	bool result = false;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &count);
	for (int i = 0; i < count && !result; i++)
		result = is_our_setting(TextDatumGetCString(elements[i]));
	return result;
}

/* Whether RESET ALL for a role in a database (0: all) would take back a setting of ours. */
static bool
stored_has_ours(Oid database, Oid role)
{
	Relation catalog = table_open(DbRoleSettingRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;
	bool result = false;

	ScanKeyInit(&key[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&key[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(role));
	scan = systable_beginscan(catalog, DbRoleSettingDatidRolidIndexId, true, NULL, 2, key);
	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum array = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig,
								   RelationGetDescr(catalog), &isnull);

		result = !isnull && array_has_ours(array);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

static bool
reset_all_takes_ours(Node *statement)
{
	if (IsA(statement, AlterRoleSetStmt))
	{
		AlterRoleSetStmt *alter = (AlterRoleSetStmt *) statement;

		return stored_has_ours(alter->database ? get_database_oid(alter->database, true)
											   : InvalidOid,
							   alter->role ? get_rolespec_oid(alter->role, true) : InvalidOid);
	}
	if (IsA(statement, AlterDatabaseSetStmt))
		return stored_has_ours(get_database_oid(((AlterDatabaseSetStmt *) statement)->dbname, true),
							   InvalidOid);
	return true; /* postgresql.auto.conf holds shared_preload_libraries, for all we know */
}

static bool
concerns_us(Node *statement, const VariableSetStmt *set)
{
	if (set->kind == VAR_RESET_ALL)
		return reset_all_takes_ours(statement);
	if (set->name == NULL)
		return false;
	return is_our_setting(set->name) || (IsA(statement, AlterSystemStmt) &&
										 pg_strcasecmp(set->name, "shared_preload_libraries") == 0);
}

/* A SECURITY DEFINER function of a custodian makes no custodian of its caller. */
static bool
is_by_custodian(void)
{
	return role_is_custodian(GetUserId()) && role_is_custodian(GetSessionUserId());
}

/* Whether a statement gives a setting a value other than one; RESET may give it any. */
static bool
sets_other(VariableSetStmt *set, const char *name, const char *value)
{
	return pg_strcasecmp(set->name, name) == 0 &&
		   (set->kind != VAR_SET_VALUE || pg_strcasecmp(ExtractSetVariableArgs(set), value) != 0);
}

/*
 * Whether a statement lets through what the policy refuses, lets in who replicates, or takes away
 * what keeps SQL from the server's files and memory.
 */
static bool
widens_by_setting(VariableSetStmt *set)
{
	return sets_other(set, OUR_PREFIX "enforcement", "enforce") ||
		   sets_other(set, OUR_PREFIX "lockdown", "on") ||
		   pg_strcasecmp(set->name, OUR_PREFIX "replication_networks") == 0 ||
		   pg_strcasecmp(set->name, OUR_PREFIX "replication_database") == 0 ||
		   pg_strcasecmp(set->name, "shared_preload_libraries") == 0;
}

/*
 * Whether a statement of one custodian would end what two_person asks two of them for.
 * Not asked when two_person is off: switching it on takes one.
 */
static bool
ends_two_persons(VariableSetStmt *set)
{
	/* as SHOW has it, which knows of a reload that this session has not seen yet */
	const char *value = GetConfigOptionByName(OUR_PREFIX "two_person", NULL, true);

	if (value == NULL || strcmp(value, "on") != 0)
		return false;
	return set->kind == VAR_RESET_ALL || pg_strcasecmp(set->name, OUR_PREFIX "two_person") == 0 ||
		   pg_strcasecmp(set->name, OUR_PREFIX "proposal_lifetime") == 0 || widens_by_setting(set);
}

static void
check_setting(Node *statement, const char *command)
{
	VariableSetStmt *set = set_statement_of(statement);
	char *object;

	if (!OidIsValid(get_role_oid(CUSTODIAN_ROLE, true)) || !concerns_us(statement, set))
		return;
	object = set->kind == VAR_RESET_ALL ? pstrdup("all settings")
										: psprintf("setting \"%s\"", set->name);
	if (!is_by_custodian())
		guard_refuse_command(GUARD_SETTING, command, object);
	if (IsA(statement, AlterSystemStmt) && ends_two_persons(set))
		guard_refuse_command(GUARD_TWO_PERSON, command, object);
	/* back to what the server's owner says in postgresql.conf, or to nothing */
	if (set->kind == VAR_RESET || set->kind == VAR_RESET_ALL || set->kind == VAR_SET_DEFAULT)
		guard_record_restriction(command, object);
	else
		guard_record_change(command, object);
}

/* Whether a role is one of ours, or a member of one: whoever becomes its member is that, too. */
static bool
is_trusted_role(const char *name)
{
	return name != NULL && role_is_trusted(get_role_oid(name, true));
}

/* Who becomes or ceases to be a custodian or an auditor is for the ledger to know. */
static void
check_granted_roles(const GrantRoleStmt *statement, const char *command)
{
	ListCell *cell;

	foreach(cell, statement->granted_roles)
	{
		AccessPriv *granted = lfirst_node(AccessPriv, cell);

		if (!is_trusted_role(granted->priv_name))
			continue;
		if (statement->is_grant)
			guard_record_change(command, psprintf("role %s", granted->priv_name));
		else
			guard_record_restriction(command, psprintf("role %s", granted->priv_name));
	}
}

static const char *
role_name_of(const RoleSpec *role)
{
	return role != NULL && role->roletype == ROLESPEC_CSTRING ? role->rolename : NULL;
}

static void
check_dropped_roles(List *roles, const char *command)
{
	ListCell *cell;

	foreach(cell, roles)
	{
		const char *name = role_name_of(lfirst_node(RoleSpec, cell));

		if (is_our_role(name) && OidIsValid(extension_oid()))
			guard_refuse_command(GUARD_ROLE, command, psprintf("role %s", name));
	}
}

/* Who may log in as a custodian, and by which password; ALTER GROUP ADD USER as well. */
static void
check_altered_role(AlterRoleStmt *statement, const char *command)
{
	Oid role = get_rolespec_oid(statement->role, true);

	if (role_is_trusted(role))
		guard_record_change(command, psprintf("role %s", GetUserNameFromId(role, false)));
}

/* CREATE ROLE x IN ROLE biometric_custodian, or in a member of it. */
static void
check_created_role(CreateRoleStmt *statement, const char *command)
{
	ListCell *cell;
	ListCell *role;

	foreach(cell, statement->options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "addroleto") != 0)
			continue;
		foreach(role, (List *) option->arg)
		{
			Oid group = get_rolespec_oid(lfirst_node(RoleSpec, role), true);

			if (role_is_trusted(group))
				guard_record_change(command,
									psprintf("role %s, for role %s",
											 GetUserNameFromId(group, false), statement->role));
		}
	}
}

void
guard_settings_check(Node *statement, const char *command)
{
	switch (nodeTag(statement))
	{
		case T_AlterSystemStmt:
		case T_AlterRoleSetStmt:
		case T_AlterDatabaseSetStmt:
			check_setting(statement, command);
			break;
		case T_GrantRoleStmt:
			check_granted_roles((GrantRoleStmt *) statement, command);
			break;
		case T_CreateRoleStmt:
			check_created_role((CreateRoleStmt *) statement, command);
			break;
		case T_AlterRoleStmt:
			check_altered_role((AlterRoleStmt *) statement, command);
			break;
		case T_DropRoleStmt:
			check_dropped_roles(((DropRoleStmt *) statement)->roles, command);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) statement)->renameType == OBJECT_ROLE &&
				is_our_role(((RenameStmt *) statement)->subname))
				guard_refuse_command(GUARD_ROLE, command,
									 psprintf("role %s", ((RenameStmt *) statement)->subname));
			break;
		default:
			break; /* says nothing of settings or roles */
	}
}

/*
 * drop.c - what DROP, DROP OWNED and REASSIGN OWNED name.
 *
 * Looked at before the command takes its locks: once it has those on all
 * tables of the ledger, no refusal can become durable there.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "base/internal.h"
#include "base/roles.h"
#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"
#include "ledger/database.h"

/*
 * Three times as long as the ledger's worker waits for any lock: what that does not resolve is
 * somebody else's.
 */
#define DROP_DEADLOCK_MS 3000

/* A relation by its name, as the command will find it; InvalidOid when it is not there. */
static Oid
relation_by_name(List *name)
{
	return name == NIL ? InvalidOid : guard_find_relation(makeRangeVarFromNameList(name));
}

/* The table of DROP TRIGGER, RULE or POLICY: all but the last part of the name. */
static Oid
relation_of_part(List *name)
{
	return relation_by_name(list_truncate(list_copy(name), list_length(name) - 1));
}

/* Any other object. The lock is given back: the command takes a stronger one. */
static void
check_other(ObjectType type, Node *name, const char *command)
{
	Relation relation = NULL;
	ObjectAddress address = get_object_address(type, name, &relation, AccessShareLock, true);
	Oid class_id = address.classId;

	if (!OidIsValid(address.objectId))
		return;
	if (guard_protects(class_id, address.objectId))
		guard_refuse_command(GUARD_MEMBER, command, guard_describe(class_id, address.objectId));
	if (relation != NULL)
		relation_close(relation, AccessShareLock);
	else if (IsSharedRelation(class_id))
		UnlockSharedObject(class_id, address.objectId, 0, AccessShareLock);
	else
		UnlockDatabaseObject(class_id, address.objectId, 0, AccessShareLock);
}

/* The table's trigger of that name, if it is one of ours. */
static void
check_trigger(Oid relation, const char *name, const char *command)
{
	Oid trigger = OidIsValid(relation) ? get_trigger_oid(relation, name, true) : InvalidOid;

	if (OidIsValid(trigger) && guard_is_attached_trigger(trigger))
		guard_refuse_command(GUARD_TRIGGER, command, guard_describe(TriggerRelationId, trigger));
}

static void
check_part(DropStmt *statement, List *name, const char *command)
{
	Oid relation = relation_of_part(name);

	if (guard_protects_relation(relation))
		guard_refuse_command(GUARD_MEMBER, command, guard_describe(RelationRelationId, relation));
	if (statement->removeType == OBJECT_TRIGGER)
		check_trigger(relation, strVal(llast(name)), command);
}

/* What depends on another extension is dropped with it. */
void
guard_drop_check_depends(AlterObjectDependsStmt *statement, const char *command)
{
	Oid relation = guard_find_relation(statement->relation);

	if (guard_protects_relation(relation))
		guard_refuse_command(GUARD_MEMBER, command, guard_describe(RelationRelationId, relation));
	if (statement->objectType == OBJECT_TRIGGER)
		check_trigger(relation, strVal(llast((List *) statement->object)), command);
	else if (statement->relation == NULL)
		check_other(statement->objectType, statement->object, command);
}

/* The extension goes only when nothing of the ledger is lost. */
static void
check_extension(Oid class_id, Oid object_id, GuardCommand *command)
{
	if (!OidIsValid(object_id) || !guard_protects(class_id, object_id))
		return;
	if (!ledger_may_drop())
		guard_refuse_command(GUARD_EXTENSION, command->name, guard_describe(class_id, object_id));
	command->may_drop = true;
}

static void
check_object(DropStmt *statement, Node *name, GuardCommand *command)
{
	Oid relation;

	switch (statement->removeType)
	{
		case OBJECT_TABLE:
		case OBJECT_SEQUENCE:
		case OBJECT_VIEW:
		case OBJECT_MATVIEW:
		case OBJECT_INDEX:
		case OBJECT_FOREIGN_TABLE:
			relation = relation_by_name((List *) name);
			if (guard_protects_relation(relation))
				guard_refuse_command(GUARD_MEMBER, command->name,
									 guard_describe(RelationRelationId, relation));
			break;
		case OBJECT_TRIGGER:
		case OBJECT_RULE:
		case OBJECT_POLICY:
			check_part(statement, (List *) name, command->name);
			break;
		case OBJECT_EXTENSION:
			check_extension(ExtensionRelationId, get_extension_oid(strVal(name), true), command);
			break;
		case OBJECT_SCHEMA:
			check_extension(NamespaceRelationId, get_namespace_oid(strVal(name), true), command);
			break;
		default:
			check_other(statement->removeType, name, command->name);
			break;
	}
}

void
guard_drop_check(DropStmt *statement, GuardCommand *command)
{
	ListCell *cell;

	command->drops_triggers = statement->removeType == OBJECT_TRIGGER;
	foreach(cell, statement->objects)
		check_object(statement, lfirst(cell), command);
}

void
guard_drop_check_owned(Node *statement, GuardCommand *command)
{
	bool drops = IsA(statement, DropOwnedStmt);
	List *roles =
		drops ? ((DropOwnedStmt *) statement)->roles : ((ReassignOwnedStmt *) statement)->roles;
	ListCell *cell;

	foreach(cell, roles)
	{
		Oid role = get_rolespec_oid(lfirst_node(RoleSpec, cell), true);

		if (!OidIsValid(role))
			continue;
		if (drops && (role == get_role_oid(CUSTODIAN_ROLE, true) ||
					  role == get_role_oid(AUDITOR_ROLE, true)))
			guard_refuse_command(GUARD_ROLE, command->name, guard_describe(AuthIdRelationId, role));
		if (!guard_owns(role))
			continue;
		if (!drops || !ledger_may_drop())
			guard_refuse_command(GUARD_OWNER, command->name,
								 guard_describe(AuthIdRelationId, role));
		command->may_drop = true;
	}
}

void
guard_drop_begin(GuardCommand *command)
{
	if (!command->may_drop || DeadlockTimeout >= DROP_DEADLOCK_MS)
		return;
	command->settings = NewGUCNestLevel();
	(void) set_config_option("deadlock_timeout", CppAsString2(DROP_DEADLOCK_MS), PGC_SUSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
guard_drop_end(const GuardCommand *command)
{
	if (command->settings != 0)
		AtEOXact_GUC(false, command->settings);
}

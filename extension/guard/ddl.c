/*
 * ddl.c - utility commands, by what they say.
 *
 * A command that is to be refused for a table of the ledger is refused before
 * it takes its lock, which the ledger's worker would wait for.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_type.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/internal.h"
#include "guard/ddl.h"
#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"
#include "image/image.h"

static GuardCommand *running = NULL;

GuardCommand *
guard_command_current(void)
{
	return running;
}

const char *
guard_command_name(void)
{
	return running != NULL ? running->name : "a function call";
}

void
guard_enter(GuardCommand *command)
{
	command->outer = running;
	running = command;
}

void
guard_leave(const GuardCommand *command)
{
	running = command->outer;
}

/*
 * A name that cannot be (a temporary table in a schema of its own) is for the
 * command itself to complain of.
 */
Oid
guard_find_relation(const RangeVar *name)
{
	RangeVar any;

	if (name == NULL)
		return InvalidOid;
	any = *name;
	any.relpersistence = RELPERSISTENCE_PERMANENT;
	return RangeVarGetRelid(&any, NoLock, true);
}

static void
check_relation(GuardRule rule, const RangeVar *name, const char *command)
{
	Oid relation = guard_find_relation(name);

	if (guard_protects_relation(relation))
		guard_refuse_command(rule, command, guard_describe(RelationRelationId, relation));
}

static void
check_relations(GuardRule rule, List *names, const char *command)
{
	ListCell *cell;

	foreach(cell, names)
		if (IsA(lfirst(cell), RangeVar))
			check_relation(rule, lfirst_node(RangeVar, cell), command);
}

/* ALTER COLUMN, or ATTRIBUTE, TYPE of what can hold images, to what cannot hold the same. */
static void
check_column_type(Oid relation, const AlterTableCmd *alter, const char *command)
{
	AttrNumber column = get_attnum(relation, alter->name);
	Oid new_type = LookupTypeNameOid(NULL, castNode(ColumnDef, alter->def)->typeName, true);
	Oid old_type;

	if (column == InvalidAttrNumber || !OidIsValid(new_type))
		return; /* the command itself will say so */
	old_type = get_atttype(relation, column);
	if ((image_type_kinds(old_type) & ~image_type_kinds(new_type)) != 0)
		guard_refuse_command(GUARD_IMAGE_COLUMN, command,
							 psprintf("column \"%s\" of %s", alter->name,
									  guard_describe(RelationRelationId, relation)));
}

static void
check_alter_table(AlterTableStmt *statement, const char *command)
{
	Oid relation = InvalidOid;
	ListCell *cell;

	check_relation(GUARD_MEMBER, statement->relation, command);
	foreach(cell, statement->cmds)
	{
		AlterTableCmd *alter = lfirst_node(AlterTableCmd, cell);

		if (alter->subtype == AT_AddInherit || alter->subtype == AT_DropInherit)
			check_relation(GUARD_HANG, (RangeVar *) alter->def, command);
		else if (alter->subtype == AT_AttachPartition)
			check_relation(GUARD_HANG, ((PartitionCmd *) alter->def)->name, command);
		else if (alter->subtype == AT_AlterColumnType)
		{
			/* under the lock that the command takes itself, so that nothing changes meanwhile */
			if (!OidIsValid(relation))
				relation =
					AlterTableLookupRelation(statement, AlterTableGetLockLevel(statement->cmds));
			if (OidIsValid(relation))
				check_column_type(relation, alter, command);
		}
	}
}

static bool view_reads_ours(Oid view, List **seen);

/*
 * Walks a view's query to the tables and views that LOCK TABLE would lock with
 * it. context: the views that were looked at; one may read itself by others,
 * and before 16 a view's query has the view itself in it, as old and new.
 */
static bool
reads_ours_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		ListCell *cell;

		foreach(cell, ((Query *) node)->rtable)
		{
			RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

			if (entry->rtekind != RTE_RELATION)
				continue;
			if (internal_tables_of(entry->relid) != INTERNAL_NONE ||
				(entry->relkind == RELKIND_VIEW && view_reads_ours(entry->relid, context)))
				return true;
		}
		return query_tree_walker((Query *) node, reads_ours_walker, context, 0);
	}
	return expression_tree_walker(node, reads_ours_walker, context);
}

static bool
view_reads_ours(Oid view, List **seen)
{
	Relation relation;
	bool result;

	if (list_member_oid(*seen, view))
		return false;
	*seen = lappend_oid(*seen, view);
	relation = try_relation_open(view, AccessShareLock);
	if (relation == NULL)
		return false;
	check_stack_depth();
	result = relation->rd_rel->relkind == RELKIND_VIEW && relation->rd_rel->relhasrules &&
			 reads_ours_walker((Node *) get_view_query(relation), seen);
	relation_close(relation, AccessShareLock);
	return result;
}

static void
check_lock(LockStmt *statement, const char *command)
{
	ListCell *cell;

	if (statement->mode <= RowExclusiveLock)
		return;
	foreach(cell, statement->relations)
	{
		Oid relation = guard_find_relation(lfirst_node(RangeVar, cell));
		List *seen = NIL;

		if (OidIsValid(relation) &&
			(guard_protects_relation(relation) ||
			 (get_rel_relkind(relation) == RELKIND_VIEW && view_reads_ours(relation, &seen))))
			guard_refuse_command(GUARD_LOCK, command, guard_describe(RelationRelationId, relation));
	}
}

/* The server itself keeps what concerns all tables out of transaction blocks. */
static void
check_maintenance(Node *statement, bool top_level, const char *command)
{
	RangeVar *relation = IsA(statement, ClusterStmt) ? ((ClusterStmt *) statement)->relation
													 : ((ReindexStmt *) statement)->relation;

	if (relation != NULL && IsInTransactionBlock(top_level))
		check_relation(GUARD_MAINTENANCE, relation, command);
}

static void
check_rename(RenameStmt *statement, const char *command)
{
	/* of a table, or of a column, index, trigger, policy, rule or constraint of one */
	check_relation(GUARD_MEMBER, statement->relation, command);
}

static void
check_contents(const char *extension, const char *command)
{
	if (get_extension_oid(extension, true) == extension_oid())
		guard_refuse_command(GUARD_MEMBER, command,
							 guard_describe(ExtensionRelationId, extension_oid()));
}

static void
check_set_schema(AlterObjectSchemaStmt *statement, const char *command)
{
	check_relation(GUARD_MEMBER, statement->relation, command);
	if (statement->objectType == OBJECT_EXTENSION)
		check_contents(strVal(statement->object), command);
}

/* Commands on tables; those on other objects are found by what they do (access.c). */
static void
check_statement(Node *statement, bool top_level, GuardCommand *command)
{
	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) statement, command->name);
			break;
		case T_RenameStmt:
			check_rename((RenameStmt *) statement, command->name);
			break;
		case T_AlterObjectSchemaStmt:
			check_set_schema((AlterObjectSchemaStmt *) statement, command->name);
			break;
		case T_AlterObjectDependsStmt:
			guard_drop_check_depends((AlterObjectDependsStmt *) statement, command->name);
			break;
		case T_AlterSeqStmt:
			check_relation(GUARD_MEMBER, ((AlterSeqStmt *) statement)->sequence, command->name);
			break;
		case T_AlterPolicyStmt:
			check_relation(GUARD_MEMBER, ((AlterPolicyStmt *) statement)->table, command->name);
			break;
		case T_AlterExtensionContentsStmt:
			check_contents(((AlterExtensionContentsStmt *) statement)->extname, command->name);
			break;
		case T_ViewStmt:
			check_relation(GUARD_MEMBER, ((ViewStmt *) statement)->view, command->name);
			break;
		case T_IndexStmt:
			check_relation(GUARD_HANG, ((IndexStmt *) statement)->relation, command->name);
			break;
		case T_CreateTrigStmt:
			check_relation(GUARD_HANG, ((CreateTrigStmt *) statement)->relation, command->name);
			break;
		case T_RuleStmt:
			check_relation(GUARD_HANG, ((RuleStmt *) statement)->relation, command->name);
			break;
		case T_CreatePolicyStmt:
			check_relation(GUARD_HANG, ((CreatePolicyStmt *) statement)->table, command->name);
			break;
		case T_CreateStatsStmt:
			check_relations(GUARD_HANG, ((CreateStatsStmt *) statement)->relations, command->name);
			break;
		case T_CreateStmt:
			check_relations(GUARD_HANG, ((CreateStmt *) statement)->inhRelations, command->name);
			break;
		case T_LockStmt:
			check_lock((LockStmt *) statement, command->name);
			break;
		case T_ClusterStmt:
		case T_ReindexStmt:
			check_maintenance(statement, top_level, command->name);
			break;
		case T_DropStmt:
			guard_drop_check((DropStmt *) statement, command);
			break;
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
			guard_drop_check_owned(statement, command);
			break;
		default:
			break; /* names no table that it would lock or change */
	}
}

void
guard_check_utility(PlannedStmt *plan, bool top_level, GuardCommand *command)
{
	Node *statement = plan->utilityStmt;

	memset(command, 0, sizeof(*command));
	command->tag = nodeTag(statement);
	command->name = CreateCommandName(statement);
	if (command->tag == T_TransactionStmt || IsBinaryUpgrade || !IsTransactionState() ||
		!OidIsValid(MyDatabaseId))
		return;
	guard_settings_check(statement, command->name);
	guard_lockdown_check(statement, command->name);
	if (internal_ddl() || guard_in_own_script() || !OidIsValid(extension_oid()))
		return;
	check_statement(statement, top_level, command);
}

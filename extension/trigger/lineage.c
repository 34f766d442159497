/*
 * lineage.c - partitions and heirs that come and go: permits for a table are
 * permits for what descends from it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/roles.h"
#include "guard/ddl.h"
#include "guard/objects.h"
#include "guard/refuse.h"
#include "home/named.h"
#include "home/relations.h"
#include "image/image.h"
#include "policy/proposal.h"
#include "retention/retention.h"
#include "trigger/attach.h"
#include "trigger/trigger.h"

static Oid
relation_by_name(RangeVar *name)
{
	return name ? RangeVarGetRelidExtended(name, NoLock, RVR_MISSING_OK, NULL, NULL) : InvalidOid;
}

/*
 * The kinds of image that a relation has. No lock is kept: the command takes a stronger one,
 * and two commands that both held a weaker one first would wait for each other.
 */
static uint32
kinds_of(RangeVar *name, Oid *relation)
{
	uint32 kinds;

	*relation = name ? RangeVarGetRelidExtended(name, AccessShareLock, RVR_MISSING_OK, NULL, NULL)
					 : InvalidOid;
	if (!OidIsValid(*relation))
		return 0;
	kinds = relation_images(*relation)->kinds;
	UnlockRelationOid(*relation, AccessShareLock);
	return kinds;
}

/* Whether one person may do what permits are changed by: a custodian, unless it takes two. */
static bool
one_decides(void)
{
	return role_is_custodian(GetUserId()) && !proposal_two_persons();
}

static void
refuse_lineage(const char *command, Oid relation)
{
	guard_refuse_command(role_is_custodian(GetUserId()) ? GUARD_LINEAGE_TWO : GUARD_LINEAGE,
						 command, guard_describe(RelationRelationId, relation));
}

/* The names of the image columns of a relation; NIL when it is gone. */
static List *
image_columns(Oid relation)
{
	List *names = NIL;
	char *name;

	for (AttrNumber i = 1; OidIsValid(relation) && (name = get_attname(relation, i, true)) != NULL;
		 i++)
	{
		Oid type = get_atttype(relation, i);

		if (OidIsValid(type) && image_type_kind(type) != IMAGE_KIND_NONE)
			names = lappend(names, name);
	}
	return names;
}

/* Whether a column goes by a retention period that one of some relations has. */
static bool
leaves_retention(const List *lineage, Oid leaving)
{
	List *own = OidIsValid(leaving) ? relation_lineage(leaving) : NIL;
	RetentionRule rule;
	ListCell *cell;

	foreach(cell, image_columns(leaving))
		if (retention_rule_of(own, lfirst(cell), &rule) && list_member_oid(lineage, rule.relation))
			return true;
	return false;
}

/* Whether a column that goes by an ancestor's retention period would get another's, perhaps nearer. */
static bool
changes_retention(const List *lineage, Oid joining)
{
	List *own = OidIsValid(joining) ? relation_lineage(joining) : NIL;
	RetentionRule before;
	RetentionRule after;
	ListCell *cell;

	foreach(cell, image_columns(joining))
		if (retention_rule_of(own, lfirst(cell), &before) && before.relation != joining &&
			retention_rule_of(lineage, lfirst(cell), &after) && after.relation != before.relation)
			return true;
	return false;
}

/*
 * What leaves its parent leaves the parent's permits, and its retention periods, unless a
 * custodian has given each of its columns one of its own.
 */
static void
check_leaving(RangeVar *parent, RangeVar *child, const char *command)
{
	Oid relation = relation_by_name(parent);
	Oid leaving = relation_by_name(child);
	List *lineage = OidIsValid(relation) ? relation_lineage(relation) : NIL;

	if (home_lineage_restricted(lineage) || leaves_retention(lineage, leaving))
		refuse_lineage(command, relation);
}

/*
 * What joins a parent gets the parent's permits, for the images that it has already, too.
 * Permits that name it itself stay the nearest, and so do its own retention periods.
 */
static void
check_joining(RangeVar *parent, RangeVar *child, const char *command)
{
	Oid from;
	Oid to = relation_by_name(parent);
	uint32 kinds = kinds_of(child, &from);

	if (OidIsValid(to) && kinds != 0 &&
		(home_lineage_widens(relation_lineage(from),
							 list_concat(list_make2_oid(from, InvalidOid), relation_lineage(to)),
							 kinds) ||
		 changes_retention(relation_lineage(to), from)))
		refuse_lineage(command, from);
}

static bool
drops_images(Oid relation, AttrNumber column)
{
	switch (get_rel_relkind(relation))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_MATVIEW:
		case RELKIND_FOREIGN_TABLE:
			return column == 0 ? relation_images(relation)->kinds != 0
							   : image_type_kinds(get_atttype(relation, column)) != 0;
		default:
			return false; /* holds no rows */
	}
}

/*
 * Copies of images are judged by the column that they come from, by what it inherits from, too,
 * as long as it is there. Of tables that no permit names themselves a custodian decides:
 * partitions are dropped every day.
 */
void
lineage_check_dropping(Oid relation, AttrNumber column)
{
	const GuardCommand *command = guard_command_current();
	char *object;

	if ((command != NULL && command->may_drop) || IsBinaryUpgrade || internal_ddl() ||
		guard_in_own_script() || !drops_images(relation, column))
		return;
	if (home_restricted(relation))
	{
		object = guard_describe(RelationRelationId, relation);
		if (column != 0 && object != NULL)
			object = psprintf("column \"%s\" of %s", get_attname(relation, column, false), object);
		guard_refuse_command(GUARD_PERMIT, guard_command_name(), object);
	}
	if (!one_decides() && home_lineage_restricted(relation_lineage(relation)))
		refuse_lineage(guard_command_name(), relation);
}

void
attach_check_lineage(Node *statement, const char *command)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell *cell;

	if (!IsA(statement, AlterTableStmt) || !IsTransactionState() || IsBinaryUpgrade ||
		!OidIsValid(extension_oid()) || one_decides())
		return;
	foreach(cell, alter->cmds)
	{
		AlterTableCmd *step = lfirst_node(AlterTableCmd, cell);

		switch (step->subtype)
		{
			case AT_DetachPartition:
				check_leaving(alter->relation, ((PartitionCmd *) step->def)->name, command);
				break;
			case AT_DropInherit:
				check_leaving((RangeVar *) step->def, alter->relation, command);
				break;
			case AT_AttachPartition:
				check_joining(alter->relation, ((PartitionCmd *) step->def)->name, command);
				break;
			case AT_AddInherit:
				check_joining((RangeVar *) step->def, alter->relation, command);
				break;
			default:
				break; /* leaves descent alone */
		}
	}
}

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
#include "guard/objects.h"
#include "guard/refuse.h"
#include "home/named.h"
#include "home/relations.h"
#include "trigger/attach.h"
#include "trigger/trigger.h"

/*
 * The relation that a name means, and its kinds of image; InvalidOid if it has
 * none. No lock is kept: the command takes a stronger one, and two commands that
 * both held a weaker one first would wait for each other.
 */
static Oid
with_images(RangeVar *name, uint32 *kinds)
{
	Oid relation = name
					   ? RangeVarGetRelidExtended(name, AccessShareLock, RVR_MISSING_OK, NULL, NULL)
					   : InvalidOid;

	*kinds = 0;
	if (!OidIsValid(relation))
		return InvalidOid;
	*kinds = relation_images(relation)->kinds;
	UnlockRelationOid(relation, AccessShareLock);
	return *kinds != 0 ? relation : InvalidOid;
}

static void
refuse_lineage(const char *command, Oid relation)
{
	guard_refuse_command(GUARD_LINEAGE, command, guard_describe(RelationRelationId, relation));
}

/* What leaves its parent leaves the parent's permits. */
static void
check_leaving(RangeVar *parent, const char *command)
{
	uint32 kinds;
	Oid relation = with_images(parent, &kinds);

	if (OidIsValid(relation) && home_lineage_restricted(relation_lineage(relation)))
		refuse_lineage(command, relation);
}

/* What joins a parent gets the parent's permits, for the images that it has already, too. */
static void
check_joining(RangeVar *parent, RangeVar *child, const char *command)
{
	uint32 kinds;
	Oid to = with_images(parent, &kinds);
	Oid from = with_images(child, &kinds);

	for (int kind = IMAGE_KIND_NONE + 1; OidIsValid(to) && kind <= IMAGE_KIND_LAST; kind++)
		if ((kinds & (1u << kind)) != 0 &&
			home_lineage_widens(relation_lineage(from), relation_lineage(to), kind))
			refuse_lineage(command, from);
}

void
attach_check_lineage(Node *statement, const char *command)
{
	AlterTableStmt *alter = (AlterTableStmt *) statement;
	ListCell *cell;

	if (!IsA(statement, AlterTableStmt) || !IsTransactionState() || !OidIsValid(extension_oid()) ||
		role_is_custodian(GetUserId()))
		return;
	foreach(cell, alter->cmds)
	{
		AlterTableCmd *step = lfirst_node(AlterTableCmd, cell);

		switch (step->subtype)
		{
			case AT_DetachPartition:
				check_leaving(alter->relation, command);
				break;
			case AT_DropInherit:
				check_leaving((RangeVar *) step->def, command);
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

/*
 * columns.c - the column gate: who may not even have an image sealed may not
 * read its column.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/internal.h"
#include "gate/gate.h"
#include "gate/relations.h"
#include "gate/statement.h"
#include "policy/policy.h"

/* Whether this process answers to a client; a parallel worker's leader has been asked. */
static bool
gate_has_client(void)
{
	return !IsParallelWorker() && policy_client()->present;
}

/* Asks for each kind among kinds; false when one is refused and nothing may be raised. */
static bool
gate_check_relation(Oid relation, List *lineage, uint32 kinds, bool abort_on_violation)
{
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		DecideRequest request = {.kind = kind, .relations = lineage};
		Decision decision;

		if ((kinds & (1u << kind)) == 0)
			continue;
		decision = policy_decide(&request);
		if (decision.delivery != DELIVERY_REFUSE)
			continue;
		if (abort_on_violation)
			policy_refuse(
				&decision, kind,
				quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
										   get_rel_name(relation)),
				gate_command());
		return false;
	}
	return true;
}

bool
gate_check_columns(List *permission_infos, bool abort_on_violation)
{
	ListCell *cell;

	if (!IsTransactionState() || !OidIsValid(extension_oid()))
		return true;
	foreach(cell, permission_infos)
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);
		const RelationImages *images;
		uint32 kinds;
		List *lineage;
		bool allowed;

		if ((info->requiredPerms & ACL_SELECT) == 0 || info->relid < FirstNormalObjectId)
			continue;
		images = relation_images(info->relid);
		kinds = relation_selected_kinds(images, info->selectedCols);
		/* a view's images come from tables, which stand in the list themselves */
		if (kinds == 0 || images->relkind == RELKIND_VIEW)
			continue;
		lineage = list_copy(images->lineage);
		gate_statement_note_read(info->relid, kinds);
		allowed = !gate_has_client() ||
				  gate_check_relation(info->relid, lineage, kinds, abort_on_violation);
		list_free(lineage);
		if (!allowed)
			return false;
	}
	return true;
}

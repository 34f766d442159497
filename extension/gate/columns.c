/*
 * columns.c - the column gate: who may not even have an image sealed may not
 * read its column.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "tcop/pquery.h"

#include "base/internal.h"
#include "gate/export.h"
#include "gate/gate.h"
#include "gate/statement.h"
#include "home/relations.h"
#include "policy/policy.h"

/* Asks for each kind among kinds; false when one is refused and nothing may be raised. */
static bool
gate_check_kinds(Oid relation, List *lineage, uint32 kinds, bool abort_on_violation)
{
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		DecideRequest request = {
			.kind = kind, .relations = lineage, .purpose = gate_statement_purpose()};
		Decision decision;

		if ((kinds & (1u << kind)) == 0)
			continue;
		decision = policy_decide(&request);
		if (decision.delivery != DELIVERY_REFUSE)
			continue;
		if (abort_on_violation)
			policy_refuse(&decision, kind, gate_relation_name(relation), gate_command());
		return false;
	}
	return true;
}

/* The relation, and those of its heirs that permits may treat otherwise. */
static bool
gate_check_relation(const PermissionInfo *info, uint32 kinds, bool abort_on_violation)
{
	const RelationImages *images = relation_images(info->relid);
	List *lineage = list_copy(images->lineage);
	List *judged =
		info->inh ? relations_heirs_to_judge(lineage, images->heirs, images->relatives) : NIL;
	bool allowed = gate_check_kinds(info->relid, lineage, kinds, abort_on_violation);
	ListCell *cell;

	foreach(cell, judged)
	{
		List *of_heir = lfirst(cell);

		allowed =
			allowed && gate_check_kinds(linitial_oid(of_heir), of_heir, kinds, abort_on_violation);
	}
	list_free(judged);
	list_free(lineage);
	return allowed;
}

/*
 * A parallel worker runs its leader's plan, which the leader has checked. What
 * a function reads there nobody has checked, and nobody would know of it.
 */
static bool
gate_check_parallel(bool inside, bool abort_on_violation)
{
	if (!inside)
		return true;
	if (abort_on_violation)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a function cannot read images inside a parallel worker"),
						errdetail("Only the session's own process knows who may receive them."),
						errhint("Declare the function PARALLEL RESTRICTED or PARALLEL UNSAFE.")));
	return false;
}

/*
 * What REFRESH MATERIALIZED VIEW reads stays inside, in a copy that an earlier
 * statement defined; it is judged when it is read from there, by where it is
 * from. A restore must be able to fill it before there is a policy. What the
 * view's functions read runs deeper, and is checked.
 */
static int refresh_depth = 0;

int
gate_refresh_at(int depth)
{
	int before = refresh_depth;

	refresh_depth = depth;
	return before;
}

bool
gate_check_columns(List *permission_infos, bool inside, bool abort_on_violation)
{
	ListCell *cell;

	/* what runs when no portal does, such as deferred triggers, runs inside of nothing */
	if (!IsTransactionState() || !OidIsValid(extension_oid()))
		return true;
	foreach(cell, permission_infos)
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);
		uint32 kinds = relations_selected_kinds(info);

		if (kinds == 0)
			continue;
		if (IsParallelWorker())
		{
			if (!gate_check_parallel(inside, abort_on_violation))
				return false;
			continue;
		}
		if (inside || ActivePortal == NULL)
		{
			gate_statement_note_read(info, kinds);
			export_note_read(info->relid);
		}
		if (policy_client()->present && (refresh_depth == 0 || internal_depth() != refresh_depth) &&
			!gate_check_relation(info, kinds, abort_on_violation))
			return false;
	}
	return true;
}

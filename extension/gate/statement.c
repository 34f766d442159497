/*
 * statement.c - top-level statements and the relations that they read.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "replication/walsender.h"
#include "tcop/cmdtag.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/syscache.h"

#include "base/lineage.h"
#include "gate/relations.h"
#include "gate/statement.h"
#include "image/image.h"

static dlist_head statements = DLIST_STATIC_INIT(statements);
static GateStatement *current = NULL;
static uint64 last_number = 0;

/* What was read while no statement was current; kept for the session. */
static List *elsewhere = NIL;
static MemoryContext elsewhere_context = NULL;

static void
gate_statement_vanish(void *arg)
{
	GateStatement *statement = arg;

	dlist_delete(&statement->node);
	if (current == statement)
		gate_statement_restore(NULL);
}

static GateStatement *
gate_statement_create(QueryDesc *query)
{
	MemoryContext context = query->estate->es_query_cxt;
	GateStatement *statement = MemoryContextAllocZero(context, sizeof(GateStatement));

	statement->query = query;
	statement->context = context;
	statement->number = ++last_number;
	statement->ledger.query_id = query->plannedstmt->queryId;
	statement->ledger.command = gate_command();
	/* a view or function that declares another while it runs comes too late */
	if (policy_purpose() != NULL)
		statement->declared = MemoryContextStrdup(context, policy_purpose());
	statement->vanish.func = gate_statement_vanish;
	statement->vanish.arg = statement;
	dlist_push_head(&statements, &statement->node);
	MemoryContextRegisterResetCallback(context, &statement->vanish);
	return statement;
}

/* Whether a statement's rows go to a client over the wire. */
static bool
gate_statement_is_remote(const QueryDesc *query)
{
	return (query->dest->mydest == DestRemote || query->dest->mydest == DestRemoteExecute) &&
		   MyBackendType == B_BACKEND && MyProcPort != NULL && !am_walsender;
}

void
gate_statement_enter(QueryDesc *query)
{
	dlist_iter iter;

	if (!gate_statement_is_remote(query) || query->estate == NULL)
	{
		gate_statement_restore(NULL);
		return;
	}
	dlist_foreach(iter, &statements)
	{
		GateStatement *statement = dlist_container(GateStatement, node, iter.cur);

		if (statement->query == query)
		{
			gate_statement_restore(statement);
			return;
		}
	}
	gate_statement_restore(gate_statement_create(query));
}

GateStatement *
gate_statement_current(void)
{
	return current;
}

void
gate_statement_restore(GateStatement *statement)
{
	current = statement;
	image_statement_set(statement ? statement->number : 0);
}

/* Adds a relation to a list in a memory context, or kinds to one that is there. */
static List *
gate_relations_add(List *relations, MemoryContext context, const PermissionInfo *info, uint32 kinds)
{
	const RelationImages *images;
	MemoryContext old;
	GateRelation *added;
	ListCell *cell;

	foreach(cell, relations)
	{
		GateRelation *known = lfirst(cell);

		if (known->relation == info->relid)
		{
			known->kinds |= kinds;
			return relations;
		}
	}
	old = MemoryContextSwitchTo(context);
	added = palloc0(sizeof(GateRelation));
	added->relation = info->relid;
	added->kinds = kinds;
	added->name = gate_relation_name(info->relid);
	/* asked last: a look-up may empty the cache that this points into */
	images = relation_images(info->relid);
	added->lineage = list_copy(images->lineage);
	added->heirs = info->inh ? list_copy(images->heirs) : NIL;
	added->relatives = info->inh ? list_copy(images->relatives) : NIL;
	relations = lappend(relations, added);
	MemoryContextSwitchTo(old);
	return relations;
}

void
gate_statement_relations(GateStatement *statement)
{
	ListCell *cell;

	if (statement->listed)
		return;
	foreach(cell, planned_permissions(statement->query->plannedstmt))
	{
		PermissionInfo *info = (PermissionInfo *) lfirst(cell);
		uint32 kinds = gate_selected_kinds(info);

		if (kinds == 0)
			continue;
		statement->relations =
			gate_relations_add(statement->relations, statement->context, info, kinds);
		statement->names = NULL;
	}
	statement->listed = true;
}

/*
 * Forgets relations that are gone, and with them their permits, each time the
 * session's notes have doubled: a session may make tables without end.
 */
static void
gate_elsewhere_prune(void)
{
	static int prune_at = 256;
	ListCell *cell;

	if (list_length(elsewhere) < prune_at)
		return;
	foreach(cell, elsewhere)
	{
		GateRelation *relation = lfirst(cell);

		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation->relation)))
			continue;
		list_free(relation->lineage);
		list_free(relation->heirs);
		list_free(relation->relatives);
		pfree(relation->name);
		pfree(relation);
		elsewhere = foreach_delete_current(elsewhere, cell);
	}
	prune_at = Max(256, 2 * list_length(elsewhere));
}

void
gate_statement_note_read(const PermissionInfo *info, uint32 kinds)
{
	int known;

	if (elsewhere_context == NULL)
		elsewhere_context = AllocSetContextCreate(TopMemoryContext, "biometric relations read",
												  ALLOCSET_SMALL_SIZES);
	gate_elsewhere_prune();
	elsewhere = gate_relations_add(elsewhere, elsewhere_context, info, kinds);
	if (current == NULL)
		return;
	/* the statement's own come first, so that their numbers do not change */
	gate_statement_relations(current);
	known = list_length(current->relations);
	current->relations = gate_relations_add(current->relations, current->context, info, kinds);
	if (list_length(current->relations) != known)
		current->names = NULL;
}

/* ---- deciding ---- */

/* The more restrictive of two decisions. */
static Decision
gate_stricter(Decision one, Decision other)
{
	return other.delivery < one.delivery ? other : one;
}

Decision
gate_statement_decide_by(const GateStatement *statement, const GateRelation *relation,
						 ImageKind kind)
{
	DecideRequest request = {
		.kind = kind, .relations = relation->lineage, .purpose = statement->declared};
	Decision decision = policy_decide(&request);
	ListCell *cell;

	foreach(cell, gate_heirs_to_judge(relation->lineage, relation->heirs, relation->relatives))
	{
		request.relations = lfirst(cell);
		decision = gate_stricter(decision, policy_decide(&request));
	}
	return decision;
}

/* Adds the judgements by those relations of a list that have images of a kind. */
static int
gate_decide_by_all(const GateStatement *statement, const List *relations, ImageKind kind,
				   Decision *decision)
{
	int judged = 0;
	ListCell *cell;

	foreach(cell, relations)
	{
		GateRelation *relation = lfirst(cell);

		if ((relation->kinds & (1u << kind)) == 0)
			continue;
		*decision = gate_stricter(gate_statement_decide_by(statement, relation, kind), *decision);
		judged++;
	}
	return judged;
}

Decision
gate_statement_decide(const GateStatement *statement, ImageKind kind)
{
	DecideRequest request = {.kind = kind, .purpose = statement->declared};
	Decision decision = {.delivery = DELIVERY_OPEN};
	int judged = gate_decide_by_all(statement, statement->relations, kind, &decision) +
				 gate_decide_by_all(statement, elsewhere, kind, &decision);

	return judged > 0 ? decision : policy_decide(&request);
}

int
gate_statement_only_relation(const GateStatement *statement, ImageKind kind)
{
	GateRelation *only = NULL;
	int number = 0;
	ListCell *cell;

	foreach(cell, statement->relations)
	{
		GateRelation *relation = lfirst(cell);

		if ((relation->kinds & (1u << kind)) == 0)
			continue;
		if (only != NULL)
			return 0;
		only = relation;
		number = foreach_current_index(cell) + 1;
	}
	foreach(cell, elsewhere)
	{
		GateRelation *relation = lfirst(cell);

		if ((relation->kinds & (1u << kind)) != 0 &&
			(only == NULL || relation->relation != only->relation))
			return 0;
	}
	return number;
}

const char *
gate_statement_purpose(void)
{
	return current ? current->declared : policy_purpose();
}

/* ---- describing ---- */

char *
gate_relation_name(Oid relation)
{
	const char *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
												  get_rel_name(relation));
	StringInfoData escaped;

	initStringInfo(&escaped);
	for (; *name != '\0'; name++)
	{
		if (*name == '\n')
			appendStringInfoString(&escaped, "\\n");
		else if (*name == '\\')
			appendStringInfoString(&escaped, "\\\\");
		else
			appendStringInfoChar(&escaped, *name);
	}
	return escaped.data;
}

/* Joins the relations' names, one a line. */
static char *
gate_statement_names(const GateStatement *statement)
{
	StringInfoData names;
	ListCell *cell;

	initStringInfo(&names);
	foreach(cell, statement->relations)
	{
		if (names.len > 0)
			appendStringInfoChar(&names, '\n');
		appendStringInfoString(&names, ((GateRelation *) lfirst(cell))->name);
	}
	return names.data;
}

/* Sets a text of the statement; true when it was another before. */
static bool
gate_statement_text(char **text, const char *value)
{
	if (*text == NULL ? value == NULL : value != NULL && strcmp(*text, value) == 0)
		return false;
	*text = value ? pstrdup(value) : NULL;
	return true;
}

void
gate_statement_describe(GateStatement *statement, const Decision *decision)
{
	MemoryContext old = MemoryContextSwitchTo(statement->context);
	bool changed = false;

	changed |= gate_statement_text(&statement->party, decision->party);
	changed |= gate_statement_text(&statement->network, decision->network);
	changed |= gate_statement_text(&statement->purpose, statement->declared);
	if (statement->names == NULL && statement->relations != NIL)
	{
		statement->names = gate_statement_names(statement);
		changed = true;
	}
	if (changed)
	{
		statement->ledger.party = statement->party;
		statement->ledger.network = statement->network;
		statement->ledger.purpose = statement->purpose;
		statement->ledger.relations = statement->names;
		ledger_statement_reset(&statement->ledger);
	}
	MemoryContextSwitchTo(old);
}

const char *
gate_command(void)
{
	return ActivePortal ? GetCommandTagName(ActivePortal->commandTag) : "UNKNOWN";
}

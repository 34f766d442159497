/*
 * statement.c - top-level statements and the relations that they read.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "replication/walsender.h"
#include "tcop/cmdtag.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "gate/relations.h"
#include "gate/statement.h"
#include "image/image.h"

static dlist_head statements = DLIST_STATIC_INIT(statements);
static GateStatement *current = NULL;
static uint64 last_number = 0;

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

/* Adds a relation to the statement's list, or kinds to one that is there. */
static void
gate_statement_add(GateStatement *statement, const RelationImages *images, uint32 kinds)
{
	MemoryContext old;
	GateRelation *added;
	ListCell *cell;

	foreach(cell, statement->relations)
	{
		GateRelation *known = lfirst(cell);

		if (known->relation == images->relation)
		{
			known->kinds |= kinds;
			return;
		}
	}
	old = MemoryContextSwitchTo(statement->context);
	added = palloc0(sizeof(GateRelation));
	added->relation = images->relation;
	added->kinds = kinds;
	added->lineage = list_copy(images->lineage);
	statement->relations = lappend(statement->relations, added);
	/* looked up last: it may empty the cache that images points into */
	added->name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(added->relation)),
											 get_rel_name(added->relation));
	MemoryContextSwitchTo(old);
	statement->names = NULL;
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
		const RelationImages *images;
		uint32 kinds;

		if ((info->requiredPerms & ACL_SELECT) == 0 || !OidIsValid(info->relid))
			continue;
		images = relation_images(info->relid);
		kinds = relation_selected_kinds(images, info->selectedCols);
		/* a view's images come from tables, which stand in the list themselves */
		if (kinds != 0 && images->relkind != RELKIND_VIEW)
			gate_statement_add(statement, images, kinds);
	}
	statement->listed = true;
}

void
gate_statement_note_read(Oid relation, uint32 kinds)
{
	const RelationImages *images;

	if (current == NULL)
		return;
	/* the statement's own come first, so that their numbers do not change */
	gate_statement_relations(current);
	images = relation_images(relation);
	gate_statement_add(current, images, kinds);
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
	changed |= gate_statement_text(&statement->purpose, policy_purpose());
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

/*
 * statement.c - top-level statements and the relations that they read.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "replication/walsender.h"
#include "tcop/cmdtag.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"

#include "base/compat.h"
#include "base/lineage.h"
#include "gate/statement.h"
#include "home/home.h"
#include "home/relations.h"
#include "image/image.h"
#include "policy/quota.h"
#include "policy/settings.h"

static dlist_head statements = DLIST_STATIC_INIT(statements);
static GateStatement *current = NULL;
static uint64 last_number = 0;

/* The most relations that a statement entry names because images are at home there. */
#define HOMES_NAMED_MAX 32

/* What stands for every home that is zero, or cannot be relied on. */
static const GateHome unknown_home = {.relation = NULL};

typedef struct RelationSlot
{
	Oid relation; /* hash key */
	GateRelation *known;
	char status;
} RelationSlot;

#define SH_PREFIX relations_seen
#define SH_ELEMENT_TYPE RelationSlot
#define SH_KEY_TYPE Oid
#define SH_KEY relation
#define SH_HASH_KEY(table, key) murmurhash32(key)
#define SH_EQUAL(table, one, other) ((one) == (other))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct HomeSlot
{
	const uint8 *home; /* hash key, in known */
	GateHome *known;
	char status;
} HomeSlot;

#define SH_PREFIX homes_seen
#define SH_ELEMENT_TYPE HomeSlot
#define SH_KEY_TYPE const uint8 *
#define SH_KEY home
#define SH_HASH_KEY(table, key) hash_bytes(key, ENVELOPE_HOME_SIZE)
#define SH_EQUAL(table, one, other) (memcmp(one, other, ENVELOPE_HOME_SIZE) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Most statements read one table, whose images have one home. */
#define SLOTS_FIRST 2

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

static GateRelation *
gate_statement_find(const GateStatement *statement, Oid relation)
{
	RelationSlot *slot = statement->relations_by_oid == NULL
							 ? NULL
							 : relations_seen_lookup(statement->relations_by_oid, relation);

	return slot ? slot->known : NULL;
}

/* Remembers a relation that is described. */
static void
gate_statement_remember(GateStatement *statement, GateRelation *relation)
{
	bool found;

	if (statement->relations_by_oid == NULL)
		statement->relations_by_oid = relations_seen_create(statement->context, SLOTS_FIRST, NULL);
	relations_seen_insert(statement->relations_by_oid, relation->relation, &found)->known =
		relation;
}

/* Puts a relation at the end of the list; numbers never change. */
static void
gate_statement_list(GateStatement *statement, GateRelation *relation)
{
	statement->relations = lappend(statement->relations, relation);
	relation->number = list_length(statement->relations);
	statement->names = NULL;
}

/* Adds a relation that is read, or kinds to one that is there. */
static void
gate_statement_add(GateStatement *statement, const PermissionInfo *info, uint32 kinds)
{
	MemoryContext old = MemoryContextSwitchTo(statement->context);
	GateRelation *relation = gate_statement_find(statement, info->relid);
	bool known = relation != NULL;
	const RelationImages *images;

	if (!known)
	{
		relation = palloc0_object(GateRelation);
		relation->relation = info->relid;
		relation->name = gate_relation_name(info->relid);
	}
	if (relation->kinds == 0)
	{
		/* asked last: a look-up may empty the cache that this points into */
		images = relation_images(info->relid);
		relation->lineage = list_copy(images->lineage);
		relation->heirs = info->inh ? list_copy(images->heirs) : NIL;
		relation->relatives = info->inh ? list_copy(images->relatives) : NIL;
	}
	relation->kinds |= kinds;
	if (!known)
		gate_statement_remember(statement, relation);
	if (relation->number == 0)
		gate_statement_list(statement, relation);
	MemoryContextSwitchTo(old);
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
		uint32 kinds = relations_selected_kinds(info);

		if (kinds != 0)
			gate_statement_add(statement, info, kinds);
	}
	statement->listed = true;
}

void
gate_statement_note_read(const PermissionInfo *info, uint32 kinds)
{
	if (current == NULL)
		return;
	/* the statement's own come first */
	gate_statement_relations(current);
	gate_statement_add(current, info, kinds);
}

/*
 * The relation of a home. It is judged by name and lineage only: no kinds, so
 * that images whose home is not known are not judged by it.
 */
static const GateRelation *
gate_home_relation(GateStatement *statement, Oid oid)
{
	GateRelation *relation = gate_statement_find(statement, oid);

	if (relation)
		return relation;
	relation = palloc0_object(GateRelation);
	relation->relation = oid;
	relation->name = gate_relation_name(oid);
	relation->lineage = relation_lineage(oid);
	gate_statement_remember(statement, relation);
	if (statement->homes_named < HOMES_NAMED_MAX)
	{
		statement->homes_named++;
		gate_statement_list(statement, relation);
	}
	return relation;
}

const GateHome *
gate_statement_home(GateStatement *statement, const uint8 *home)
{
	HomeSlot *slot = NULL;
	MemoryContext old;
	GateHome *known;
	HomeColumn column;
	bool found;

	if (home == NULL || memcmp(home, unknown_home.home, ENVELOPE_HOME_SIZE) == 0)
		return &unknown_home;
	if (statement->homes == NULL)
		statement->homes = homes_seen_create(statement->context, SLOTS_FIRST, NULL);
	else
		slot = homes_seen_lookup(statement->homes, home);
	if (slot != NULL)
		return slot->known;
	old = MemoryContextSwitchTo(statement->context);
	known = palloc0_object(GateHome);
	memcpy(known->home, home, ENVELOPE_HOME_SIZE);
	if (home_find(home, &column))
		known->relation = gate_home_relation(statement, column.relation);
	homes_seen_insert(statement->homes, known->home, &found)->known = known;
	MemoryContextSwitchTo(old);
	return known;
}

/* ---- deciding ---- */

/* How many images a second a quota allows in the long run; 0 when that is not known (yet). */
static double
gate_quota_rate(const Decision *decision)
{
	QuotaState state = quota_look(decision);

	return state.window == 0 ? 0 : (double) state.quota / (double) state.window;
}

/*
 * Whether of two permits with a quota, both of which release an image, this one is to be taken
 * from. Nothing that changes while images are taken may count: who asks twice must get one answer.
 */
static bool
gate_quota_precedes(const Decision *decision, const Decision *other)
{
	double rate;
	double other_rate;

	/* what is copied counts as what it is a copy of */
	if (decision->named != other->named)
		return decision->named;
	if (decision->permit == other->permit)
		return false;
	if (decision->delivery != other->delivery)
		return decision->delivery == DELIVERY_OPEN;
	rate = gate_quota_rate(decision);
	other_rate = gate_quota_rate(other);
	return rate != other_rate ? rate < other_rate : decision->permit < other->permit;
}

/* Whether a decision is released though a rule stands against it, because none is enforced. */
static bool
gate_is_unenforced(const Decision *decision)
{
	return decision->reason != REASON_PERMITTED && policy_observes();
}

/* Whether a decision is more restrictive than another one. */
static bool
gate_is_stricter(const Decision *decision, const Decision *other)
{
	if (decision->delivery < DELIVERY_OBSERVE || other->delivery < DELIVERY_OBSERVE)
		return decision->delivery < other->delivery;
	/* what would be refused is to be seen, before all */
	if (gate_is_unenforced(decision) != gate_is_unenforced(other))
		return gate_is_unenforced(decision);
	if (decision->quota != other->quota)
		return decision->quota;
	if (decision->quota)
		return gate_quota_precedes(decision, other);
	return decision->delivery < other->delivery;
}

/* Replaces a verdict by another decision, if that is more restrictive. */
static void
gate_judge(const Decision *decision, const GateRelation *relation, GateVerdict *verdict)
{
	bool mark = decision->mark || verdict->decision.mark;

	if (verdict->relation == NULL || gate_is_stricter(decision, &verdict->decision))
	{
		verdict->decision = *decision;
		verdict->relation = relation;
	}
	verdict->decision.mark = mark;
}

/* Judges by what the permits for some relations say. */
static void
gate_judge_by_lineage(const GateStatement *statement, ImageKind kind, List *lineage,
					  const GateRelation *relation, GateVerdict *verdict)
{
	DecideRequest request = {.kind = kind, .relations = lineage, .purpose = statement->declared};
	Decision decision = policy_decide(&request);

	gate_judge(&decision, relation, verdict);
}

/* A relation as it is read: with its heirs, of which an image whose home is known is one at most. */
static void
gate_judge_by_relation(const GateStatement *statement, const GateSubject *subject,
					   const GateRelation *relation, GateVerdict *verdict)
{
	DecideRequest request = {.kind = subject->kind, .purpose = statement->declared};
	ListCell *cell;

	gate_judge_by_lineage(statement, subject->kind, relation->lineage, relation, verdict);
	foreach(cell, relations_heirs_to_judge(relation->lineage, relation->heirs, relation->relatives))
	{
		Decision decision;

		request.relations = lfirst(cell);
		decision = policy_decide(&request);
		/* the quota of a home is that of the permits for it, not of those for another heir */
		if (!(decision.quota && decision.delivery >= DELIVERY_OBSERVE && subject->home->relation))
			gate_judge(&decision, relation, verdict);
		else if (decision.mark)
			verdict->decision.mark = true;
	}
}

/* Every relation that the statement reads images of a kind of. */
static void
gate_judge_by_all(const GateStatement *statement, const GateSubject *subject, GateVerdict *verdict)
{
	ListCell *cell;

	foreach(cell, statement->relations)
	{
		const GateRelation *relation = lfirst(cell);

		if ((relation->kinds & (1u << subject->kind)) != 0)
			gate_judge_by_relation(statement, subject, relation, verdict);
	}
	if (verdict->relation == NULL)
		gate_judge_by_lineage(statement, subject->kind, NIL, NULL, verdict);
}

/* Whether the client's party has a permit for a relation or for what it inherits from. */
static bool
gate_relation_is_named(const GateRelation *relation)
{
	ListCell *cell;

	foreach(cell, relation->lineage)
		if (OidIsValid(lfirst_oid(cell)) && policy_names_relation(lfirst_oid(cell)))
			return true;
	return false;
}

GateVerdict
gate_statement_judge(const GateStatement *statement, const GateSubject *subject)
{
	const GateRelation *home = subject->home->relation;
	const GateRelation *origin = subject->origin->relation;
	GateVerdict verdict = {.relation = NULL};

	if (subject->shown)
		gate_judge_by_relation(statement, subject, subject->shown, &verdict);
	if (home && home != subject->shown)
		gate_judge_by_lineage(statement, subject->kind, home->lineage, home, &verdict);
	if (!home && !subject->shown)
		gate_judge_by_all(statement, subject, &verdict);
	if (origin && origin != home && origin != subject->shown && gate_relation_is_named(origin))
		gate_judge_by_lineage(statement, subject->kind, origin->lineage, origin, &verdict);
	return verdict;
}

/* The only relation that an image of a kind can be of, if there is just one. */
static const GateRelation *
gate_statement_only_relation(const GateStatement *statement, ImageKind kind)
{
	const GateRelation *only = NULL;
	ListCell *cell;

	foreach(cell, statement->relations)
	{
		const GateRelation *relation = lfirst(cell);

		if ((relation->kinds & (1u << kind)) == 0)
			continue;
		if (only != NULL)
			return NULL;
		only = relation;
	}
	return only;
}

const GateRelation *
gate_statement_relation_of(const GateStatement *statement, const GateSubject *subject)
{
	if (subject->home->relation)
		return subject->home->relation;
	return subject->shown ? subject->shown : gate_statement_only_relation(statement, subject->kind);
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
	const char *name = get_rel_name(relation);
	StringInfoData escaped;

	/* no lock is held on an image's home: it may have been dropped a moment ago */
	if (name == NULL)
		return psprintf("oid:%u", relation);
	name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), name);
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

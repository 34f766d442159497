/*
 * named.c - which places the policy names, and what an image keeps of where
 * it has been.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/internal.h"
#include "base/lineage.h"
#include "home/home.h"
#include "home/named.h"
#include "policy/policy.h"

/* A relation that a permit in force names. */
typedef struct NamedRelation
{
	Oid relation;
	bool restricted; /* sealed, refuse, a quota or marking */
} NamedRelation;

/* Read again when the policy has changed. */
static MemoryContext named_context = NULL;
static List *named = NIL;
static List *retained = NIL; /* OIDs of relations with a retention period */
static uint64 named_publications = 0;

/* The last answer: rows are moved by the thousand from one column to another. */
typedef struct LastMove
{
	LocalTransactionId transaction; /* lineages may differ in the next */
	uint64 publications;
	ImageKind kind;
	uint8 from[ENVELOPE_HOME_SIZE];
	uint8 to[ENVELOPE_HOME_SIZE];
	bool matters;
} LastMove;

static LastMove last_move;

static Datum
permit_value(HeapTuple tuple, Relation table, const char *column, bool *isnull)
{
	AttrNumber attribute = get_attnum(RelationGetRelid(table), column);

	*isnull = true;
	return attribute == InvalidAttrNumber
			   ? (Datum) 0
			   : heap_getattr(tuple, attribute, RelationGetDescr(table), isnull);
}

static void
named_add(HeapTuple tuple, Relation table)
{
	NamedRelation *entry;
	bool isnull;
	Datum relation;
	Datum delivery;
	Datum mark;
	char *how;

	(void) permit_value(tuple, table, "revoked_at", &isnull);
	if (!isnull)
		return;
	relation = permit_value(tuple, table, "relation", &isnull);
	if (isnull)
		return;
	delivery = permit_value(tuple, table, "delivery", &isnull);
	how = isnull ? NULL : TextDatumGetCString(delivery);
	entry = palloc(sizeof(NamedRelation));
	entry->relation = DatumGetObjectId(relation);
	/* whatever is not known to open restricts */
	entry->restricted = how == NULL || (strcmp(how, "open") != 0 && strcmp(how, "observe") != 0);
	(void) permit_value(tuple, table, "quota", &isnull);
	entry->restricted |= !isnull;
	mark = permit_value(tuple, table, "mark", &isnull);
	entry->restricted |= isnull || DatumGetBool(mark);
	named = lappend(named, entry);
}

/* Rules of logs that are not this database's own count, too: nothing is lost by that. */
static void
retained_read(void)
{
	Oid retention = extension_relation("retention");
	Relation table = OidIsValid(retention) ? table_open(retention, AccessShareLock) : NULL;
	MemoryContext old;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	old = MemoryContextSwitchTo(named_context);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum relation = permit_value(tuple, table, "relation", &isnull);

		if (!isnull)
			retained = list_append_unique_oid(retained, DatumGetObjectId(relation));
	}
	MemoryContextSwitchTo(old);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
}

static void
named_read(void)
{
	Oid permit = extension_relation("permit");
	MemoryContext old;
	Relation table;
	Snapshot snapshot;
	SysScanDesc scan;
	HeapTuple tuple;

	if (named_context == NULL)
		named_context = AllocSetContextCreate(TopMemoryContext, "biometric named relations",
											  ALLOCSET_SMALL_SIZES);
	named = retained = NIL;
	named_publications = 0;
	MemoryContextReset(named_context);
	if (!OidIsValid(permit))
		return;
	table = table_open(permit, AccessShareLock);
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	old = MemoryContextSwitchTo(named_context);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		named_add(tuple, table);
	MemoryContextSwitchTo(old);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	retained_read();
}

/* The relations that are named; asked anew whenever a policy was published. */
static const List *
named_relations(void)
{
	uint64 publications = policy_publications();

	if (named_context == NULL || publications == 0 || publications != named_publications)
	{
		named_read();
		named_publications = publications;
	}
	return named;
}

static bool
lineage_is_named(const List *lineage, bool restricted_only)
{
	ListCell *cell;

	foreach(cell, named_relations())
	{
		const NamedRelation *entry = lfirst(cell);

		if ((entry->restricted || !restricted_only) && list_member_oid(lineage, entry->relation))
			return true;
	}
	return false;
}

/* Whether a lineage has a relation with a retention period. */
static bool
lineage_is_retained(const List *lineage)
{
	ListCell *cell;

	(void) named_relations();
	foreach(cell, lineage)
		if (OidIsValid(lfirst_oid(cell)) && list_member_oid(retained, lfirst_oid(cell)))
			return true;
	return false;
}

bool
home_lineage_restricted(const List *lineage)
{
	/* permits that were granted a moment ago may not be published yet */
	named_publications = 0;
	return lineage_is_named(lineage, true);
}

bool
home_restricted(Oid relation)
{
	return home_lineage_restricted(list_make1_oid(relation));
}

bool
home_lineage_named(const List *lineage)
{
	named_publications = 0;
	return lineage_is_named(lineage, false);
}

/* Whether the client's permits themselves, whatever its purpose, keep images from being opened. */
static bool
permits_restrict(List *lineage, ImageKind kind)
{
	DecideRequest request = {.kind = kind, .relations = lineage, .purpose = policy_purpose()};
	Decision decision = policy_decide(&request);

	return decision.reason == REASON_REFUSED_BY_PERMIT ||
		   (decision.reason == REASON_PERMITTED && decision.delivery == DELIVERY_SEALED);
}

/* Whether the client of this session would get more where images go. */
static bool
client_widens(List *from, List *to, ImageKind kind)
{
	return policy_client()->present && permits_restrict(from, kind) && !permits_restrict(to, kind);
}

static bool
move_matters(const uint8 *from, const uint8 *to, ImageKind kind)
{
	HomeColumn source;
	HomeColumn target;
	List *lineage;

	if (!home_find(from, &source) || source.attribute == InvalidAttrNumber)
		return home_has_past(from);
	lineage = relation_lineage(source.relation);
	if (lineage_is_named(lineage, false) || lineage_is_retained(lineage))
		return true;
	return home_find(to, &target) &&
		   client_widens(lineage, relation_lineage(target.relation), kind);
}

static bool
move_matters_cached(const uint8 *from, const uint8 *to, ImageKind kind)
{
	LastMove move = {
		.transaction = local_transaction_id(), .publications = policy_publications(), .kind = kind};

	memcpy(move.from, from, ENVELOPE_HOME_SIZE);
	memcpy(move.to, to, ENVELOPE_HOME_SIZE);
	if (last_move.transaction == move.transaction && last_move.publications == move.publications &&
		last_move.kind == kind && memcmp(last_move.from, from, ENVELOPE_HOME_SIZE) == 0 &&
		memcmp(last_move.to, to, ENVELOPE_HOME_SIZE) == 0)
		return last_move.matters;
	move.matters = move_matters(from, to, kind);
	last_move = move;
	return move.matters;
}

/*
 * Whether a place that an image came from is one that permits name, or has a retention period,
 * or had one when it went.
 */
static bool
origin_is_named(const uint8 *origin)
{
	HomeColumn column;
	List *lineage;

	if (!home_find(origin, &column) || column.attribute == InvalidAttrNumber)
		return home_has_past(origin);
	lineage = relation_lineage(column.relation);
	return lineage_is_named(lineage, false) || lineage_is_retained(lineage);
}

const uint8 *
home_origin(const uint8 *home, const EnvelopeHeader *header)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];
	bool moved = memcmp(header->home, none, ENVELOPE_HOME_SIZE) != 0 &&
				 memcmp(header->home, home, ENVELOPE_HOME_SIZE) != 0;
	HomeColumn unused;

	if (memcmp(header->origin, none, ENVELOPE_HOME_SIZE) == 0)
		return moved ? header->home : home;
	/*
	 * What somebody restores who may restore anything comes from where nobody here can look; but
	 * a table that was dropped here is no way out of its retention period.
	 */
	if ((header->flags & ENVELOPE_FLAG_IMPORTED) != 0 && !home_find(header->origin, &unused) &&
		home_may_restore() && !home_has_past(header->origin) && !home_has_past(header->home))
		return home;
	if (moved && memcmp(header->origin, header->home, ENVELOPE_HOME_SIZE) != 0 &&
		move_matters_cached(header->home, home, header->kind) && !origin_is_named(header->origin))
		return header->home;
	return header->origin;
}

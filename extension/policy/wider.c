/*
 * wider.c - compares what permits give before and after a change of one of them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "policy/change.h"
#include "policy/choose.h"
#include "policy/policy_sql.h"
#include "policy/wider.h"

/* A purpose that no permit names: names hold no control characters. */
#define PURPOSE_UNNAMED "\001"

/* The permits of a party that are or will be in force, as the policy has them. */
typedef struct WiderChange
{
	int count;
	PolicyPermit *permit;
	int changed;  /* which one changes; -1: none of them */
	bool without; /* it is revoked */
	int64 quota;  /* its other quota, 0: none; unless it is revoked */
} WiderChange;

/* What is compared, for the tables at hand. */
typedef struct WiderViews
{
	PolicyView before;
	PolicyView after;
	List *relations; /* as ChooseRequest's */
	List *purposes;
} WiderViews;

static Datum
wider_value(uint64 row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

static void
wider_read_purposes(Datum array, PolicyPermit *permit)
{
	Datum *purposes;
	bool *nulls;

	policy_text_array(array, &purposes, &nulls, &permit->purposes);
	permit->purpose = palloc_array(char *, permit->purposes + 1);
	for (int i = 0; i < permit->purposes; i++)
		permit->purpose[i] = nulls[i] ? "" : policy_text(purposes[i]);
}

static uint32
wider_read_kinds(Datum array)
{
	uint32 kinds = 0;
	Datum *names;
	bool *nulls;
	int count;

	policy_text_array(array, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			kinds |= (uint32) 1 << image_kind_from_name(policy_text(names[i]));
	return kinds;
}

static void
wider_read_permit(uint64 row, PolicyPermit *permit)
{
	bool null;
	Datum purposes;

	memset(permit, 0, sizeof(*permit));
	permit->id = DatumGetInt64(wider_value(row, 1, &null));
	permit->kinds = wider_read_kinds(wider_value(row, 2, &null));
	permit->delivery = delivery_from_name(policy_text(wider_value(row, 3, &null)));
	permit->relation = DatumGetObjectId(wider_value(row, 4, &null));
	permit->valid.from = DatumGetTimestampTz(wider_value(row, 5, &null));
	permit->valid.until = DatumGetTimestampTz(wider_value(row, 6, &null));
	permit->require_tls = DatumGetBool(wider_value(row, 7, &null));
	permit->mark = DatumGetBool(wider_value(row, 8, &null));
	permit->quota = DatumGetInt64(wider_value(row, 9, &null));
	permit->purposes = -1;
	purposes = wider_value(row, 10, &null);
	if (!null)
		wider_read_purposes(purposes, permit);
}

/* Reads the permits of the party that a permit is of, in the order that the policy has them in. */
static void
wider_read(int64 permit, WiderChange *change)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, INT8OID, Int64GetDatum(permit), false);
	change->count = (int) change_execute(
		"SELECT o.id, o.kinds, o.delivery, coalesce(o.relation::oid, 0), "
		"coalesce(lower(o.valid) + CASE WHEN lower_inc(o.valid) THEN '0'::interval "
		"ELSE '1 microsecond' END, '-infinity'), "
		"coalesce(upper(o.valid) + CASE WHEN upper_inc(o.valid) THEN '1 microsecond'::interval "
		"ELSE '0' END, 'infinity'), "
		"o.require_tls, o.mark, coalesce(o.quota, 0), o.purposes "
		"FROM ONLY biometric.permit AS t JOIN ONLY biometric.permit AS o ON o.party = t.party "
		"WHERE t.id = $1 AND o.revoked_at IS NULL AND NOT coalesce(isempty(o.valid), false) "
		"AND (o.relation IS NULL OR EXISTS (SELECT FROM pg_class WHERE pg_class.oid = o.relation)) "
		"ORDER BY o.id",
		&arguments);
	change->permit = palloc_array(PolicyPermit, change->count + 1);
	change->changed = -1;
	for (int i = 0; i < change->count; i++)
	{
		wider_read_permit(i, &change->permit[i]);
		if (change->permit[i].id == permit)
			change->changed = i;
	}
}

/*
 * Whether a decision gives more than another. Each permit counts for itself what it has
 * released: another one with a quota gives what is left of its own.
 */
static bool
wider_decision(const Decision *after, const Decision *before)
{
	if (after->delivery > before->delivery)
		return true;
	if (after->delivery < DELIVERY_OBSERVE)
		return false;
	if (before->mark && !after->mark)
		return true;
	return before->quota && !(after->quota && after->permit == before->permit);
}

/* Whether more is given at some time for one kind. */
static bool
wider_at(const WiderViews *views, ImageKind kind, TimestampTz at)
{
	ListCell *cell;

	CHECK_FOR_INTERRUPTS();
	foreach(cell, views->purposes)
		for (int tls = 0; tls <= 1; tls++)
		{
			ChooseRequest request = {.kind = kind,
									 .relations = views->relations,
									 .purpose = lfirst(cell),
									 .tls = tls == 1,
									 .now = at};
			Decision before = policy_choose(&views->before, &request);
			Decision after = policy_choose(&views->after, &request);

			if (wider_decision(&after, &before))
				return true;
		}
	return false;
}

/*
 * Whether more is given at some time. What is given changes only when some permit begins or
 * ends to be valid; when the changed one is not, nothing changes.
 */
static bool
wider_ever(const WiderViews *views, const PolicyPermit *changed)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = -1; i < 2 * views->before.permits; i++)
	{
		const PolicyPeriod *valid = i < 0 ? NULL : &views->before.permit[i / 2].valid;
		TimestampTz at = i < 0 ? now : i % 2 ? valid->until : valid->from;

		if (at < now || !period_holds(&changed->valid, at))
			continue;
		for (ImageKind kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
			if ((changed->kinds & ((uint32) 1 << kind)) != 0 && wider_at(views, kind, at))
				return true;
	}
	return false;
}

/* Puts a permit into a view of a party in good standing. */
static void
wider_add(PolicyView *view, const PolicyPermit *permit)
{
	view->permit[view->permits++] = *permit;
}

static void
wider_view_init(PolicyView *view, int count)
{
	memset(view, 0, sizeof(*view));
	view->state = PUBLISH_POLICY;
	view->network = view->party = "";
	view->contract.from = DT_NOBEGIN;
	view->contract.until = DT_NOEND;
	view->permit = palloc_array(PolicyPermit, count + 1);
}

/* Adds the purposes of a permit that are not in a list yet. */
static List *
wider_add_purposes(List *purposes, const PolicyPermit *permit)
{
	for (int i = 0; i < permit->purposes; i++)
	{
		bool known = false;
		ListCell *cell;

		foreach(cell, purposes)
			known = known || (lfirst(cell) && strcmp(lfirst(cell), permit->purpose[i]) == 0);
		if (!known)
			purposes = lappend(purposes, permit->purpose[i]);
	}
	return purposes;
}

/* Makes the views of the permits for two relations and for any. */
static void
wider_views(const WiderChange *change, Oid one, Oid other, WiderViews *views)
{
	wider_view_init(&views->before, change->count);
	wider_view_init(&views->after, change->count);
	views->purposes = list_make2(NULL, PURPOSE_UNNAMED);
	for (int i = 0; i < change->count; i++)
	{
		PolicyPermit permit = change->permit[i];

		if (OidIsValid(permit.relation) && permit.relation != one && permit.relation != other)
			continue;
		views->purposes = wider_add_purposes(views->purposes, &permit);
		wider_add(&views->before, &permit);
		if (i == change->changed && change->without)
			continue;
		if (i == change->changed)
			permit.quota = change->quota;
		wider_add(&views->after, &permit);
	}
}

/*
 * Whether more is given of the tables of the changed permit, or what descends from it, where
 * another table's permits count as well: as its equal, or behind it. More than two
 * tables need not be looked at: one permit decides before and one after, and both do so as well
 * among fewer.
 */
static bool
wider_beside(const WiderChange *change, Oid other)
{
	Oid one = change->permit[change->changed].relation;
	const PolicyPermit *changed = &change->permit[change->changed];
	WiderViews views = {0};

	wider_views(change, one, other, &views);
	if (!OidIsValid(one))
		return wider_ever(&views, changed);
	if (!OidIsValid(other))
	{
		views.relations = list_make1_oid(one);
		return wider_ever(&views, changed);
	}
	views.relations = list_make2_oid(one, other);
	if (wider_ever(&views, changed))
		return true;
	views.relations = list_make3_oid(one, InvalidOid, other);
	return wider_ever(&views, changed);
}

static bool
wider_change(const WiderChange *change)
{
	Oid one;
	List *others = NIL;
	ListCell *cell;

	if (change->changed < 0)
		return false;
	one = change->permit[change->changed].relation;
	if (wider_beside(change, InvalidOid))
		return true;
	/* a permit for any table decides where no table's own does */
	for (int i = 0; i < change->count && OidIsValid(one); i++)
		if (OidIsValid(change->permit[i].relation) && change->permit[i].relation != one)
			others = list_append_unique_oid(others, change->permit[i].relation);
	foreach(cell, others)
		if (wider_beside(change, lfirst_oid(cell)))
			return true;
	return false;
}

bool
wider_without(int64 permit)
{
	WiderChange change = {.without = true};

	wider_read(permit, &change);
	return wider_change(&change);
}

bool
wider_with_quota(int64 permit, int64 quota)
{
	WiderChange change = {.quota = quota};

	wider_read(permit, &change);
	return wider_change(&change);
}

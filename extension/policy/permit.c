/*
 * permit.c - the SQL functions that grant and revoke permits.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/manage.h"
#include "policy/policy_sql.h"
#include "policy/proposal.h"
#include "policy/quota.h"
#include "policy/wider.h"

/* What a permit takes in the published policy besides its purposes, in bytes, rounded up. */
#define PERMIT_SIZE 80

/* The arguments of authorize(), by number. */
enum
{
	ARG_PARTY,
	ARG_KINDS,
	ARG_DELIVERY,
	ARG_PURPOSES,
	ARG_RELATION,
	ARG_VALID,
	ARG_QUOTA,
	ARG_QUOTA_WINDOW,
	ARG_REQUIRE_TLS,
	ARG_MARK
};

/* The permits that take a counter, as publish.c chooses them. */
#define PERMITS_WITH_QUOTA                                                                         \
	"FROM biometric.permit WHERE quota IS NOT NULL AND revoked_at IS NULL "                        \
	"AND (valid IS NULL OR upper_inf(valid) OR upper(valid) >= now())"

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_authorize);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_revoke);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_set_quota);

static Delivery
permit_delivery(FunctionCallInfo fcinfo)
{
	char *name =
		PG_ARGISNULL(ARG_DELIVERY) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(ARG_DELIVERY));
	bool found = false;
	Delivery delivery = name ? delivery_lookup(name, &found) : DELIVERY_REFUSE;

	if (!found)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						name ? errmsg("there is no delivery \"%s\"", name)
							 : errmsg("argument \"delivery\" cannot be used: it is NULL"),
						errhint("The deliveries are open, observe, sealed and refuse.")));
	return delivery;
}

static bool
permit_opens(Delivery delivery)
{
	return delivery == DELIVERY_OPEN || delivery == DELIVERY_OBSERVE;
}

/* A window has one length: a month has not. */
static void
permit_check_window(const Interval *window)
{
	/* beyond these bounds the sum might not fit, and is too long or too short anyway */
	bool sane = window->day >= -1000 && window->day <= 1000 &&
				window->time >= -1000 * USECS_PER_DAY && window->time <= 1000 * USECS_PER_DAY;
	int64 length = sane ? window->day * USECS_PER_DAY + window->time : 0;

	if (window->month != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"quota_window\" cannot be used: it has months or years"),
						errdetail("They differ in length."),
						errhint("Give the window in days, such as '30 days'.")));
	if (length < QUOTA_WINDOW_MIN || length > QUOTA_WINDOW_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"quota_window\" cannot be used: it is shorter than a second or "
						"longer than 366 days"),
				 errhint("A window is the time within which at most quota images are released.")));
}

/*
 * Checks the quota and the window that are arguments number index and the next, and
 * adds them. Returns whether there is a quota.
 */
static bool
permit_add_quota(FunctionCallInfo fcinfo, int index, ChangeArguments *arguments)
{
	bool none = PG_ARGISNULL(index);

	if (none != PG_ARGISNULL(index + 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a quota needs a window, and a window a quota"),
						errdetail("Argument \"%s\" is NULL, the other is not.",
								  none ? "quota" : "quota_window"),
						errhint("Give both, or neither for a permit without a quota.")));
	if (!none && PG_GETARG_INT64(index) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"quota\" cannot be used: it is less than 1"),
						errdetail("A quota is how many images are released within its window."),
						errhint("So that nothing is released, revoke the permit.")));
	if (!none)
		permit_check_window(PG_GETARG_INTERVAL_P(index + 1));
	change_add(arguments, INT8OID, none ? (Datum) 0 : PG_GETARG_DATUM(index), none);
	change_add(arguments, INTERVALOID, none ? (Datum) 0 : PG_GETARG_DATUM(index + 1), none);
	return !none;
}

/* What there is no counter for would release nothing. Called when the permit is in the table. */
static void
permit_require_counter(void)
{
	ChangeArguments arguments = {0};
	uint64 wanted = change_execute("SELECT " PERMITS_WITH_QUOTA, &arguments);

	if (wanted > (uint64) quota_places())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there is no counter for another permit with a quota"),
				 errdetail("biometric_audit.max_quotas allows %d in a database.", quota_places()),
				 errhint("Revoke permits that are not needed, or increase "
						 "biometric_audit.max_quotas and restart the server.")));
}

/* A limit that nothing keeps must not be accepted. */
static void
permit_check_limits(FunctionCallInfo fcinfo, Delivery delivery)
{
	bool require_tls = !PG_ARGISNULL(ARG_REQUIRE_TLS) && PG_GETARG_BOOL(ARG_REQUIRE_TLS);
	bool mark = !PG_ARGISNULL(ARG_MARK) && PG_GETARG_BOOL(ARG_MARK);

	if (!PG_ARGISNULL(ARG_QUOTA) && !permit_opens(delivery))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a permit with delivery %s cannot have a quota", delivery_name(delivery)),
				 errdetail("Images are counted when they are opened."),
				 errhint("Leave out quota, or use delivery open or observe.")));
	if (mark && !permit_opens(delivery))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a permit with delivery %s cannot ask for marks", delivery_name(delivery)),
				 errdetail("Images are marked when they are opened."),
				 errhint("Leave out mark, or use delivery open or observe.")));
	if (!PG_ARGISNULL(ARG_PURPOSES) && !permit_opens(delivery))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a permit with delivery %s cannot be limited to purposes",
							   delivery_name(delivery)),
						errdetail("Purposes are asked for only when images are opened."),
						errhint("Leave out purposes, or use delivery open or observe.")));
	if (require_tls && delivery == DELIVERY_REFUSE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a permit with delivery refuse cannot be limited to TLS"),
						errdetail("It refuses by whatever connection."),
						errhint("Leave out require_tls, or set it on the permit that opens.")));
}

/* Adds the arguments from the kinds on. Returns whether the permit has a quota. */
static bool
permit_add_arguments(FunctionCallInfo fcinfo, ChangeArguments *arguments, Size *growth)
{
	Delivery delivery = permit_delivery(fcinfo);
	Datum purposes;
	Datum valid;
	bool any_purpose;
	bool always;
	Oid relation;

	permit_check_limits(fcinfo, delivery);
	change_add(arguments, TEXTARRAYOID, argument_kinds(fcinfo, ARG_KINDS), false);
	change_add_text(arguments, delivery_name(delivery));
	purposes = argument_purposes(fcinfo, ARG_PURPOSES, &any_purpose);
	change_add(arguments, TEXTARRAYOID, purposes, any_purpose);
	relation = argument_relation(fcinfo, ARG_RELATION);
	change_add(arguments, REGCLASSOID, ObjectIdGetDatum(relation), !OidIsValid(relation));
	valid = argument_period(fcinfo, ARG_VALID, "valid", &always);
	change_add(arguments, TSTZRANGEOID, valid, always);
	change_add(arguments, BOOLOID,
			   BoolGetDatum(!PG_ARGISNULL(ARG_REQUIRE_TLS) && PG_GETARG_BOOL(ARG_REQUIRE_TLS)),
			   false);
	change_add(arguments, BOOLOID,
			   BoolGetDatum(!PG_ARGISNULL(ARG_MARK) && PG_GETARG_BOOL(ARG_MARK)), false);
	*growth = PERMIT_SIZE + (any_purpose ? 0 : VARSIZE(DatumGetPointer(purposes)));
	return permit_add_quota(fcinfo, ARG_QUOTA, arguments);
}

/*
 * biometric_authorize(party text, kinds text[], delivery text, purposes
 * text[], relation regclass, valid tstzrange, quota bigint, quota_window
 * interval, require_tls bool, mark bool) returns the id of the new permit, NULL when
 * it was proposed only.
 */
Datum
biometric_authorize(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	Size growth;
	char *party;
	int64 id;
	bool null;
	bool quota;

	if (proposal_wanted(permit_delivery(fcinfo) != DELIVERY_REFUSE))
	{
		proposal_make(fcinfo);
		PG_RETURN_NULL();
	}
	change_begin_policy(&change);
	party = argument_party(fcinfo, ARG_PARTY);
	change_add_text(&arguments, party);
	quota = permit_add_arguments(fcinfo, &arguments, &growth);
	change_add_text(&arguments, change.caller_name);
	manage_require_party(party);
	/* never a number that is taken, whatever the sequence was set to */
	change_execute("INSERT INTO biometric.permit (id, party, kinds, delivery, purposes, relation, "
				   "valid, require_tls, mark, quota, quota_window, granted_by) "
				   "OVERRIDING SYSTEM VALUE VALUES (greatest("
				   "nextval('biometric.permit_id_seq'), "
				   "(SELECT max(id) + 1 FROM ONLY biometric.permit)), $1, $2, $3, $4, $5, $6, $7, "
				   "$8, $9, $10, $11) "
				   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'authorize', "
				   "'permit', id, 'party', party, 'kinds', kinds, 'delivery', delivery, "
				   "'purposes', purposes, 'relation', relation, 'valid', valid, "
				   "'require_tls', require_tls, 'mark', nullif(mark, false), 'quota', quota, "
				   "'quota_window', quota_window))::text, id",
				   &arguments);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	change_record(&change, change_result(1), growth);
	if (quota)
		permit_require_counter();
	change_end(&change);
	PG_RETURN_INT64(id);
}

/* Says why there was no permit to change. */
static void
permit_refuse_change(int64 permit)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, INT8OID, Int64GetDatum(permit), false);
	if (change_execute("SELECT revoked_at::text FROM biometric.permit WHERE id = $1", &arguments) ==
		0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("there is no permit %lld", (long long) permit),
						errhint("Table biometric.permit lists the permits.")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("permit %lld is revoked already", (long long) permit),
					errdetail("It was revoked at %s.", change_result(1)),
					errhint("Table biometric.permit lists the permits.")));
}

static void
permit_require_id(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"permit_id\" cannot be used: it is NULL"),
						errhint("biometric.authorize() returned it; table biometric.permit lists "
								"the permits.")));
}

/* Whether more may be released without a permit than with it. */
static bool
permit_holds_back(FunctionCallInfo fcinfo)
{
	PolicyChange change;
	bool wider;

	change_begin_policy(&change);
	permit_require_id(fcinfo);
	wider = wider_without(PG_GETARG_INT64(0));
	change_end(&change);
	return wider;
}

/* biometric_revoke(permit_id bigint, reason text) */
Datum
biometric_revoke(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};

	if (proposal_wanted(permit_holds_back(fcinfo)))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	permit_require_id(fcinfo);
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	change_add_text(&arguments, argument_reason(fcinfo, 1));
	change_add_text(&arguments, change.caller_name);
	if (change_execute("UPDATE biometric.permit SET revoked_at = now(), revoked_by = $3, "
					   "revoked_reason = $2 WHERE id = $1 AND revoked_at IS NULL "
					   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'revoke', "
					   "'permit', id, 'party', party, 'kinds', kinds, 'delivery', delivery, "
					   "'relation', relation, 'reason', revoked_reason))::text",
					   &arguments) == 0)
		permit_refuse_change(PG_GETARG_INT64(0));
	change_record(&change, change_result(1), 0);
	change_end(&change);
	PG_RETURN_VOID();
}

/*
 * Whether another quota gives more, at some time: more of the permit itself, or by having
 * another one chosen instead of it, or it instead of another.
 */
static bool
permit_widens_quota(FunctionCallInfo fcinfo)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	bool quota;
	bool wider;

	change_begin_policy(&change);
	permit_require_id(fcinfo);
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	quota = permit_add_quota(fcinfo, 1, &arguments);
	wider = change_execute("SELECT FROM ONLY biometric.permit WHERE id = $1 "
						   "AND revoked_at IS NULL AND quota IS NOT NULL "
						   "AND ($2 IS NULL OR $2 > quota OR $3 < quota_window)",
						   &arguments) > 0 ||
			wider_with_quota(PG_GETARG_INT64(0), quota ? PG_GETARG_INT64(1) : 0);
	change_end(&change);
	return wider;
}

/*
 * biometric_set_quota(permit_id bigint, quota bigint, quota_window interval, reason text):
 * gives a permit another quota, or none.
 */
Datum
biometric_set_quota(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	bool quota;

	if (proposal_wanted(permit_widens_quota(fcinfo)))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	permit_require_id(fcinfo);
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	quota = permit_add_quota(fcinfo, 1, &arguments);
	change_add_text(&arguments, argument_reason(fcinfo, 3));
	if (change_execute("UPDATE biometric.permit AS t SET quota = $2, quota_window = $3 "
					   "FROM biometric.permit AS o "
					   "WHERE t.id = $1 AND o.id = t.id AND t.revoked_at IS NULL "
					   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'set_quota', "
					   "'permit', t.id, 'party', t.party, 'quota', t.quota, "
					   "'quota_window', t.quota_window, 'previous_quota', o.quota, "
					   "'previous_window', o.quota_window, 'reason', $4))::text, t.delivery",
					   &arguments) == 0)
		permit_refuse_change(PG_GETARG_INT64(0));
	if (quota && !permit_opens(delivery_from_name(change_result(2))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("permit %lld cannot have a quota", (long long) PG_GETARG_INT64(0)),
						errdetail("Its delivery is %s: images are counted when they are opened.",
								  change_result(2)),
						errhint("Set quotas on permits with delivery open or observe.")));
	change_record(&change, change_result(1), 0);
	if (quota)
		permit_require_counter();
	change_end(&change);
	PG_RETURN_VOID();
}

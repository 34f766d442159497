/*
 * permit.c - the SQL functions that grant and revoke permits.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/manage.h"
#include "policy/policy_sql.h"

/* What a permit takes in the published policy besides its purposes, in bytes, rounded up. */
#define PERMIT_SIZE 64

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
	ARG_REQUIRE_TLS
};

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_authorize);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_revoke);

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

/* A limit that nothing keeps must not be accepted. */
static void
permit_check_limits(FunctionCallInfo fcinfo, Delivery delivery)
{
	bool require_tls = !PG_ARGISNULL(ARG_REQUIRE_TLS) && PG_GETARG_BOOL(ARG_REQUIRE_TLS);

	if (!PG_ARGISNULL(ARG_QUOTA) || !PG_ARGISNULL(ARG_QUOTA_WINDOW))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("permits with a quota are not supported"),
						errdetail("This version does not count releases, and does not accept a "
								  "limit that it would not keep."),
						errhint("Leave out quota and quota_window.")));
	if (!PG_ARGISNULL(ARG_PURPOSES) && (delivery == DELIVERY_SEALED || delivery == DELIVERY_REFUSE))
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

static void
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
	*growth = PERMIT_SIZE + (any_purpose ? 0 : VARSIZE(DatumGetPointer(purposes)));
}

/*
 * biometric_authorize(party text, kinds text[], delivery text, purposes
 * text[], relation regclass, valid tstzrange, quota bigint, quota_window
 * interval, require_tls bool) returns the id of the new permit.
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

	change_begin(&change);
	party = argument_party(fcinfo, ARG_PARTY);
	change_add_text(&arguments, party);
	permit_add_arguments(fcinfo, &arguments, &growth);
	change_add_text(&arguments, change.caller_name);
	manage_require_party(party);
	change_execute("INSERT INTO biometric.permit (party, kinds, delivery, purposes, relation, "
				   "valid, require_tls, granted_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
				   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'authorize', "
				   "'permit', id, 'party', party, 'kinds', kinds, 'delivery', delivery, "
				   "'purposes', purposes, 'relation', relation, 'valid', valid, "
				   "'require_tls', require_tls))::text, id",
				   &arguments);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	change_record(&change, change_result(1), growth);
	change_end(&change);
	PG_RETURN_INT64(id);
}

/* Says why there was nothing to revoke. */
static void
permit_refuse_revocation(int64 permit)
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

/* biometric_revoke(permit_id bigint, reason text) */
Datum
biometric_revoke(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};

	change_begin(&change);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"permit_id\" cannot be used: it is NULL"),
						errhint("biometric.authorize() returned it; table biometric.permit lists "
								"the permits.")));
	change_add(&arguments, INT8OID, PG_GETARG_DATUM(0), false);
	change_add_text(&arguments, argument_reason(fcinfo, 1));
	change_add_text(&arguments, change.caller_name);
	if (change_execute("UPDATE biometric.permit SET revoked_at = now(), revoked_by = $3, "
					   "revoked_reason = $2 WHERE id = $1 AND revoked_at IS NULL "
					   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'revoke', "
					   "'permit', id, 'party', party, 'kinds', kinds, 'delivery', delivery, "
					   "'relation', relation, 'reason', revoked_reason))::text",
					   &arguments) == 0)
		permit_refuse_revocation(PG_GETARG_INT64(0));
	change_record(&change, change_result(1), 0);
	change_end(&change);
	PG_RETURN_VOID();
}

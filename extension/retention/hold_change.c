/*
 * hold_change.c - legal_hold() and release_hold().
 */
#include "base/compat.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "keyring/pins.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/proposal.h"
#include "retention/hold_find.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_legal_hold_rows);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_legal_hold_images);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_release_hold);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_release_hold_rows);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_release_hold_images);

/* The longest predicate, in bytes: it is put on record. */
#define PREDICATE_SIZE 8000

/* Of images that were named by their ids, so many are listed in the entry; of more, the digest. */
#define LISTED "64"

/* Where images are looked for; relation InvalidOid: by their ids. */
typedef struct HoldPlace
{
	Oid relation;
	NameData column;
	char *predicate; /* NULL: all rows */
} HoldPlace;

/* ---- arguments ---- */

pg_noreturn static void
refuse_null(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" cannot be used: it is NULL", name), errhint("Give one.")));
}

/* The arguments relation, column_name and predicate, the first three. */
static HoldPlace
place_arguments(FunctionCallInfo fcinfo)
{
	HoldPlace place = {0};

	if (PG_ARGISNULL(0))
		refuse_null("relation");
	if (PG_ARGISNULL(1))
		refuse_null("column_name");
	place.relation = PG_GETARG_OID(0);
	place.column = *PG_GETARG_NAME(1);
	if (PG_ARGISNULL(2))
		return place;
	place.predicate = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (strlen(place.predicate) > PREDICATE_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"predicate\" cannot be used: it is longer than %d bytes",
						PREDICATE_SIZE),
				 errdetail("It is put on record."), errhint("Name the images by their ids.")));
	if (place.predicate[strspn(place.predicate, " \t\r\n\f")] == '\0')
		place.predicate = NULL;
	return place;
}

static ArrayType *
image_ids_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		refuse_null("image_ids");
	return PG_GETARG_ARRAYTYPE_P(0);
}

/* Checks that the caller is a custodian, and keeps others from changing the policy meanwhile. */
static void
take_turn(void)
{
	PolicyChange change;

	change_begin_policy(&change);
	change_end(&change);
}

static void
add_place(ChangeArguments *arguments, const HoldPlace *place)
{
	bool by_ids = !OidIsValid(place->relation);

	change_add(arguments, REGCLASSOID, ObjectIdGetDatum(place->relation), by_ids);
	change_add(arguments, NAMEOID, NameGetDatum(&place->column), by_ids);
	change_add_text(arguments, place->predicate);
}

/* Looks twice: while it waited for the lock, the relation or column may have gone. */
static void
lock_place(const HoldPlace *place)
{
	hold_find_check(place->relation, NameStr(place->column));
	hold_find_lock(place->relation);
	hold_find_check(place->relation, NameStr(place->column));
}

/* ---- placing ---- */

/* Waits for all that is about to lose an image, and keeps everybody else from losing one. */
static void
lock_held(void)
{
	Oid held = extension_relation("held");

	if (!OidIsValid(held))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"biometric.held\" does not exist"),
						errhint("Create extension biometric_audit anew.")));
	LockRelationOid(held, ShareRowExclusiveLock);
}

/* How many images are under keys that open nothing any more. */
static uint64
count_shredded(const HoldImages *images)
{
	HASH_SEQ_STATUS status;
	HoldImage *image;
	uint64 count = 0;

	hash_seq_init(&status, images->table);
	while ((image = hash_seq_search(&status)) != NULL)
	{
		KeyPin pin;

		if (pins_find(image->key_id, &pin) && pin.state != PIN_USABLE)
			count++;
	}
	return count;
}

/* What a hold cannot do for the images that it was asked for. */
static void
warn_of_limits(const HoldImages *images)
{
	uint64 shredded = count_shredded(images);

	if (images->elsewhere > 0)
		ereport(WARNING, (errmsg(UINT64_FORMAT " rows of foreign or temporary tables are not held",
								 images->elsewhere),
						  errhint("Copy them into a permanent table, and hold them there.")));
	if (images->unlogged)
		ereport(WARNING, (errmsg("some of the images are in unlogged tables"),
						  errdetail("A crash of the server empties these."),
						  errhint("Run ALTER TABLE ... SET LOGGED.")));
	if (shredded > 0)
		ereport(WARNING,
				(errmsg(UINT64_FORMAT " of the images are under keys that were shredded", shredded),
				 errdetail("What is stored of them is held, and opens nowhere.")));
}

/* Writes down the hold; returns its id. Connected as the policy's owner. */
static int64
insert_hold(const PolicyChange *change, const HoldPlace *place, const char *reason, Datum ids)
{
	ChangeArguments arguments = {0};
	bool null;
	int64 hold;

	add_place(&arguments, place);
	change_add_text(&arguments, reason);
	change_add_text(&arguments, change->caller_name);
	change_add(&arguments, UUIDARRAYOID, ids, false);
	if (change_execute(
			"INSERT INTO biometric.hold AS n (log_id, hold_id, relation, relation_name, "
			"column_name, predicate, reason, images, digest, placed_at, placed_by) "
			"SELECT l.log_id, (SELECT coalesce(max(h.hold_id), 0) + 1 "
			"FROM ONLY biometric.hold AS h), $1, $1::text, $2, $3, $4, i.images, i.digest, now(), "
			"$5 FROM ONLY biometric.log AS l, (SELECT count(DISTINCT u) AS images, "
			"sha256(string_agg(DISTINCT uuid_send(u), ''::bytea ORDER BY uuid_send(u))) AS digest "
			"FROM unnest($6) AS u) AS i "
			"WHERE l.ordinal IS NOT NULL ORDER BY l.ordinal DESC LIMIT 1 "
			"RETURNING n.hold_id, jsonb_strip_nulls(jsonb_build_object('action', 'legal_hold', "
			"'hold', n.hold_id, 'relation', n.relation_name, 'column', n.column_name, "
			"'predicate', n.predicate, 'reason', n.reason, 'images', n.images, "
			"'digest', encode(n.digest, 'hex'), 'image_ids', CASE WHEN $1 IS NULL AND "
			"n.images <= " LISTED " THEN (SELECT jsonb_agg(DISTINCT u) FROM unnest($6) AS u) "
			"END))::text",
			&arguments) != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger of this database has no identity yet"),
						errhint("See biometric.ledger_status() and the server's log.")));
	hold = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	change_record(change, change_result(2), 0);
	return hold;
}

static void
insert_held(int64 hold, Datum ids, Datum keys)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, INT8OID, Int64GetDatum(hold), false);
	change_add(&arguments, UUIDARRAYOID, ids, false);
	change_add(&arguments, INT8ARRAYOID, keys, false);
	change_execute("INSERT INTO biometric.held (log_id, hold_id, image_id, key_id) "
				   "SELECT l.log_id, $1, u.image_id, u.key_id FROM (SELECT log_id "
				   "FROM ONLY biometric.log WHERE ordinal IS NOT NULL ORDER BY ordinal DESC "
				   "LIMIT 1) AS l, unnest($2, $3) AS u(image_id, key_id)",
				   &arguments);
}

static int64
place_hold(const HoldPlace *place, const char *reason, const HoldImages *images)
{
	PolicyChange change;
	Datum ids;
	Datum keys;
	int64 hold;

	warn_of_limits(images);
	hold_find_arrays(images, &ids, &keys);
	change_begin_policy(&change);
	hold = insert_hold(&change, place, reason, ids);
	insert_held(hold, ids, keys);
	change_end(&change);
	return hold;
}

/* Looks for the images of rows, as the caller; they must be some. */
static void
find_rows(const HoldPlace *place, HoldImages *images)
{
	hold_find_begin(images);
	hold_find_rows(place->relation, NameStr(place->column), place->predicate, images);
	if (hash_get_num_entries(images->table) == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("no row of \"%s\" that the predicate is true for has an image in "
							   "column \"%s\"",
							   get_rel_name(place->relation), NameStr(place->column)),
						errhint("Try the predicate in a query first.")));
}

/* biometric_legal_hold_rows(relation regclass, column_name name, predicate text, reason text) */
Datum
biometric_legal_hold_rows(PG_FUNCTION_ARGS)
{
	HoldPlace place = place_arguments(fcinfo);
	HoldImages images;
	char *reason;

	take_turn();
	reason = argument_reason(fcinfo, 3);
	lock_place(&place);
	lock_held();
	find_rows(&place, &images);
	PG_RETURN_INT64(place_hold(&place, reason, &images));
}

/* biometric_legal_hold_images(image_ids uuid[], reason text) returns bigint */
Datum
biometric_legal_hold_images(PG_FUNCTION_ARGS)
{
	ArrayType *ids = image_ids_argument(fcinfo);
	HoldPlace nowhere = {0};
	HoldImages images;
	const uint8 *missing;
	char *reason;

	take_turn();
	reason = argument_reason(fcinfo, 1);
	lock_held();
	hold_find_begin(&images);
	missing = hold_find_ids(ids, &images);
	if (missing != NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("image %s is not stored in this database",
							   DatumGetCString(DirectFunctionCall1(
								   uuid_out, UUIDPGetDatum((pg_uuid_t *) missing)))),
						errdetail("No permanent table or materialized view has it."),
						errhint("biometric.image_id() of an image returns its id.")));
	PG_RETURN_INT64(place_hold(&nowhere, reason, &images));
}

/* ---- releasing ---- */

/* What was released, in the memory context of whoever asked. */
typedef struct Released
{
	int64 images;
	Datum holds; /* bigint[] */
	Datum digest;
} Released;

/* Which rows of biometric.held, as d, go; $1 and $2 are the arguments of that. */
#define RELEASE(condition)                                                                         \
	"WITH gone AS (DELETE FROM ONLY biometric.held AS d WHERE " condition                          \
	" RETURNING d.hold_id, d.image_id) SELECT count(DISTINCT image_id), "                          \
	"array_agg(DISTINCT hold_id), sha256(string_agg(DISTINCT uuid_send(image_id), ''::bytea "      \
	"ORDER BY uuid_send(image_id))) FROM gone"

static Datum
released_value(int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, null);
}

static Released
delete_held(const char *sql, ChangeArguments *arguments)
{
	Released released;
	bool null;

	change_execute(sql, arguments);
	released.images = DatumGetInt64(released_value(1, &null));
	released.holds = released_value(2, &null);
	if (null)
		released.holds = PointerGetDatum(construct_empty_array(INT8OID));
	released.digest = released_value(3, &null);
	if (null)
		released.digest = DirectFunctionCall1(byteain, CStringGetDatum(""));
	return released;
}

/* Ends the holds that hold nothing any more, and puts the release on record. */
static void
record_release(const PolicyChange *change, const HoldPlace *place, const char *reason,
			   const Released *released, Datum ids)
{
	ChangeArguments arguments = {0};

	add_place(&arguments, place);
	change_add_text(&arguments, reason);
	change_add_text(&arguments, change->caller_name);
	change_add(&arguments, INT8OID, Int64GetDatum(released->images), false);
	change_add(&arguments, INT8ARRAYOID, released->holds, false);
	change_add(&arguments, BYTEAOID, released->digest, false);
	change_add(&arguments, UUIDARRAYOID, ids, ids == (Datum) 0);
	change_execute(
		"WITH ended AS (UPDATE ONLY biometric.hold AS h SET released_at = now(), "
		"released_by = $5, release_reason = $4 WHERE h.released_at IS NULL AND NOT EXISTS "
		"(SELECT FROM ONLY biometric.held AS d WHERE d.log_id = h.log_id "
		"AND d.hold_id = h.hold_id) RETURNING h.hold_id) "
		"SELECT jsonb_strip_nulls(jsonb_build_object('action', 'release_hold', "
		"'relation', $1::text, 'column', $2, 'predicate', $3, 'reason', $4, 'images', $6, "
		"'holds', to_jsonb($7), 'ended', (SELECT jsonb_agg(hold_id ORDER BY hold_id) FROM ended), "
		"'digest', encode($8, 'hex'), 'image_ids', CASE WHEN $1 IS NULL AND "
		"cardinality($9) <= " LISTED " THEN (SELECT jsonb_agg(DISTINCT u) FROM unnest($9) AS u) "
		"END))::text",
		&arguments);
	change_record(change, change_result(1), 0);
}

/* The log of the hold of a number that is not released: dumps bring holds of other logs. */
static Datum
log_of_hold(int64 hold)
{
	ChangeArguments arguments = {0};
	uint64 count;
	bool null;

	change_add(&arguments, INT8OID, Int64GetDatum(hold), false);
	count = change_execute("SELECT log_id FROM ONLY biometric.hold WHERE hold_id = $1 "
						   "AND released_at IS NULL",
						   &arguments);
	if (count == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("there is no hold %lld, or it was released", (long long) hold),
						errhint("View biometric.hold_state lists the holds.")));
	if (count > 1)
		ereport(ERROR, (errcode(ERRCODE_AMBIGUOUS_PARAMETER),
						errmsg("there are " UINT64_FORMAT " holds with number %lld", count,
							   (long long) hold),
						errdetail("Some were placed in another database, and restored here."),
						errhint("Release the images by their ids, or by a predicate.")));
	return released_value(1, &null);
}

static int64
release_hold(int64 hold, const char *reason)
{
	HoldPlace nowhere = {0};
	ChangeArguments arguments = {0};
	Datum number = Int64GetDatum(hold);
	PolicyChange change;
	Released released;

	change_begin_policy(&change);
	change_add(&arguments, INT8OID, number, false);
	change_add(&arguments, UUIDOID, log_of_hold(hold), false);
	released = delete_held(RELEASE("d.hold_id = $1 AND d.log_id = $2"), &arguments);
	if (released.images == 0)
		released.holds = PointerGetDatum(
			construct_array(&number, 1, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	record_release(&change, &nowhere, reason, &released, (Datum) 0);
	change_end(&change);
	return released.images;
}

static int64
release_images(const HoldPlace *place, Datum ids, const char *reason)
{
	ChangeArguments arguments = {0};
	PolicyChange change;
	Released released;

	change_begin_policy(&change);
	change_add(&arguments, UUIDARRAYOID, ids, false);
	released = delete_held(RELEASE("d.image_id = ANY ($1)"), &arguments);
	if (released.images == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("none of these images is under a legal hold"),
						errhint("View biometric.hold_state lists the holds.")));
	record_release(&change, place, reason, &released, ids);
	change_end(&change);
	return released.images;
}

/* biometric_release_hold(hold_id bigint, reason text) returns bigint */
Datum
biometric_release_hold(PG_FUNCTION_ARGS)
{
	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_NULL();
	}
	if (PG_ARGISNULL(0))
		refuse_null("hold_id");
	PG_RETURN_INT64(release_hold(PG_GETARG_INT64(0), argument_reason(fcinfo, 1)));
}

/* biometric_release_hold_images(image_ids uuid[], reason text) returns bigint */
Datum
biometric_release_hold_images(PG_FUNCTION_ARGS)
{
	HoldPlace nowhere = {0};

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_NULL();
	}
	PG_RETURN_INT64(release_images(&nowhere, PointerGetDatum(image_ids_argument(fcinfo)),
								   argument_reason(fcinfo, 1)));
}

/*
 * Looks for the images of rows as whoever wrote the predicate: who approves it lends it none of
 * his rights, and nothing in it can take them. An error takes this back with the (sub)transaction.
 */
static void
find_rows_as_author(const HoldPlace *place, HoldImages *images)
{
	Oid author = proposal_proposer();
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	if (OidIsValid(author))
		SetUserIdAndSecContext(author, security | SECURITY_LOCAL_USERID_CHANGE |
										   SECURITY_RESTRICTED_OPERATION);
	lock_place(place);
	find_rows(place, images);
	SetUserIdAndSecContext(user, security);
}

/* biometric_release_hold_rows(relation regclass, column_name name, predicate text, reason text) */
Datum
biometric_release_hold_rows(PG_FUNCTION_ARGS)
{
	HoldPlace place;
	HoldImages images;
	char *reason;
	Datum ids;
	Datum keys;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_NULL();
	}
	place = place_arguments(fcinfo);
	take_turn();
	reason = argument_reason(fcinfo, 3);
	find_rows_as_author(&place, &images);
	hold_find_arrays(&images, &ids, &keys);
	PG_RETURN_INT64(release_images(&place, ids, reason));
}

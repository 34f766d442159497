/*
 * shred.c - shred_key(): what is checked and written before the commit, and the wait behind it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "keys/keys.h"
#include "keys/parts.h"
#include "ledger/worker.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/proposal.h"

/* The longest wait, in ms, after a commit: nobody can interrupt it there. */
#define SHRED_WAIT_MS 20000
#define LOOK_MS 10

#define NAMED_DATABASES 8

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_shred_key);

/* A key that this transaction has asked to be shredded. */
typedef struct PendingShred
{
	SubTransactionId subtransaction;
	uint32 id;
	uint32 put_offs; /* when it was asked for */
} PendingShred;

/* In TopTransactionContext; gone with it. */
static List *pending = NIL;

/* ---- the wait ---- */

/* Whether a key has gone: from the keyring, and from all processes. */
static bool
shred_is_done(uint32 id)
{
	KeyPin pin;

	return pins_generation() != 0 && (!pins_find(id, &pin) || pin.state == PIN_SHREDDED);
}

/* Whether a key opens nothing any more, though it may be in the keyring still. */
static bool
shred_is_published(uint32 id)
{
	KeyPin pin;

	return pins_generation() != 0 && (!pins_find(id, &pin) || pin.state != PIN_USABLE);
}

/* Must not raise: the transaction has committed. This process lets go of its own keys first. */
static void
shred_wait(const List *shreds)
{
	TimestampTz start = GetCurrentTimestamp();
	ListCell *cell;

	keyring_release();
	foreach(cell, shreds)
	{
		const PendingShred *shred = lfirst(cell);
		uint32 id = shred->id;

		(void) ledger_request_tasks();
		while (!shred_is_done(id) &&
			   (pin_put_offs(false) == shred->put_offs || !shred_is_published(id)) &&
			   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), SHRED_WAIT_MS))
			pg_usleep(LOOK_MS * 1000L);
		if (!shred_is_done(id))
			ereport(WARNING,
					(errmsg("the shredding of key %u is committed, but not yet done", id),
					 errdetail("The ledger's worker has not taken it out of the keyring and all "
							   "processes in time."),
					 errhint("It goes on when nothing is in its way any more: see column problem "
							 "of view biometric.key, and the server's log.")));
	}
}

/*
 * Waits for transactions that are committing, or are prepared, with images under these keys; those
 * that come to it later find the keys gone. See stored.c.
 */
static void
shred_lock(const List *shreds)
{
	ListCell *cell;

	foreach(cell, shreds)
		keys_lock(((const PendingShred *) lfirst(cell))->id, ExclusiveLock);
}

static void
shred_transaction(XactEvent event, void *arg)
{
	List *shreds = pending;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			shred_lock(shreds);
			break;
		case XACT_EVENT_COMMIT:
			pending = NIL;
			if (shreds != NIL)
				shred_wait(shreds);
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			pending = NIL;
			break;
		default:
			break;
	}
}

/* What a subtransaction asked for becomes its parent's, or never happened. */
static void
shred_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ListCell *cell;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach(cell, pending)
	{
		PendingShred *shred = lfirst(cell);

		if (shred->subtransaction != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			shred->subtransaction = parent;
		else
			pending = foreach_delete_current(pending, cell);
	}
}

void
shred_init(void)
{
	RegisterXactCallback(shred_transaction, NULL);
	RegisterSubXactCallback(shred_subtransaction, NULL);
}

static void
shred_remember(uint32 id)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	PendingShred *shred = palloc(sizeof(PendingShred));

	shred->subtransaction = GetCurrentSubTransactionId();
	shred->id = id;
	shred->put_offs = pin_put_offs(false);
	pending = lappend(pending, shred);
	MemoryContextSwitchTo(old);
}

bool
shred_pending(uint32 id)
{
	ListCell *cell;

	foreach(cell, pending)
		if (((PendingShred *) lfirst(cell))->id == id)
			return true;
	return false;
}

/* ---- the checks ---- */

/* A key as the table has it, its row locked. */
typedef struct LockedKey
{
	uint32 id;
	pg_uuid_t log_id;
	uint8 check[SEAL_CHECK_SIZE];
	bool bound;
	char *state;
} LockedKey;

/* Locks a key's row. */
static bool
key_lock(int64 id, LockedKey *key)
{
	ChangeArguments arguments = {0};
	bytea *check;
	bool null;

	change_add(&arguments, INT8OID, Int64GetDatum(id), false);
	if (change_execute("SELECT q.log_id, q.key_check, q.home IS NOT NULL, q.state "
					   "FROM ONLY biometric.key_pin AS q "
					   "JOIN ONLY biometric.log AS l ON l.log_id = q.log_id "
					   "WHERE l.ordinal IS NOT NULL AND q.key_id = $1 "
					   "ORDER BY l.ordinal DESC LIMIT 1 FOR UPDATE OF q",
					   &arguments) == 0)
		return false;
	key->id = (uint32) id;
	key->log_id =
		*DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
	check = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &null));
	memcpy(key->check, VARDATA_ANY(check), Min(VARSIZE_ANY_EXHDR(check), SEAL_CHECK_SIZE));
	key->bound =
		DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &null));
	key->state = change_result(4);
	return true;
}

/*
 * Waits for transactions that seal held images under other keys, which say so in biometric.held,
 * and for holds that are being placed; keeps both off until the end of this one. wait false: only
 * if none is under way. See retention/hold.h.
 */
static bool
key_lock_held(bool wait)
{
	Oid held = extension_relation("held");

	if (!OidIsValid(held))
		return true;
	if (!wait)
		return ConditionalLockRelationOid(held, ShareRowExclusiveLock);
	LockRelationOid(held, ShareRowExclusiveLock);
	return true;
}

/* How many images under a key are held, by rows of whatever log. */
static int64
key_held(uint32 id)
{
	ChangeArguments arguments = {0};
	bool null;

	if (!OidIsValid(extension_relation("held")))
		return 0;
	change_add(&arguments, INT8OID, Int64GetDatum(id), false);
	change_execute("SELECT count(DISTINCT image_id) FROM ONLY biometric.held WHERE key_id = $1",
				   &arguments);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
}

/* The key that seals new images must be in use no more before it may go. */
static void
key_check_not_active(const LockedKey *key)
{
	KeyringEntry *entries;
	int count = keys_list(&entries);
	uint32 active = keys_general_active(entries, count);

	for (int i = 0; i < count; i++)
		if (entries[i].id == key->id && key->id == active &&
			memcmp(entries[i].check, key->check, SEAL_CHECK_SIZE) == 0)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("key %u seals new images", key->id),
							errdetail("A key that is in use is not shredded."),
							errhint("Call biometric.rotate_key(), and biometric.reseal() for what "
									"is to be kept, first.")));
}

/* ---- the mark ---- */

static void
key_mark(const PolicyChange *change, const LockedKey *key, const char *reason)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, UUIDOID, UUIDPGetDatum(&key->log_id), false);
	change_add(&arguments, INT8OID, Int64GetDatum(key->id), false);
	change_add_text(&arguments, change->caller_name);
	change_add_text(&arguments, reason);
	change_execute("UPDATE ONLY biometric.key_pin SET state = 'shredding', "
				   "requested_at = clock_timestamp(), requested_by = $3, reason = $4 "
				   "WHERE log_id = $1 AND key_id = $2 "
				   "RETURNING jsonb_build_object('action', 'shred_key', 'key', key_id, 'check', "
				   "encode(key_check, 'hex'), 'reason', reason)::text",
				   &arguments);
	change_record_key(change, change_result(1));
	shred_remember(key->id);
}

/* Says which other databases keep the key in the keyring. */
static void
key_notice_elsewhere(const LockedKey *key)
{
	Oid databases[NAMED_DATABASES];
	int count =
		keys_keyring_is_shared() ? pins_elsewhere(key->check, databases, NAMED_DATABASES) : 0;
	StringInfoData names;

	if (count == 0)
		return;
	initStringInfo(&names);
	for (int i = 0; i < Min(count, NAMED_DATABASES); i++)
	{
		char *name = get_database_name(databases[i]);

		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", name ? name : "?");
	}
	ereport(NOTICE,
			(errmsg("key %u stays in the keyring for other databases: %s", key->id, names.data),
			 errdetail("A keyring that several databases use loses a key when all of them have "
					   "shredded it."),
			 errhint("Call biometric.shred_key(%u, ...) there, too; then images under it are "
					 "gone in all copies.",
					 key->id)));
}

static int64
shred_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"key_id\" cannot be used: it is NULL"),
						errhint("View biometric.key lists the keys.")));
	return PG_GETARG_INT64(0);
}

/* biometric_shred_key(key_id bigint, reason text) */
Datum
biometric_shred_key(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	LockedKey key = {0};
	char *reason;
	int64 held;
	int64 id;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_NULL();
	}
	change_begin_policy(&change);
	id = shred_argument(fcinfo);
	reason = argument_reason(fcinfo, 1);
	/* before the row: what is held was sealed under it by then, or finds it gone */
	(void) key_lock_held(true);
	if (!key_lock(id, &key))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("this database knows no key %lld", (long long) id),
						errhint("View biometric.key lists the keys.")));
	if (strcmp(key.state, "usable") != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("key %u is shredded already", key.id),
						errdetail("Its state is %s.", key.state),
						errhint("View biometric.key says how far that is.")));
	key_check_not_active(&key);
	held = key_held(key.id);
	if (held > 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("key %u cannot be shredded: images under it are held", key.id),
						errdetail("Held images under it: %lld.", (long long) held),
						errhint("See view biometric.hold_state; biometric.release_hold() ends a "
								"hold, biometric.reseal() seals its images under another key.")));
	key_notice_elsewhere(&key);
	key_mark(&change, &key, reason);
	change_end(&change);
	PG_RETURN_VOID();
}

bool
keys_request_shred(uint32 key_id, const char *reason, const char **detail)
{
	MemoryContext context = CurrentMemoryContext;
	LockedKey key = {0};
	PolicyChange change;
	char *refusal = NULL;

	change_begin_checked(&change);
	if (!key_lock_held(false))
		refusal = MemoryContextStrdup(context, "Images are being lost, held or sealed anew.");
	else if (!key_lock(key_id, &key))
		refusal = MemoryContextStrdup(context, "This database does not know the key.");
	else if (!key.bound)
		refusal = MemoryContextStrdup(context, "It is no key of a column's period.");
	else if (strcmp(key.state, "usable") != 0)
		refusal = MemoryContextStrdup(context, "It is shredded already.");
	else if (key_held(key.id) > 0)
		refusal = MemoryContextStrdup(context, "Images under it are held.");
	else if (!keys_lock_now(key.id, ExclusiveLock))
		refusal = MemoryContextStrdup(context, "Images under it are being committed, or prepared.");
	else
		key_mark(&change, &key, reason);
	change_end(&change);
	if (detail != NULL)
		*detail = refusal;
	return refusal == NULL;
}

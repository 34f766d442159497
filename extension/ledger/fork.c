/*
 * fork.c - how a log begins, is forked, adopted, handed over and retired.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/roles.h"
#include "ledger/append.h"
#include "ledger/database.h"
#include "ledger/fork.h"
#include "ledger/identity.h"
#include "ledger/session.h"
#include "ledger/verify.h"
#include "ledger/worker.h"

/* The longest wait, in ms, after a commit: nobody can interrupt it there. */
#define TAKE_UP_WAIT_MS 10000

/* As objsubid of the extension, what restores share and an adoption takes alone. */
#define RESTORE_LOCK 1

/* Likewise, what whoever changes the ledger's identity takes alone until the transaction's end. */
#define IDENTITY_LOCK 3

PGDLLEXPORT Datum ledger_begin(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_fork(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_hand_over(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_retire(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ledger_begin);
PG_FUNCTION_INFO_V1(ledger_fork);
PG_FUNCTION_INFO_V1(ledger_hand_over);
PG_FUNCTION_INFO_V1(ledger_retire);

/* A change of biometric.log by this transaction, and the entry that it owes. */
typedef struct LogChange
{
	SubTransactionId subtransaction;
	EntryEvent event;
	char *detail; /* NULL: the worker writes the entry itself */
	char *caller;
	bool closes; /* retires the log, or hands it over */
} LogChange;

/* In TopTransactionContext; gone with it. */
static List *changes = NIL;

/* Whether the worker has something to take up after the commit. */
static bool take_up_due = false;

/* The log that ledger_receives was asked about last, and when: only that command may use it. */
static uint8 received_log[LEDGER_LOG_ID_SIZE];
static SubTransactionId received_in = InvalidSubTransactionId;
static CommandId received_by = InvalidCommandId;

void
fork_own_identity(LedgerLog *log)
{
	Identity own;

	memset(log, 0, sizeof(*log));
	if (!pg_strong_random(log->log_id, LEDGER_LOG_ID_SIZE))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not get random bytes")));
	/* version 4 (RFC 9562) */
	log->log_id[6] = (log->log_id[6] & 0x0f) | 0x40;
	log->log_id[8] = (log->log_id[8] & 0x3f) | 0x80;
	log->ordinal = 1;
	identity_own(&own);
	log->database_oid = own.database_oid;
	log->system_identifier = own.system_identifier;
	log->timeline = own.timeline;
	log->instance = pstrdup(own.instance);
	log->parent_size = -1;
	log->segment_size = ledger_segment_size();
}

char *
fork_log_id_text(const uint8 *log_id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum((pg_uuid_t *) log_id)));
}

char *
fork_detail(const uint8 *parent, int64 size, const MerkleHash *root, const char *reason,
			bool adopted)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"parent\": \"%s\", \"size\": " INT64_FORMAT ", \"root\": \"",
					 fork_log_id_text(parent), size);
	for (int i = 0; i < MERKLE_HASH_SIZE; i++)
		appendStringInfo(&json, "%02x", root->bytes[i]);
	appendStringInfoString(&json, "\", \"reason\": ");
	escape_json(&json, reason != NULL ? reason : "");
	appendStringInfo(&json, "%s}", adopted ? ", \"adopted\": true" : "");
	return json.data;
}

char *
fork_detach_detail(int64 segment, int64 size, const MerkleHash *root, const char *reason)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json,
					 "{\"action\": \"detach\", \"segment\": " INT64_FORMAT
					 ", \"first\": " INT64_FORMAT ", \"size\": " INT64_FORMAT ", \"root\": \"",
					 segment, segment * size, size);
	for (int i = 0; i < MERKLE_HASH_SIZE; i++)
		appendStringInfo(&json, "%02x", root->bytes[i]);
	appendStringInfoString(&json, "\", \"reason\": ");
	escape_json(&json, reason);
	appendStringInfoChar(&json, '}');
	return json.data;
}

LedgerLog *
fork_present_log(void)
{
	LedgerLog *present = store_present_log(GetActiveSnapshot());

	if (present == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this database has no ledger"),
						errdetail("Table biometric.log has no row of its own."),
						errhint("See biometric.ledger_status().")));
	return present;
}

/* The first identity, in the transaction of CREATE EXTENSION. */
Datum
ledger_begin(PG_FUNCTION_ARGS)
{
	Relation relation;
	LedgerLog log;

	if (!creating_extension || !extension_created_here())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a ledger is begun by CREATE EXTENSION only"),
						errhint("Use biometric.fork_ledger().")));
	relation = store_open("log", RowExclusiveLock);
	if (relation == NULL || store_logs(GetActiveSnapshot()) != NIL)
		elog(ERROR, "the ledger of this database has begun already");
	fork_own_identity(&log);
	store_insert_log(relation, &log);
	table_close(relation, NoLock);
	PG_RETURN_VOID();
}

/* ---- What changes in biometric.log with the transaction */

static void
append_owed_entries(void)
{
	ListCell *cell;

	foreach(cell, changes)
	{
		LogChange *change = lfirst(cell);
		EntryFields entry = {.event = change->event, .reference = ENTRY_NO_REFERENCE};
		LedgerTicket ticket;

		if (change->detail == NULL)
			continue;
		entry.detail = session_text(change->detail);
		entry.current_user_name = session_text(change->caller);
		ledger_append(NULL, &entry, 1, &ticket);
		ledger_wait(&ticket);
	}
}

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			take_up_due = changes != NIL;
			append_owed_entries();
			return;
		case XACT_EVENT_PRE_PREPARE:
			if (changes != NIL)
				ereport(
					ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot prepare a transaction that forked, handed over or retired the "
							"ledger"),
					 errdetail("The ledger's worker takes this up when it is committed."),
					 errhint("Do it in a transaction of its own.")));
			return;
		case XACT_EVENT_COMMIT:
			if (take_up_due)
				(void) ledger_wait_tasks(ledger_request_tasks(),
										 Min(ledger_timeout_ms(), TAKE_UP_WAIT_MS));
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_PARALLEL_ABORT:
			break;
		default:
			return;
	}
	changes = NIL;
	take_up_due = false;
	received_in = InvalidSubTransactionId;
}

/* What a subtransaction changed becomes its parent's, or never happened. */
static void
at_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
						 void *arg)
{
	ListCell *cell;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	received_in = InvalidSubTransactionId;
	foreach(cell, changes)
	{
		LogChange *change = lfirst(cell);

		if (change->subtransaction != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			change->subtransaction = parent;
		else
			changes = foreach_delete_current(changes, cell);
	}
}

void
ledger_init(void)
{
	RegisterXactCallback(at_end_of_transaction, NULL);
	RegisterSubXactCallback(at_end_of_subtransaction, NULL);
}

/* Notes a change, and the entry that is to be durable before it is committed. */
static void
owe(EntryEvent event, const char *detail, bool closes)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	LogChange *change = palloc0(sizeof(LogChange));

	change->subtransaction = GetCurrentSubTransactionId();
	change->event = event;
	change->detail = detail == NULL ? NULL : pstrdup(detail);
	change->caller = GetUserNameFromId(GetUserId(), false);
	change->closes = closes;
	changes = lappend(changes, change);
	MemoryContextSwitchTo(old);
}

/* ---- What custodians call */

/*
 * The present log, as it is now whatever the transaction's snapshot says, and
 * stays until the transaction's end. The worker never takes this lock, so that
 * whoever holds it may wait for the worker.
 */
static LedgerLog *
lock_present_log(void)
{
	LedgerLog *present;

	LockDatabaseObject(ExtensionRelationId, extension_oid(), IDENTITY_LOCK, ExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	present = fork_present_log();
	PopActiveSnapshot();
	return present;
}

/* Whether a log has its first entry, or needs none of the worker's. */
static bool
has_begun(const LedgerLog *log)
{
	return !log->has_parent || log->parent_size >= 0;
}

/* A log without its first entry would leave nothing between its parent and its child. */
pg_noreturn static void
refuse_not_begun(void)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the ledger's last fork has not been begun by its worker"),
					errdetail("Its first entry, which names the log that it was forked from, is "
							  "written after the fork was committed."),
					errhint("Call the function again in a moment. If it does not help, "
							"biometric.ledger_status() says what keeps the worker.")));
}

/* Who asks, and why. Returns the reason. */
static char *
require_custodian(FunctionCallInfo fcinfo, const char *function)
{
	char *reason = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!role_is_custodian(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a custodian may fork, hand over or retire the ledger"),
				 errdetail("Superusers are no custodians unless they are members of role \"%s\".",
						   CUSTODIAN_ROLE),
				 errhint("Have \"%s\" granted to the current user.", CUSTODIAN_ROLE)));
	PreventCommandIfReadOnly(function);
	PreventCommandDuringRecovery(function);
	if (extension_created_here())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger was created by this very transaction"),
						errhint("Commit the transaction that created the extension first.")));
	if (reason[strspn(reason, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a change of the ledger's identity needs a reason"),
						errhint("Say why; it becomes part of the ledger.")));
	return reason;
}

static List *
logs_to_adopt(void)
{
	List *logs = NIL;
	ListCell *cell;

	foreach(cell, store_restored_logs(GetActiveSnapshot()))
		if (!((LedgerLog *) lfirst(cell))->adopted)
			logs = lappend(logs, lfirst(cell));
	return logs;
}

/* Whether the present log can take an entry, so that it need not be forked itself. */
static bool
is_in_order(const LedgerLog *log)
{
	int number = ledger_my_slot();
	Identity own;

	identity_own(&own);
	if (log->retired || number < 0 || identity_judge(log, false, &own) != IDENTITY_OWN)
		return false;
	switch (pg_atomic_read_u32(&ledger_slot(number)->state))
	{
		case LEDGER_STARTING:
		case LEDGER_READY:
			return true;
		default:
			return false;
	}
}

/* Says that a restored log stays what it is. level: ERROR when no other was adopted. */
static void
report_left(int level, const LedgerLog *log, const char *problem)
{
	ereport(level, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("restored log %s does not verify, and is not adopted",
						   fork_log_id_text(log->log_id)),
					errdetail("%s", problem),
					errhint("A log that was changed cannot be adopted: restore a dump that was "
							"not, or leave it as it is.")));
}

static void
adopt_one(Relation relation, const LedgerLog *log, const char *reason)
{
	store_adopt_log(relation, log);
	owe(ENTRY_FORKED, fork_detail(log->log_id, log->adopted_size, &log->adopted_root, reason, true),
		false);
}

/* What backends remember of homes depends on which logs count. */
static void
forget_homes(Relation log)
{
	Oid homes = extension_relation("home");

	CacheInvalidateRelcache(log);
	if (OidIsValid(homes))
		CacheInvalidateRelcacheByRelid(homes);
}

/*
 * Adopts what was restored and verifies; what does not is named and left, so
 * that it is in nobody's way. No restore runs meanwhile, nor adds anything
 * afterwards.
 */
static void
adopt_all(Relation relation, const char *reason)
{
	List *left = NIL;
	List *problems = NIL;
	bool adopted = false;
	ListCell *cell;
	ListCell *problem;

	LockDatabaseObject(ExtensionRelationId, extension_oid(), RESTORE_LOCK, ExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	foreach(cell, logs_to_adopt())
	{
		LedgerLog *log = lfirst(cell);
		char *why = verify_restored(log->log_id, &log->adopted_size, &log->adopted_root);

		if (why == NULL)
		{
			adopt_one(relation, log, reason);
			adopted = true;
			continue;
		}
		left = lappend(left, log);
		problems = lappend(problems, why);
	}
	PopActiveSnapshot();
	forboth(cell, left, problem, problems)
		report_left(adopted ? WARNING : ERROR, lfirst(cell), lfirst(problem));
	forget_homes(relation);
}

/*
 * The log that a fork of the present one is of. In a copy whose original had
 * not begun its own fork yet, that is the one before: nothing is in between.
 */
static const LedgerLog *
nearest_begun(const LedgerLog *present)
{
	const LedgerLog *log = present;
	List *logs;

	PushActiveSnapshot(GetLatestSnapshot());
	logs = store_logs(GetActiveSnapshot());
	PopActiveSnapshot();
	for (int i = list_length(logs) - 1; i >= 0 && !has_begun(log); i--)
		if (memcmp(((LedgerLog *) list_nth(logs, i))->log_id, log->parent, LEDGER_LOG_ID_SIZE) == 0)
			log = list_nth(logs, i);
	return log;
}

/* Begins a new log; its first entry is the worker's to write, who knows the parent's edge. */
static void
begin_fork(Relation relation, const LedgerLog *present, char *reason, LedgerLog *log)
{
	const LedgerLog *parent = nearest_begun(present);

	fork_own_identity(log);
	log->ordinal = present->ordinal + 1;
	log->has_parent = true;
	memcpy(log->parent, parent->log_id, LEDGER_LOG_ID_SIZE);
	log->reason = reason;
	store_insert_log(relation, log);
	forget_homes(relation);
	owe(ENTRY_FORKED, NULL, false);
}

Datum
ledger_fork(PG_FUNCTION_ARGS)
{
	char *reason = require_custodian(fcinfo, "biometric.fork_ledger()");
	Relation relation = store_open("log", RowExclusiveLock);
	LedgerLog *present = lock_present_log();
	pg_uuid_t *result = palloc(sizeof(pg_uuid_t));
	Identity own;
	bool adopts;

	identity_own(&own);
	if (!has_begun(present) && identity_judge(present, false, &own) == IDENTITY_OWN)
		refuse_not_begun();
	memcpy(result->data, present->log_id, UUID_LEN);
	PushActiveSnapshot(GetLatestSnapshot());
	adopts = is_in_order(present) && logs_to_adopt() != NIL;
	PopActiveSnapshot();
	if (adopts)
		adopt_all(relation, reason);
	else
	{
		LedgerLog log;

		begin_fork(relation, present, reason, &log);
		memcpy(result->data, log.log_id, UUID_LEN);
	}
	table_close(relation, NoLock);
	PG_RETURN_UUID_P(result);
}

/* The detail of the last entry of a log. */
static char *
closing_detail(const char *action, const char *reason)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"action\": \"%s\", \"reason\": ", action);
	escape_json(&json, reason);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/* The present log, which must not be closed yet. */
static LedgerLog *
log_to_close(void)
{
	LedgerLog *present = lock_present_log();

	if (present->retired || present->fenced)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						present->retired
							? errmsg("the ledger of this database is retired already")
							: errmsg("the ledger of this database takes no more entries already"),
						errhint("biometric.fork_ledger() begins another.")));
	if (!has_begun(present))
		refuse_not_begun();
	return present;
}

Datum
ledger_retire(PG_FUNCTION_ARGS)
{
	char *reason = require_custodian(fcinfo, "biometric.retire_ledger()");
	Relation relation = store_open("log", RowExclusiveLock);

	store_retire_log(relation, log_to_close()->log_id);
	owe(ENTRY_POLICY_CHANGED, closing_detail("retire", reason), true);
	table_close(relation, NoLock);
	PG_RETURN_VOID();
}

Datum
ledger_hand_over(PG_FUNCTION_ARGS)
{
	char *reason = require_custodian(fcinfo, "biometric.hand_over_ledger()");
	Relation relation = store_open("log", RowExclusiveLock);

	store_fence_log(relation, log_to_close()->log_id, "hand_over");
	owe(ENTRY_POLICY_CHANGED, closing_detail("hand_over", reason), true);
	table_close(relation, NoLock);
	PG_RETURN_VOID();
}

/* ---- What others ask */

/* Whether somebody has appended to this database's ledger since its worker took it up. */
static bool
has_appended(void)
{
	int number = ledger_my_slot();
	LedgerSlot *slot;

	if (number < 0)
		return false;
	slot = ledger_slot(number);
	return slot->append_generation == pg_atomic_read_u32(&slot->generation) &&
		   pg_atomic_read_u64(&slot->next_sequence) > 0;
}

static bool
closes_ledger(void)
{
	ListCell *cell;

	foreach(cell, changes)
		if (((LogChange *) lfirst(cell))->closes)
			return true;
	return false;
}

void
ledger_require_open(void)
{
	if (closes_ledger())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a transaction that closes the ledger cannot change images or the policy"),
				 errdetail("The entries of these changes are made when it is committed, and "
						   "nothing may follow the closing entry."),
				 errhint("Call biometric.retire_ledger() or biometric.hand_over_ledger() in a "
						 "transaction of its own.")));
}

bool
ledger_may_drop(void)
{
	LedgerReader reader;
	LedgerLog *present;
	bool may = false;

	if (!OidIsValid(extension_oid()) || extension_created_here())
		return true;
	/* what this very transaction retires has yet to get its last entry */
	if (closes_ledger())
		return false;
	PushActiveSnapshot(GetLatestSnapshot());
	present = store_present_log(GetActiveSnapshot());
	if (present != NULL && present->retired)
		may = true;
	else if (present != NULL && !present->has_parent && !has_appended() &&
			 store_reader_open(&reader, present->log_id, GetActiveSnapshot()))
	{
		may = store_size(&reader) == 0;
		store_reader_close(&reader);
	}
	PopActiveSnapshot();
	return may;
}

bool
ledger_receives(const uint8 *log_id)
{
	LockDatabaseObject(ExtensionRelationId, extension_oid(), RESTORE_LOCK, RowExclusiveLock);
	if (received_in == GetCurrentSubTransactionId() && received_by == GetCurrentCommandId(false) &&
		memcmp(received_log, log_id, LEDGER_LOG_ID_SIZE) == 0)
		return true;
	if (store_log_is_taken(log_id))
		return false;
	memcpy(received_log, log_id, LEDGER_LOG_ID_SIZE);
	received_in = GetCurrentSubTransactionId();
	received_by = GetCurrentCommandId(false);
	return true;
}

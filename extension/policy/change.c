/*
 * change.c - changes of the policy and of incidents, their ledger entries and publication.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/internal.h"
#include "base/roles.h"
#include "ledger/append.h"
#include "ledger/encoding.h"
#include "ledger/ring.h"
#include "ledger/worker.h"
#include "policy/change.h"
#include "policy/cutoff.h"
#include "policy/policy_sql.h"
#include "policy/proposal.h"
#include "policy/publish.h"
#include "policy/settings.h"

/* How many entries, of how many bytes of detail, are appended at a time: fits into the smallest ring. */
#define APPEND_BATCH 16
#define APPEND_SIZE (64 * 1024)

typedef struct QueuedChange
{
	SubTransactionId subtransaction;
	EntryEvent event;
	char *detail;
	char *caller;
	Size growth;
	CutoffPlan *cut_off; /* of the connections that end when the change is in force; NULL: none */
} QueuedChange;

/* In TopTransactionContext; gone with it. */
static List *queue = NIL;

/* The subtransactions that widened access by one person; likewise. */
static List *alone = NIL;

/* Whether the transaction being committed must wait for publication. */
static bool publication_due = false;

static void
change_append_all(void)
{
	EntryFields entries[APPEND_BATCH];
	LedgerTicket ticket;
	int done = 0;

	ledger_require_open();
	while (done < list_length(queue))
	{
		int count = 0;
		Size size = 0;

		for (; count < APPEND_BATCH && done < list_length(queue); count++, done++)
		{
			QueuedChange *change = list_nth(queue, done);
			EntryFields *entry = &entries[count];

			size += strlen(change->detail);
			if (count > 0 && size > APPEND_SIZE)
				break;
			memset(entry, 0, sizeof(*entry));
			entry->event = change->event;
			entry->reference = ENTRY_NO_REFERENCE;
			entry->detail.bytes = change->detail;
			entry->detail.length = strlen(change->detail);
			entry->current_user_name.bytes = change->caller;
			entry->current_user_name.length = strlen(change->caller);
		}
		memset(&ticket, 0, sizeof(ticket));
		ledger_append(NULL, entries, count, &ticket);
		ledger_wait(&ticket);
	}
}

/* The longest wait, in ms, after a commit: nobody can interrupt it there. */
#define PUBLICATION_WAIT_MS 10000

/* Must not raise: the transaction has committed. */
static void
change_publish(void)
{
	uint64 request = ledger_request_tasks();

	if (!ledger_wait_tasks(request, Min(ledger_timeout_ms(), PUBLICATION_WAIT_MS)))
		ereport(WARNING,
				(errmsg("the change of the biometric_audit policy is committed, but not yet in "
						"force"),
				 errdetail("The ledger's worker has not published it in time."),
				 errhint("It comes into force as soon as the worker runs: see "
						 "biometric.ledger_status() and the server's log.")));
}

/* Ends the connections that are to end; as change_publish. */
static void
change_end_connections(List *changes)
{
	ListCell *cell;

	foreach(cell, changes)
		if (((QueuedChange *) lfirst(cell))->cut_off)
			cutoff_end(((QueuedChange *) lfirst(cell))->cut_off);
}

/* Whether there is anything queued that the worker has to publish. */
static bool
change_policy_changed(void)
{
	ListCell *cell;

	foreach(cell, queue)
		if (((QueuedChange *) lfirst(cell))->event != ENTRY_INCIDENT)
			return true;
	return false;
}

/* Two persons may be asked for since the change was made. */
static void
change_check_alone(void)
{
	if (alone != NIL && proposal_two_persons())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("biometric_audit.two_person was switched on meanwhile"),
						errdetail("This transaction widens access, and was begun by one person."),
						errhint("Repeat it: the changes will be proposed.")));
}

static void
change_transaction(XactEvent event, void *arg)
{
	List *committed = queue;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			change_check_alone();
			publication_due = change_policy_changed();
			if (queue != NIL)
				change_append_all();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (queue != NIL || alone != NIL)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot prepare a transaction that changed the biometric_audit %s",
								alone != NIL || change_policy_changed() ? "policy" : "incidents"),
						 errdetail("The entry of a change must be durable in the ledger just "
								   "before the change is committed."),
						 errhint("Make such changes in a transaction that is committed in one "
								 "phase.")));
			break;
		case XACT_EVENT_COMMIT:
			queue = alone = NIL;
			if (publication_due)
			{
				publication_due = false;
				change_publish();
				change_end_connections(committed);
			}
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			queue = alone = NIL;
			publication_due = false;
			break;
		default:
			break;
	}
}

/* What a subtransaction queued becomes its parent's, or never happened. */
static void
change_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ListCell *cell;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach(cell, queue)
	{
		QueuedChange *change = lfirst(cell);

		if (change->subtransaction != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			change->subtransaction = parent;
		else
			queue = foreach_delete_current(queue, cell);
	}
	foreach(cell, alone)
	{
		if (lfirst_int(cell) != (int) mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			lfirst_int(cell) = (int) parent;
		else
			alone = foreach_delete_current(alone, cell);
	}
}

void
change_alone(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	alone = list_append_unique_int(alone, (int) GetCurrentSubTransactionId());
	MemoryContextSwitchTo(old);
}

void
change_init(void)
{
	RegisterXactCallback(change_transaction, NULL);
	RegisterSubXactCallback(change_subtransaction, NULL);
}

/* The owner of the policy's tables. */
static Oid
change_owner(void)
{
	Oid table = extension_relation("party");
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("the policy tables of biometric_audit do not exist"),
						errhint("Install the extension with CREATE EXTENSION biometric_audit.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Superusers are no custodians by themselves: who sets policy is to be on record. */
static void
change_check_caller(Oid caller)
{
	if (role_is_custodian(caller))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("role \"%s\" may not change the biometric_audit policy",
					GetUserNameFromId(caller, false)),
			 errdetail("Only members of role %s may, superusers not excepted.", CUSTODIAN_ROLE),
			 errhint("Use GRANT %s TO %s.", CUSTODIAN_ROLE,
					 quote_identifier(GetUserNameFromId(caller, false)))));
}

void
change_begin(PolicyChange *change)
{
	change_check_caller(GetUserId());
	change_begin_checked(change);
}

/*
 * Keeps all others from changing the policy until the end of the transaction. Reading does not
 * wait, and biometric.party is left out: a quarantine writes there and nowhere else.
 */
static void
change_serialize(void)
{
	static const char *const tables[] = {"network", "permit"};

	PreventCommandIfReadOnly("changes of the biometric_audit policy");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("the biometric_audit policy cannot be changed in a transaction with "
						"isolation level %s",
						IsolationIsSerializable() ? "SERIALIZABLE" : "REPEATABLE READ"),
				 errdetail("It sees the policy as it was when it began; what widens access must be "
						   "judged by the policy as it is."),
				 errhint("Change the policy in a transaction with isolation level READ "
						 "COMMITTED.")));
	for (int i = 0; i < (int) lengthof(tables); i++)
		LockRelationOid(extension_relation(tables[i]), ShareRowExclusiveLock);
}

void
change_begin_policy(PolicyChange *change)
{
	change_begin(change);
	change_serialize();
}

void
change_begin_checked(PolicyChange *change)
{
	Oid unused;

	change->caller = GetUserId();
	if (extension_created_here())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the policy cannot be changed in the transaction that created extension "
						"biometric_audit"),
				 errdetail("Each change is recorded in the ledger first, which other processes "
						   "see only after the commit."),
				 errhint("Commit first, then change the policy.")));
	change->caller_name = GetUserNameFromId(change->caller, false);
	GetUserIdAndSecContext(&unused, &change->saved_context);
	SetUserIdAndSecContext(change_owner(), change->saved_context | SECURITY_LOCAL_USERID_CHANGE);
	change->settings = policy_sql_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/* An error in between is made good by the end of the (sub)transaction. */
void
change_end(PolicyChange *change)
{
	SPI_finish();
	policy_sql_settings_end(change->settings);
	SetUserIdAndSecContext(change->caller, change->saved_context);
}

void
change_add(ChangeArguments *arguments, Oid type, Datum value, bool null)
{
	int index = arguments->count++;

	if (index >= CHANGE_MAX_ARGUMENTS)
		elog(ERROR, "too many arguments");
	arguments->types[index] = type;
	arguments->values[index] = value;
	arguments->nulls[index] = null ? 'n' : ' ';
}

void
change_add_text(ChangeArguments *arguments, const char *text)
{
	change_add(arguments, TEXTOID, text ? CStringGetTextDatum(text) : (Datum) 0, text == NULL);
}

static int
change_run(const char *sql, ChangeArguments *arguments, bool latest)
{
	SPIPlanPtr plan;

	if (!latest)
		return SPI_execute_with_args(sql, arguments->count, arguments->types, arguments->values,
									 arguments->nulls, false, 0);
	plan = SPI_prepare(sql, arguments->count, arguments->types);
	if (plan == NULL)
		return SPI_result;
	return SPI_execute_snapshot(plan, arguments->values, arguments->nulls, GetLatestSnapshot(),
								InvalidSnapshot, false, true, 0);
}

static uint64
change_execute_by(const char *sql, ChangeArguments *arguments, bool latest)
{
	volatile int result = 0;

	internal_write_begin(INTERNAL_POLICY);
	PG_TRY();
	{
		result = change_run(sql, arguments, latest);
	}
	PG_FINALLY();
	{
		internal_write_end();
	}
	PG_END_TRY();
	if (result < 0)
		elog(ERROR, "a statement on the policy's tables failed: %s",
			 SPI_result_code_string(result));
	return SPI_processed;
}

uint64
change_execute(const char *sql, ChangeArguments *arguments)
{
	return change_execute_by(sql, arguments, false);
}

uint64
change_execute_latest(const char *sql, ChangeArguments *arguments)
{
	return change_execute_by(sql, arguments, true);
}

char *
change_result(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

static void
change_check_size(Size growth)
{
	Size pending = 0;
	ListCell *cell;

	foreach(cell, queue)
		pending += ((QueuedChange *) lfirst(cell))->growth;
	if (growth == 0 || publish_fits(pending + growth))
		return;
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("the policy would not fit into shared memory"),
					errdetail("biometric_audit.policy_size allows %zu bytes; a policy that does "
							  "not fit would refuse everybody.",
							  policy_capacity()),
					errhint("Increase biometric_audit.policy_size and restart the server.")));
}

/* Puts a change into the queue; event: of its entry. */
static void
change_queue(const PolicyChange *change, EntryEvent event, const char *detail, Size growth)
{
	const EntryText text = {.bytes = detail, .length = strlen(detail)};
	Size length = encoding_to_utf8(text, true).length;
	MemoryContext old;
	QueuedChange *queued;

	if (length > CHANGE_DETAIL_SIZE)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the change is too long to be recorded in the ledger"),
						errdetail("Its description takes %zu bytes; at most %d are possible.",
								  length, CHANGE_DETAIL_SIZE),
						errhint("Use shorter texts, or several permits with fewer purposes.")));
	old = MemoryContextSwitchTo(TopTransactionContext);
	queued = palloc0_object(QueuedChange);
	queued->subtransaction = GetCurrentSubTransactionId();
	queued->event = event;
	queued->detail = pstrdup(detail);
	queued->caller = pstrdup(change->caller_name);
	queued->growth = growth;
	queue = lappend(queue, queued);
	MemoryContextSwitchTo(old);
}

void
change_record(const PolicyChange *change, const char *detail, Size growth)
{
	change_check_size(growth);
	detail = proposal_detail(detail);
	if (detail != NULL)
		change_queue(change, ENTRY_POLICY_CHANGED, detail, growth);
}

void
change_record_key(const PolicyChange *change, const char *detail)
{
	detail = proposal_detail(detail);
	if (detail != NULL)
		change_queue(change, ENTRY_KEY_CHANGED, detail, 0);
}

void
change_cut_off(const char *party)
{
	QueuedChange *last = llast(queue);
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

	last->cut_off = cutoff_prepare(party);
	MemoryContextSwitchTo(old);
}

void
change_record_incident(const PolicyChange *change, const char *detail)
{
	change_queue(change, ENTRY_INCIDENT, detail, 0);
}

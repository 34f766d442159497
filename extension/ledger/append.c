/*
 * append.c - copies entries into the ring and waits for them to be durable.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/internal.h"
#include "ledger/append.h"
#include "ledger/session.h"
#include "ledger/slot.h"
#include "ledger/store.h"

/* The longest sleep before a waiter sees for itself whether a worker is there. */
#define WAIT_SLICE_MS 200L

/* As many records of a ledger that this transaction has created are written at a time. */
#define CREATED_AT_ONCE 1000

/* A buffer that has grown beyond this is not kept. */
#define BUFFER_KEEP (1024 * 1024)

/* Records of one call, as they will stand in the ring, without their numbers. */
typedef struct AppendBuffer
{
	char *bytes;
	Size used;
	Size capacity;
	bool with_session;	 /* the first record is a session entry */
	bool with_statement; /* the next is a statement entry */
} AppendBuffer;

/* The session entry that this session wrote last. */
typedef struct SessionWritten
{
	uint32 generation; /* 0: none */
	int64 sequence;
	Size length; /* of bytes that are compared: all after the fixed part */
	char *bytes;
	char *party;
	char *network;
} SessionWritten;

static MemoryContext append_context = NULL;
static AppendBuffer buffer;
static SessionWritten session;

/* What the worker has to say about why nothing is appended, a sentence. */
static char *
worker_says(int slot)
{
	LedgerStatus *status = palloc(sizeof(LedgerStatus));
	uint32 pid = slot < 0 ? 0 : pg_atomic_read_u32(&ledger_slot(slot)->worker_pid);

	if (slot >= 0 && ledger_status_read(slot, status) && status->error[0] != '\0')
		return psprintf("The ledger's worker says: %s.", status->error);
	if (pid != 0)
		return psprintf("The ledger's worker, process %u, has not answered.", pid);
	return pstrdup("The ledger's worker is not running.");
}

pg_noreturn static void
fail(int slot, const char *message)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", message),
					errdetail("%s", worker_says(slot)),
					errhint("Nothing is released before its entry is durable. See "
							"biometric.ledger_status() and the server's log.")));
}

static void
fail_at_deadline(int slot, TimestampTz deadline)
{
	char message[128];

	if (GetCurrentTimestamp() < deadline)
		return;
	snprintf(message, sizeof(message), "the ledger did not make entries durable within %d ms",
			 ledger_timeout_ms());
	fail(slot, message);
}

/* Raises at once for states that waiting does not change. */
static void
fail_in_bad_state(int slot)
{
	switch (pg_atomic_read_u32(&ledger_slot(slot)->state))
	{
		case LEDGER_BROKEN:
			fail(slot, "the ledger of this database is broken");
		case LEDGER_FOREIGN:
			fail(slot, "the ledger of this database is a copy of another ledger");
		case LEDGER_RETIRED:
			fail(slot, "the ledger of this database was retired");
		default:
			break;
	}
}

/* Sleeps for a slice unless something changed since the caller announced itself. */
static void
wait_for_change(int slot, TimestampTz deadline)
{
	long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	if (pg_atomic_read_u32(&ledger_slot(slot)->worker_pid) == 0)
		ledger_poke_launcher();
	ledger_wait_sleep(Max(1, Min(left, WAIT_SLICE_MS)), true);
	fail_at_deadline(slot, deadline);
}

static int
require_slot(Oid database)
{
	bool mine = database == MyDatabaseId;
	int slot = mine ? ledger_my_slot() : ledger_slot_of(database, false);

	if (slot < 0 && !mine)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("database %u has no ledger", database),
						errhint("Run CREATE EXTENSION biometric_audit there.")));
	if (slot < 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("no room for the ledger of this database"),
				 errdetail("All %d places for databases with a ledger are taken.", ledger_slots()),
				 errhint("Raise biometric_audit.max_databases and restart the server.")));
	return slot;
}

/*
 * Tells whether a slot serves the tables that exist now: after DROP and CREATE
 * EXTENSION its worker may not have noticed yet that the old ones are gone.
 */
static bool
serves_present_tables(int slot)
{
	Oid served = pg_atomic_read_u32(&ledger_slot(slot)->entry_relation);
	Oid present;

	if (!IsTransactionState())
		return true;
	present = extension_relation("entry");
	if (!OidIsValid(present))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger of this database does not exist"),
						errhint("Run CREATE EXTENSION biometric_audit.")));
	if (served == present)
		return true;
	pg_atomic_write_u32(&ledger_slot(slot)->look_again, 1);
	ledger_poke_worker(slot);
	return false;
}

static bool
is_ready(Oid database, int slot)
{
	return pg_atomic_read_u32(&ledger_slot(slot)->state) == LEDGER_READY &&
		   (database != MyDatabaseId || serves_present_tables(slot));
}

/* Waits until the database's slot takes entries; returns it. */
static int
wait_until_ready(Oid database, TimestampTz deadline)
{
	for (;;)
	{
		int slot = require_slot(database);

		if (is_ready(database, slot))
			return slot;
		ledger_wait_announce(slot, LEDGER_WAIT_ANY);
		fail_in_bad_state(slot);
		if (!is_ready(database, slot))
			wait_for_change(slot, deadline);
		ledger_wait_announce(slot, 0);
	}
}

/* Makes room for one more record of any length. */
static void
buffer_reserve(void)
{
	Size needed = buffer.used + sizeof(LedgerRecord) + ENTRY_MAX_SIZE;

	if (append_context == NULL)
		append_context = AllocSetContextCreate(TopMemoryContext, "biometric ledger entries",
											   ALLOCSET_DEFAULT_SIZES);
	if (needed <= buffer.capacity)
		return;
	needed = Max(needed, buffer.capacity * 2);
	buffer.bytes = buffer.bytes == NULL ? MemoryContextAllocHuge(append_context, needed)
										: repalloc_huge(buffer.bytes, needed);
	buffer.capacity = needed;
}

static void
buffer_add(EntryFields *fields)
{
	LedgerRecord record = {0};
	size_t length;
	CoreStatus status;

	buffer_reserve();
	status = entry_encode(fields, (uint8_t *) buffer.bytes + buffer.used + sizeof(record),
						  ENTRY_MAX_SIZE, &length);
	if (status == CORE_TOO_SMALL)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("a ledger entry is too long"),
				 errdetail("An entry has at most %d bytes.", ENTRY_MAX_SIZE)));
	if (status != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("a ledger entry is malformed"),
						errdetail_internal("%s", core_status_text(status))));
	record.length = (uint32) length;
	memcpy(buffer.bytes + buffer.used, &record, sizeof(record));
	buffer.used += sizeof(record) + length;
}

/* Begins the buffer with a session entry, and keeps it only if it says something new. */
static void
buffer_begin(const LedgerStatement *statement, uint32 generation, int64 now)
{
	EntryFields fields;
	const char *said;
	Size length;

	session_describe(&fields);
	fields.at = now;
	fields.party = session_text(statement != NULL ? statement->party : session.party);
	fields.network = session_text(statement != NULL ? statement->network : session.network);
	buffer.used = 0;
	buffer_add(&fields);
	said = buffer.bytes + sizeof(LedgerRecord) + ENTRY_FIXED_SIZE;
	length = buffer.used - sizeof(LedgerRecord) - ENTRY_FIXED_SIZE;
	buffer.with_session = session.generation != generation || session.length != length ||
						  memcmp(session.bytes, said, length) != 0;
	if (!buffer.with_session)
		buffer.used = 0;
}

static void
buffer_add_statement(const LedgerStatement *statement, int64 now)
{
	EntryFields fields = {.event = ENTRY_STATEMENT, .at = now, .reference = ENTRY_NO_REFERENCE};

	fields.purpose = session_text(statement->purpose);
	fields.command = session_text(statement->command);
	fields.relations = session_text(statement->relations);
	fields.current_user_name = session_text(session_current_user());
	fields.query_id = statement->query_id;
	buffer_add(&fields);
}

/* Fills the buffer with everything that this call has to write. */
static void
buffer_prepare(const LedgerStatement *statement, EntryFields *entries, int count, uint32 generation)
{
	int64 now = session_unix_time();

	buffer_begin(statement, generation, now);
	buffer.with_statement = statement != NULL && (buffer.with_session || !statement->written ||
												  statement->generation != generation);
	if (buffer.with_statement)
		buffer_add_statement(statement, now);
	for (int i = 0; i < count; i++)
	{
		entries[i].at = now;
		entries[i].reference = ENTRY_NO_REFERENCE;
		buffer_add(&entries[i]);
	}
}

static void
require_ring_size(void)
{
	if (buffer.used > ledger_ring_size_bytes())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many ledger entries at once"),
				 errdetail("%zu bytes do not fit into biometric_audit.ring_size.", buffer.used),
				 errhint("Raise biometric_audit.ring_size, or read fewer rows at a time.")));
}

/*
 * Numbers the buffer's records from sequence on and makes them refer to one
 * another. Called under the append lock: must not fail, must be short.
 */
static void
buffer_number(LedgerStatement *statement, uint32 generation, int64 sequence)
{
	int64 session_sequence = buffer.with_session ? sequence : session.sequence;
	int64 statement_sequence = statement == NULL ? session_sequence : statement->sequence;
	int index = 0;

	if (buffer.with_statement)
		statement_sequence = sequence + (buffer.with_session ? 1 : 0);
	for (Size at = 0; at < buffer.used; index++)
	{
		LedgerRecord record;
		uint8 *entry = (uint8 *) buffer.bytes + at + sizeof(record);
		int64 reference = statement_sequence;

		memcpy(&record, buffer.bytes + at, sizeof(record));
		record.generation = generation;
		record.sequence = sequence + index;
		memcpy(buffer.bytes + at, &record, sizeof(record));
		if (buffer.with_session && index == 0)
			reference = ENTRY_NO_REFERENCE;
		else if (buffer.with_statement && record.sequence == statement_sequence)
			reference = session_sequence;
		entry_set_reference(entry, reference);
		at += sizeof(record) + record.length;
	}
}

/* The number of records in the buffer besides the caller's own. */
static int
buffer_extra(void)
{
	return (buffer.with_session ? 1 : 0) + (buffer.with_statement ? 1 : 0);
}

/*
 * Puts the buffer into the ring. Returns the sequence number of its first
 * record, or -1 when the ring has no room or the slot has changed.
 */
static int64
buffer_put(Oid database, LedgerStatement *statement, int count, uint32 generation, int number)
{
	LedgerSlot *slot = ledger_slot(number);
	int64 first = -1;

	LWLockAcquire(ledger_append_lock(number), LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&slot->database) == database && generation != 0 &&
		pg_atomic_read_u32(&slot->generation) == generation)
	{
		uint64 head = pg_atomic_read_u64(&slot->head);
		uint64 tail = pg_atomic_read_u64(&slot->tail);

		if (slot->append_generation != generation)
		{
			slot->append_generation = generation;
			pg_atomic_write_u64(&slot->next_sequence, pg_atomic_read_u64(&slot->start_sequence));
		}
		if (head - tail + buffer.used <= ledger_ring_size_bytes())
		{
			first = (int64) pg_atomic_read_u64(&slot->next_sequence);
			buffer_number(statement, generation, first);
			ledger_ring_write(number, head, buffer.bytes, buffer.used);
			pg_atomic_write_u64(&slot->next_sequence, (uint64) (first + buffer_extra() + count));
			/* The worker reads head without the lock: the bytes must be there before. */
			pg_write_barrier();
			pg_atomic_write_u64(&slot->head, head + buffer.used);
		}
	}
	LWLockRelease(ledger_append_lock(number));
	return first;
}

static void
remember_text(char **kept, const char *text)
{
	char *copy = text == NULL ? NULL : MemoryContextStrdup(append_context, text);

	if (*kept != NULL)
		pfree(*kept);
	*kept = copy;
}

/* Remembers the session entry at the buffer's beginning, that its number be referred to. */
static void
remember_session(const LedgerStatement *statement, uint32 generation, int64 sequence)
{
	LedgerRecord record;

	session.generation = 0;
	memcpy(&record, buffer.bytes, sizeof(record));
	session.length = record.length - ENTRY_FIXED_SIZE;
	if (session.bytes != NULL)
		pfree(session.bytes);
	session.bytes = NULL;
	session.bytes = MemoryContextAlloc(append_context, session.length + 1);
	memcpy(session.bytes, buffer.bytes + sizeof(record) + ENTRY_FIXED_SIZE, session.length);
	if (statement != NULL)
	{
		remember_text(&session.party, statement->party);
		remember_text(&session.network, statement->network);
	}
	session.sequence = sequence;
	session.generation = generation;
}

static void
remember(LedgerStatement *statement, uint32 generation, int64 first)
{
	if (buffer.with_session)
		remember_session(statement, generation, first);
	if (buffer.with_statement)
	{
		statement->sequence = first + (buffer.with_session ? 1 : 0);
		statement->generation = generation;
		statement->written = true;
	}
	if (buffer.capacity > BUFFER_KEEP)
	{
		pfree(buffer.bytes);
		memset(&buffer, 0, sizeof(buffer));
	}
}

static void
refuse_where_impossible(void)
{
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger cannot be written during recovery"),
						errdetail("A standby cannot record what it would release."),
						errhint("Connect to the primary server.")));
	if (IsTransactionState() && extension_created_here())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger was created by this very transaction"),
						errdetail("Its worker cannot see it before the transaction is committed."),
						errhint("Commit the transaction that created the extension first.")));
}

void
ledger_statement_reset(LedgerStatement *statement)
{
	statement->written = false;
}

void
ledger_append(LedgerStatement *statement, EntryFields *entries, int count, LedgerTicket *ticket)
{
	ledger_append_to(MyDatabaseId, statement, entries, count, ticket);
}

/* Makes a ticket for some entries. */
static void
ledger_ticket(LedgerTicket *ticket, int64 first, int64 last, uint32 generation)
{
	ticket->first = first;
	ticket->last = last;
	ticket->generation = generation;
	ticket->pending = true;
}

void
ledger_append_to(Oid database, LedgerStatement *statement, EntryFields *entries, int count,
				 LedgerTicket *ticket)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ledger_timeout_ms());

	memset(ticket, 0, sizeof(*ticket));
	refuse_where_impossible();
	if (count <= 0 && statement == NULL)
		return;
	for (;;)
	{
		int number = wait_until_ready(database, deadline);
		uint32 generation = pg_atomic_read_u32(&ledger_slot(number)->generation);
		int64 first;

		buffer_prepare(statement, entries, count, generation);
		if (buffer.used == 0)
		{
			/* nothing but a statement entry was wanted, and that is there; not yet durable, maybe */
			ledger_ticket(ticket, statement->sequence, statement->sequence, generation);
			ticket->database = database;
			ticket->deadline = deadline;
			return;
		}
		require_ring_size();
		first = buffer_put(database, statement, count, generation, number);
		if (first < 0)
		{
			ledger_wait_announce(number, LEDGER_WAIT_ANY);
			first = buffer_put(database, statement, count, generation, number);
		}
		ledger_poke_worker(number);
		if (first >= 0)
		{
			ledger_ticket(ticket, first + buffer_extra(), first + buffer_extra() + count - 1,
						  generation);
			ticket->database = database;
			ticket->deadline = deadline;
			remember(statement, generation, first);
			return;
		}
		wait_for_change(number, deadline);
	}
}

bool
ledger_append_now(LedgerStatement *statement, EntryFields *entries, int count)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	uint32 generation;
	int64 first;

	if (number < 0 || pg_atomic_read_u32(&ledger_slot(number)->state) != LEDGER_READY)
		return false;
	generation = pg_atomic_read_u32(&ledger_slot(number)->generation);
	buffer_prepare(statement, entries, count, generation);
	first = buffer.used > ledger_ring_size_bytes()
				? -1
				: buffer_put(MyDatabaseId, statement, count, generation, number);
	ledger_poke_worker(number);
	if (first < 0)
		return false;
	remember(statement, generation, first);
	return true;
}

/*
 * The ledger that this transaction has created, while it writes its first
 * entries itself. In TopTransactionContext.
 */
typedef struct CreatedLedger
{
	uint32 generation; /* no slot's: after the commit everything is introduced anew */
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	MerkleFrontier frontier;
	Relation tile; /* while entries are being written */
	MemoryContextCallback reset;
} CreatedLedger;

static CreatedLedger *created = NULL;

static void
created_forget(void *arg)
{
	created = NULL;
}

static void
created_begin(void)
{
	CreatedLedger *ledger = MemoryContextAllocZero(TopTransactionContext, sizeof(CreatedLedger));
	List *logs;

	if (!extension_created_here())
		elog(ERROR, "the ledger was not created by this transaction");
	PushActiveSnapshot(GetTransactionSnapshot());
	logs = store_logs(GetActiveSnapshot());
	PopActiveSnapshot();
	if (logs == NIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table biometric.log has lost its row"),
						errhint("Create the extension again.")));
	memcpy(ledger->log_id, ((LedgerLog *) llast(logs))->log_id, LEDGER_LOG_ID_SIZE);
	ledger->generation = ledger_new_generation();
	merkle_frontier_init(&ledger->frontier);
	ledger->reset.func = created_forget;
	MemoryContextRegisterResetCallback(TopTransactionContext, &ledger->reset);
	created = ledger;
}

static void
created_insert_tile(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	CreatedLedger *ledger = context;

	store_insert_tile(ledger->tile, ledger->log_id, level, index, hashes);
}

/* Writes up to CREATED_AT_ONCE of the buffer's records, from a position on; returns the next. */
static Size
created_write_some(Relation entry, Size at)
{
	StoreEntry *entries = palloc(CREATED_AT_ONCE * sizeof(StoreEntry));
	int64 first = (int64) created->frontier.size;
	int count = 0;

	for (; at < buffer.used && count < CREATED_AT_ONCE; count++)
	{
		LedgerRecord record;
		bytea *bytes;

		memcpy(&record, buffer.bytes + at, sizeof(record));
		bytes = palloc(VARHDRSZ + record.length);
		SET_VARSIZE(bytes, VARHDRSZ + record.length);
		memcpy(VARDATA(bytes), buffer.bytes + at + sizeof(record), record.length);
		entries[count].bytes = bytes;
		merkle_leaf(VARDATA(bytes), record.length, &entries[count].leaf);
		merkle_frontier_add(&created->frontier, &entries[count].leaf, created_insert_tile, created);
		at += sizeof(record) + record.length;
	}
	store_insert_entries(entry, created->log_id, first, entries, count);
	return at;
}

/* Writes the buffer's records into the tables. */
static void
created_write(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "biometric first entries",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Relation entry = store_open("entry", RowExclusiveLock);

	created->tile = store_open("tile", RowExclusiveLock);
	if (entry == NULL || created->tile == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	for (Size at = 0; at < buffer.used;)
	{
		at = created_write_some(entry, at);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	table_close(created->tile, NoLock);
	table_close(entry, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
ledger_append_created(LedgerStatement *statement, EntryFields *entries, int count)
{
	int64 first;

	if (count <= 0)
		return;
	if (created == NULL)
		created_begin();
	first = (int64) created->frontier.size;
	buffer_prepare(statement, entries, count, created->generation);
	buffer_number(statement, created->generation, first);
	created_write();
	remember(statement, created->generation, first);
}

void
ledger_created_finish(void)
{
	if (created == NULL)
		return;
	store_insert_head(created->log_id, &created->frontier);
	created = NULL;
}

/* Tells whether a mark has passed a ticket's entries; raises when it never will. */
static bool
has_passed(int number, const LedgerTicket *ticket, pg_atomic_uint64 *mark)
{
	uint64 reached = pg_atomic_read_u64(mark);

	/* A new generation sets the marks anew, but changes its number before that. */
	pg_read_barrier();
	if (pg_atomic_read_u32(&ledger_slot(number)->generation) != ticket->generation)
		fail(number, "the ledger was replaced while entries were waiting");
	if (reached > (uint64) ticket->last)
		return true;
	fail_in_bad_state(number);
	return false;
}

static bool
is_durable(int number, const LedgerTicket *ticket)
{
	return has_passed(number, ticket, &ledger_slot(number)->durable);
}

static bool
is_ordered(int number, const LedgerTicket *ticket)
{
	return has_passed(number, ticket, &ledger_slot(number)->ordered);
}

void
ledger_wait(LedgerTicket *ticket)
{
	int number;

	if (!ticket->pending)
		return;
	number = require_slot(ticket->database);
	while (!is_durable(number, ticket))
	{
		ledger_wait_announce(number, (uint64) ticket->last + 1);
		if (is_durable(number, ticket))
			break;
		/* The worker may have left these to be flushed with the commits that follow them. */
		if (is_ordered(number, ticket))
			ledger_poke_worker(number);
		wait_for_change(number, ticket->deadline);
		number = require_slot(ticket->database);
	}
	ticket->pending = false;
}

void
ledger_wait_ordered(LedgerTicket *ticket)
{
	int number;

	if (!ticket->pending)
		return;
	number = require_slot(ticket->database);
	while (!is_ordered(number, ticket))
	{
		ledger_wait_announce(number, ((uint64) ticket->last + 1) | LEDGER_WAIT_ORDERED);
		if (is_ordered(number, ticket))
			break;
		wait_for_change(number, ticket->deadline);
		number = require_slot(ticket->database);
	}
	ticket->pending = false;
}

bool
ledger_durable(const LedgerTicket *ticket)
{
	return !ticket->pending || is_durable(require_slot(ticket->database), ticket);
}

List *
ledger_databases(void)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ledger_timeout_ms());
	List *databases = NIL;

	for (int i = 0; i < ledger_slots(); i++)
	{
		LedgerSlot *slot = ledger_slot(i);

		while (OidIsValid(pg_atomic_read_u32(&slot->database)) &&
			   pg_atomic_read_u32(&slot->state) == LEDGER_STARTING)
		{
			ledger_wait_announce(i, LEDGER_WAIT_ANY);
			if (pg_atomic_read_u32(&slot->state) == LEDGER_STARTING)
				wait_for_change(i, deadline);
			ledger_wait_announce(i, 0);
		}
		if (OidIsValid(pg_atomic_read_u32(&slot->database)) &&
			pg_atomic_read_u32(&slot->state) == LEDGER_READY)
			databases = lappend_oid(databases, pg_atomic_read_u32(&slot->database));
	}
	return databases;
}

bool
ledger_usable(Reason *reason, const char **problem)
{
	const char *phrase = NULL;
	int number;

	*reason = REASON_LEDGER_UNAVAILABLE;
	if (RecoveryInProgress())
	{
		*reason = REASON_STANDBY;
		phrase = "the server is in recovery";
	}
	else if ((number = ledger_my_slot()) < 0)
		phrase = "all places for databases with a ledger are taken";
	else
	{
		switch (pg_atomic_read_u32(&ledger_slot(number)->state))
		{
			case LEDGER_STARTING:
				ledger_poke_worker(number);
				break;
			case LEDGER_READY:
				break;
			case LEDGER_FOREIGN:
				phrase = "the ledger is a copy of another ledger, until a custodian calls "
						 "biometric.fork_ledger()";
				break;
			case LEDGER_RETIRED:
				phrase = "the ledger was retired";
				break;
			default:
				phrase = "the ledger is broken";
				break;
		}
	}
	if (problem != NULL)
		*problem = phrase;
	if (phrase == NULL)
		*reason = REASON_NONE;
	return phrase == NULL;
}

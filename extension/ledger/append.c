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

/*
 * Records of one call, as they will stand in the ring, without their numbers:
 * a session entry, the statement entry if there is a statement, and the
 * caller's entries. The former two are written where they are needed only:
 * when they say something new, and anew in each segment, which can be
 * read without those before it.
 */
typedef struct AppendBuffer
{
	char *bytes;
	Size used;
	Size capacity;
	Size entries;	  /* where the caller's entries begin */
	bool new_session; /* the session entry says something new */
} AppendBuffer;

/* Records on their way from the buffer to where they are written. */
typedef struct Placement
{
	const LedgerStatement *statement; /* NULL: none */
	uint32 generation;
	int64 segment_size;
	int64 next;			   /* number of the next record */
	int64 session_entry;   /* number of the session entry to refer to; -1: to be written */
	int64 statement_entry; /* likewise */
	int64 first;		   /* number of the first of the caller's entries; -1: none so far */
	Size bytes;			   /* placed so far */
	/* takes a record, header and entry; NULL: they are only counted */
	void (*put)(struct Placement *placement, const char *record, Size length);
	int number; /* for put: slot and ring position, or: */
	uint64 position;
	struct CreatedBatch *created;
} Placement;

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
			fail(slot, "another system continues the ledger of this database");
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
	Oid served = pg_atomic_read_u32(&ledger_slot(slot)->tile_relation);
	Oid present;

	if (!IsTransactionState())
		return true;
	present = extension_relation("tile");
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

/* Begins the buffer with a session entry, and finds out whether it says something new. */
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
	buffer.new_session = session.generation != generation || session.length != length ||
						 memcmp(session.bytes, said, length) != 0;
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

/* Fills the buffer with everything that this call may have to write. */
static void
buffer_prepare(const LedgerStatement *statement, EntryFields *entries, int count, uint32 generation)
{
	int64 now = session_unix_time();

	buffer_begin(statement, generation, now);
	if (statement != NULL)
		buffer_add_statement(statement, now);
	buffer.entries = buffer.used;
	for (int i = 0; i < count; i++)
	{
		entries[i].at = now;
		entries[i].reference = ENTRY_NO_REFERENCE;
		buffer_add(&entries[i]);
	}
}

/* Whether a statement's entry is there to be referred to. */
static bool
statement_is_written(const LedgerStatement *statement, uint32 generation)
{
	return !buffer.new_session && statement->written && statement->generation == generation;
}

static void
require_ring_size(int count)
{
	/* as many segments as the entries may be in, each with a session and a statement entry */
	Size most = buffer.used + buffer.entries * (1 + (Size) count / LEDGER_SEGMENT_MIN);

	if (most > ledger_ring_size_bytes())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many ledger entries at once"),
				 errdetail("%zu bytes do not fit into biometric_audit.ring_size.", most),
				 errhint("Raise biometric_audit.ring_size, or read fewer rows at a time.")));
}

/* Gets ready to place the buffer's records; needs segment_size and next to be set. */
static void
place_begin(Placement *placement, const LedgerStatement *statement, uint32 generation)
{
	placement->statement = statement;
	placement->generation = generation;
	placement->session_entry = buffer.new_session ? -1 : session.sequence;
	placement->statement_entry =
		statement != NULL && statement_is_written(statement, generation) ? statement->sequence : -1;
	placement->first = -1;
	placement->bytes = 0;
}

/* Places the record at a position of the buffer, which is made to refer to an entry. */
static void
place_record(Placement *placement, Size at, int64 reference)
{
	LedgerRecord record;
	Size length;

	memcpy(&record, buffer.bytes + at, sizeof(record));
	length = sizeof(record) + record.length;
	if (placement->put != NULL)
	{
		record.generation = placement->generation;
		record.sequence = placement->next;
		memcpy(buffer.bytes + at, &record, sizeof(record));
		entry_set_reference((uint8 *) buffer.bytes + at + sizeof(record), reference);
		placement->put(placement, buffer.bytes + at, length);
	}
	placement->bytes += length;
	placement->next++;
}

/* Whether the next record can refer to an entry: it is in the same segment. */
static bool
can_refer_to(const Placement *placement, int64 sequence)
{
	return sequence >= 0 &&
		   sequence / placement->segment_size == placement->next / placement->segment_size;
}

/* Places session and statement entries where the next record has none that it can refer to. */
static void
place_introduction(Placement *placement)
{
	Size session_length;
	LedgerRecord record;

	memcpy(&record, buffer.bytes, sizeof(record));
	session_length = sizeof(record) + record.length;
	for (;;)
	{
		/* either may be the last of its segment, and then both are needed once more */
		if (!can_refer_to(placement, placement->session_entry))
		{
			placement->session_entry = placement->next;
			placement->statement_entry = -1;
			place_record(placement, 0, ENTRY_NO_REFERENCE);
		}
		else if (placement->statement != NULL &&
				 !can_refer_to(placement, placement->statement_entry))
		{
			placement->statement_entry = placement->next;
			place_record(placement, session_length, placement->session_entry);
		}
		else
			return;
	}
}

/*
 * Places all that the buffer holds and needs. Called under the append lock:
 * must not fail, must be short.
 */
static void
place_all(Placement *placement)
{
	for (Size at = buffer.entries; at < buffer.used;)
	{
		LedgerRecord record;

		place_introduction(placement);
		if (placement->first < 0)
			placement->first = placement->next;
		memcpy(&record, buffer.bytes + at, sizeof(record));
		place_record(placement, at,
					 placement->statement != NULL ? placement->statement_entry
												  : placement->session_entry);
		at += sizeof(record) + record.length;
	}
	if (placement->first >= 0)
		return;
	place_introduction(placement);
	placement->first = placement->next - 1;
}

static void
put_into_ring(Placement *placement, const char *record, Size length)
{
	ledger_ring_write(placement->number, placement->position, record, length);
	placement->position += length;
}

/*
 * Puts the buffer into the ring, and says in placement what became of it.
 * False when the ring has no room or the slot has changed.
 */
static bool
buffer_put(Oid database, const LedgerStatement *statement, uint32 generation, Placement *placement)
{
	int number = placement->number;
	LedgerSlot *slot = ledger_slot(number);
	bool done = false;

	LWLockAcquire(ledger_append_lock(number), LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&slot->database) == database && generation != 0 &&
		pg_atomic_read_u32(&slot->generation) == generation)
	{
		uint64 head = pg_atomic_read_u64(&slot->head);
		uint64 tail = pg_atomic_read_u64(&slot->tail);
		int64 next;

		if (slot->append_generation != generation)
		{
			slot->append_generation = generation;
			pg_atomic_write_u64(&slot->next_sequence, pg_atomic_read_u64(&slot->start_sequence));
		}
		next = (int64) pg_atomic_read_u64(&slot->next_sequence);
		placement->segment_size = (int64) pg_atomic_read_u64(&slot->segment_size);
		placement->next = next;
		placement->put = NULL;
		place_begin(placement, statement, generation);
		place_all(placement);
		if (head - tail + placement->bytes <= ledger_ring_size_bytes())
		{
			placement->next = next;
			placement->position = head;
			placement->put = put_into_ring;
			place_begin(placement, statement, generation);
			place_all(placement);
			pg_atomic_write_u64(&slot->next_sequence, (uint64) placement->next);
			/* The worker reads head without the lock: the bytes must be there before. */
			pg_write_barrier();
			pg_atomic_write_u64(&slot->head, placement->position);
			done = true;
		}
	}
	LWLockRelease(ledger_append_lock(number));
	return done;
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

/* Remembers what later entries may refer to. */
static void
remember(LedgerStatement *statement, const Placement *placement)
{
	if (buffer.new_session || session.sequence != placement->session_entry)
		remember_session(statement, placement->generation, placement->session_entry);
	if (statement != NULL)
	{
		statement->sequence = placement->statement_entry;
		statement->generation = placement->generation;
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
		Placement placement = {.number = number};
		bool done;

		buffer_prepare(statement, entries, count, generation);
		if (count == 0 && statement_is_written(statement, generation))
		{
			/* nothing but a statement entry was wanted, and that is there; not yet durable, maybe */
			ledger_ticket(ticket, statement->sequence, statement->sequence, generation);
			ticket->database = database;
			ticket->deadline = deadline;
			return;
		}
		require_ring_size(count);
		done = buffer_put(database, statement, generation, &placement);
		if (!done)
		{
			ledger_wait_announce(number, LEDGER_WAIT_ANY);
			done = buffer_put(database, statement, generation, &placement);
		}
		ledger_poke_worker(number);
		if (done)
		{
			ledger_ticket(ticket, placement.first, placement.next - 1, generation);
			ticket->database = database;
			ticket->deadline = deadline;
			remember(statement, &placement);
			return;
		}
		wait_for_change(number, deadline);
	}
}

bool
ledger_append_now(LedgerStatement *statement, EntryFields *entries, int count)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	Placement placement = {.number = number};
	uint32 generation;
	bool done;

	if (number < 0 || pg_atomic_read_u32(&ledger_slot(number)->state) != LEDGER_READY)
		return false;
	generation = pg_atomic_read_u32(&ledger_slot(number)->generation);
	buffer_prepare(statement, entries, count, generation);
	done = buffer_put(MyDatabaseId, statement, generation, &placement);
	ledger_poke_worker(number);
	if (done)
		remember(statement, &placement);
	return done;
}

/*
 * The ledger that this transaction has created, while it writes its first
 * entries itself. In TopTransactionContext.
 */
typedef struct CreatedLedger
{
	uint32 generation; /* no slot's: after the commit everything is introduced anew */
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int64 segment_size;
	MerkleFrontier frontier;
	Relation tile; /* while entries are being written */
	MemoryContextCallback reset;
} CreatedLedger;

static CreatedLedger *created = NULL;

/* Entries that are about to be inserted. */
typedef struct CreatedBatch
{
	MemoryContext context; /* of entries and their bytes; reset when they are in the table */
	StoreEntry *entries;
	int count;
	int64 first; /* number of the first */
} CreatedBatch;

static void
created_forget(void *arg)
{
	created = NULL;
}

static void
created_begin(void)
{
	CreatedLedger *ledger = MemoryContextAllocZero(TopTransactionContext, sizeof(CreatedLedger));
	LedgerLog *log;
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
	log = llast(logs);
	memcpy(ledger->log_id, log->log_id, LEDGER_LOG_ID_SIZE);
	ledger->segment_size = log->segment_size;
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

	if (level > 0)
		store_insert_tile(ledger->tile, ledger->log_id, level, index, hashes);
}

static void
created_flush(CreatedBatch *batch)
{
	store_insert_entries(created->log_id, created->segment_size, batch->first, batch->entries,
						 batch->count);
	batch->entries = NULL;
	batch->count = 0;
	MemoryContextReset(batch->context);
	CHECK_FOR_INTERRUPTS();
}

/* Takes a record for the tables. */
static void
created_put(Placement *placement, const char *record, Size length)
{
	CreatedBatch *batch = placement->created;
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	bytea *bytes = palloc(VARHDRSZ + length - sizeof(LedgerRecord));
	StoreEntry *entry;

	if (batch->entries == NULL)
	{
		batch->entries = palloc(CREATED_AT_ONCE * sizeof(StoreEntry));
		batch->first = placement->next;
	}
	entry = &batch->entries[batch->count++];
	SET_VARSIZE(bytes, VARHDRSZ + length - sizeof(LedgerRecord));
	memcpy(VARDATA(bytes), record + sizeof(LedgerRecord), length - sizeof(LedgerRecord));
	entry->bytes = bytes;
	merkle_leaf(VARDATA(bytes), length - sizeof(LedgerRecord), &entry->leaf);
	merkle_frontier_add(&created->frontier, &entry->leaf, created_insert_tile, created);
	if (batch->count == CREATED_AT_ONCE)
		created_flush(batch);
	MemoryContextSwitchTo(old);
}

/* Writes the buffer's records into the tables. */
static void
created_write(Placement *placement)
{
	CreatedBatch batch = {NULL};

	batch.context = AllocSetContextCreate(CurrentMemoryContext, "biometric first entries",
										  ALLOCSET_DEFAULT_SIZES);
	created->tile = store_open("tile", RowExclusiveLock);
	if (created->tile == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	placement->created = &batch;
	placement->put = created_put;
	place_all(placement);
	if (batch.count > 0)
		created_flush(&batch);
	table_close(created->tile, NoLock);
	MemoryContextDelete(batch.context);
}

void
ledger_append_created(LedgerStatement *statement, EntryFields *entries, int count)
{
	Placement placement = {.number = -1};

	if (count <= 0)
		return;
	if (created == NULL)
		created_begin();
	buffer_prepare(statement, entries, count, created->generation);
	placement.next = (int64) created->frontier.size;
	placement.segment_size = created->segment_size;
	place_begin(&placement, statement, created->generation);
	created_write(&placement);
	remember(statement, &placement);
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
				phrase = "the ledger is another system's to continue, until a custodian calls "
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

/*
 * append.c - copies entries into the ring and waits for them to be durable.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/internal.h"
#include "ledger/append.h"
#include "ledger/records.h"
#include "ledger/slot.h"

/* The longest sleep before a waiter sees for itself whether a worker is there. */
#define WAIT_SLICE_MS 200L

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

/* The ring that records are written to. */
typedef struct RingEnd
{
	int number; /* of the slot */
	uint64 position;
} RingEnd;

static void
put_into_ring(Placement *placement, const char *record, Size length)
{
	RingEnd *end = placement->context;

	ledger_ring_write(end->number, end->position, record, length);
	end->position += length;
}

/*
 * Puts what was prepared into a slot's ring, and says in placement what became
 * of it. False when the ring has no room or the slot has changed.
 */
static bool
ring_put(Oid database, int number, const LedgerStatement *statement, uint32 generation,
		 Placement *placement)
{
	LedgerSlot *slot = ledger_slot(number);
	bool done = false;

	LWLockAcquire(ledger_append_lock(number), LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&slot->database) == database && generation != 0 &&
		pg_atomic_read_u32(&slot->generation) == generation)
	{
		RingEnd end = {number, pg_atomic_read_u64(&slot->head)};
		uint64 used = end.position - pg_atomic_read_u64(&slot->tail);
		int64 next;

		if (slot->append_generation != generation)
		{
			slot->append_generation = generation;
			pg_atomic_write_u64(&slot->next_sequence, pg_atomic_read_u64(&slot->start_sequence));
		}
		next = (int64) pg_atomic_read_u64(&slot->next_sequence);
		*placement = (Placement){.segment_size = (int64) pg_atomic_read_u64(&slot->segment_size),
								 .next = next};
		records_place(placement, statement, generation);
		if (used + placement->bytes <= ledger_ring_size_bytes())
		{
			placement->next = next;
			placement->put = put_into_ring;
			placement->context = &end;
			records_place(placement, statement, generation);
			pg_atomic_write_u64(&slot->next_sequence, (uint64) placement->next);
			/* The worker reads head without the lock: the bytes must be there before. */
			pg_write_barrier();
			pg_atomic_write_u64(&slot->head, end.position);
			done = true;
		}
	}
	LWLockRelease(ledger_append_lock(number));
	return done;
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

int64
ledger_ticket_sequence(const LedgerTicket *ticket, int index)
{
	int64 sequence = ticket->first + index;
	int64 segment;

	/* a segment that begins among the entries begins with what they refer to */
	for (segment = (ticket->first / ticket->segment_size + 1) * ticket->segment_size;
		 segment <= sequence; segment += ticket->segment_size)
		sequence += ticket->introductions;
	return sequence;
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
		Placement placement;
		bool done;

		records_prepare(statement, entries, count, generation);
		if (count == 0 && records_have_statement(statement, generation))
		{
			/* nothing but a statement entry was wanted, and that is there; not yet durable, maybe */
			ledger_ticket(ticket, statement->sequence, statement->sequence, generation);
			ticket->database = database;
			ticket->deadline = deadline;
			return;
		}
		records_require_room(count);
		done = ring_put(database, number, statement, generation, &placement);
		if (!done)
		{
			ledger_wait_announce(number, LEDGER_WAIT_ANY);
			done = ring_put(database, number, statement, generation, &placement);
		}
		ledger_poke_worker(number);
		if (done)
		{
			ledger_ticket(ticket, placement.first, placement.next - 1, generation);
			ticket->segment_size = placement.segment_size;
			ticket->introductions = statement != NULL ? 2 : 1;
			ticket->database = database;
			ticket->deadline = deadline;
			records_remember(statement, &placement);
			return;
		}
		wait_for_change(number, deadline);
	}
}

bool
ledger_append_now(LedgerStatement *statement, EntryFields *entries, int count)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	Placement placement;
	uint32 generation;
	bool done;

	if (number < 0 || pg_atomic_read_u32(&ledger_slot(number)->state) != LEDGER_READY)
		return false;
	generation = pg_atomic_read_u32(&ledger_slot(number)->generation);
	records_prepare(statement, entries, count, generation);
	done = ring_put(MyDatabaseId, number, statement, generation, &placement);
	ledger_poke_worker(number);
	if (done)
		records_remember(statement, &placement);
	return done;
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

bool
ledger_generation_log(uint32 generation, uint8 *log_id)
{
	static uint32 known_generation = 0; /* which none has */
	static uint8 known_log_id[LEDGER_LOG_ID_SIZE];

	if (generation == 0 || generation != known_generation)
	{
		LedgerStatus *status = palloc(sizeof(LedgerStatus));
		int number = RecoveryInProgress() ? -1 : ledger_my_slot();

		/* the status is written before entries count as durable, and after a new generation has begun */
		if (number < 0 || !ledger_status_read(number, status) || !status->loaded ||
			pg_atomic_read_u32(&ledger_slot(number)->generation) != generation)
			return false;
		memcpy(known_log_id, status->log_id, LEDGER_LOG_ID_SIZE);
		known_generation = generation;
		pfree(status);
	}
	memcpy(log_id, known_log_id, LEDGER_LOG_ID_SIZE);
	return true;
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

/*
 * follow.c - what became of the transactions that entries name.
 *
 * Nobody tells the worker that a transaction has ended, so it looks: soon
 * after an entry that names it was written, as nearly all end at once, then
 * after pauses that grow, as what is left is prepared.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "ledger/follow.h"
#include "ledger/session.h"
#include "ledger/store.h"

#define FIRST_PAUSE_MS 20L
#define LONGEST_PAUSE_MS 2000L

/* So many new ones are looked at without a pause. */
#define MANY_TRANSACTIONS 4096L

typedef struct Followed
{
	uint64 transaction; /* the key */
	uint64 entries;
	bool reported; /* its aborted entry is in the ring */
} Followed;

static MemoryContext follow_context = NULL;
static HTAB *followed = NULL;
static long unreported = 0;
static long new_since_look = 0;
static long pause_ms = FIRST_PAUSE_MS;
static TimestampTz next_look = 0;

TransactionOutcome
follow_outcome(uint64 transaction)
{
	LOCAL_FCINFO(call, 1);
	FullTransactionId id = FullTransactionIdFromU64(transaction);
	char *status;
	Datum answer;

	if (!TransactionIdIsNormal(XidFromFullTransactionId(id)) ||
		!FullTransactionIdPrecedes(id, ReadNextFullTransactionId()))
		return OUTCOME_UNKNOWN;
	/* The server's own function keeps what it looks at from being cut off meanwhile. */
	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = FullTransactionIdGetDatum(id);
	call->args[0].isnull = false;
	answer = pg_xact_status(call);
	if (call->isnull)
		return OUTCOME_UNKNOWN;
	status = TextDatumGetCString(answer);
	if (strcmp(status, "in progress") == 0)
		return OUTCOME_RUNNING;
	if (strcmp(status, "committed") == 0)
		return OUTCOME_COMMITTED;
	return strcmp(status, "aborted") == 0 ? OUTCOME_ABORTED : OUTCOME_UNKNOWN;
}

static void
follow_reset(void)
{
	HASHCTL control = {.keysize = sizeof(uint64), .entrysize = sizeof(Followed)};

	if (follow_context != NULL)
		MemoryContextDelete(follow_context);
	follow_context = AllocSetContextCreate(TopMemoryContext, "biometric ledger transactions",
										   ALLOCSET_DEFAULT_SIZES);
	control.hcxt = follow_context;
	followed = hash_create("biometric ledger transactions", 64, &control,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	unreported = new_since_look = 0;
	pause_ms = FIRST_PAUSE_MS;
	next_look = 0;
}

/* Adds entries to a transaction's; one that is new is looked at soon. */
static void
follow_add(uint64 transaction, uint64 entries)
{
	bool found;
	Followed *it = hash_search(followed, &transaction, HASH_ENTER, &found);

	if (!found)
	{
		TimestampTz soon = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FIRST_PAUSE_MS);

		it->entries = 0;
		it->reported = false;
		pause_ms = FIRST_PAUSE_MS;
		new_since_look++;
		if (unreported++ == 0 || soon < next_look)
			next_look = soon;
	}
	it->entries += entries;
}

static void
follow_forget(Followed *it)
{
	uint64 transaction = it->transaction;

	if (!it->reported)
		unreported--;
	hash_search(followed, &transaction, HASH_REMOVE, NULL);
}

void
follow_note(const EntryFields *fields)
{
	uint64 transaction = fields->transaction;
	Followed *it;

	if (transaction == 0)
		return;
	switch (fields->event)
	{
		case ENTRY_STORED:
		case ENTRY_REPLACED:
		case ENTRY_ERASED:
		case ENTRY_PURGED:
		case ENTRY_TRUNCATED:
		case ENTRY_DROPPED:
			follow_add(transaction, 1);
			break;
		case ENTRY_ABORTED:
			it = hash_search(followed, &transaction, HASH_FIND, NULL);
			if (it != NULL)
				follow_forget(it);
			break;
		default:
			break;
	}
}

void
follow_load(const uint8 *log_id, int64 size)
{
	LedgerSettled settled;
	LedgerReader reader;

	follow_reset();
	store_settled(log_id, GetActiveSnapshot(), &settled);
	if (settled.size < 0 || settled.size > size)
		memset(&settled, 0, sizeof(settled));
	for (int i = 0; i < settled.count; i++)
		if (settled.open[i] != 0)
			follow_add(settled.open[i], settled.entries[i]);
	if (!store_reader_open(&reader, log_id, GetActiveSnapshot()))
		return;
	for (int64 sequence = settled.size; sequence < size; sequence++)
	{
		bytea *bytes = store_entry(&reader, sequence);
		EntryFields fields;

		CHECK_FOR_INTERRUPTS();
		if (bytes == NULL)
			continue;
		if (entry_decode((const uint8_t *) VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, &fields) ==
			CORE_OK)
			follow_note(&fields);
		pfree(bytes);
	}
	store_reader_close(&reader);
}

void
follow_write(const uint8 *log_id, int64 size)
{
	long count = hash_get_num_entries(followed);
	LedgerSettled settled = {.size = size};
	HASH_SEQ_STATUS scan;
	Followed *it;

	settled.open = palloc(Max(1, count) * sizeof(uint64));
	settled.entries = palloc(Max(1, count) * sizeof(uint64));
	hash_seq_init(&scan, followed);
	while ((it = hash_seq_search(&scan)) != NULL)
	{
		settled.open[settled.count] = it->transaction;
		settled.entries[settled.count++] = it->entries;
	}
	store_write_settled(log_id, &settled);
}

long
follow_wait_ms(void)
{
	if (unreported == 0)
		return -1;
	if (new_since_look >= MANY_TRANSACTIONS)
		return 0;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next_look);
}

bool
follow_append(int number, uint32 generation, const uint8 *bytes, Size length, int64 *sequence)
{
	LedgerSlot *slot = ledger_slot(number);
	LedgerRecord record = {.length = (uint32) length, .generation = generation};
	Size size = sizeof(record) + length;
	bool done = false;

	LWLockAcquire(ledger_append_lock(number), LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&slot->generation) == generation)
	{
		uint64 head = pg_atomic_read_u64(&slot->head);

		if (slot->append_generation != generation)
		{
			slot->append_generation = generation;
			pg_atomic_write_u64(&slot->next_sequence, pg_atomic_read_u64(&slot->start_sequence));
		}
		if (head - pg_atomic_read_u64(&slot->tail) + size <= ledger_ring_size_bytes())
		{
			record.sequence = (int64) pg_atomic_read_u64(&slot->next_sequence);
			*sequence = record.sequence;
			ledger_ring_write(number, head, &record, sizeof(record));
			ledger_ring_write(number, head + sizeof(record), bytes, length);
			pg_atomic_write_u64(&slot->next_sequence, (uint64) (record.sequence + 1));
			pg_write_barrier();
			pg_atomic_write_u64(&slot->head, head + size);
			done = true;
		}
	}
	LWLockRelease(ledger_append_lock(number));
	return done;
}

/* Reports a transaction that has not committed; false when the ring has no room. */
static bool
report(int number, uint32 generation, const Followed *it, bool known)
{
	EntryFields fields = {.event = ENTRY_ABORTED, .reference = ENTRY_NO_REFERENCE};
	uint8 bytes[256];
	char detail[100];
	int64 sequence;
	size_t length;
	CoreStatus status;

	snprintf(detail, sizeof(detail), "{\"entries\": " UINT64_FORMAT "%s}", it->entries,
			 known ? "" : ", \"outcome\": \"unknown\"");
	fields.at = session_unix_time();
	fields.transaction = it->transaction;
	fields.detail = session_text(detail);
	status = entry_encode(&fields, bytes, sizeof(bytes), &length);
	if (status != CORE_OK)
		elog(ERROR, "could not encode a ledger entry: %s", core_status_text(status));
	return follow_append(number, generation, bytes, length, &sequence);
}

void
follow_check(int number, uint32 generation)
{
	HASH_SEQ_STATUS scan;
	Followed *it;

	hash_seq_init(&scan, followed);
	while ((it = hash_seq_search(&scan)) != NULL)
	{
		TransactionOutcome outcome =
			it->reported ? OUTCOME_RUNNING : follow_outcome(it->transaction);

		if (outcome == OUTCOME_RUNNING)
			continue;
		if (outcome == OUTCOME_COMMITTED)
			follow_forget(it);
		else if (report(number, generation, it, outcome == OUTCOME_ABORTED))
		{
			it->reported = true;
			unreported--;
		}
	}
	new_since_look = 0;
	next_look = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
	pause_ms = Min(2 * pause_ms, LONGEST_PAUSE_MS);
}

/*
 * held.c - looks up which rows held an image when it was released.
 *
 * All changes of an image are read when it is first asked for, in the order of
 * their entries, also those behind a release: what was collected of a row is what the
 * last of them says, so that a table may be described when it has come to that. How an
 * image was held is worked out once for each number of changes that came before a release,
 * and relation that was read.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "ledger/activity.h"
#include "ledger/follow.h"
#include "report/collection.h"
#include "report/held.h"

/* "2026-05-01" */
#define DATE_LENGTH 10

/* An entry that put an image into a row. */
typedef struct Change
{
	int64 sequence;
	int relation;
	int state;		/* number: the row as the latest change of it describes it */
	bool collected; /* this entry says something of what was collected */
} Change;

/* How an image was held, as it is looked for. */
typedef struct HeldKey
{
	int relation;
	int changes; /* so many of its history count */
	int number;	 /* in the answer */
} HeldKey;

/* What is known of an image. */
typedef struct History
{
	bool read;
	int count;
	Change *changes; /* ascending by sequence */
	int keys;
	int keys_capacity;
	HeldKey *key; /* how it was held, as far as that has been worked out */
} History;

typedef struct Outcome
{
	uint64 transaction; /* hash key */
	bool aborted;
} Outcome;

struct HeldLog
{
	ReleasedBuilder *builder;
	const LedgerLog *log;
	Snapshot snapshot;
	LedgerReader reader;
	Relation images; /* biometric.image_entry, and its key */
	Relation images_key;
	MemoryContext entry; /* reset for each entry that is read */
	History *histories;	 /* by the numbers of images */
	int histories_capacity;
	HTAB *outcomes;
	Outcome last_outcome; /* images of a transaction come together */
	bool all_outcomes;	  /* every `aborted` entry has been read */
	/* the statement that was read last */
	int64 statement_sequence;
	bytea *statement_bytes;
	EntryFields statement;
};

HeldLog *
held_begin(ReleasedBuilder *builder, const LedgerLog *log, Snapshot snapshot)
{
	MemoryContext old = MemoryContextSwitchTo(builder->working);
	HeldLog *held = palloc0(sizeof(HeldLog));
	HASHCTL outcome = {
		.keysize = sizeof(uint64), .entrysize = sizeof(Outcome), .hcxt = builder->working};

	held->builder = builder;
	held->log = log;
	held->snapshot = snapshot;
	held->statement_sequence = -1;
	held->images = store_open("image_entry", AccessShareLock);
	if (held->images == NULL || !store_reader_open(&held->reader, log->log_id, snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	held->images_key = store_open_key(held->images);
	held->entry =
		AllocSetContextCreate(builder->working, "biometric held entry", ALLOCSET_DEFAULT_SIZES);
	held->outcomes =
		hash_create("biometric outcomes", 64, &outcome, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	MemoryContextSwitchTo(old);
	return held;
}

void
held_end(HeldLog *held)
{
	index_close(held->images_key, AccessShareLock);
	table_close(held->images, AccessShareLock);
	store_reader_close(&held->reader);
	hash_destroy(held->outcomes);
	if (held->histories != NULL)
		pfree(held->histories);
	MemoryContextDelete(held->entry);
}

/* ---- transactions ---- */

static bool
remember_outcome(HeldLog *held, uint64 transaction, bool aborted)
{
	Outcome *outcome = hash_search(held->outcomes, &transaction, HASH_ENTER, NULL);

	outcome->aborted = aborted;
	held->last_outcome = *outcome;
	return aborted;
}

/* Reads every `aborted` entry of the log. */
static void
read_outcomes(HeldLog *held)
{
	const ActivityQuestion question = {
		.from = DT_NOBEGIN, .until = DT_NOEND, .events = 1u << ENTRY_ABORTED};
	MemoryContext old = MemoryContextSwitchTo(held->builder->working);
	ActivityScan *scan = activity_begin(held->log, held->snapshot, &question);
	ActivityEntry entry;

	while (activity_next(scan, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		if (entry.fields.transaction != 0)
			(void) remember_outcome(held, entry.fields.transaction, true);
	}
	activity_end(scan);
	MemoryContextSwitchTo(old);
	held->all_outcomes = true;
}

/*
 * Whether an `aborted` entry names a transaction. What the server itself knows need not be
 * looked up; of another server's transactions it knows nothing.
 */
static bool
is_aborted(HeldLog *held, uint64 transaction)
{
	Outcome *known;

	if (transaction == held->last_outcome.transaction)
		return held->last_outcome.aborted;
	known = hash_search(held->outcomes, &transaction, HASH_FIND, NULL);
	if (known != NULL)
		return known->aborted;
	if (!held->log->restored && !held->all_outcomes)
		switch (follow_outcome(transaction))
		{
			case OUTCOME_COMMITTED:
			case OUTCOME_RUNNING:
				return remember_outcome(held, transaction, false);
			case OUTCOME_ABORTED:
				return remember_outcome(held, transaction, true);
			case OUTCOME_UNKNOWN:
			default:
				break;
		}
	if (!held->all_outcomes)
		read_outcomes(held);
	known = hash_search(held->outcomes, &transaction, HASH_FIND, NULL);
	return known != NULL ? known->aborted : remember_outcome(held, transaction, false);
}

/* ---- what entries say */

static bool
read_entry(HeldLog *held, int64 sequence, EntryFields *fields)
{
	bytea *bytes = sequence < 0 ? NULL : store_entry(&held->reader, sequence);

	return bytes != NULL && entry_decode((const uint8_t *) VARDATA_ANY(bytes),
										 VARSIZE_ANY_EXHDR(bytes), fields) == CORE_OK;
}

/* The statement that an entry refers to; NULL: none. Kept, since the entries of a statement come together. */
static const EntryFields *
read_statement(HeldLog *held, int64 sequence)
{
	MemoryContext old;

	if (sequence == held->statement_sequence)
		return held->statement_bytes == NULL ? NULL : &held->statement;
	if (held->statement_bytes != NULL)
		pfree(held->statement_bytes);
	held->statement_sequence = sequence;
	old = MemoryContextSwitchTo(held->builder->working);
	held->statement_bytes = sequence < 0 ? NULL : store_entry(&held->reader, sequence);
	MemoryContextSwitchTo(old);
	if (held->statement_bytes == NULL)
		return NULL;
	if (entry_decode((const uint8_t *) VARDATA_ANY(held->statement_bytes),
					 VARSIZE_ANY_EXHDR(held->statement_bytes), &held->statement) != CORE_OK ||
		held->statement.event != ENTRY_STATEMENT)
	{
		pfree(held->statement_bytes);
		held->statement_bytes = NULL;
		return NULL;
	}
	return &held->statement;
}

/* The date of a time that was collected, absent unless it begins with one. */
static EntryText
date_of(EntryText time)
{
	static const char form[] = "dddd-dd-ddT";

	if (time.bytes == NULL || time.length < strlen(form))
		return (EntryText){0};
	for (int i = 0; i < (int) strlen(form); i++)
		if (form[i] == 'd' ? time.bytes[i] < '0' || time.bytes[i] > '9' : time.bytes[i] != form[i])
			return (EntryText){0};
	return (EntryText){.bytes = time.bytes, .length = DATE_LENGTH};
}

static int
row_number(ReleasedBuilder *builder, int relation, int key)
{
	const ReleasedRow row = {.relation = relation, .key = key};
	Released *answer = builder->answer;
	bool known;
	int number = numbering_number(&builder->rows, &row, &known);

	if (known)
		return number;
	answer->row = numbering_grow(&builder->rows, answer->row, sizeof(row), builder->context);
	answer->row[number] = row;
	answer->rows = builder->rows.count;
	return number;
}

static int
person_number(ReleasedBuilder *builder, int relation, int subject)
{
	const int key[2] = {relation, subject};
	bool known;
	int number;

	if (subject == RELEASED_NONE)
		return RELEASED_NONE;
	number = numbering_number(&builder->persons, key, &known);
	builder->answer->persons = builder->persons.count;
	return number;
}

/* The number of an object's text, its members in order. */
static int
object_number(ReleasedBuilder *builder, EntryText object)
{
	StringInfoData sorted;

	if (object.bytes == NULL)
		return RELEASED_NONE;
	initStringInfo(&sorted);
	collected_sorted(object, &sorted);
	return builder_text(builder, (EntryText){.bytes = sorted.data, .length = sorted.len}, true);
}

static int
state_number(ReleasedBuilder *builder, int relation, int row, const Collected *collected)
{
	Released *answer = builder->answer;
	ReleasedState state = {.row = row};
	bool known;
	int number;

	state.subject = object_number(builder, collected->subject);
	state.place = object_number(builder, collected->place);
	state.collected_on = builder_text(builder, date_of(collected->time), false);
	state.person = person_number(builder, relation, state.subject);
	number = numbering_number(&builder->states, &state, &known);
	if (known)
		return number;
	answer->state =
		numbering_grow(&builder->states, answer->state, sizeof(state), builder->context);
	answer->state[number] = state;
	answer->states = builder->states.count;
	return number;
}

/* Takes an entry into the history of an image, if it is one that put it into a row for good. */
static void
take_change(HeldLog *held, History *history, const uint8 *image_id, int64 sequence)
{
	ReleasedBuilder *builder = held->builder;
	Change *change = &history->changes[history->count];
	Collected collected;
	EntryFields fields;

	if (!read_entry(held, sequence, &fields) ||
		(fields.event != ENTRY_STORED && fields.event != ENTRY_REPLACED) ||
		fields.image_id == NULL || memcmp(fields.image_id, image_id, ENTRY_IMAGE_ID_SIZE) != 0 ||
		(fields.transaction != 0 && is_aborted(held, fields.transaction)))
		return;
	collected_parse(fields.collected, &collected);
	change->sequence = sequence;
	change->collected = fields.collected.bytes != NULL;
	change->relation =
		builder_text(builder, entry_line(&fields, read_statement(held, fields.reference)), false);
	change->state = state_number(
		builder, change->relation,
		row_number(builder, change->relation, object_number(builder, fields.row_key)), &collected);
	history->count++;
}

/* A change, on the way to those of the same row. */
typedef struct RowChange
{
	int row;
	bool collected;
	int number;
} RowChange;

/* By row; of a row, what has something collected behind what has not, the latest last. */
static int
compare_row_changes(const void *one, const void *other)
{
	const RowChange *a = one;
	const RowChange *b = other;

	if (a->row != b->row)
		return a->row < b->row ? -1 : 1;
	if (a->collected != b->collected)
		return a->collected ? 1 : -1;
	return a->number < b->number ? -1 : a->number > b->number;
}

/* Describes each row by the latest of its changes that says anything of what was collected. */
static void
settle_states(const Released *answer, History *history)
{
	Change *changes = history->changes;
	RowChange *sorted;

	if (history->count < 2)
		return;
	sorted = MemoryContextAllocHuge(CurrentMemoryContext, history->count * sizeof(RowChange));
	for (int i = 0; i < history->count; i++)
		sorted[i] = (RowChange){.row = answer->state[changes[i].state].row,
								.collected = changes[i].collected,
								.number = i};
	qsort(sorted, history->count, sizeof(RowChange), compare_row_changes);
	for (int i = history->count - 2; i >= 0; i--)
		if (sorted[i].row == sorted[i + 1].row)
			changes[sorted[i].number].state = changes[sorted[i + 1].number].state;
	pfree(sorted);
}

/* ---- histories */

/* The numbers of the entries that biometric.image_entry leads to, ascending. */
static int
list_changes(HeldLog *held, const uint8 *image_id, int64 **sequences)
{
	int capacity = 8;
	int count = 0;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	*sequences = palloc_array(int64, capacity);
	ScanKeyInit(&keys[0], IMAGE_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) held->log->log_id));
	ScanKeyInit(&keys[1], IMAGE_COL_IMAGE_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) image_id));
	scan = systable_beginscan_ordered(held->images, held->images_key, held->snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, IMAGE_COL_SEQ, RelationGetDescr(held->images), &isnull);

		if (isnull)
			continue;
		if (count == capacity)
			*sequences = repalloc_huge(*sequences, (capacity *= 2) * sizeof(int64));
		(*sequences)[count++] = DatumGetInt64(value);
	}
	systable_endscan_ordered(scan);
	return count;
}

/* Where the history of an image is kept; all that were not kept before are empty. */
static History *
history_slot(HeldLog *held, int image)
{
	Size wanted = Max(1024, (Size) held->histories_capacity * 2);

	if (image < held->histories_capacity)
		return &held->histories[image];
	wanted = Min(Max(wanted, (Size) image + 1), INT_MAX);
	held->histories = held->histories == NULL
						  ? MemoryContextAllocHuge(held->builder->working, wanted * sizeof(History))
						  : repalloc_huge(held->histories, wanted * sizeof(History));
	memset(held->histories + held->histories_capacity, 0,
		   (wanted - held->histories_capacity) * sizeof(History));
	held->histories_capacity = (int) wanted;
	return &held->histories[image];
}

static History *
image_history(HeldLog *held, int image)
{
	History *history = history_slot(held, image);
	uint8 image_id[ENTRY_IMAGE_ID_SIZE];
	MemoryContext old;
	int64 *sequences;
	int count;

	if (history->read)
		return history;
	memcpy(image_id, held->builder->answer->image[image].id, ENTRY_IMAGE_ID_SIZE);
	old = MemoryContextSwitchTo(held->builder->working);
	count = list_changes(held, image_id, &sequences);
	history->changes = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(Change));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(held->entry);
		take_change(held, history, image_id, sequences[i]);
		MemoryContextReset(held->entry);
	}
	pfree(sequences);
	MemoryContextSwitchTo(held->builder->working);
	settle_states(held->builder->answer, history);
	MemoryContextSwitchTo(old);
	history->read = true;
	return history;
}

/* How many changes come before an entry. */
static int
changes_before(const History *history, int64 sequence)
{
	int low = 0;
	int high = history->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (history->changes[middle].sequence < sequence)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int
compare_ints(const void *one, const void *other)
{
	int a = *(const int *) one;
	int b = *(const int *) other;

	return a < b ? -1 : a > b;
}

/* Fills in the states that some changes make, each once: of a relation only, or of all.
 * Returns how many. */
static int
collect_states(const History *history, const HeldKey *key, bool all, int *states)
{
	int found = 0;
	int count = 0;

	for (int i = 0; i < key->changes; i++)
		if (all || history->changes[i].relation == key->relation)
			states[found++] = history->changes[i].state;
	qsort(states, found, sizeof(int), compare_ints);
	for (int i = 0; i < found; i++)
		if (count == 0 || states[count - 1] != states[i])
			states[count++] = states[i];
	return count;
}

/* Works out how an image was held. */
static int
held_make(HeldLog *held, int image, const History *history, const HeldKey *key)
{
	ReleasedBuilder *builder = held->builder;
	Released *answer = builder->answer;
	int *states = MemoryContextAllocHuge(builder->context, Max(key->changes, 1) * sizeof(int));
	int count = 0;
	int number = answer->helds++;

	if (key->relation != RELEASED_NONE)
		count = collect_states(history, key, false, states);
	if (count == 0)
		count = collect_states(history, key, true, states);
	builder->helds.count = answer->helds;
	answer->held =
		numbering_grow(&builder->helds, answer->held, sizeof(ReleasedHeld), builder->context);
	answer->held[number] = (ReleasedHeld){.image = image, .states = count, .state = states};
	return number;
}

static void
history_add_key(HeldLog *held, History *history, const HeldKey *key)
{
	if (history->keys == history->keys_capacity)
	{
		history->keys_capacity = history->keys_capacity == 0 ? 1 : history->keys_capacity * 2;
		history->key = history->key == NULL
						   ? MemoryContextAlloc(held->builder->working, sizeof(HeldKey))
						   : repalloc_huge(history->key, history->keys_capacity * sizeof(HeldKey));
	}
	history->key[history->keys++] = *key;
}

int
held_number(HeldLog *held, int image, int relation, int64 sequence)
{
	History *history = image_history(held, image);
	HeldKey key = {.relation = relation, .changes = changes_before(history, sequence)};
	MemoryContext old;

	/* entries come ascending: what was held last is likely held still */
	for (int i = history->keys - 1; i >= 0; i--)
		if (history->key[i].relation == relation && history->key[i].changes == key.changes)
			return history->key[i].number;
	old = MemoryContextSwitchTo(held->builder->working);
	key.number = held_make(held, image, history, &key);
	history_add_key(held, history, &key);
	MemoryContextSwitchTo(old);
	return key.number;
}

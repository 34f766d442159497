/*
 * held.c - looks up which rows held an image when it was released.
 *
 * All changes of an image are read when it is first asked for, from all logs, in the
 * order of their entries, also those behind a release. How it was held is worked out
 * (held_rows.c) once for each number of changes that came before a release and before
 * its statement, and relation that was read.
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
#include "ledger/traced.h"
#include "report/collection.h"
#include "report/held.h"

/* "2026-05-01" */
#define DATE_LENGTH 10

/* How an image was held, as it was looked for. */
typedef struct HeldKey
{
	HeldMoment moment;
	int number; /* in the answer */
} HeldKey;

/* What is known of an image. */
typedef struct History
{
	bool read;
	HeldChanges changes;
	int keys;
	int keys_capacity;
	HeldKey *key; /* how it was held, as far as that has been worked out */
} History;

typedef struct Outcome
{
	uint64 transaction; /* hash key */
	bool aborted;
} Outcome;

/* Of one log. */
typedef struct HeldLog
{
	const LedgerLog *log;
	LedgerReader reader;
	HTAB *outcomes;
	Outcome last_outcome; /* images of a transaction come together */
	bool all_outcomes;	  /* every `aborted` entry has been read */
	/* the statement that was read last */
	int64 statement_sequence;
	bytea *statement_bytes;
	EntryFields statement;
} HeldLog;

struct Held
{
	ReleasedBuilder *builder;
	Snapshot snapshot;
	Relation images; /* biometric.image_entry, and its key */
	Relation images_key;
	MemoryContext entry; /* reset for each entry that is read */
	int logs;
	HeldLog *log;
	History *histories; /* by the numbers of images */
	int histories_capacity;
};

static void
log_begin(Held *held, HeldLog *log, const LedgerLog *of)
{
	HASHCTL outcome = {
		.keysize = sizeof(uint64), .entrysize = sizeof(Outcome), .hcxt = held->builder->working};

	log->log = of;
	log->statement_sequence = -1;
	log->outcomes =
		hash_create("biometric outcomes", 64, &outcome, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (!store_reader_open(&log->reader, of->log_id, held->snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
}

Held *
held_begin(ReleasedBuilder *builder, const List *logs, Snapshot snapshot)
{
	MemoryContext old = MemoryContextSwitchTo(builder->working);
	Held *held = palloc0(sizeof(Held));
	ListCell *cell;

	held->builder = builder;
	held->snapshot = snapshot;
	held->images = store_open("image_entry", AccessShareLock);
	if (held->images == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	held->images_key = store_open_key(held->images);
	held->entry =
		AllocSetContextCreate(builder->working, "biometric held entry", ALLOCSET_DEFAULT_SIZES);
	held->log = palloc0_array(HeldLog, Max(list_length(logs), 1));
	foreach(cell, logs)
		log_begin(held, &held->log[held->logs++], lfirst(cell));
	MemoryContextSwitchTo(old);
	return held;
}

void
held_end(Held *held)
{
	index_close(held->images_key, AccessShareLock);
	table_close(held->images, AccessShareLock);
	for (int i = 0; i < held->logs; i++)
	{
		store_reader_close(&held->log[i].reader);
		hash_destroy(held->log[i].outcomes);
	}
	if (held->histories != NULL)
		pfree(held->histories);
	MemoryContextDelete(held->entry);
}

/* ---- transactions ---- */

static bool
remember_outcome(HeldLog *log, uint64 transaction, bool aborted)
{
	Outcome *outcome = hash_search(log->outcomes, &transaction, HASH_ENTER, NULL);

	outcome->aborted = aborted;
	log->last_outcome = *outcome;
	return aborted;
}

/* Reads every `aborted` entry of the log. */
static void
read_outcomes(const Held *held, HeldLog *log)
{
	const ActivityQuestion question = {
		.from = DT_NOBEGIN, .until = DT_NOEND, .events = 1u << ENTRY_ABORTED};
	MemoryContext old = MemoryContextSwitchTo(held->builder->working);
	ActivityScan *scan = activity_begin(log->log, held->snapshot, &question);
	ActivityEntry entry;

	while (activity_next(scan, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		if (entry.fields.transaction != 0)
			(void) remember_outcome(log, entry.fields.transaction, true);
	}
	activity_end(scan);
	MemoryContextSwitchTo(old);
	log->all_outcomes = true;
}

/*
 * Whether an `aborted` entry names a transaction. What the server itself knows need not be
 * looked up; of another server's transactions it knows nothing.
 */
static bool
is_aborted(const Held *held, HeldLog *log, uint64 transaction)
{
	Outcome *known;

	if (transaction == log->last_outcome.transaction)
		return log->last_outcome.aborted;
	known = hash_search(log->outcomes, &transaction, HASH_FIND, NULL);
	if (known != NULL)
		return known->aborted;
	if (!log->log->restored && !log->all_outcomes)
		switch (follow_outcome(transaction))
		{
			case OUTCOME_COMMITTED:
			case OUTCOME_RUNNING:
				return remember_outcome(log, transaction, false);
			case OUTCOME_ABORTED:
				return remember_outcome(log, transaction, true);
			case OUTCOME_UNKNOWN:
			default:
				break;
		}
	if (!log->all_outcomes)
		read_outcomes(held, log);
	known = hash_search(log->outcomes, &transaction, HASH_FIND, NULL);
	return known != NULL ? known->aborted : remember_outcome(log, transaction, false);
}

/* ---- what entries say */

static bool
read_entry(HeldLog *log, int64 sequence, EntryFields *fields)
{
	bytea *bytes = sequence < 0 ? NULL : store_entry(&log->reader, sequence);

	return bytes != NULL && entry_decode((const uint8_t *) VARDATA_ANY(bytes),
										 VARSIZE_ANY_EXHDR(bytes), fields) == CORE_OK;
}

/* The statement that an entry refers to; NULL: none. Kept, since the entries of a statement come together. */
static const EntryFields *
read_statement(const Held *held, HeldLog *log, int64 sequence)
{
	MemoryContext old;

	if (sequence == log->statement_sequence)
		return log->statement_bytes == NULL ? NULL : &log->statement;
	if (log->statement_bytes != NULL)
		pfree(log->statement_bytes);
	log->statement_sequence = sequence;
	old = MemoryContextSwitchTo(held->builder->working);
	log->statement_bytes = sequence < 0 ? NULL : store_entry(&log->reader, sequence);
	MemoryContextSwitchTo(old);
	if (log->statement_bytes == NULL)
		return NULL;
	if (entry_decode((const uint8_t *) VARDATA_ANY(log->statement_bytes),
					 VARSIZE_ANY_EXHDR(log->statement_bytes), &log->statement) != CORE_OK ||
		log->statement.event != ENTRY_STATEMENT)
	{
		pfree(log->statement_bytes);
		log->statement_bytes = NULL;
		return NULL;
	}
	return &log->statement;
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

/* The number of the relation that a subject is of. */
static int
of_number(ReleasedBuilder *builder, EntryText of)
{
	StringInfoData name;

	initStringInfo(&name);
	collected_unquoted(of, &name);
	return builder_text(builder, (EntryText){.bytes = name.data, .length = name.len}, false);
}

static int
state_number(ReleasedBuilder *builder, int relation, int row, const Collected *collected)
{
	Released *answer = builder->answer;
	ReleasedState state = {.row = row, .of = relation};
	bool known;
	int number;

	state.subject = object_number(builder, collected->subject);
	state.place = object_number(builder, collected->place);
	state.collected_on = builder_text(builder, date_of(collected->time), false);
	state.declared = object_number(builder, collected->declared);
	if (collected->of.bytes != NULL)
		state.of = of_number(builder, collected->of);
	state.person = person_number(builder, state.of, state.subject);
	number = numbering_number(&builder->states, &state, &known);
	if (known)
		return number;
	answer->state =
		numbering_grow(&builder->states, answer->state, sizeof(state), builder->context);
	answer->state[number] = state;
	answer->states = builder->states.count;
	return number;
}

static bool
is_image(const uint8_t *named, const uint8 *image_id)
{
	return named != NULL && memcmp(named, image_id, ENTRY_IMAGE_ID_SIZE) == 0;
}

/*
 * Takes an entry into the history of an image, if it put it into a row for good, or took it
 * out of one that its key tells from others.
 */
static void
take_change(Held *held, int log, HeldChanges *changes, const uint8 *image_id, int64 sequence)
{
	ReleasedBuilder *builder = held->builder;
	HeldLog *of = &held->log[log];
	HeldChange *change = &changes->change[changes->count];
	Collected collected;
	EntryFields fields;
	int relation;

	/* an image that was sealed again is where it was */
	if (!read_entry(of, sequence, &fields) || fields.operation == OPERATION_RESEAL ||
		(fields.event != ENTRY_STORED && fields.event != ENTRY_REPLACED &&
		 fields.event != ENTRY_ERASED && fields.event != ENTRY_PURGED) ||
		(fields.transaction != 0 && is_aborted(held, of, fields.transaction)))
		return;
	change->put = fields.event != ENTRY_ERASED && fields.event != ENTRY_PURGED &&
				  is_image(fields.image_id, image_id);
	if (!change->put && fields.row_key.bytes == NULL)
		return;
	relation = builder_text(builder,
							entry_line(&fields, read_statement(held, of, fields.reference)), false);
	collected_parse(change->put ? fields.collected : (EntryText){0}, &collected);
	change->log = log;
	change->sequence = sequence;
	change->says = !change->put || fields.collected.bytes == NULL ? SAYS_NOTHING
				   : collected.of.bytes != NULL || collected.subject.bytes != NULL ||
						   collected.place.bytes != NULL || collected.time.bytes != NULL
					   ? SAYS_COLLECTED
					   : SAYS_DECLARED;
	change->row = row_number(builder, relation, object_number(builder, fields.row_key));
	change->state = state_number(builder, relation, change->row, &collected);
	changes->count++;
}

/* ---- histories */

/* The numbers of a log's entries that biometric.image_entry leads to, ascending. */
static int
list_changes(const Held *held, const HeldLog *log, const uint8 *image_id, int64 **sequences)
{
	int capacity = 8;
	int count = 0;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;

	*sequences = palloc_array(int64, capacity);
	ScanKeyInit(&keys[0], IMAGE_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) log->log->log_id));
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
history_slot(Held *held, int image)
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

/* Makes room for so many changes more. */
static void
changes_reserve(const Held *held, HeldChanges *changes, int more)
{
	Size size = ((Size) changes->count + more) * sizeof(HeldChange);

	if (more > 0)
		changes->change = changes->change == NULL
							  ? MemoryContextAllocHuge(held->builder->working, size)
							  : repalloc_huge(changes->change, size);
}

/* Reads what one log says of an image. */
static void
read_changes(Held *held, int log, HeldChanges *changes, const uint8 *image_id)
{
	int64 *sequences;
	int count = list_changes(held, &held->log[log], image_id, &sequences);

	changes_reserve(held, changes, count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(held->entry);
		take_change(held, log, changes, image_id, sequences[i]);
		MemoryContextReset(held->entry);
	}
	MemoryContextSwitchTo(held->builder->working);
	pfree(sequences);
}

static History *
image_history(Held *held, int image)
{
	History *history = history_slot(held, image);
	uint8 image_id[ENTRY_IMAGE_ID_SIZE];
	MemoryContext old;

	if (history->read)
		return history;
	memcpy(image_id, held->builder->answer->image[image].id, ENTRY_IMAGE_ID_SIZE);
	old = MemoryContextSwitchTo(held->builder->working);
	for (int log = 0; log < held->logs; log++)
		read_changes(held, log, &history->changes, image_id);
	held_sort(&history->changes);
	MemoryContextSwitchTo(old);
	history->read = true;
	return history;
}

static void
history_add_key(const Held *held, History *history, const HeldKey *key)
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

/* Works out how an image was held. */
static int
held_make(const Held *held, int image, const HeldChanges *changes, const HeldMoment *moment)
{
	ReleasedBuilder *builder = held->builder;
	Released *answer = builder->answer;
	ReleasedHeld made = {.image = image};
	int number = answer->helds++;

	made.state = MemoryContextAllocHuge(builder->context, Max(changes->count, 1) * sizeof(int));
	made.states = held_choose(answer, changes, moment, made.state);
	builder->helds.count = answer->helds;
	answer->held =
		numbering_grow(&builder->helds, answer->held, sizeof(ReleasedHeld), builder->context);
	answer->held[number] = made;
	return number;
}

int
held_number(Held *held, int image, const HeldRelease *release)
{
	History *history = image_history(held, image);
	const HeldChanges *changes = &history->changes;
	HeldKey key = {.moment = {.relation = release->relation,
							  .below = held_below(changes, release->log, release->sequence),
							  .begun = held_below(changes, release->log, release->statement)}};
	MemoryContext old;

	/* entries come ascending: what was held last is likely held still */
	for (int i = history->keys - 1; i >= 0; i--)
		if (history->key[i].moment.relation == key.moment.relation &&
			history->key[i].moment.below == key.moment.below &&
			history->key[i].moment.begun == key.moment.begun)
			return history->key[i].number;
	old = MemoryContextSwitchTo(held->builder->working);
	key.number = held_make(held, image, changes, &key.moment);
	history_add_key(held, history, &key);
	MemoryContextSwitchTo(old);
	return key.number;
}

/* ---- what was detached */

typedef struct LostImages
{
	const ReleasedBuilder *builder;
	int64 first; /* entries before it were detached */
	bool *lost;	 /* by the numbers of images */
	int64 count;
} LostImages;

static void
take_lost(const TracedImage *image, void *context)
{
	LostImages *lost = context;
	int number = image->sequence < lost->first
					 ? numbering_find(&lost->builder->images, image->image_id)
					 : RELEASED_NONE;

	if (number < 0 || lost->lost[number])
		return;
	lost->lost[number] = true;
	lost->count++;
}

int64
held_count_lost(Held *held)
{
	LostImages lost = {.builder = held->builder};

	lost.lost = MemoryContextAllocExtended(held->builder->working,
										   Max(held->builder->answer->images, 1) * sizeof(bool),
										   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < held->logs; i++)
	{
		lost.first = store_first(&held->log[i].reader);
		if (lost.first > 0 && held->builder->answer->images > 0)
			traced_images(held->log[i].log, held->snapshot, take_lost, &lost);
	}
	return lost.count;
}

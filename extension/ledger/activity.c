/*
 * activity.c - the entries of one party, block by block.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ledger/activity.h"
#include "ledger/derived.h"
#include "ledger/encoding.h"

#define DISCLOSURES ((uint32) 1 << ENTRY_DISCLOSED | (uint32) 1 << ENTRY_OBSERVED)
#define INTRODUCTIONS ((uint32) 1 << ENTRY_SESSION | (uint32) 1 << ENTRY_STATEMENT)

struct ActivityScan
{
	MemoryContext context; /* of all of it */
	MemoryContext chunk;   /* of the entries of one block */
	ActivityQuestion question;
	LedgerReader reader;
	Resolver *resolver;
	int64 first; /* entries before it were detached */
	int64 size;
	int64 detached;

	/* The full blocks that may have an answer, ascending; NULL: all of them. */
	int64 *blocks;
	int count;
	int capacity;
	int at;

	int64 next;		   /* the block to read after those; also the next one when blocks is NULL */
	int64 end;		   /* entries from this number on are not looked at */
	int read;		   /* how many blocks were */
	int64 entry_first; /* number of the first of the entries that were read */
	int entry_count;
	int entry_at;
	bytea *entries[ACTIVITY_BLOCK];

	/* What the answer points to. */
	int64 party_of; /* number of a session, -1 for none, of which is known: */
	bool is_party;
	EntryFields own;
};

List *
activity_logs(Snapshot snapshot)
{
	List *logs = NIL;
	ListCell *cell;

	foreach(cell, store_restored_logs(snapshot))
		if (((LedgerLog *) lfirst(cell))->adopted)
			logs = lappend(logs, lfirst(cell));
	return list_concat(logs, store_logs(snapshot));
}

/* Whether a row of biometric.activity may have an answer; if so, how many at most. */
static int
row_may_answer(const ActivityQuestion *question, const DerivedActivity *row)
{
	bool disclosures = question->events != 0 && (question->events & ~DISCLOSURES) == 0;

	if (row->last_at < question->from || row->first_at >= question->until)
		return 0;
	return disclosures ? row->disclosures : row->entries;
}

/* Takes a row of the party: its block, or what was detached with it. */
static void
take_row(int64 block, const DerivedActivity *row, void *context)
{
	ActivityScan *scan = context;
	int answers = row_may_answer(&scan->question, row);

	if (answers == 0)
		return;
	if (block < scan->first / ACTIVITY_BLOCK)
	{
		scan->detached += answers;
		if (scan->question.detached != NULL)
			scan->question.detached(answers, row->last_at, scan->question.context);
		return;
	}
	/* several logins of one party, one row each; rows that belong to nothing lead nowhere */
	if (scan->question.party == NULL || block >= scan->size / ACTIVITY_BLOCK ||
		(scan->count > 0 && scan->blocks[scan->count - 1] == block))
		return;
	if (scan->count == scan->capacity)
	{
		scan->capacity *= 2;
		scan->blocks = repalloc_huge(scan->blocks, scan->capacity * sizeof(int64));
	}
	scan->blocks[scan->count++] = block;
}

ActivityScan *
activity_begin(const LedgerLog *log, Snapshot snapshot, const ActivityQuestion *question)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "biometric activity scan",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	ActivityScan *scan = palloc0(sizeof(ActivityScan));

	scan->context = context;
	scan->chunk =
		AllocSetContextCreate(context, "biometric activity block", ALLOCSET_DEFAULT_SIZES);
	scan->question = *question;
	scan->party_of = -1;
	if (!store_reader_open(&scan->reader, log->log_id, snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing"),
						errhint("Create the extension again, and restore a dump.")));
	scan->resolver = resolver_make(scan->reader.segment_size, resolver_read, &scan->reader);
	scan->first = store_first(&scan->reader);
	scan->size = store_size(&scan->reader);
	scan->end = question->end > 0 ? Min(question->end, scan->size) : scan->size;
	scan->next = Max(scan->first, question->first) / ACTIVITY_BLOCK;
	if (question->party != NULL)
	{
		scan->question.party = encoding_recorded(question->party);
		scan->capacity = 64;
		scan->blocks = palloc(scan->capacity * sizeof(int64));
		/* behind the full blocks, whatever is there may be the party's */
		scan->next = Max(scan->next, scan->size / ACTIVITY_BLOCK);
	}
	if (question->party != NULL || scan->first > 0)
		derived_activity(&scan->reader, scan->question.party, question->first / ACTIVITY_BLOCK,
						 question->end > 0 ? (question->end - 1) / ACTIVITY_BLOCK : PG_INT64_MAX,
						 take_row, scan);
	MemoryContextSwitchTo(old);
	return scan;
}

/* The number of the first entry of the next block that may have an answer. */
static int64
next_block_first(const ActivityScan *scan)
{
	return (scan->at < scan->count ? scan->blocks[scan->at] : scan->next) * ACTIVITY_BLOCK;
}

/* Reads the next block; false when there is none, or when enough were read. */
static bool
read_block(ActivityScan *scan)
{
	int64 first = next_block_first(scan);
	MemoryContext old;

	scan->entry_at = scan->entry_count = 0;
	if (first >= scan->end || (scan->question.blocks > 0 && scan->read >= scan->question.blocks))
		return false;
	if (scan->at < scan->count)
		scan->at++;
	else
		scan->next++;
	scan->read++;
	CHECK_FOR_INTERRUPTS();
	MemoryContextReset(scan->chunk);
	old = MemoryContextSwitchTo(scan->chunk);
	scan->entry_first = first;
	scan->entry_count = store_entries(
		&scan->reader, first, (int) Min(scan->size - first, (int64) ACTIVITY_BLOCK), scan->entries);
	MemoryContextSwitchTo(old);
	if (scan->entry_count < Min(scan->size - first, ACTIVITY_BLOCK))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("entry " INT64_FORMAT " of the ledger is missing",
							   first + scan->entry_count),
						errhint("biometric.verify_ledger() says what else has changed.")));
	return true;
}

bool
activity_is_party(const EntryFields *session, const char *party)
{
	char *its = derive_name(session->party);
	bool same = strcmp(its, party) == 0;

	pfree(its);
	return same;
}

/* Whether an entry is of a session of the party that was asked for. */
static bool
is_of_party(ActivityScan *scan, const Resolved *resolved)
{
	if (scan->question.party == NULL)
		return true;
	if (resolved->session == NULL)
		return false;
	if (scan->party_of != resolved->session_sequence)
	{
		scan->is_party = activity_is_party(resolved->session, scan->question.party);
		scan->party_of = resolved->session_sequence;
	}
	return scan->is_party;
}

/* Whether an entry is what was asked for, leaving aside whose it is. */
static bool
is_wanted(const ActivityQuestion *question, const EntryFields *fields)
{
	TimestampTz at = derive_at(fields);
	uint32 bit = (uint32) 1 << fields->event;

	if (at < question->from || at >= question->until)
		return false;
	if ((bit & INTRODUCTIONS) != 0)
		return question->party == NULL && (question->events & bit) != 0;
	return question->events == 0 || (question->events & bit) != 0;
}

/* Looks at an entry that was read; false when it is not what was asked for. */
static bool
take_entry(ActivityScan *scan, int at, ActivityEntry *entry)
{
	const bytea *bytes = scan->entries[at];
	const uint8 *data = (const uint8 *) VARDATA(bytes);
	Size length = VARSIZE(bytes) - VARHDRSZ;
	Resolved resolved;

	/* what cannot be read is verification's to report */
	if (entry_decode(data, length, &scan->own) != CORE_OK)
		return false;
	entry->sequence = scan->entry_first + at;
	resolver_note(scan->resolver, entry->sequence, &scan->own, data, length);
	if (entry->sequence < scan->question.first || entry->sequence >= scan->end ||
		!is_wanted(&scan->question, &scan->own))
		return false;
	resolver_find(scan->resolver, entry->sequence, &scan->own, &resolved);
	if (!is_of_party(scan, &resolved))
		return false;
	entry->at = derive_at(&scan->own);
	entry->fields = scan->own;
	entry->statement = resolved.statement;
	entry->session = resolved.session;
	return true;
}

bool
activity_next(ActivityScan *scan, ActivityEntry *entry)
{
	MemoryContext old = MemoryContextSwitchTo(scan->context);
	bool found = false;

	do
	{
		while (!found && scan->entry_at < scan->entry_count)
			found = take_entry(scan, scan->entry_at++, entry);
	} while (!found && read_block(scan));
	MemoryContextSwitchTo(old);
	return found;
}

int64
activity_detached(const ActivityScan *scan)
{
	return scan->detached;
}

int64
activity_reached(const ActivityScan *scan)
{
	return Max(scan->question.first, Min(next_block_first(scan), scan->end));
}

int64
activity_size(const ActivityScan *scan)
{
	return scan->size;
}

void
activity_end(ActivityScan *scan)
{
	store_reader_close(&scan->reader);
	MemoryContextDelete(scan->context);
}

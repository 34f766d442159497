/*
 * verify_derived.c - are the rows of biometric.activity and biometric.traced
 * those that the entries make?
 *
 * Blocks are derived once more while the heaps of entries are read, which
 * nearly always have them in order. The others, and those that refer to what
 * is no longer kept, are read by their keys afterwards, when every entry is known
 * to be there and readable. As with biometric.image_entry, every row that the entries call
 * for adds a number to its block, every row that is there takes one away: a
 * block that agrees ends at zero. Rows of blocks that were detached have nothing
 * to be compared with.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "ledger/derive.h"
#include "ledger/verify.h"

struct VerifyDerived
{
	DerivedBlock *block;
	Resolver *resolver;
	int64 next;		  /* the entry by which the block goes on; -1: there is no block */
	bool by_key;	  /* the heaps were read: entries may be looked up */
	bool missed;	  /* one was not, although it was asked for */
	uint64 *done;	  /* a bit a block: it was derived */
	uint64 *activity; /* a sum for each block: 0 where the rows agree */
	uint64 *traced;
	int64 blocks;		  /* up to seen_limit */
	int64 stray_activity; /* rows of blocks that are not there, or not full */
	int64 stray_traced;
	StringInfoData row; /* what a number is made from */
};

static void *
zeroed(int64 count)
{
	return palloc_extended((Size) count * sizeof(uint64), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

/* A ResolveRead whose context is a LogCheck. */
static bytea *
read_referred(int64 sequence, void *context)
{
	LogCheck *check = context;

	if (check->derived->by_key)
		return resolver_read(sequence, &check->reader);
	check->derived->missed = true;
	return NULL;
}

void
verify_derived_begin(LogCheck *check)
{
	VerifyDerived *derived = palloc0(sizeof(VerifyDerived));

	derived->blocks = check->seen_limit / ACTIVITY_BLOCK + 1;
	derived->done = zeroed(derived->blocks / 64 + 1);
	derived->activity = zeroed(derived->blocks);
	derived->traced = zeroed(derived->blocks);
	derived->block = derive_make();
	derived->resolver = resolver_make(check->reader.segment_size, read_referred, check);
	derived->next = -1;
	initStringInfo(&derived->row);
	check->derived = derived;
}

/* ---- Numbers */

static void
put_text(StringInfo row, const char *text, Size length)
{
	appendBinaryStringInfo(row, (const char *) &length, sizeof(length));
	appendBinaryStringInfo(row, text, (int) length);
}

static uint64
number_of(LogCheck *check)
{
	StringInfo row = &check->derived->row;

	return hash_bytes_extended((const unsigned char *) row->data, row->len, check->image_seed);
}

static uint64
number_of_activity(LogCheck *check, int64 block, const DerivedActivity *activity)
{
	StringInfo row = &check->derived->row;

	resetStringInfo(row);
	appendBinaryStringInfo(row, (const char *) &block, sizeof(block));
	appendBinaryStringInfo(row, (const char *) &activity->entries, sizeof(activity->entries));
	appendBinaryStringInfo(row, (const char *) &activity->disclosures,
						   sizeof(activity->disclosures));
	appendBinaryStringInfo(row, (const char *) &activity->first_at, sizeof(activity->first_at));
	appendBinaryStringInfo(row, (const char *) &activity->last_at, sizeof(activity->last_at));
	put_text(row, activity->party, strlen(activity->party));
	put_text(row, activity->user, strlen(activity->user));
	return number_of(check);
}

static uint64
number_of_traced(LogCheck *check, int64 block, const void *stored, Size stored_size,
				 const void *disclosed, Size disclosed_size)
{
	StringInfo row = &check->derived->row;

	resetStringInfo(row);
	appendBinaryStringInfo(row, (const char *) &block, sizeof(block));
	put_text(row, stored, stored_size);
	put_text(row, disclosed, disclosed_size);
	return number_of(check);
}

/* ---- What the entries call for */

/* Counts what a block that is full calls for. */
static void
finish_block(LogCheck *check)
{
	VerifyDerived *derived = check->derived;
	const DerivedBlock *block = derived->block;

	for (int i = 0; i < block->rows; i++)
		derived->activity[block->block] +=
			number_of_activity(check, block->block, &block->activity[i]);
	if (block->stored_size > 0 || block->disclosed_size > 0)
		derived->traced[block->block] +=
			number_of_traced(check, block->block, block->stored, block->stored_size,
							 block->disclosed, block->disclosed_size);
	derived->done[block->block / 64] |= UINT64CONST(1) << (block->block % 64);
}

void
verify_derived_of_entry(LogCheck *check, int64 sequence, const EntryFields *fields,
						const uint8 *bytes, Size length)
{
	VerifyDerived *derived = check->derived;

	/* then nothing is compared */
	if (check->problem != NULL)
		return;
	if (sequence % ACTIVITY_BLOCK == 0)
		derive_begin(derived->block, sequence / ACTIVITY_BLOCK);
	else if (sequence != derived->next)
	{
		resolver_note(derived->resolver, sequence, fields, bytes, length);
		derived->next = -1;
		return;
	}
	derived->missed = false;
	derive_add(derived->block, derived->resolver, fields, bytes, length);
	derived->next = derived->missed ? -1 : sequence + 1;
	if (!derived->missed && derived->block->next == ACTIVITY_BLOCK)
	{
		finish_block(check);
		derived->next = -1;
	}
}

/* Derives a block from the entries that its keys lead to. */
static void
derive_by_key(LogCheck *check, int64 number)
{
	DerivedBlock *block = check->derived->block;
	bytea *entries[ACTIVITY_BLOCK];
	int count = store_entries(&check->reader, number * ACTIVITY_BLOCK, ACTIVITY_BLOCK, entries);

	derive_begin(block, number);
	for (int i = 0; i < count; i++)
	{
		const uint8 *bytes = (const uint8 *) VARDATA(entries[i]);
		Size length = VARSIZE(entries[i]) - VARHDRSZ;
		EntryFields fields;
		bool readable = entry_decode(bytes, length, &fields) == CORE_OK;

		derive_add(block, check->derived->resolver, readable ? &fields : NULL, bytes, length);
	}
	if (count == ACTIVITY_BLOCK)
		finish_block(check);
	else
		verify_problem(check, number * ACTIVITY_BLOCK + count,
					   "entry " INT64_FORMAT ": its key does not lead to it",
					   number * ACTIVITY_BLOCK + count);
}

/* ---- What is there */

/* A value as it is when it is stored in line; NULL, with a problem noted, when that fails. */
static struct varlena *
plain_value(LogCheck *check, int64 block, const char *table, Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	char what[80];

	if (!VARATT_IS_EXTERNAL(stored) && !VARATT_IS_COMPRESSED(stored))
		return stored;
	snprintf(what, sizeof(what), "the row of biometric.%s for block " INT64_FORMAT, table, block);
	return verify_fetch(check, Min(Max(block, 0) * ACTIVITY_BLOCK, check->size), what, value);
}

/* Whether a block may have rows that are compared; counts those that may have none. */
static bool
is_compared(LogCheck *check, int64 block, int64 *stray)
{
	/* none of those that were detached */
	if (block >= 0 && block < check->first / ACTIVITY_BLOCK)
		return false;
	if (block >= 0 && block < check->derived->blocks)
		return true;
	(*stray)++;
	return false;
}

void
verify_activity_row(LogCheck *check, const Datum *values)
{
	VerifyDerived *derived = check->derived;
	int64 block = DatumGetInt64(values[ACTIVITY_COL_BLOCK - 1]);
	struct varlena *party;
	struct varlena *user;
	DerivedActivity row;

	if (!is_compared(check, block, &derived->stray_activity))
		return;
	party = plain_value(check, block, "activity", values[ACTIVITY_COL_PARTY - 1]);
	user = plain_value(check, block, "activity", values[ACTIVITY_COL_USER - 1]);
	if (party == NULL || user == NULL)
		return;
	row.party = text_to_cstring((text *) party);
	row.user = text_to_cstring((text *) user);
	row.entries = DatumGetInt32(values[ACTIVITY_COL_ENTRIES - 1]);
	row.disclosures = DatumGetInt32(values[ACTIVITY_COL_DISCLOSURES - 1]);
	row.first_at = DatumGetTimestampTz(values[ACTIVITY_COL_FIRST_AT - 1]);
	row.last_at = DatumGetTimestampTz(values[ACTIVITY_COL_LAST_AT - 1]);
	derived->activity[block] -= number_of_activity(check, block, &row);
	pfree((char *) row.party);
	pfree((char *) row.user);
}

void
verify_traced_row(LogCheck *check, const Datum *values)
{
	VerifyDerived *derived = check->derived;
	int64 block = DatumGetInt64(values[TRACED_COL_BLOCK - 1]);
	struct varlena *stored;
	struct varlena *disclosed;

	if (!is_compared(check, block, &derived->stray_traced))
		return;
	stored = plain_value(check, block, "traced", values[TRACED_COL_STORED - 1]);
	disclosed = plain_value(check, block, "traced", values[TRACED_COL_DISCLOSED - 1]);
	if (stored == NULL || disclosed == NULL)
		return;
	derived->traced[block] -=
		number_of_traced(check, block, VARDATA_ANY(stored), VARSIZE_ANY_EXHDR(stored),
						 VARDATA_ANY(disclosed), VARSIZE_ANY_EXHDR(disclosed));
	if ((Pointer) stored != DatumGetPointer(values[TRACED_COL_STORED - 1]))
		pfree(stored);
	if ((Pointer) disclosed != DatumGetPointer(values[TRACED_COL_DISCLOSED - 1]))
		pfree(disclosed);
}

/* ---- Whether both agree */

static void
compare_blocks(LogCheck *check, const uint64 *sums, const char *table)
{
	for (int64 block = 0; block < check->derived->blocks; block++)
		if (sums[block] != 0)
		{
			verify_problem(check, block * ACTIVITY_BLOCK,
						   "entries " INT64_FORMAT " to " INT64_FORMAT
						   ": the rows of biometric.%s are not those that they make",
						   block * ACTIVITY_BLOCK, (block + 1) * ACTIVITY_BLOCK - 1, table);
			return;
		}
}

static void
report_stray(LogCheck *check, int64 rows, const char *table)
{
	if (rows > 0)
		verify_problem(check, check->size,
					   "biometric.%s has " INT64_FORMAT
					   " rows of entries that the log does not have",
					   table, rows);
}

void
verify_derived(LogCheck *check)
{
	VerifyDerived *derived = check->derived;
	int64 full = Max(check->size, check->highest + 1) / ACTIVITY_BLOCK;
	MemoryContext chunk;

	/* An entry that is wrong says more than that the rows made of it are, too. */
	if (check->problem != NULL)
		return;
	chunk = AllocSetContextCreate(CurrentMemoryContext, "biometric block", ALLOCSET_DEFAULT_SIZES);
	derived->by_key = true;
	for (int64 block = check->first / ACTIVITY_BLOCK; block < full; block++)
	{
		MemoryContext old;

		if ((derived->done[block / 64] >> (block % 64) & 1) != 0)
			continue;
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(chunk);
		derive_by_key(check, block);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
		if (check->problem != NULL)
			break;
	}
	MemoryContextDelete(chunk);
	compare_blocks(check, derived->activity, "activity");
	compare_blocks(check, derived->traced, "traced");
	report_stray(check, derived->stray_activity, "activity");
	report_stray(check, derived->stray_traced, "traced");
	resolver_free(derived->resolver);
}

/*
 * verify_entries.c - the entries of a log, one row after another, are put
 * together to groups, each of which has one hash in the tree.
 *
 * Rows come in the order of the heap, which is nearly always that of their
 * numbers: a group that is not complete when another one begins is put aside.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "core/entry.h"
#include "ledger/verify.h"

void
verify_problem(LogCheck *check, int64 at, const char *format, ...)
{
	char text[512];
	va_list args;

	if (check->problem != NULL && check->problem_at <= at)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (check->problem != NULL)
		pfree(check->problem);
	check->problem = pstrdup(text);
	check->problem_at = at;
}

static void *
zeroed(Size size)
{
	return palloc_extended(Max(size, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void
verify_entries_begin(LogCheck *check)
{
	int64 groups = check->size / MERKLE_TILE_WIDTH;

	check->highest = -1;
	check->seen = zeroed((check->seen_limit / 64 + 1) * sizeof(uint64));
	check->groups = zeroed(groups * sizeof(MerkleHash));
	check->complete = zeroed((groups / 64 + 1) * sizeof(uint64));
	check->current.index = -1;
	verify_images_begin(check);
	verify_derived_begin(check);
}

static HTAB *
make_table(const char *name, Size entry_size)
{
	HASHCTL control = {.keysize = sizeof(int64), .entrysize = entry_size};

	control.hcxt = CurrentMemoryContext;
	return hash_create(name, 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Notes that an entry's row was found; false when it must not be there (again). */
static bool
note_entry(LogCheck *check, int slice, int64 sequence)
{
	uint64 bit;

	check->highest = Max(check->highest, sequence);
	if (sequence < check->first || sequence >= check->seen_limit ||
		(sequence >= check->size && check->edge == NULL && check->root_known))
	{
		/* The gap that such a row may have left says more. */
		verify_problem(check, sequence < 0 ? check->size : sequence,
					   "entry " INT64_FORMAT ": is not part of the ledger", sequence);
		return false;
	}
	if (store_slice(check->reader.segment_size, sequence) != slice)
	{
		verify_problem(check, sequence,
					   "entry " INT64_FORMAT ": is in table entry_%02d, where it does not belong",
					   sequence, slice);
		return false;
	}
	bit = UINT64CONST(1) << (sequence % 64);
	if ((check->seen[sequence / 64] & bit) != 0)
	{
		verify_problem(check, sequence, "entry " INT64_FORMAT ": has more than one row", sequence);
		return false;
	}
	check->seen[sequence / 64] |= bit;
	return true;
}

struct varlena *
verify_fetch(LogCheck *check, int64 at, const char *what, Datum value)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	struct varlena *volatile fetched = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		fetched = PG_DETOAST_DATUM_PACKED(value);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* A cancelled verification has verified nothing. */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		verify_problem(check, at, "%s: cannot be read: %s", what, error->message);
		fetched = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return fetched;
}

/* Fetches an entry that is stored out of line; NULL, with a problem noted, when that fails. */
static bytea *
fetch_toasted(LogCheck *check, int64 sequence, Datum value)
{
	char what[40];

	snprintf(what, sizeof(what), "entry " INT64_FORMAT, sequence);
	return verify_fetch(check, sequence, what, value);
}

/* Makes a group the current one; that which was is put aside, unless it is complete. */
static void
turn_to_group(LogCheck *check, int64 index)
{
	VerifyGroup *current = &check->current;
	VerifyGroup *aside;

	if (current->index >= 0)
	{
		if (check->incomplete == NULL)
			check->incomplete =
				make_table("biometric incomplete groups of entries", sizeof(VerifyGroup));
		aside = hash_search(check->incomplete, &current->index, HASH_ENTER, NULL);
		memcpy(aside, current, sizeof(*aside));
	}
	aside =
		check->incomplete == NULL ? NULL : hash_search(check->incomplete, &index, HASH_FIND, NULL);
	if (aside != NULL)
	{
		memcpy(current, aside, sizeof(*current));
		hash_search(check->incomplete, &index, HASH_REMOVE, NULL);
		return;
	}
	current->index = index;
	current->found = 0;
}

/* Puts a leaf into its group, and computes the group's hash when it was the last. */
static void
add_leaf(LogCheck *check, int64 sequence, const MerkleHash *leaf)
{
	VerifyGroup *group = &check->current;
	int64 index = sequence / MERKLE_TILE_WIDTH;
	int place = (int) (sequence % MERKLE_TILE_WIDTH);

	if (group->index != index)
		turn_to_group(check, index);
	group->leaves[place] = *leaf;
	group->found |= (uint32) 1 << place;
	if (group->found != PG_UINT32_MAX)
		return;
	merkle_perfect(group->leaves, MERKLE_TILE_WIDTH, &check->groups[index]);
	check->complete[index / 64] |= UINT64CONST(1) << (index % 64);
	group->index = -1;
}

/* Remembers that an entry's leaf_hint is not that of its bytes. */
static void
doubt(LogCheck *check, int64 sequence)
{
	int64 index = sequence / MERKLE_TILE_WIDTH;
	VerifyDoubt *doubted;
	bool found;

	if (check->doubted == NULL)
		check->doubted = make_table("biometric doubted entries", sizeof(VerifyDoubt));
	doubted = hash_search(check->doubted, &index, HASH_ENTER, &found);
	if (!found)
		doubted->entries = 0;
	doubted->entries |= (uint32) 1 << (sequence % MERKLE_TILE_WIDTH);
}

void
verify_entry(LogCheck *check, int slice, int64 sequence, int32 hint, Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	bool extended = VARATT_IS_EXTERNAL(stored) || VARATT_IS_COMPRESSED(stored);
	EntryFields fields;
	MerkleHash leaf;
	bytea *entry;

	if (!note_entry(check, slice, sequence))
		return;
	entry = extended ? fetch_toasted(check, sequence, value) : stored;
	if (entry == NULL)
		return;
	merkle_leaf(VARDATA_ANY(entry), VARSIZE_ANY_EXHDR(entry), &leaf);
	if (sequence < check->size)
		add_leaf(check, sequence, &leaf);
	if (hint != store_leaf_hint(sequence, &leaf))
		doubt(check, sequence);
	if (entry_decode((const uint8_t *) VARDATA_ANY(entry), VARSIZE_ANY_EXHDR(entry), &fields) !=
		CORE_OK)
		verify_problem(check, sequence, "entry " INT64_FORMAT ": its bytes are not an entry",
					   sequence);
	else
	{
		verify_images_of_entry(check, sequence, &fields);
		verify_derived_of_entry(check, sequence, &fields, (const uint8 *) VARDATA_ANY(entry),
								VARSIZE_ANY_EXHDR(entry));
		verify_notice(check, sequence, &fields);
	}
	if (extended)
		pfree(entry);
}

const MerkleHash *
verify_group(const LogCheck *check, int64 index)
{
	return (check->complete[index / 64] >> (index % 64) & 1) != 0 ? &check->groups[index] : NULL;
}

const VerifyGroup *
verify_leaves(const LogCheck *check, int64 index)
{
	if (check->current.index == index)
		return &check->current;
	return check->incomplete == NULL ? NULL
									 : hash_search(check->incomplete, &index, HASH_FIND, NULL);
}

void
verify_missing(LogCheck *check, int64 size)
{
	for (int64 sequence = check->first; sequence < size;)
	{
		uint64 word = check->seen[sequence / 64] >> (sequence % 64);

		if (sequence % 64 == 0 && word == PG_UINT64_MAX)
			sequence += 64;
		else if ((word & 1) != 0)
			sequence++;
		else
		{
			verify_problem(check, sequence, "entry " INT64_FORMAT ": is missing", sequence);
			return;
		}
	}
}

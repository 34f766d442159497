/*
 * held_rows.c - decides which rows held an image when it was released.
 *
 * The rows are those that an entry below the release put the image into. Three sets of
 * them are tried, each within the next: those of the relation that was read, of which no
 * entry below the statement says that they were rid of the image; all of that kind; all.
 * The first counts that has what the best row has: somebody's name, or else a key. So
 * no row hides another that tells more, and none that is gone counts without need.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "report/held.h"

/* What can be told of a row; the more, the better. */
typedef enum RowTells
{
	TELLS_NOTHING,
	TELLS_KEY,
	TELLS_SUBJECT
} RowTells;

/* The sets, each within the next. */
typedef enum RowSet
{
	SET_READ,
	SET_LEFT,
	SET_ALL
} RowSet;

/* A row that an image was put into before a release. */
typedef struct HeldRow
{
	int state;
	RowSet set; /* the smallest that it is in */
	RowTells tells;
} HeldRow;

/* A change, on the way to those of the same row. */
typedef struct RowChange
{
	int row;
	int number;
} RowChange;

static int
compare_row_changes(const void *one, const void *other)
{
	const RowChange *a = one;
	const RowChange *b = other;

	if (a->row != b->row)
		return a->row < b->row ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

void
held_sort(HeldChanges *changes)
{
	RowChange *sorted;

	if (changes->count == 0)
		return;
	sorted = MemoryContextAllocHuge(CurrentMemoryContext, changes->count * sizeof(RowChange));
	changes->by_row = MemoryContextAllocHuge(CurrentMemoryContext, changes->count * sizeof(int));
	for (int i = 0; i < changes->count; i++)
		sorted[i] = (RowChange){.row = changes->change[i].row, .number = i};
	if (changes->count > 1)
		qsort(sorted, changes->count, sizeof(RowChange), compare_row_changes);
	for (int i = 0; i < changes->count; i++)
		changes->by_row[i] = sorted[i].number;
	pfree(sorted);
}

int
held_below(const HeldChanges *changes, int log, int64 sequence)
{
	int low = 0;
	int high = changes->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		const HeldChange *change = &changes->change[middle];

		if (change->log < log || (change->log == log && change->sequence < sequence))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * What is known of a row by its changes: what the latest below the release says was collected,
 * else the first behind it; those that say the most count. Returns its state; RELEASED_NONE when
 * none puts the image into it.
 */
static int
row_state(const HeldChanges *changes, const int *of_row, int count, int below)
{
	int before[SAYS_LAST + 1] = {RELEASED_NONE, RELEASED_NONE, RELEASED_NONE};
	int behind[SAYS_LAST + 1] = {RELEASED_NONE, RELEASED_NONE, RELEASED_NONE};

	for (int i = 0; i < count; i++)
	{
		const HeldChange *change = &changes->change[of_row[i]];

		if (!change->put)
			continue;
		if (of_row[i] < below)
			before[change->says] = change->state;
		else if (behind[change->says] == RELEASED_NONE)
			behind[change->says] = change->state;
	}
	for (int says = SAYS_LAST; says >= SAYS_NOTHING; says--)
		if (before[says] != RELEASED_NONE || behind[says] != RELEASED_NONE)
			return before[says] != RELEASED_NONE ? before[says] : behind[says];
	return RELEASED_NONE;
}

/* Whether the image was put into a row before the release; left: and was still in it. */
static bool
row_held(const HeldChanges *changes, const int *of_row, int count, const HeldMoment *moment,
		 bool *left)
{
	bool put = false;

	*left = false;
	for (int i = 0; i < count && of_row[i] < moment->below; i++)
	{
		if (changes->change[of_row[i]].put)
			put = *left = true;
		/* what was taken out while the statement ran, it may have read before */
		else if (of_row[i] < moment->begun)
			*left = false;
	}
	return put;
}

static RowTells
row_tells(const Released *answer, const ReleasedState *state)
{
	if (state->subject != RELEASED_NONE)
		return TELLS_SUBJECT;
	return answer->row[state->row].key != RELEASED_NONE ? TELLS_KEY : TELLS_NOTHING;
}

/* How many of the changes by rows, from one on, are of the same row. */
static int
same_row(const HeldChanges *changes, int first)
{
	int row = changes->change[changes->by_row[first]].row;
	int end = first;

	while (end < changes->count && changes->change[changes->by_row[end]].row == row)
		end++;
	return end - first;
}

/* Lists the rows that the image was put into before the release. */
static int
list_rows(const Released *answer, const HeldChanges *changes, const HeldMoment *moment,
		  HeldRow *rows)
{
	int found = 0;
	int count;

	for (int at = 0; at < changes->count; at += count)
	{
		const int *of_row = changes->by_row + at;
		const ReleasedState *state;
		HeldRow *row = &rows[found];
		bool left;

		count = same_row(changes, at);
		if (!row_held(changes, of_row, count, moment, &left))
			continue;
		row->state = row_state(changes, of_row, count, moment->below);
		state = &answer->state[row->state];
		row->tells = row_tells(answer, state);
		row->set = SET_ALL;
		if (left)
			row->set = moment->relation != RELEASED_NONE &&
							   answer->row[state->row].relation == moment->relation
						   ? SET_READ
						   : SET_LEFT;
		found++;
	}
	return found;
}

/*
 * The row that an image was put into first, which was released before that was on record:
 * entries of changes come when their transaction ends. Returns how many, 1 or 0.
 */
static int
first_row(const HeldChanges *changes, int *state)
{
	int first = 0;
	int at = 0;

	while (first < changes->count && !changes->change[first].put)
		first++;
	if (first == changes->count)
		return 0;
	while (changes->change[changes->by_row[at]].row != changes->change[first].row)
		at++;
	*state = row_state(changes, changes->by_row + at, same_row(changes, at), 0);
	return 1;
}

static int
compare_ints(const void *one, const void *other)
{
	int a = *(const int *) one;
	int b = *(const int *) other;

	return a < b ? -1 : a > b;
}

int
held_choose(const Released *answer, const HeldChanges *changes, const HeldMoment *moment,
			int *state)
{
	HeldRow *rows =
		MemoryContextAllocHuge(CurrentMemoryContext, Max(changes->count, 1) * sizeof(HeldRow));
	int found = list_rows(answer, changes, moment, rows);
	RowTells best = TELLS_NOTHING;
	RowSet chosen = SET_ALL;
	int count = 0;

	if (found == 0)
		count = first_row(changes, state);
	for (int i = 0; i < found; i++)
		if (rows[i].tells > best || (rows[i].tells == best && rows[i].set < chosen))
		{
			best = rows[i].tells;
			chosen = rows[i].set;
		}
	for (int i = 0; i < found; i++)
		if (rows[i].set <= chosen)
			state[count++] = rows[i].state;
	if (count > 1)
		qsort(state, count, sizeof(int), compare_ints);
	pfree(rows);
	return count;
}

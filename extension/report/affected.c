/*
 * affected.c - affected(): the images that a party received, row by row.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "report/released.h"

#define AFFECTED_COLUMNS 7

PG_FUNCTION_INFO_V1(biometric_affected);

/* One image in one row, on the way to the result. */
typedef struct Affected
{
	int row; /* RELEASED_NONE: not known */
	int relation;
	int64 times;
	TimestampTz first;
	TimestampTz last;
} Affected;

/* The answer is gone through image by image. */
typedef struct AffectedState
{
	const Released *released;
	ReturnSetInfo *result;
	MemoryContext context; /* reset for each row of the result */
	Affected *affected;	   /* of the present image */
	int count;
	int capacity;
	int *place; /* by row: where it stands in affected; counts only if: */
	int *image; /* by row: the image that it was put there for, RELEASED_NONE at first */
} AffectedState;

static int *
int_array(int count, int value)
{
	int *array = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(int));

	for (int i = 0; i < count; i++)
		array[i] = value;
	return array;
}

/* The numbers of the cells, ordered by their images; starts: where each image's begin. */
static int *
cells_by_image(const Released *released, int **starts)
{
	int *cells = int_array(released->cells, 0);
	int *start = MemoryContextAllocHuge(CurrentMemoryContext, (released->images + 1) * sizeof(int));

	memset(start, 0, (released->images + 1) * sizeof(int));
	for (int i = 0; i < released->cells; i++)
		start[released->held[released->cell[i].held].image + 1]++;
	for (int i = 0; i < released->images; i++)
		start[i + 1] += start[i];
	for (int i = 0; i < released->cells; i++)
		cells[start[released->held[released->cell[i].held].image]++] = i;
	/* each has become the next one's */
	memmove(start + 1, start, released->images * sizeof(int));
	start[0] = 0;
	*starts = start;
	return cells;
}

static Affected *
affected_new(AffectedState *state, int row, int relation)
{
	Affected *affected;

	if (state->count == state->capacity)
	{
		state->capacity *= 2;
		state->affected = repalloc_huge(state->affected, state->capacity * sizeof(Affected));
	}
	affected = &state->affected[state->count++];
	*affected = (Affected){.row = row, .relation = relation, .first = DT_NOEND, .last = DT_NOBEGIN};
	return affected;
}

/* Where a row of the present image is counted. */
static Affected *
affected_row(AffectedState *state, int image, int row)
{
	if (state->image[row] != image)
	{
		state->image[row] = image;
		state->place[row] = state->count;
		return affected_new(state, row, state->released->row[row].relation);
	}
	return &state->affected[state->place[row]];
}

/* Where releases are counted that no row is known of: by the table that was read. */
static Affected *
affected_rowless(AffectedState *state, int relation)
{
	for (int i = 0; i < state->count; i++)
		if (state->affected[i].row == RELEASED_NONE && state->affected[i].relation == relation)
			return &state->affected[i];
	return affected_new(state, RELEASED_NONE, relation);
}

static void
affected_count(Affected *affected, const ReleasedCell *cell)
{
	affected->times += cell->disclosures;
	affected->first = Min(affected->first, cell->first);
	affected->last = Max(affected->last, cell->last);
}

static void
affected_cell(AffectedState *state, const ReleasedCell *cell)
{
	const Released *released = state->released;
	const ReleasedHeld *held = &released->held[cell->held];

	if (held->states == 0)
		affected_count(affected_rowless(state, released->how[cell->how].relation), cell);
	for (int i = 0; i < held->states; i++)
		affected_count(affected_row(state, held->image, released->state[held->state[i]].row), cell);
}

static void
affected_put(AffectedState *state, int image, const Affected *affected)
{
	const Released *released = state->released;
	const char *kind = image_kind_name(released->image[image].kind);
	const char *relation = released_text(released, affected->relation);
	const char *key = affected->row == RELEASED_NONE
						  ? NULL
						  : released_text(released, released->row[affected->row].key);
	Datum values[AFFECTED_COLUMNS] = {0};
	bool nulls[AFFECTED_COLUMNS] = {false, kind == NULL, relation == NULL, key == NULL};

	values[0] = UUIDPGetDatum((pg_uuid_t *) released->image[image].id);
	if (kind != NULL)
		values[1] = CStringGetTextDatum(kind);
	if (relation != NULL)
		values[2] = CStringGetTextDatum(relation);
	if (key != NULL)
		values[3] = DirectFunctionCall1(jsonb_in, CStringGetDatum(key));
	values[4] = TimestampTzGetDatum(affected->first);
	values[5] = TimestampTzGetDatum(affected->last);
	values[6] = Int64GetDatum(affected->times);
	tuplestore_putvalues(state->result->setResult, state->result->setDesc, values, nulls);
}

static void
affected_image(AffectedState *state, int image, const int *cells, int count)
{
	MemoryContext old;

	state->count = 0;
	for (int i = 0; i < count; i++)
		affected_cell(state, &state->released->cell[cells[i]]);
	old = MemoryContextSwitchTo(state->context);
	for (int i = 0; i < state->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		affected_put(state, image, &state->affected[i]);
		MemoryContextReset(state->context);
	}
	MemoryContextSwitchTo(old);
}

static void
affected_warn(int64 detached, int64 lost)
{
	static const char hint[] =
		"Look into the archive of the ledger with biometric-verify or biometric-report.";

	if (lost > 0)
		ereport(WARNING,
				(errmsg_plural("rows of %lld image may be missing: entries about them are in a "
							   "segment of the ledger that was detached",
							   "rows of %lld images may be missing: entries about them are in "
							   "segments of the ledger that were detached",
							   (unsigned long) lost, (long long) lost),
				 errhint("%s", hint)));
	if (detached == 0)
		return;
	ereport(WARNING,
			(errmsg_plural("%lld entry of this party may be missing: it is in a segment of the "
						   "ledger that was detached",
						   "%lld entries of this party may be missing: they are in segments of the "
						   "ledger that were detached",
						   (unsigned long) detached, (long long) detached),
			 errhint("%s", hint)));
}

/* biometric_affected(party text, during tstzrange) */
PGDLLEXPORT Datum
biometric_affected(PG_FUNCTION_ARGS)
{
	ReleasedQuestion question;
	AffectedState state = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	int *starts;
	int *cells;

	released_question(PG_GETARG_DATUM(0), PG_ARGISNULL(0), PG_GETARG_DATUM(1), PG_ARGISNULL(1),
					  &question);
	InitMaterializedSRF(fcinfo, 0);
	state.released = released_collect(&question, GetActiveSnapshot());
	state.context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric affected", ALLOCSET_DEFAULT_SIZES);
	state.capacity = 64;
	state.affected = palloc_array(Affected, state.capacity);
	state.place = int_array(state.released->rows, 0);
	state.image = int_array(state.released->rows, RELEASED_NONE);
	cells = cells_by_image(state.released, &starts);
	for (int i = 0; i < state.released->images; i++)
		affected_image(&state, i, cells + starts[i], starts[i + 1] - starts[i]);
	affected_warn(state.released->detached, state.released->lost);
	PG_RETURN_NULL();
}

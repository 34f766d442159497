/*
 * counter.c - counts different images, rows and subjects of an answer.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "report/breach.h"

static uint32 *
counter_array(int count)
{
	return MemoryContextAllocExtended(CurrentMemoryContext, Max(count, 1) * sizeof(uint32),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

void
counter_begin(BreachCounter *counter, const Released *released)
{
	counter->released = released;
	counter->now = 0;
	counter->images = counter_array(released->images);
	counter->rows = counter_array(released->rows);
	counter->persons = counter_array(released->persons);
}

/* Whether something is seen for the first time of this value. */
static bool
counter_sees(BreachCounter *counter, uint32 *seen, int number)
{
	if (seen[number] == counter->now)
		return false;
	seen[number] = counter->now;
	return true;
}

static bool
state_passes(const ReleasedState *state, BreachFilter filter, int value)
{
	switch (filter)
	{
		case BREACH_ALL:
			return true;
		case BREACH_PLACE:
			return state->place == value;
		case BREACH_COLLECTED_ON:
			return state->collected_on == value;
		case BREACH_COLLECTED_FOR:
			return state->declared == value;
		default:
			return false;
	}
}

BreachFigures
counter_count(BreachCounter *counter, const int *cells, int count, BreachFilter filter, int value)
{
	const Released *released = counter->released;
	BreachFigures figures = {.first = DT_NOEND, .last = DT_NOBEGIN};

	counter->now++;
	for (int i = 0; i < count; i++)
	{
		const ReleasedCell *cell = &released->cell[cells[i]];
		const ReleasedHeld *held = &released->held[cell->held];

		CHECK_FOR_INTERRUPTS();
		figures.disclosures += cell->disclosures;
		figures.first = Min(figures.first, cell->first);
		figures.last = Max(figures.last, cell->last);
		figures.images += counter_sees(counter, counter->images, held->image);
		for (int j = 0; j < held->states; j++)
		{
			const ReleasedState *state = &released->state[held->state[j]];

			if (!state_passes(state, filter, value))
				continue;
			figures.rows += counter_sees(counter, counter->rows, state->row);
			if (state->person != RELEASED_NONE)
				figures.subjects += counter_sees(counter, counter->persons, state->person);
		}
	}
	return figures;
}

/*
 * count_held.c - which rows held an image when it was released.
 */
#include "reporter/count.h"

/* Sets of rows, each within the next. */
#define SET_READ 0 /* of the relation that was read, and not rid of the image before */
#define SET_LEFT 1 /* not rid of the image before */
#define SET_ALL 2

/* What a row's entries say of it, up to a disclosure and behind it. Places of changes, plus 1. */
typedef struct RowStory
{
	bool put;			/* it had the image, */
	bool ended;			/* but no more when the statement began */
	uint32_t before[3]; /* the latest that says so much of what was collected: see Change */
	uint32_t behind[3]; /* the first that says it */
	uint64_t earliest;	/* the first that put the image there at all; UINT64_MAX: none */
} RowStory;

static RowStory
read_story(const Count *count, const Holding *holding, uint64_t sequence, uint64_t statement)
{
	RowStory story = {.earliest = UINT64_MAX};
	const Change *change;

	for (uint32_t at = holding->first; at != 0; at = change->next)
	{
		bool below;

		change = &count->changes[at - 1];
		below = change->sequence < sequence;
		if (!change->put)
		{
			story.ended = story.ended || change->sequence < statement;
			continue;
		}
		if (story.earliest == UINT64_MAX)
			story.earliest = change->sequence;
		if (below)
		{
			story.put = true;
			story.ended = false;
		}
		if (below)
			story.before[change->told] = at;
		else if (story.behind[change->told] == 0)
			story.behind[change->told] = at;
	}
	return story;
}

static void
add_held(Count *count, const Holding *holding, const RowStory *story, uint32_t relation)
{
	const CountedRow *row = &count->rows[holding->row];
	uint32_t told = 0;
	HeldRow held = {.row = holding->row, .of = row->relation};

	for (int says = 2; says > 0 && told == 0; says--)
		told = story->before[says] != 0 ? story->before[says] : story->behind[says];
	if (told != 0)
	{
		const Change *change = &count->changes[told - 1];

		if (change->of != 0)
			held.of = change->of;
		held.subject = change->subject;
		held.place = change->place;
		held.collected_on = change->collected_on;
		held.collected_for = change->collected_for;
	}
	held.tells = held.subject != 0 ? 2 : row->key != 0;
	if (story->ended)
		held.set = SET_ALL;
	else
		held.set = relation != 0 && row->relation == relation ? SET_READ : SET_LEFT;
	count->held = list_grow(count->held, count->held_count, &count->held_capacity, sizeof(HeldRow));
	count->held[count->held_count++] = held;
}

/* Leaves the first set that tells as much as any. */
static void
keep_set(Count *count)
{
	unsigned tells = 0;
	unsigned set = SET_ALL;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < count->held_count; i++)
		if (count->held[i].tells > tells)
			tells = count->held[i].tells;
	for (uint32_t i = 0; i < count->held_count; i++)
		if (count->held[i].tells == tells && count->held[i].set < set)
			set = count->held[i].set;
	for (uint32_t i = 0; i < count->held_count; i++)
		if (count->held[i].set <= set)
			count->held[kept++] = count->held[i];
	count->held_count = kept;
}

void
count_held(Count *count, uint32_t image, uint32_t relation, uint64_t sequence, uint64_t statement)
{
	const Holding *first = NULL;
	RowStory first_story = {.earliest = UINT64_MAX};

	count->held_count = 0;
	for (uint32_t at = count->images[image].held; at != 0; at = count->holdings[at - 1].next)
	{
		const Holding *holding = &count->holdings[at - 1];
		RowStory story = read_story(count, holding, sequence, statement);

		if (story.put)
			add_held(count, holding, &story, relation);
		if (story.earliest < first_story.earliest)
		{
			first = holding;
			first_story = story;
		}
	}
	if (count->held_count > 0)
		keep_set(count);
	/* what was released before the entry of its transaction came */
	else if (first != NULL)
		add_held(count, first, &first_story, relation);
}

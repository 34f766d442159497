/*
 * count_rows.c - what is said of rows and images, and what these count for.
 */
#include "reporter/count.h"

#include "reporter/member.h"
#include "reporter/moment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Figures that a disclosure counts in as a whole. */
#define WHOLE_COUNT DIMENSION_PLACE
/* Those that it counts in by its rows. */
#define ROW_COUNT (DIMENSION_COUNTED - DIMENSION_PLACE)

/* What is counted once a figure: part of a key. */
typedef enum Thing
{
	THING_IMAGE = 0,
	THING_ROW,
	THING_SUBJECT
} Thing;

uint32_t
count_relation(Count *count, const EntryFields *fields, const PrintOrigin *origin)
{
	const EntryText *list;
	const char *at;
	const char *end;

	if (fields->relation.bytes != NULL)
		return texts_add(count->texts, fields->relation.bytes, fields->relation.length);
	if (fields->relation_index == 0 || origin->statement == NULL ||
		origin->statement->relations.bytes == NULL)
		return 0;
	list = &origin->statement->relations;
	at = list->bytes;
	end = at + list->length;
	for (uint32_t line = 1; at < end; line++)
	{
		const char *newline = memchr(at, '\n', (size_t) (end - at));
		size_t length = (size_t) ((newline != NULL ? newline : end) - at);

		if (line == fields->relation_index)
			return texts_add(count->texts, at, length);
		at += length + 1;
	}
	return 0;
}

uint32_t
count_row(Count *count, uint32_t relation, uint32_t key)
{
	uint32_t *place = map_place(&count->row_index, map_pair(relation, key));

	if (*place == 0)
	{
		count->rows =
			list_grow(count->rows, count->row_count, &count->row_capacity, sizeof(CountedRow));
		count->rows[count->row_count] = (CountedRow){.relation = relation, .key = key};
		*place = ++count->row_count;
	}
	return *place - 1;
}

/* The number of a JSON value's text as jsonb prints it. */
static uint32_t
sorted_text(Count *count, Span value)
{
	member_sorted(value, &count->scratch);
	return texts_add(count->texts, (const char *) count->scratch.bytes, count->scratch.length);
}

/* Which day a moment in an entry belongs to; 0: none that can be told. */
static uint32_t
collection_day(Count *count, Span value)
{
	char date[MOMENT_TEXT_MAX];
	int64_t moment;

	member_text(value, &count->scratch);
	if (!moment_parse((const char *) count->scratch.bytes, count->scratch.length, &moment))
		return 0;
	moment_date(moment_day(moment), date);
	return texts_add(count->texts, date, strlen(date));
}

/* The number of a member that is an object; 0: there is none. */
static uint32_t
object_text(Count *count, Span collected, const char *name)
{
	Span value;

	return member_find(collected, name, &value) && value.bytes[0] == '{' ? sorted_text(count, value)
																		 : 0;
}

/* The number of a member that is a text; 0: there is none. */
static uint32_t
string_text(Count *count, Span object, const char *name)
{
	return member_string(object, name, &count->scratch)
			   ? texts_add(count->texts, (const char *) count->scratch.bytes, count->scratch.length)
			   : 0;
}

/* Whether what was collected is more than what for. */
static bool
says_whose(Span collected)
{
	static const char *const members[] = {"of", "subject", "place", "time"};
	Span value;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (member_find(collected, members[i], &value))
			return true;
	return false;
}

/* What an entry says was collected with a row. */
static void
take_collected(Count *count, Change *change, const EntryFields *fields)
{
	Span collected = {fields->collected.bytes, fields->collected.length};
	Span value;

	if (collected.bytes == NULL)
		return;
	change->of = string_text(count, collected, "of");
	change->subject = object_text(count, collected, "subject");
	change->place = object_text(count, collected, "place");
	change->collected_on =
		member_find(collected, "time", &value) ? collection_day(count, value) : 0;
	change->collected_for = object_text(count, collected, "for");
	change->told = says_whose(collected) ? 2 : 1;
}

/* The index of an image's row, which is added if it is new. */
static uint32_t
find_holding(Count *count, uint32_t image, uint32_t row)
{
	CountedImage *counted = &count->images[image];

	for (uint32_t at = counted->held; at != 0; at = count->holdings[at - 1].next)
		if (count->holdings[at - 1].row == row)
			return at - 1;
	count->holdings =
		list_grow(count->holdings, count->holding_count, &count->holding_capacity, sizeof(Holding));
	count->holdings[count->holding_count] = (Holding){.row = row, .next = counted->held};
	counted->held = ++count->holding_count;
	return counted->held - 1;
}

void
count_change(Count *count, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin,
			 uint32_t image, bool put)
{
	Change change = {.sequence = sequence, .put = put};
	Span key = {fields->row_key.bytes, fields->row_key.length};
	Holding *holding;
	uint32_t index;
	uint32_t row;

	/* all rows of a table without a key are one, as far as the ledger can tell */
	row = count_row(count, count_relation(count, fields, origin),
					key.bytes != NULL ? sorted_text(count, key) : 0);
	if (put)
		take_collected(count, &change, fields);
	index = find_holding(count, image, row);
	holding = &count->holdings[index];
	count->changes =
		list_grow(count->changes, count->change_count, &count->change_capacity, sizeof(Change));
	count->changes[count->change_count++] = change;
	if (holding->first == 0)
		holding->first = count->change_count;
	else
		count->changes[holding->last - 1].next = count->change_count;
	holding->last = count->change_count;
}

/* Whether a thing is new to a figure. */
static bool
is_new(Count *count, Sight *sight, Thing thing, uint32_t number, uint32_t figure)
{
	uint32_t *first = &sight->first[count->figures.items[figure].dimension];
	uint32_t *place;

	if (*first == 0)
		*first = figure + 1;
	else if (*first == figure + 1)
		return false;
	else
	{
		place = map_place(&count->seen, (uint64_t) thing << 62 | (uint64_t) figure << 31 | number);
		if (*place != 0)
			return false;
		*place = 1;
	}
	return true;
}

/* Counts a disclosure in a figure, unless that has been done. */
static void
touch(Count *count, uint32_t index, uint64_t sequence, int64_t at, uint32_t image)
{
	Figure *figure = &count->figures.items[index];

	if (figure->mark == sequence + 1)
		return;
	figure->mark = sequence + 1;
	figure->taken = true;
	if (figure->disclosures == 0 || at < figure->first)
		figure->first = at;
	if (figure->disclosures == 0 || at > figure->last)
		figure->last = at;
	figure->disclosures++;
	figure->images += is_new(count, &count->images[image].sight, THING_IMAGE, image, index);
}

/* The index of a row's subject; *known: it has one. */
static uint32_t
find_subject(Count *count, const HeldRow *held)
{
	uint32_t *place = map_place(&count->subject_index, map_pair(held->of, held->subject));

	if (*place == 0)
	{
		count->subjects = list_grow(count->subjects, count->subject_count, &count->subject_capacity,
									sizeof(CountedSubject));
		*place = ++count->subject_count;
	}
	return *place - 1;
}

static void
count_row_in(Count *count, const HeldRow *held, uint32_t index)
{
	Sight *sight = &count->rows[held->row].sight;

	count->figures.items[index].rows += is_new(count, sight, THING_ROW, held->row, index);
	if (held->subject != 0)
	{
		uint32_t subject = find_subject(count, held);

		count->figures.items[index].subjects +=
			is_new(count, &count->subjects[subject].sight, THING_SUBJECT, subject, index);
	}
}

static uint32_t
text_of(Count *count, const EntryText *text)
{
	return texts_add(count->texts, text->bytes, text->length);
}

static uint32_t
name_of(Count *count, const char *name)
{
	return name != NULL ? texts_add(count->texts, name, strlen(name)) : 0;
}

/* Finds the figures that a disclosure counts in as a whole. */
static void
find_figures(Count *count, const EntryFields *fields, const PrintOrigin *origin, uint32_t relation,
			 uint32_t found[WHOLE_COUNT])
{
	static const EntryText none = {0};
	const EntryText *purpose = origin->statement != NULL ? &origin->statement->purpose : &none;
	char permit[24];
	char date[MOMENT_TEXT_MAX];
	uint32_t values[WHOLE_COUNT] = {0};

	snprintf(permit, sizeof(permit), "%" PRIu64, fields->permit);
	moment_date(moment_day(fields->at), date);
	values[DIMENSION_KIND] = name_of(count, image_kind_name(fields->kind));
	values[DIMENSION_RELATION] = relation;
	values[DIMENSION_AUTHORIZATION] = fields->permit != 0 ? name_of(count, permit) : 0;
	values[DIMENSION_PURPOSE] = text_of(count, purpose);
	values[DIMENSION_NETWORK] = text_of(count, &origin->session->network);
	values[DIMENSION_LOGIN] = text_of(count, &origin->session->session_user_name);
	values[DIMENSION_DAY] = name_of(count, date);
	for (int i = 0; i < WHOLE_COUNT; i++)
		found[i] = figures_get(&count->figures, (Dimension) i, values[i]);
}

/* A disclosure of an image of which no row is known. */
static void
count_rowless(Count *count, uint64_t sequence, int64_t at, uint32_t image, uint32_t relation)
{
	HeldRow unknown = {.row = count_row(count, relation, 0)};

	touch(count, figures_get(&count->figures, DIMENSION_PLACE, 0), sequence, at, image);
	touch(count, figures_get(&count->figures, DIMENSION_COLLECTED_ON, 0), sequence, at, image);
	touch(count, figures_get(&count->figures, DIMENSION_COLLECTED_FOR, 0), sequence, at, image);
	count_affected(count, image, unknown.row, at);
	count_person(count, &unknown, image, at);
}

void
count_disclosure(Count *count, uint64_t sequence, const EntryFields *fields,
				 const PrintOrigin *origin, uint32_t image)
{
	uint32_t relation = count_relation(count, fields, origin);
	uint64_t statement = fields->reference < 0 ? 0 : (uint64_t) fields->reference;
	uint32_t whole[WHOLE_COUNT];

	count->images[image].kind = fields->kind;
	count_day(count, fields->at)->disclosures++;
	find_figures(count, fields, origin, relation, whole);
	for (int i = 0; i < WHOLE_COUNT; i++)
		touch(count, whole[i], sequence, fields->at, image);
	count_held(count, image, relation, sequence, statement);
	if (count->held_count == 0)
		count_rowless(count, sequence, fields->at, image, relation);
	for (uint32_t row = 0; row < count->held_count; row++)
	{
		const HeldRow *held = &count->held[row];
		uint32_t by_row[ROW_COUNT];

		by_row[0] = figures_get(&count->figures, DIMENSION_PLACE, held->place);
		by_row[1] = figures_get(&count->figures, DIMENSION_COLLECTED_ON, held->collected_on);
		by_row[2] = figures_get(&count->figures, DIMENSION_COLLECTED_FOR, held->collected_for);
		for (int i = 0; i < WHOLE_COUNT; i++)
			count_row_in(count, held, whole[i]);
		for (int i = 0; i < ROW_COUNT; i++)
		{
			touch(count, by_row[i], sequence, fields->at, image);
			count_row_in(count, held, by_row[i]);
		}
		count_affected(count, image, held->row, fields->at);
		count_person(count, held, image, fields->at);
	}
}

/*
 * count_rows.c - which rows held an image when it was released, and what they count for.
 */
#include "reporter/count.h"

#include "reporter/member.h"
#include "reporter/moment.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Figures that a disclosure counts in as a whole. */
#define WHOLE_COUNT DIMENSION_PLACE

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

/* What an entry says was collected with a row; only what it says replaces what was known. */
static void
take_collected(Count *count, Holding *holding, const EntryFields *fields)
{
	Span collected = {fields->collected.bytes, fields->collected.length};
	Span value;

	if (collected.bytes == NULL)
		return;
	holding->subject = object_text(count, collected, "subject");
	holding->place = object_text(count, collected, "place");
	holding->collected_on =
		member_find(collected, "time", &value) ? collection_day(count, value) : 0;
}

void
count_store(Count *count, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin,
			uint32_t image)
{
	CountedImage *counted = &count->images[image];
	Span key = {fields->row_key.bytes, fields->row_key.length};
	uint32_t row;

	/* all rows of a table without a key are one, as far as the ledger can tell */
	row = count_row(count, count_relation(count, fields, origin),
					key.bytes != NULL ? sorted_text(count, key) : 0);
	for (uint32_t at = counted->held; at != 0; at = count->holdings[at - 1].next)
	{
		if (count->holdings[at - 1].row == row)
		{
			take_collected(count, &count->holdings[at - 1], fields);
			return;
		}
	}
	count->holdings =
		list_grow(count->holdings, count->holding_count, &count->holding_capacity, sizeof(Holding));
	count->holdings[count->holding_count] =
		(Holding){.since = sequence, .row = row, .next = counted->held};
	take_collected(count, &count->holdings[count->holding_count], fields);
	counted->held = ++count->holding_count;
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
find_subject(Count *count, const Holding *holding)
{
	uint32_t relation = count->rows[holding->row].relation;
	uint32_t *place = map_place(&count->subject_index, map_pair(relation, holding->subject));

	if (*place == 0)
	{
		count->subjects = list_grow(count->subjects, count->subject_count, &count->subject_capacity,
									sizeof(CountedSubject));
		*place = ++count->subject_count;
	}
	return *place - 1;
}

static void
count_row_in(Count *count, const Holding *holding, uint32_t index)
{
	Sight *sight = &count->rows[holding->row].sight;

	count->figures.items[index].rows += is_new(count, sight, THING_ROW, holding->row, index);
	if (holding->subject != 0)
	{
		uint32_t subject = find_subject(count, holding);

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

/*
 * The next of an image's holdings, from one on, plus 1, that an entry before a disclosure
 * made; relation: of that only, 0: of any. 0: there is none.
 */
static uint32_t
next_holding(const Count *count, uint32_t at, uint64_t sequence, uint32_t relation)
{
	for (; at != 0; at = count->holdings[at - 1].next)
	{
		const Holding *holding = &count->holdings[at - 1];

		if (holding->since < sequence &&
			(relation == 0 || count->rows[holding->row].relation == relation))
			break;
	}
	return at;
}

/* A disclosure of an image of which no row is known. */
static void
count_rowless(Count *count, uint64_t sequence, int64_t at, uint32_t image, uint32_t relation)
{
	Holding unknown = {.row = count_row(count, relation, 0)};

	touch(count, figures_get(&count->figures, DIMENSION_PLACE, 0), sequence, at, image);
	touch(count, figures_get(&count->figures, DIMENSION_COLLECTED_ON, 0), sequence, at, image);
	count_affected(count, image, unknown.row, at);
	count_person(count, &unknown, image, at);
}

void
count_disclosure(Count *count, uint64_t sequence, const EntryFields *fields,
				 const PrintOrigin *origin, uint32_t image)
{
	uint32_t relation = count_relation(count, fields, origin);
	uint32_t held = count->images[image].held;
	uint32_t only = next_holding(count, held, sequence, relation) != 0 ? relation : 0;
	uint32_t whole[WHOLE_COUNT];

	count->images[image].kind = fields->kind;
	count_day(count, fields->at)->disclosures++;
	find_figures(count, fields, origin, relation, whole);
	for (int i = 0; i < WHOLE_COUNT; i++)
		touch(count, whole[i], sequence, fields->at, image);
	held = next_holding(count, held, sequence, only);
	if (held == 0)
		count_rowless(count, sequence, fields->at, image, relation);
	for (; held != 0; held = next_holding(count, count->holdings[held - 1].next, sequence, only))
	{
		const Holding holding = count->holdings[held - 1];
		uint32_t by_row[2];

		by_row[0] = figures_get(&count->figures, DIMENSION_PLACE, holding.place);
		by_row[1] = figures_get(&count->figures, DIMENSION_COLLECTED_ON, holding.collected_on);
		for (int i = 0; i < WHOLE_COUNT; i++)
			count_row_in(count, &holding, whole[i]);
		for (int i = 0; i < 2; i++)
		{
			touch(count, by_row[i], sequence, fields->at, image);
			count_row_in(count, &holding, by_row[i]);
		}
		count_affected(count, image, holding.row, fields->at);
		count_person(count, &holding, image, fields->at);
	}
}

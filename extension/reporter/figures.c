/*
 * figures.c - lists of figures, and what differs between two of them.
 */
#define _GNU_SOURCE

#include "reporter/figures.h"

#include "reporter/moment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a text that a difference shows. */
#define SHOWN_MAX 200
/* The first of a figure's numbers that is a moment. */
#define FIRST_MOMENT 4

typedef struct DimensionText
{
	const char *name;
	const char *title;
} DimensionText;

static const DimensionText dimension_table[DIMENSION_COUNT] = {
	[DIMENSION_TOTAL] = {"total", "All"},
	[DIMENSION_KIND] = {"kind", "Kind of image"},
	[DIMENSION_RELATION] = {"relation", "Table"},
	[DIMENSION_AUTHORIZATION] = {"authorization", "Authorization"},
	[DIMENSION_PURPOSE] = {"purpose", "Declared purpose"},
	[DIMENSION_NETWORK] = {"network", "Network"},
	[DIMENSION_LOGIN] = {"login", "Login"},
	[DIMENSION_DAY] = {"day", "Day of release"},
	[DIMENSION_PLACE] = {"place", "Place of collection"},
	[DIMENSION_COLLECTED_ON] = {"collected_on", "Day of collection"},
	[DIMENSION_COLLECTED_FOR] = {"collected_for", "What it was collected for"},
	[DIMENSION_DETACHED] = {"detached", "Detached"},
};

const char *
dimension_name(Dimension dimension)
{
	return dimension_table[dimension].name;
}

const char *
dimension_title(Dimension dimension)
{
	return dimension_table[dimension].title;
}

bool
dimension_from_name(const char *name, Dimension *dimension)
{
	for (int i = 0; i < DIMENSION_COUNT; i++)
	{
		if (strcmp(dimension_table[i].name, name) == 0)
		{
			*dimension = (Dimension) i;
			return true;
		}
	}
	return false;
}

uint32_t
figures_get(FigureList *list, Dimension dimension, uint32_t value)
{
	uint32_t *place = map_place(&list->index, map_pair((uint32_t) dimension, value));

	if (*place == 0)
	{
		list->items = list_grow(list->items, list->count, &list->capacity, sizeof(Figure));
		list->items[list->count] = (Figure){.dimension = dimension, .value = value};
		*place = ++list->count;
	}
	return *place - 1;
}

const Figure *
figures_find(const FigureList *list, Dimension dimension, uint32_t value)
{
	uint32_t place = map_find(&list->index, map_pair((uint32_t) dimension, value));

	return place == 0 ? NULL : &list->items[place - 1];
}

/* Dates, and texts where all else is equal. */
static int
compare_values(const Figure *a, const Figure *b, const Texts *texts)
{
	Span x = texts_get(texts, a->value);
	Span y = texts_get(texts, b->value);

	if ((x.bytes == NULL) != (y.bytes == NULL))
		return x.bytes == NULL ? 1 : -1;
	return x.bytes == NULL ? 0 : strcmp(x.bytes, y.bytes);
}

static int
compare_figures(const void *left, const void *right, void *texts)
{
	const Figure *a = left;
	const Figure *b = right;

	if (a->dimension != b->dimension)
		return a->dimension < b->dimension ? -1 : 1;
	if (a->taken != b->taken)
		return a->taken ? -1 : 1;
	if (a->dimension != DIMENSION_DAY && a->dimension != DIMENSION_COLLECTED_ON &&
		a->images != b->images)
		return a->images > b->images ? -1 : 1;
	return compare_values(a, b, texts);
}

void
figures_order(FigureList *list, const Texts *texts)
{
	if (list->count > 0)
		qsort_r(list->items, list->count, sizeof(Figure), compare_figures, (void *) texts);
	for (uint32_t i = 0; i < list->count; i++)
		*map_place(&list->index,
				   map_pair((uint32_t) list->items[i].dimension, list->items[i].value)) = i + 1;
}

/* Keeps the first difference in words. */
static void
note_difference(Comparison *comparison, const char *name, Span value, Span server, Span counted)
{
	Span shown[3] = {value, server, counted};

	comparison->different++;
	if (comparison->first != NULL)
		return;
	for (int i = 0; i < 3; i++)
	{
		if (shown[i].bytes == NULL)
			shown[i] = (Span){i == 0 ? "" : "none", i == 0 ? 0 : 4};
		if (shown[i].length > SHOWN_MAX)
			shown[i].length = SHOWN_MAX;
	}
	if (asprintf(&comparison->first,
				 "%s%s%.*s%s: the server says %.*s, the ledger's entries say %.*s", name,
				 value.bytes != NULL ? " \"" : "", (int) shown[0].length, shown[0].bytes,
				 value.bytes != NULL ? "\"" : "", (int) shown[1].length, shown[1].bytes,
				 (int) shown[2].length, shown[2].bytes) < 0)
		comparison->first = NULL;
}

void
compare_numbers(Comparison *comparison, const char *name, Span value, int64_t server,
				int64_t counted)
{
	char texts[2][24];

	comparison->compared++;
	if (server == counted)
		return;
	snprintf(texts[0], sizeof(texts[0]), "%" PRId64, server);
	snprintf(texts[1], sizeof(texts[1]), "%" PRId64, counted);
	note_difference(comparison, name, value, (Span){texts[0], strlen(texts[0])},
					(Span){texts[1], strlen(texts[1])});
}

void
compare_by_rows(Comparison *comparison, const char *name, Span value, int64_t server,
				int64_t counted)
{
	if (comparison->several)
		comparison->uncounted++;
	else
		compare_numbers(comparison, name, value, server, counted);
}

void
compare_texts(Comparison *comparison, const char *name, Span value, Span server, Span counted)
{
	comparison->compared++;
	if ((server.bytes == NULL) != (counted.bytes == NULL) || server.length != counted.length ||
		(server.length > 0 && memcmp(server.bytes, counted.bytes, server.length) != 0))
		note_difference(comparison, name, value, server, counted);
}

static Span
moment_span(int64_t moment, char text[MOMENT_TEXT_MAX])
{
	if (moment == INT64_MIN || moment == INT64_MAX)
		return (Span){0};
	moment_text(moment, text);
	return (Span){text, strlen(text)};
}

void
compare_moments(Comparison *comparison, const char *name, Span value, int64_t server,
				int64_t counted)
{
	char texts[2][MOMENT_TEXT_MAX];

	comparison->compared++;
	if (server != counted)
		note_difference(comparison, name, value, moment_span(server, texts[0]),
						moment_span(counted, texts[1]));
}

void
compare_done(Comparison *comparison, const char *name, Span value, int64_t server, int64_t counted)
{
	bool done = server != INT64_MIN && counted != INT64_MIN;

	if (done && server <= counted && counted - server < MOMENT_DAY)
		comparison->compared++;
	else
		compare_moments(comparison, name, value, server, counted);
}

void
compare_clear(Comparison *comparison)
{
	free(comparison->first);
	*comparison = (Comparison){0};
}

/* The numbers of a figure; moments only where something was released. */
static void
list_numbers(const Figure *figure, int64_t numbers[FIGURE_NUMBERS])
{
	bool any = figure != NULL && figure->disclosures > 0;

	memset(numbers, 0, FIGURE_NUMBERS * sizeof(*numbers));
	if (figure == NULL)
		return;
	numbers[0] = (int64_t) figure->disclosures;
	numbers[1] = (int64_t) figure->images;
	numbers[2] = (int64_t) figure->rows;
	numbers[3] = (int64_t) figure->subjects;
	numbers[4] = any ? figure->first : 0;
	numbers[5] = any ? figure->last : 0;
}

/* The places of a figure's numbers. */
enum
{
	NUMBER_DISCLOSURES,
	NUMBER_IMAGES,
	NUMBER_ROWS,
	NUMBER_SUBJECTS,
	NUMBER_FIRST,
	NUMBER_LAST
};

/* Whether a number may be what it is because the server has counted earlier logs, too. */
static bool
is_of_several(const Figure *named, int number, int64_t server, int64_t counted)
{
	if (named->dimension >= DIMENSION_PLACE || number == NUMBER_ROWS || number == NUMBER_SUBJECTS)
		return true;
	if (number == NUMBER_FIRST)
		return counted == 0 ? server != 0 : server != 0 && server < counted;
	return server > counted;
}

static void
compare_figure(const Figure *server, const Figure *counted, const Texts *texts,
			   Comparison *comparison)
{
	static const char *const number_names[FIGURE_NUMBERS] = {
		"disclosures", "images", "rows", "people", "first release", "last release"};
	const Figure *named = server != NULL ? server : counted;
	Span value = texts_get(texts, named->value);
	int64_t numbers[2][FIGURE_NUMBERS];

	list_numbers(server, numbers[0]);
	list_numbers(counted, numbers[1]);
	for (int i = 0; i < FIGURE_NUMBERS; i++)
	{
		char name[64];
		uint64_t before = comparison->different;

		if (comparison->several && is_of_several(named, i, numbers[0][i], numbers[1][i]))
		{
			comparison->uncounted++;
			continue;
		}
		snprintf(name, sizeof(name), "%s, %s", dimension_table[named->dimension].name,
				 number_names[i]);
		if (i < FIRST_MOMENT)
			compare_numbers(comparison, name, value, numbers[0][i], numbers[1][i]);
		else
			compare_moments(comparison, name, value, numbers[0][i], numbers[1][i]);
		if (comparison->different > before && server == NULL)
			return;
	}
}

void
figures_compare(const FigureList *server, const FigureList *counted, const Texts *texts,
				Comparison *comparison)
{
	for (uint32_t i = 0; i < server->count; i++)
	{
		const Figure *figure = &server->items[i];

		if (figure->dimension != DIMENSION_DETACHED)
			compare_figure(figure, figures_find(counted, figure->dimension, figure->value), texts,
						   comparison);
	}
	for (uint32_t i = 0; i < counted->count; i++)
	{
		const Figure *figure = &counted->items[i];

		if (figures_find(server, figure->dimension, figure->value) == NULL)
			compare_figure(NULL, figure, texts, comparison);
	}
}

void
figures_free(FigureList *list)
{
	free(list->items);
	map_free(&list->index);
	*list = (FigureList){0};
}

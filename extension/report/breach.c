/*
 * breach.c - breach_report(): what a party received, and what it did not,
 * counted.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "report/breach.h"

#define BREACH_COLUMNS 9

PG_FUNCTION_INFO_V1(biometric_breach_report);

/* What the rows of the result are by, in their order. */
typedef enum BreachDimension
{
	DIMENSION_TOTAL,
	DIMENSION_KIND,
	DIMENSION_RELATION,
	DIMENSION_AUTHORIZATION,
	DIMENSION_PURPOSE,
	DIMENSION_NETWORK,
	DIMENSION_LOGIN,
	DIMENSION_DAY,
	DIMENSION_PLACE,
	DIMENSION_COLLECTED_ON,
	DIMENSION_COLLECTED_FOR,
	DIMENSIONS
} BreachDimension;

static const char *const dimension_names[DIMENSIONS] = {
	"total", "kind", "relation", "authorization", "purpose",	  "network",
	"login", "day",	 "place",	 "collected_on",  "collected_for"};

typedef struct Breach
{
	const Released *released;
	const char *party;
	ReturnSetInfo *result;
	BreachCounter counter;
} Breach;

/* One row of the result, as far as it depends on the value. */
typedef struct BreachValue
{
	char *text;	  /* NULL: SQL's */
	uint64 order; /* what values are ordered by before their texts */
	bool taken;
	BreachFigures figures;
} BreachValue;

/* A cell that counts for a value; of one that is RELEASED_NONE, too. */
typedef struct BreachPair
{
	uint64 value;
	int cell;
} BreachPair;

/* The cells of one dimension, each with its values. */
typedef struct BreachPairs
{
	BreachPair *pairs;
	int count;
	int capacity;
} BreachPairs;

/* ---- the values of a cell */

/* Texts stand for themselves; what there is none of comes last. */
static uint64
value_of_text(int text)
{
	return text == RELEASED_NONE ? PG_UINT64_MAX : (uint64) text;
}

/* The value of all cells with the same circumstances. */
static uint64
value_of_how(BreachDimension dimension, const ReleasedHow *how)
{
	switch (dimension)
	{
		case DIMENSION_TOTAL:
			return 0;
		case DIMENSION_KIND:
			return how->kind;
		case DIMENSION_RELATION:
			return value_of_text(how->relation);
		case DIMENSION_AUTHORIZATION:
			return how->permit == 0 ? PG_UINT64_MAX : how->permit;
		case DIMENSION_PURPOSE:
			return value_of_text(how->purpose);
		case DIMENSION_NETWORK:
			return value_of_text(how->network);
		case DIMENSION_LOGIN:
			return value_of_text(how->login);
		case DIMENSION_DAY:
			/* ascending, also before 2000 */
			return (uint64) ((int64) how->day - PG_INT32_MIN);
		case DIMENSION_PLACE:
		case DIMENSION_COLLECTED_ON:
		case DIMENSION_COLLECTED_FOR:
		default:
			elog(ERROR, "dimension %d is not one of circumstances", (int) dimension);
	}
	return 0;
}

static char *
text_of_value(const Breach *breach, BreachDimension dimension, uint64 value)
{
	struct pg_tm day = {0};

	if (value == PG_UINT64_MAX || dimension == DIMENSION_TOTAL)
		return NULL;
	switch (dimension)
	{
		case DIMENSION_KIND:
			return image_kind_name((ImageKind) value) == NULL
					   ? NULL
					   : pstrdup(image_kind_name((ImageKind) value));
		case DIMENSION_AUTHORIZATION:
			return psprintf(UINT64_FORMAT, value);
		case DIMENSION_DAY:
			j2date((int) ((int64) value + PG_INT32_MIN) + POSTGRES_EPOCH_JDATE, &day.tm_year,
				   &day.tm_mon, &day.tm_mday);
			return psprintf("%04d-%02d-%02d", day.tm_year, day.tm_mon, day.tm_mday);
		default:
			return pstrdup(released_text(breach->released, (int) value));
	}
}

static void
pairs_add(BreachPairs *pairs, uint64 value, int cell)
{
	if (pairs->count == pairs->capacity)
	{
		if (pairs->capacity > INT_MAX / 2)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("too much was released to be counted at once"),
							errhint("Ask for a shorter period.")));
		pairs->capacity *= 2;
		pairs->pairs = repalloc_huge(pairs->pairs, pairs->capacity * sizeof(BreachPair));
	}
	pairs->pairs[pairs->count++] = (BreachPair){.value = value, .cell = cell};
}

/* What a row's cells are counted by. */
static int
text_of_state(BreachDimension dimension, const ReleasedState *state)
{
	switch (dimension)
	{
		case DIMENSION_PLACE:
			return state->place;
		case DIMENSION_COLLECTED_ON:
			return state->collected_on;
		case DIMENSION_COLLECTED_FOR:
			return state->declared;
		default:
			elog(ERROR, "dimension %d is not one of rows", (int) dimension);
	}
	return RELEASED_NONE;
}

/* Adds a cell once for each place, date, or purpose, that its rows have. */
static void
pairs_add_states(BreachPairs *pairs, const Released *released, BreachDimension dimension, int cell)
{
	const ReleasedHeld *held = &released->held[released->cell[cell].held];
	int first = pairs->count;

	if (held->states == 0)
		pairs_add(pairs, PG_UINT64_MAX, cell);
	for (int i = 0; i < held->states; i++)
	{
		uint64 value = value_of_text(text_of_state(dimension, &released->state[held->state[i]]));
		bool known = false;

		/* an image in very many rows is in few places, next to one another */
		for (int j = pairs->count - 1; j >= first && !known; j--)
			known = pairs->pairs[j].value == value;
		if (!known)
			pairs_add(pairs, value, cell);
	}
}

static int
compare_pairs(const void *one, const void *other)
{
	const BreachPair *a = one;
	const BreachPair *b = other;

	if (a->value != b->value)
		return a->value < b->value ? -1 : 1;
	return a->cell < b->cell ? -1 : a->cell > b->cell;
}

static void
pairs_collect(const Breach *breach, BreachDimension dimension, BreachPairs *pairs)
{
	const Released *released = breach->released;

	pairs->count = 0;
	pairs->capacity = Max(released->cells, 64);
	pairs->pairs =
		MemoryContextAllocHuge(CurrentMemoryContext, pairs->capacity * sizeof(BreachPair));
	for (int i = 0; i < released->cells; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (dimension >= DIMENSION_PLACE)
			pairs_add_states(pairs, released, dimension, i);
		else
			pairs_add(pairs, value_of_how(dimension, &released->how[released->cell[i].how]), i);
	}
	qsort(pairs->pairs, pairs->count, sizeof(BreachPair), compare_pairs);
}

/* ---- the rows of a dimension */

static BreachValue *
value_new(char *text, uint64 order)
{
	BreachValue *value = palloc0_object(BreachValue);

	value->text = text;
	value->order = order;
	return value;
}

/* Counts the pairs of one value, which are next to one another. */
static BreachValue *
count_value(Breach *breach, BreachDimension dimension, const BreachPair *pairs, int count)
{
	BreachFilter filter = dimension == DIMENSION_PLACE			 ? BREACH_PLACE
						  : dimension == DIMENSION_COLLECTED_ON	 ? BREACH_COLLECTED_ON
						  : dimension == DIMENSION_COLLECTED_FOR ? BREACH_COLLECTED_FOR
																 : BREACH_ALL;
	uint64 number = pairs[0].value;
	/* kinds and permits have an order of their own, all others that of their texts */
	bool ordered = dimension == DIMENSION_KIND || dimension == DIMENSION_AUTHORIZATION;
	BreachValue *value = value_new(text_of_value(breach, dimension, number), ordered ? number : 0);
	int *cells = MemoryContextAllocHuge(CurrentMemoryContext, count * sizeof(int));

	for (int i = 0; i < count; i++)
		cells[i] = pairs[i].cell;
	value->taken = true;
	value->figures = counter_count(&breach->counter, cells, count, filter,
								   number == PG_UINT64_MAX ? RELEASED_NONE : (int) number);
	pfree(cells);
	return value;
}

static List *
count_values(Breach *breach, BreachDimension dimension)
{
	BreachPairs pairs;
	List *values = NIL;
	int first = 0;

	pairs_collect(breach, dimension, &pairs);
	for (int i = 1; i <= pairs.count; i++)
		if (i == pairs.count || pairs.pairs[i].value != pairs.pairs[first].value)
		{
			values =
				lappend(values, count_value(breach, dimension, pairs.pairs + first, i - first));
			first = i;
		}
	pfree(pairs.pairs);
	return values;
}

/* Adds a value that was not taken, unless it was. */
static List *
add_untaken(List *values, char *text, uint64 order)
{
	ListCell *cell;

	foreach(cell, values)
	{
		const BreachValue *value = lfirst(cell);

		if (value->text != NULL && strcmp(value->text, text) == 0)
			return values;
	}
	return lappend(values, value_new(text, order));
}

static List *
add_all_untaken(const Breach *breach, BreachDimension dimension, List *values)
{
	List *known = NIL;
	ListCell *cell;

	switch (dimension)
	{
		case DIMENSION_TOTAL:
			return values != NIL ? values : list_make1(value_new(NULL, 0));
		case DIMENSION_KIND:
			for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
				values = add_untaken(values, pstrdup(image_kind_name(kind)), kind);
			return values;
		case DIMENSION_AUTHORIZATION:
			known = untaken_permits(breach->party);
			foreach(cell, known)
				values = add_untaken(values, lfirst(cell), strtou64(lfirst(cell), NULL, 10));
			return values;
		case DIMENSION_RELATION:
			known = untaken_relations();
			break;
		case DIMENSION_NETWORK:
			known = untaken_networks(breach->party);
			break;
		default:
			break; /* nobody can list what else there might have been */
	}
	foreach(cell, known)
		values = add_untaken(values, lfirst(cell), 0);
	return values;
}

/* Ascending; what is NULL last. */
static int
compare_values(const ListCell *one, const ListCell *other)
{
	const BreachValue *a = lfirst(one);
	const BreachValue *b = lfirst(other);

	if (a->text == NULL || b->text == NULL)
		return (a->text == NULL) - (b->text == NULL);
	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return strcmp(a->text, b->text);
}

static void
put_row(const Breach *breach, const char *dimension, const BreachValue *value)
{
	const BreachFigures *figures = &value->figures;
	bool timeless = figures->disclosures == 0 || figures->first == DT_NOEND;
	Datum values[BREACH_COLUMNS] = {0};
	bool nulls[BREACH_COLUMNS] = {
		false, value->text == NULL, false, false, false, false, false, timeless, timeless};

	values[0] = CStringGetTextDatum(dimension);
	if (value->text != NULL)
		values[1] = CStringGetTextDatum(value->text);
	values[2] = BoolGetDatum(value->taken);
	values[3] = Int64GetDatum(figures->disclosures);
	values[4] = Int64GetDatum(figures->images);
	values[5] = Int64GetDatum(figures->rows);
	values[6] = Int64GetDatum(figures->subjects);
	values[7] = TimestampTzGetDatum(figures->first);
	values[8] = TimestampTzGetDatum(figures->last);
	tuplestore_putvalues(breach->result->setResult, breach->result->setDesc, values, nulls);
}

static void
put_dimension(Breach *breach, BreachDimension dimension)
{
	List *values = add_all_untaken(breach, dimension, count_values(breach, dimension));
	ListCell *cell;

	list_sort(values, compare_values);
	foreach(cell, values)
		put_row(breach, dimension_names[dimension], lfirst(cell));
}

/* What is not there any more can be counted only as what it was not: gone through. */
static void
put_detached(const Breach *breach)
{
	BreachValue value = {
		.text = "in segments of the ledger that were detached, and not counted here: entries of "
				"this party that may be releases (disclosures), and entries about rows of images "
				"that were released (images); its archive has them",
		.taken = true};

	value.figures.disclosures = breach->released->detached;
	value.figures.images = breach->released->lost;
	value.figures.first = DT_NOEND;
	if (value.figures.disclosures > 0 || value.figures.images > 0)
		put_row(breach, "detached", &value);
}

/* biometric_breach_report(party text, during tstzrange) */
PGDLLEXPORT Datum
biometric_breach_report(PG_FUNCTION_ARGS)
{
	ReleasedQuestion question;
	Breach breach = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	MemoryContext context;

	released_question(PG_GETARG_DATUM(0), PG_ARGISNULL(0), PG_GETARG_DATUM(1), PG_ARGISNULL(1),
					  &question);
	question.circumstances = true;
	InitMaterializedSRF(fcinfo, 0);
	breach.party = question.party;
	breach.released = released_collect(&question, GetActiveSnapshot());
	counter_begin(&breach.counter, breach.released);
	context = AllocSetContextCreate(CurrentMemoryContext, "biometric breach report",
									ALLOCSET_DEFAULT_SIZES);
	for (BreachDimension dimension = 0; dimension < DIMENSIONS; dimension++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		put_dimension(&breach, dimension);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	put_detached(&breach);
	PG_RETURN_NULL();
}

/*
 * notify.c - whom an incident concerns.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "report/incident.h"
#include "report/released.h"

/* People by name: relation, a newline, subject. */
typedef struct NamedPerson
{
	char *name;
	NotifyPerson *person;
} NamedPerson;

/* An image, or the text of a row's key, that counts for a person already.
 * Numbers. */
typedef struct Counted
{
	int32 person;
	int32 what;
} Counted;

/* What a list is made from, and what is remembered of it by its numbers. */
typedef struct NotifyWork
{
	NotifyList *list;
	const Released *released;
	char **canonical;	   /* of texts; NULL: not made yet */
	NotifyPerson **person; /* of states; NULL: not looked up yet */
	HTAB *images;		   /* of Counted */
	HTAB *rows;			   /* of Counted */
} NotifyWork;

static uint32
named_hash(const void *key, Size size)
{
	const char *name = *(char *const *) key;

	return hash_bytes((const unsigned char *) name, strlen(name));
}

static int
named_match(const void *a, const void *b, Size size)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

static NotifyList *
notify_new(void)
{
	NotifyList *list = palloc0(sizeof(NotifyList));
	HASHCTL named = {.keysize = sizeof(char *),
					 .entrysize = sizeof(NamedPerson),
					 .hash = named_hash,
					 .match = named_match,
					 .hcxt = CurrentMemoryContext};

	list->space = 64;
	list->people = palloc(list->space * sizeof(NotifyPerson *));
	list->by_name = hash_create("biometric_audit people", 256, &named,
								HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	return list;
}

static HTAB *
counted_new(void)
{
	HASHCTL counted = {
		.keysize = sizeof(Counted), .entrysize = sizeof(Counted), .hcxt = CurrentMemoryContext};

	return hash_create("biometric_audit images and rows of people", 1024, &counted,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Counts something for a person; false when it was counted before. */
static bool
count_once(HTAB *counted, const NotifyPerson *person, int what)
{
	Counted key = {person->number, what};
	bool known;

	(void) hash_search(counted, &key, HASH_ENTER, &known);
	return !known;
}

NotifyPerson *
notify_find(const NotifyList *list, const char *relation, const char *subject)
{
	char *name = psprintf("%s\n%s", relation, subject ? subject : "");
	NamedPerson *named = hash_search(list->by_name, &name, HASH_FIND, NULL);

	pfree(name);
	return named ? named->person : NULL;
}

/* The person of that name, put on the list if need be. */
static NotifyPerson *
notify_person(NotifyList *list, const char *relation, const char *subject)
{
	NotifyPerson *person = notify_find(list, relation, subject);
	NamedPerson *named;
	char *name;

	if (person)
		return person;
	person = palloc0(sizeof(NotifyPerson));
	person->number = list->count;
	person->relation = pstrdup(relation);
	person->subject = subject ? pstrdup(subject) : NULL;
	name = psprintf("%s\n%s", relation, subject ? subject : "");
	named = hash_search(list->by_name, &name, HASH_ENTER, NULL);
	named->person = person;
	if (list->count == list->space)
	{
		list->space *= 2;
		list->people = repalloc_huge(list->people, (Size) list->space * sizeof(NotifyPerson *));
	}
	list->people[list->count++] = person;
	return person;
}

/* A JSON text as jsonb prints it, so that equal objects are equal texts; NULL
 * for none. */
static const char *
notify_canonical(NotifyWork *work, int text)
{
	const char *json = released_text(work->released, text);
	Jsonb *value;

	if (json == NULL)
		return NULL;
	if (work->canonical[text] == NULL)
	{
		value = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
		work->canonical[text] = JsonbToCString(NULL, &value->root, VARSIZE(value));
		pfree(value);
	}
	return work->canonical[text];
}

static void
notify_add_row_key(NotifyPerson *person, const char *row_key)
{
	if (person->rows++ >= NOTIFY_ROW_KEYS)
		return;
	if (person->row_keys == NULL)
		person->row_keys = makeStringInfo();
	else
		appendStringInfoString(person->row_keys, ", ");
	appendStringInfoString(person->row_keys, row_key);
}

/* Whose a row was, as it was described then: of its subject, or of its key
 * alone. */
static NotifyPerson *
notify_state_person(NotifyWork *work, int number)
{
	const ReleasedState *state = &work->released->state[number];
	const ReleasedRow *row = &work->released->row[state->row];
	const char *row_key = notify_canonical(work, row->key);
	const char *subject = notify_canonical(work, state->subject);
	const char *relation = released_text(work->released, subject ? state->of : row->relation);
	NotifyPerson *person = work->person[number];

	if (person)
		return person;
	person = notify_person(work->list, relation ? relation : "", subject ? subject : row_key);
	if (row_key && count_once(work->rows, person, row->key))
		notify_add_row_key(person, row_key);
	work->person[number] = person;
	return person;
}

static void
notify_add_cell(NotifyWork *work, NotifyPerson *person, const ReleasedCell *cell)
{
	const Released *released = work->released;

	if (person->images == 0 || cell->first < person->first)
		person->first = cell->first;
	if (person->images == 0 || cell->last > person->last)
		person->last = cell->last;
	if (count_once(work->images, person, released->held[cell->held].image))
		person->images++;
	person->kinds |= (uint32) 1 << released->how[cell->how].kind;
}

/* Takes releases of one image to everybody whose row held it. */
static void
notify_take(NotifyWork *work, const ReleasedCell *cell)
{
	const Released *released = work->released;
	const ReleasedHeld *held = &released->held[cell->held];
	const char *relation;

	for (int i = 0; i < held->states; i++)
		notify_add_cell(work, notify_state_person(work, held->state[i]), cell);
	if (held->states > 0)
		return;
	relation = released_text(released, released->how[cell->how].relation);
	notify_add_cell(work, notify_person(work->list, relation ? relation : "", NULL), cell);
}

NotifyList *
notify_compute(const char *party, Datum during)
{
	ReleasedQuestion question = {0};
	NotifyWork work = {.list = notify_new(), .images = counted_new(), .rows = counted_new()};
	const Released *released;

	released_question(CStringGetTextDatum(party), false, during, false, &question);
	released = released_collect(&question, GetActiveSnapshot());
	work.released = released;
	work.canonical = palloc_extended(Max(released->texts, 1) * sizeof(char *),
									 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	work.person = palloc_extended(Max(released->states, 1) * sizeof(NotifyPerson *),
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < released->cells; i++)
	{
		CHECK_FOR_INTERRUPTS();
		notify_take(&work, &released->cell[i]);
	}
	work.list->detached = released->detached;
	work.list->lost = released->lost;
	hash_destroy(work.images);
	hash_destroy(work.rows);
	return work.list;
}

void
notify_add_told(NotifyList *list, int64 incident)
{
	Oid types[1] = {INT8OID};
	Datum values[1] = {Int64GetDatum(incident)};
	MemoryContext list_context = GetMemoryChunkContext(list);
	SPITupleTable *table;

	if (SPI_execute_with_args("SELECT relation, subject::text, notified_at, means "
							  "FROM ONLY biometric.notification WHERE incident = $1",
							  1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "reading who was notified failed");
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(list_context);
		char *relation = SPI_getvalue(table->vals[i], table->tupdesc, 1);
		char *subject = SPI_getvalue(table->vals[i], table->tupdesc, 2);
		NotifyPerson *person = notify_person(list, relation, subject);
		bool null;

		person->notified = true;
		person->notified_at =
			DatumGetTimestampTz(SPI_getbinval(table->vals[i], table->tupdesc, 3, &null));
		person->means = SPI_getvalue(table->vals[i], table->tupdesc, 4);
		MemoryContextSwitchTo(old);
	}
	SPI_freetuptable(table);
}

static int
notify_compare(const void *a, const void *b)
{
	const NotifyPerson *left = *(NotifyPerson *const *) a;
	const NotifyPerson *right = *(NotifyPerson *const *) b;
	int order = strcmp(left->relation, right->relation);

	if (order == 0 && (left->subject == NULL || right->subject == NULL))
		order = (left->subject == NULL) - (right->subject == NULL);
	else if (order == 0)
		order = strcmp(left->subject, right->subject);
	return order;
}

void
notify_sort(NotifyList *list)
{
	qsort(list->people, list->count, sizeof(NotifyPerson *), notify_compare);
}

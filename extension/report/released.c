/*
 * released.c - collects what was released to a party in some period.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/internal.h"
#include "ledger/activity.h"
#include "ledger/encoding.h"
#include "report/held.h"
#include "report/released.h"

#define RELEASE_EVENTS ((1u << ENTRY_DISCLOSED) | (1u << ENTRY_OBSERVED))

/* Under what circumstances the entry before was: those of a statement come together. */
typedef struct LastHow
{
	int64 reference;
	uint32 relation_index;
	ImageKind kind;
	uint64 permit;
	int32 day;
	int how; /* RELEASED_NONE: there is none */
} LastHow;

/* The number of a text that is in the database's encoding already. */
static int
text_number(ReleasedBuilder *builder, EntryText text)
{
	ReleasedText key = {.bytes = text.bytes, .length = text.length};
	Released *answer = builder->answer;
	bool known;
	int number;
	char *copy;

	number = numbering_number(&builder->texts, &key, &known);
	if (known)
		return number;
	copy = MemoryContextAlloc(builder->context, text.length + 1);
	memcpy(copy, text.bytes, text.length);
	copy[text.length] = '\0';
	key.bytes = copy;
	/* what was numbered are the entry's bytes, which do not last */
	*(ReleasedText *) numbering_key(&builder->texts, number) = key;
	answer->text =
		numbering_grow(&builder->texts, answer->text, sizeof(ReleasedText), builder->context);
	answer->text[number] = key;
	answer->texts = builder->texts.count;
	return number;
}

int
builder_text(ReleasedBuilder *builder, EntryText text, bool json)
{
	EntryText converted = encoding_to_server(text, json);
	int number = converted.bytes == NULL ? RELEASED_NONE : text_number(builder, converted);

	if (converted.bytes != text.bytes)
		pfree(unconstify(char *, converted.bytes));
	return number;
}

EntryText
entry_line(const EntryFields *entry, const EntryFields *statement)
{
	const char *line;
	const char *end;

	if (entry->relation.bytes != NULL || entry->relation_index == 0 || statement == NULL ||
		statement->relations.bytes == NULL)
		return entry->relation;
	line = statement->relations.bytes;
	end = line + statement->relations.length;
	for (uint32 index = 1;; index++)
	{
		const char *stop = memchr(line, '\n', end - line);

		if (index == entry->relation_index)
			return (EntryText){.bytes = line, .length = (stop == NULL ? end : stop) - line};
		if (stop == NULL)
			return (EntryText){0};
		line = stop + 1;
	}
}

/* ---- an entry */

static int
image_number(ReleasedBuilder *builder, const EntryFields *fields)
{
	Released *answer = builder->answer;
	bool known;
	int number = numbering_number(&builder->images, fields->image_id, &known);

	if (known)
		return number;
	answer->image =
		numbering_grow(&builder->images, answer->image, sizeof(ReleasedImage), builder->context);
	memcpy(answer->image[number].id, fields->image_id, ENTRY_IMAGE_ID_SIZE);
	answer->image[number].kind = fields->kind;
	answer->images = builder->images.count;
	return number;
}

static int32
day_of(TimestampTz at)
{
	int64 day = at / USECS_PER_DAY;

	return (int32) (at % USECS_PER_DAY < 0 ? day - 1 : day);
}

static int
how_number(ReleasedBuilder *builder, const ActivityEntry *entry, bool circumstances)
{
	Released *answer = builder->answer;
	ReleasedHow how;
	bool known;
	int number;

	/* it is a hash key: no byte of it may be left to chance */
	memset(&how, 0, sizeof(how));
	how.kind = entry->fields.kind;
	how.relation = builder_text(builder, entry_line(&entry->fields, entry->statement), false);
	how.purpose = how.network = how.login = RELEASED_NONE;
	if (circumstances)
	{
		how.permit = entry->fields.permit;
		how.day = day_of(entry->at);
		if (entry->statement != NULL)
			how.purpose = builder_text(builder, entry->statement->purpose, false);
		if (entry->session != NULL)
		{
			how.network = builder_text(builder, entry->session->network, false);
			how.login = builder_text(builder, entry->session->session_user_name, false);
		}
	}
	number = numbering_number(&builder->hows, &how, &known);
	if (known)
		return number;
	answer->how = numbering_grow(&builder->hows, answer->how, sizeof(how), builder->context);
	answer->how[number] = how;
	answer->hows = builder->hows.count;
	return number;
}

static int
how_of(ReleasedBuilder *builder, const ActivityEntry *entry, bool circumstances, LastHow *last)
{
	const EntryFields *fields = &entry->fields;
	int32 day = day_of(entry->at);

	if (last->how != RELEASED_NONE && last->reference == fields->reference &&
		last->relation_index == fields->relation_index && last->kind == fields->kind &&
		last->permit == fields->permit && last->day == day && fields->relation.bytes == NULL)
		return last->how;
	*last = (LastHow){.reference = fields->reference,
					  .relation_index = fields->relation_index,
					  .kind = fields->kind,
					  .permit = fields->permit,
					  .day = day,
					  .how = how_number(builder, entry, circumstances)};
	return last->how;
}

static void
cell_add(ReleasedBuilder *builder, int held, int how, TimestampTz at)
{
	const int key[2] = {held, how};
	Released *answer = builder->answer;
	ReleasedCell *cell;
	bool known;
	int number = numbering_number(&builder->cells, key, &known);

	if (!known)
	{
		answer->cell =
			numbering_grow(&builder->cells, answer->cell, sizeof(ReleasedCell), builder->context);
		answer->cell[number] = (ReleasedCell){.held = held, .how = how, .first = at, .last = at};
		answer->cells = builder->cells.count;
	}
	cell = &answer->cell[number];
	cell->disclosures++;
	cell->first = Min(cell->first, at);
	cell->last = Max(cell->last, at);
}

static void
collect_log(ReleasedBuilder *builder, Held *held, int number, const LedgerLog *log,
			const ReleasedQuestion *question, Snapshot snapshot)
{
	const ActivityQuestion asked = {.party = question->party,
									.from = question->from,
									.until = question->until,
									.events = RELEASE_EVENTS};
	ActivityScan *scan = activity_begin(log, snapshot, &asked);
	LastHow last = {.how = RELEASED_NONE};
	ActivityEntry entry;

	while (activity_next(scan, &entry))
	{
		HeldRelease release = {
			.log = number, .sequence = entry.sequence, .statement = entry.fields.reference};
		int how;
		int image;

		CHECK_FOR_INTERRUPTS();
		/* every release has one; an entry without it says nothing that could be counted */
		if (entry.fields.image_id == NULL)
			continue;
		how = how_of(builder, &entry, question->circumstances, &last);
		image = image_number(builder, &entry.fields);
		release.relation = builder->answer->how[how].relation;
		cell_add(builder, held_number(held, image, &release), how, entry.at);
	}
	builder->answer->detached += activity_detached(scan);
	activity_end(scan);
}

/* ---- the question */

static bool
party_is_registered(const char *party)
{
	Oid oid = extension_relation("party");
	Relation table = OidIsValid(oid) ? try_table_open(oid, AccessShareLock) : NULL;
	AttrNumber attribute;
	bool found = false;
	SysScanDesc scan;
	HeapTuple tuple;

	if (table == NULL)
		return false;
	attribute = get_attnum(oid, "name");
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	while (!found && attribute > 0 && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool isnull;
		Datum name = heap_getattr(tuple, attribute, RelationGetDescr(table), &isnull);

		found = !isnull && strcmp(encoding_recorded(TextDatumGetCString(name)), party) == 0;
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return found;
}

/* Whether any log has an entry of a party. */
static bool
party_is_in_logs(const char *party, List *logs, Snapshot snapshot)
{
	const ActivityQuestion asked = {.party = party, .from = DT_NOBEGIN, .until = DT_NOEND};
	bool found = false;
	ListCell *cell;

	foreach(cell, logs)
	{
		ActivityScan *scan = activity_begin(lfirst(cell), snapshot, &asked);
		ActivityEntry entry;

		found = found || activity_next(scan, &entry) || activity_detached(scan) > 0;
		activity_end(scan);
	}
	return found;
}

static void
require_party(const ReleasedQuestion *question, List *logs, Snapshot snapshot)
{
	if (question->party[0] == '\0' || party_is_registered(question->party) ||
		party_is_in_logs(question->party, logs, snapshot))
		return;
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("party \"%s\" is not known", question->party),
					errdetail("It is neither registered nor in the ledger."),
					errhint("Table biometric.party lists the parties; NULL means clients that "
							"belong to none.")));
}

static void
builder_begin(ReleasedBuilder *builder)
{
	memset(builder, 0, sizeof(*builder));
	builder->context = CurrentMemoryContext;
	builder->answer = palloc0(sizeof(Released));
	builder->working =
		AllocSetContextCreate(CurrentMemoryContext, "biometric released", ALLOCSET_DEFAULT_SIZES);
	numbering_begin(&builder->texts, 0, builder->working);
	numbering_begin(&builder->images, ENTRY_IMAGE_ID_SIZE, builder->working);
	numbering_begin(&builder->rows, sizeof(ReleasedRow), builder->working);
	numbering_begin(&builder->states, sizeof(ReleasedState), builder->working);
	numbering_begin(&builder->persons, 2 * sizeof(int), builder->working);
	numbering_begin(&builder->hows, sizeof(ReleasedHow), builder->working);
	numbering_begin(&builder->cells, 2 * sizeof(int), builder->working);
}

Released *
released_collect(const ReleasedQuestion *question, Snapshot snapshot)
{
	ReleasedBuilder builder;
	MemoryContext old;
	List *logs;
	Held *held;

	builder_begin(&builder);
	old = MemoryContextSwitchTo(builder.working);
	logs = activity_logs(snapshot);
	require_party(question, logs, snapshot);
	held = held_begin(&builder, logs, snapshot);
	for (int i = 0; i < list_length(logs); i++)
		collect_log(&builder, held, i, list_nth(logs, i), question, snapshot);
	builder.answer->lost = held_count_lost(held);
	held_end(held);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(builder.working);
	return builder.answer;
}

const char *
released_text(const Released *released, int text)
{
	return text == RELEASED_NONE ? NULL : released->text[text].bytes;
}

/* A bound of the period as the first moment that is in it (lower), or behind it (upper). */
static TimestampTz
bound_time(const RangeBound *bound)
{
	TimestampTz time;

	if (bound->infinite)
		return bound->lower ? DT_NOBEGIN : DT_NOEND;
	time = DatumGetTimestampTz(bound->val);
	if (TIMESTAMP_NOT_FINITE(time))
		return time;
	return bound->inclusive == bound->lower ? time : time + 1;
}

void
released_question(Datum party, bool no_party, Datum during, bool no_during,
				  ReleasedQuestion *question)
{
	RangeBound lower;
	RangeBound upper;
	RangeType *range;
	bool empty = true;

	memset(question, 0, sizeof(*question));
	question->party = no_party ? "" : encoding_recorded(TextDatumGetCString(party));
	if (!no_during)
	{
		range = DatumGetRangeTypeP(during);
		range_deserialize(lookup_type_cache(RangeTypeGetOid(range), TYPECACHE_RANGE_INFO), range,
						  &lower, &upper, &empty);
	}
	if (empty)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"during\" cannot be used: it is %s",
						no_during ? "NULL" : "an empty range"),
				 errhint("Say from when to when, as in '[2026-05-01, 2026-06-01)'; '(,)' means "
						 "always.")));
	question->from = bound_time(&lower);
	question->until = bound_time(&upper);
}

/*
 * count_beside.c - whoever is affected, and what happened besides disclosures.
 */
#include "reporter/count.h"

#include "reporter/member.h"
#include "reporter/moment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Notables that are no changes: as many as are of use to a reader. */
#define NOTABLES_MAX 1000

static void
widen(int64_t *first, int64_t *last, bool any, int64_t at)
{
	if (!any || at < *first)
		*first = at;
	if (!any || at > *last)
		*last = at;
}

void
count_affected(Count *count, uint32_t image, uint32_t row, int64_t at)
{
	uint32_t *place = map_place(&count->affected_index, map_pair(image, row));
	Affected *affected;

	if (*place == 0)
	{
		count->affected = list_grow(count->affected, count->affected_count,
									&count->affected_capacity, sizeof(Affected));
		count->affected[count->affected_count] = (Affected){.image = image, .row = row};
		*place = ++count->affected_count;
	}
	affected = &count->affected[*place - 1];
	widen(&affected->first, &affected->last, affected->times > 0, at);
	affected->times++;
}

/* The person of a relation's subject, or row, by whose name. */
static uint32_t
find_person(Count *count, uint32_t relation, uint32_t subject, bool recorded)
{
	uint32_t *place = map_place(&count->people_index, map_pair(relation, subject));

	if (*place == 0)
	{
		count->people =
			list_grow(count->people, count->people_count, &count->people_capacity, sizeof(Person));
		count->people[count->people_count] = (Person){.relation = relation,
													  .subject = subject,
													  .recorded = recorded,
													  .notified_at = INT64_MIN};
		*place = ++count->people_count;
	}
	return *place - 1;
}

void
count_person(Count *count, const HeldRow *held, uint32_t image, int64_t at)
{
	const CountedRow *row = &count->rows[held->row];
	bool recorded = held->subject != 0;
	uint32_t number = find_person(count, recorded ? held->of : row->relation,
								  recorded ? held->subject : row->key, recorded);
	Person *person = &count->people[number];
	uint32_t *place = map_place(&count->people_images, map_pair(number, image));

	widen(&person->first, &person->last, person->images > 0, at);
	person->kinds |= 1u << count->images[image].kind;
	if (*place == 0)
	{
		*place = 1;
		person->images++;
	}
	place = map_place(&count->people_rows, map_pair(number, row->key));
	if (*place != 0 || row->key == 0)
		return;
	*place = 1;
	count->people_row = list_grow(count->people_row, count->people_row_count,
								  &count->people_row_capacity, sizeof(PersonRow));
	count->people_row[count->people_row_count] = (PersonRow){.next = person->rows, .key = row->key};
	person->rows = ++count->people_row_count;
}

CountedDay *
count_day(Count *count, int64_t at)
{
	int64_t day = moment_day(at);
	uint32_t *place = map_place(&count->day_index, (uint64_t) day);

	if (*place == 0)
	{
		count->days =
			list_grow(count->days, count->day_count, &count->day_capacity, sizeof(CountedDay));
		count->days[count->day_count] = (CountedDay){.day = day};
		*place = ++count->day_count;
	}
	return &count->days[*place - 1];
}

static void
add_refusal(Count *count, const EntryFields *fields, const PrintOrigin *origin)
{
	const char *name = reason_name(fields->reason);
	const EntryText *network = origin->session != NULL ? &origin->session->network : NULL;
	uint32_t reason = name != NULL ? texts_add(count->texts, name, strlen(name)) : 0;
	uint32_t where = network != NULL ? texts_add(count->texts, network->bytes, network->length) : 0;
	uint32_t *place = map_place(&count->refusal_index, map_pair(reason, where));
	Refusal *refusal;

	if (*place == 0)
	{
		count->refusals = list_grow(count->refusals, count->refusal_count, &count->refusal_capacity,
									sizeof(Refusal));
		count->refusals[count->refusal_count] = (Refusal){.reason = reason, .network = where};
		*place = ++count->refusal_count;
	}
	refusal = &count->refusals[*place - 1];
	widen(&refusal->first, &refusal->last, refusal->times > 0, fields->at);
	refusal->times++;
}

static void
add_notable(Count *count, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin)
{
	const EntryText *login = origin->session != NULL ? &origin->session->session_user_name : NULL;

	count->notables =
		list_grow(count->notables, count->notable_count, &count->notable_capacity, sizeof(Notable));
	count->notables[count->notable_count++] =
		(Notable){.sequence = sequence,
				  .at = fields->at,
				  .event = fields->event,
				  .detail = texts_add(count->texts, fields->detail.bytes, fields->detail.length),
				  .by = login != NULL ? texts_add(count->texts, login->bytes, login->length) : 0};
}

/*
 * Takes note of what images were declared to be collected for; false: the entry is of something
 * else.
 */
static bool
add_declared(Count *count, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin)
{
	const EntryText *login = origin->session != NULL ? &origin->session->session_user_name : NULL;
	uint32_t by = login != NULL ? texts_add(count->texts, login->bytes, login->length) : 0;

	return declared_learn(&count->declared, count->texts, sequence, fields, by);
}

/* Whether a change of the policy is about the party, or about one of its permits. */
static bool
concerns_party(Count *count, Span detail)
{
	Span party = count->wanted.party;
	uint64_t permit;

	if (member_string(detail, "party", &count->scratch))
	{
		if (count->scratch.length != party.length ||
			memcmp(count->scratch.bytes, party.bytes, party.length) != 0)
			return false;
		if (member_number(detail, "permit", &permit))
			*map_place(&count->own_permits, permit) = 1;
		return true;
	}
	return member_number(detail, "permit", &permit) && map_find(&count->own_permits, permit) != 0;
}

/* Whether a step of an incident is one of the incident that is reported. */
static bool
concerns_incident(const Count *count, Span detail)
{
	uint64_t incident;

	return count->wanted.incident != 0 && member_number(detail, "incident", &incident) &&
		   incident == count->wanted.incident;
}

ToolExit
count_beside(Count *count, uint64_t sequence, const EntryFields *fields)
{
	Span detail = {fields->detail.bytes, fields->detail.length};
	PrintOrigin origin;
	bool wanted;

	resolve_entry(count->resolver, fields, &origin);
	if (fields->event == ENTRY_REFUSED)
	{
		add_refusal(count, fields, &origin);
		return TOOL_VERIFIED;
	}
	if (fields->event == ENTRY_INCIDENT)
	{
		wanted = concerns_incident(count, detail);
		count->doubtful += wanted && sequence >= count->wanted.in_doubt;
	}
	else if (fields->event == ENTRY_POLICY_CHANGED)
	{
		if (add_declared(count, sequence, fields, &origin))
			count->doubtful += sequence >= count->wanted.in_doubt;
		wanted = concerns_party(count, detail);
	}
	else
		wanted = count->notable_count < NOTABLES_MAX;
	if (wanted)
		add_notable(count, sequence, fields, &origin);
	return TOOL_VERIFIED;
}

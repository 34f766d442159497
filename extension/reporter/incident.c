/*
 * incident.c - replays the steps of an incident.
 */
#include "reporter/incident.h"

#include "reporter/count.h"
#include "reporter/member.h"
#include "reporter/moment.h"

#include <stdlib.h>
#include <string.h>

void
incident_clear(Incident *incident, uint64_t id)
{
	free(incident->told);
	map_free(&incident->told_index);
	*incident = (Incident){.id = id,
						   .from = INT64_MIN,
						   .to = INT64_MAX,
						   .opened_at = INT64_MIN,
						   .due_at = INT64_MIN,
						   .closed_at = INT64_MIN};
}

void
incident_take(Incident *incident, const Incident *other)
{
	incident_clear(incident, other->id);
	*incident = *other;
	incident->told = NULL;
	incident->told_count = incident->told_capacity = 0;
	incident->told_index = (NumberMap){0};
}

/* One end of a range's text, which may have quotes; what is no date is no end. */
static int64_t
read_end(const char *text, size_t length, int64_t none)
{
	int64_t moment;

	if (length >= 2 && text[0] == '"' && text[length - 1] == '"')
	{
		text++;
		length -= 2;
	}
	return moment_parse(text, length, &moment) ? moment : none;
}

bool
incident_period(Span range, int64_t *from, int64_t *to)
{
	const char *comma = range.bytes != NULL ? memchr(range.bytes, ',', range.length) : NULL;
	const char *last;

	if (comma == NULL || range.length < 3)
		return false;
	last = range.bytes + range.length - 1;
	*from = read_end(range.bytes + 1, (size_t) (comma - range.bytes - 1), INT64_MIN);
	*to = read_end(comma + 1, (size_t) (last - comma - 1), INT64_MAX);
	/* moments are whole microseconds: make the period begin with its first, end behind its last */
	if (*from != INT64_MIN && range.bytes[0] == '(')
		(*from)++;
	if (*to != INT64_MAX && *last == ']')
		(*to)++;
	return true;
}

static uint32_t
take_member(Texts *texts, Span detail, const char *name, Buffer *text)
{
	return member_string(detail, name, text)
			   ? texts_add(texts, (const char *) text->bytes, text->length)
			   : 0;
}

static int64_t
take_moment(Span detail, const char *name, int64_t none, Buffer *text)
{
	int64_t moment;

	return member_string(detail, name, text) &&
				   moment_parse((const char *) text->bytes, text->length, &moment)
			   ? moment
			   : none;
}

static void
take_opening(Incident *incident, Texts *texts, Span detail, int64_t at, Buffer *text)
{
	incident->known = true;
	incident->opened_at = at;
	incident->party = take_member(texts, detail, "party", text);
	incident->title = take_member(texts, detail, "title", text);
	incident->due_at = take_moment(detail, "due", INT64_MIN, text);
	if (member_string(detail, "during", text))
		(void) incident_period((Span){(const char *) text->bytes, text->length}, &incident->from,
							   &incident->to);
}

/* Those whom an entry says to have been told; the first time stays. */
static void
take_told(Incident *incident, Texts *texts, Span detail, int64_t at, Buffer *text)
{
	uint32_t relation = take_member(texts, detail, "relation", text);
	uint32_t means = take_member(texts, detail, "means", text);
	Span subjects;
	Span subject;
	size_t next = 0;

	if (!member_find(detail, "subjects", &subjects))
		return;
	while (member_items(subjects, &next, &subject))
	{
		uint32_t *place;
		uint32_t number;

		member_sorted(subject, text);
		number = texts_add(texts, (const char *) text->bytes, text->length);
		place = map_place(&incident->told_index, map_pair(relation, number));
		if (*place != 0)
			continue;
		incident->told =
			list_grow(incident->told, incident->told_count, &incident->told_capacity, sizeof(Told));
		incident->told[incident->told_count] =
			(Told){.relation = relation, .subject = number, .means = means, .at = at};
		*place = ++incident->told_count;
	}
}

void
incident_replay(Incident *incident, const Count *count)
{
	Buffer text = {0};

	incident_clear(incident, count->wanted.incident);
	for (uint32_t i = 0; i < count->notable_count; i++)
	{
		const Notable *step = &count->notables[i];
		Buffer detail = {0};
		Span said = texts_get(count->texts, step->detail);
		Span copy;

		if (step->event != ENTRY_INCIDENT || !member_string(said, "action", &text))
			continue;
		/* texts move when some are added */
		buffer_reserve(&detail, said.length + 1);
		memcpy(detail.bytes, said.bytes, said.length);
		copy = (Span){(const char *) detail.bytes, said.length};
		if (strcmp((const char *) text.bytes, "open_incident") == 0)
			take_opening(incident, count->texts, copy, step->at, &text);
		else if (strcmp((const char *) text.bytes, "set_incident_due") == 0)
			incident->due_at = take_moment(copy, "due", incident->due_at, &text);
		else if (strcmp((const char *) text.bytes, "mark_notified") == 0)
			take_told(incident, count->texts, copy, step->at, &text);
		else if (strcmp((const char *) text.bytes, "close_incident") == 0)
			incident->closed_at = step->at;
		free(detail.bytes);
	}
	free(text.bytes);
}

const Told *
incident_find_told(const Incident *incident, uint32_t relation, uint32_t subject)
{
	uint32_t place = map_find(&incident->told_index, map_pair(relation, subject));

	return place == 0 ? NULL : &incident->told[place - 1];
}

void
incident_count(Incident *incident, const Count *count)
{
	incident->people = 0;
	incident->notified = incident->told_count;
	for (uint32_t i = 0; i < count->people_count; i++)
		incident->people += count->people[i].subject != 0;
	for (uint32_t i = 0; i < incident->told_count; i++)
		incident->people +=
			map_find(&count->people_index,
					 map_pair(incident->told[i].relation, incident->told[i].subject)) == 0;
}

void
incident_mark(const Incident *incident, Count *count)
{
	for (uint32_t i = 0; i < count->people_count; i++)
	{
		Person *person = &count->people[i];
		const Told *told = incident_find_told(incident, person->relation, person->subject);

		person->notified_at = told != NULL ? told->at : INT64_MIN;
		person->means = told != NULL ? told->means : 0;
	}
}

void
incident_compare(const Incident *server, const Incident *recorded, const Texts *texts,
				 Comparison *comparison)
{
	Span none = {0};

	compare_texts(comparison, "the incident's party", none, texts_get(texts, server->party),
				  texts_get(texts, recorded->party));
	compare_texts(comparison, "the incident's title", none, texts_get(texts, server->title),
				  texts_get(texts, recorded->title));
	compare_moments(comparison, "the incident's period, begin", none, server->from, recorded->from);
	compare_moments(comparison, "the incident's period, end", none, server->to, recorded->to);
	compare_moments(comparison, "the incident's deadline", none, server->due_at, recorded->due_at);
	compare_done(comparison, "the incident, opened", none, server->opened_at, recorded->opened_at);
	compare_done(comparison, "the incident, closed", none, server->closed_at, recorded->closed_at);
	compare_by_rows(comparison, "the incident's people", none, (int64_t) server->people,
					(int64_t) recorded->people);
	compare_numbers(comparison, "the incident's people who were told", none,
					(int64_t) server->notified, (int64_t) recorded->notified);
}

/*
 * case.c - which figures are shown.
 */
#include "reporter/case.h"

#include "reporter/moment.h"

#include <stdlib.h>
#include <string.h>

ToolExit
case_set_incident(Case *matter, const Incident *incident)
{
	Span party = texts_get(&matter->texts, incident->party);
	char *copy = strdup(party.bytes != NULL ? party.bytes : "");

	if (copy == NULL)
		return report_problem(TOOL_INPUT, "out of memory");
	free(matter->party);
	matter->party = copy;
	matter->from = incident->from;
	matter->to = incident->to;
	return TOOL_VERIFIED;
}

Figure
case_total(const Case *matter)
{
	const Figure *total = figures_find(&matter->shown, DIMENSION_TOTAL, 0);

	return total != NULL ? *total : (Figure){0};
}

Span
case_incident_state(const Case *matter)
{
	const Incident *incident = &matter->incident;
	const char *state = "open";

	if (!incident->known)
		return (Span){0};
	if (incident->closed_at != INT64_MIN)
		state = "closed";
	else if (incident->people > 0 && incident->people == incident->notified)
		state = "notified";
	else if (incident->due_at <= matter->made_at)
		state = "overdue";
	return (Span){state, strlen(state)};
}

bool
case_sound(const Case *matter)
{
	return matter->counted && matter->problem == NULL && matter->comparison.different == 0;
}

/* Whether something can have been on that day: not before 1900, and not to come. */
static bool
is_plausible(const Case *matter, Span day)
{
	static const char earliest[] = "1900-01-01";
	int64_t least;
	int64_t moment;

	return moment_parse(earliest, strlen(earliest), &least) &&
		   moment_parse(day.bytes, day.length, &moment) && moment >= least &&
		   moment <= matter->made_at + MOMENT_DAY;
}

bool
case_span(const Case *matter, Dimension dimension, Span *first, Span *last, uint64_t *odd)
{
	bool any = false;

	*odd = 0;
	/* they are in order */
	for (uint32_t i = 0; i < matter->shown.count; i++)
	{
		const Figure *figure = &matter->shown.items[i];
		Span day = texts_get(&matter->texts, figure->value);

		if (figure->dimension != dimension || figure->value == 0 || figure->disclosures == 0)
			continue;
		if (!is_plausible(matter, day))
		{
			(*odd)++;
			continue;
		}
		*last = day;
		if (!any)
			*first = *last;
		any = true;
	}
	return any;
}

bool
case_shows_server(const Case *matter)
{
	return !matter->counted ||
		   (matter->asked && matter->comparison.several && matter->comparison.different == 0);
}

/*
 * What was counted from the archive, which is all that is proven; the server's
 * where there is nothing else, or where it counts earlier logs and nothing speaks against
 * it. Only the server knows what there was besides.
 */
void
case_choose(Case *matter)
{
	const FigureList *lists[2] = {
		case_shows_server(matter) ? &matter->server : &matter->count.figures, &matter->server};

	for (int list = 0; list < 2; list++)
	{
		for (uint32_t i = 0; i < lists[list]->count; i++)
		{
			const Figure figure = lists[list]->items[i];
			uint32_t index;

			if ((list == 1 && figure.taken) ||
				figures_find(&matter->shown, figure.dimension, figure.value) != NULL)
				continue;
			index = figures_get(&matter->shown, figure.dimension, figure.value);
			matter->shown.items[index] = figure;
		}
	}
	figures_order(&matter->shown, &matter->texts);
}

const DeclaredList *
case_declared(const Case *matter)
{
	return matter->asked ? &matter->declared : &matter->count.declared;
}

void
case_free(Case *matter)
{
	figures_free(&matter->server);
	figures_free(&matter->shown);
	declared_free(&matter->declared);
	count_free(&matter->count);
	count_free(&matter->left);
	incident_clear(&matter->incident, 0);
	incident_clear(&matter->told, 0);
	texts_free(&matter->texts);
	free(matter->comparison.first);
	free(matter->note.bytes);
	free(matter->proof_sequences);
	free(matter->problem);
	free(matter->party);
}

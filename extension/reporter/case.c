/*
 * case.c - which figures are shown.
 */
#include "reporter/case.h"

#include <stdlib.h>

Figure
case_total(const Case *matter)
{
	const Figure *total = figures_find(&matter->shown, DIMENSION_TOTAL, 0);

	return total != NULL ? *total : (Figure){0};
}

bool
case_span(const Case *matter, Dimension dimension, Span *first, Span *last)
{
	bool any = false;

	/* they are in order */
	for (uint32_t i = 0; i < matter->shown.count; i++)
	{
		const Figure *figure = &matter->shown.items[i];

		if (figure->dimension != dimension || figure->value == 0 || figure->disclosures == 0)
			continue;
		*last = texts_get(&matter->texts, figure->value);
		if (!any)
			*first = *last;
		any = true;
	}
	return any;
}

/*
 * What was counted from the archive, which is all that is proven; the server's
 * where there is nothing else. Only the server knows what there was besides.
 */
void
case_choose(Case *matter)
{
	const FigureList *lists[2] = {matter->counted ? &matter->count.figures : &matter->server,
								  &matter->server};

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

void
case_free(Case *matter)
{
	figures_free(&matter->server);
	figures_free(&matter->shown);
	count_free(&matter->count);
	texts_free(&matter->texts);
	free(matter->comparison.first);
	free(matter->note.bytes);
	free(matter->proof_sequences);
	free(matter->problem);
	free(matter->party);
}

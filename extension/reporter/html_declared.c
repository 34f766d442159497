/*
 * html_declared.c - what the images were collected for, as it was declared.
 */
#include "reporter/html.h"

#include "reporter/member.h"

#include <inttypes.h>
#include <stdlib.h>

static void
put_formats(FILE *out, Span array)
{
	Buffer text = {0};
	size_t at = 0;
	Span item;
	bool any = false;

	while (member_items(array, &at, &item))
	{
		fputs(any ? " or " : "in format ", out);
		member_text(item, &text);
		html_span(out, (Span){(const char *) text.bytes, text.length});
		any = true;
	}
	free(text.bytes);
}

/* Writes a limit with what stands around it, behind what was written before. */
static void
put_limit(FILE *out, bool *any, const char *before, Span limit, const char *after)
{
	if (limit.bytes == NULL)
		return;
	fputs(*any ? "; " : "", out);
	fputs(before, out);
	if (limit.bytes[0] == '[')
		put_formats(out, limit);
	else
		html_span(out, limit);
	fputs(after, out);
	*any = true;
}

static void
put_limits(FILE *out, const Texts *texts, const Declared *declared)
{
	bool any = false;

	put_limit(out, &any, "at most ", texts_get(texts, declared->said[DECLARED_MAX_WIDTH]),
			  " pixels wide");
	put_limit(out, &any, "at most ", texts_get(texts, declared->said[DECLARED_MAX_HEIGHT]),
			  " pixels high");
	put_limit(out, &any, "", texts_get(texts, declared->said[DECLARED_FORMATS]), "");
	put_limit(out, &any, "at most ", texts_get(texts, declared->said[DECLARED_MAX_PER_DAY]),
			  " of a person in a day");
	if (!any)
		html_value(out, texts, 0, "none");
}

static void
put_declared(FILE *out, const Case *matter, const Declared *declared)
{
	const Texts *texts = &matter->texts;

	fputs("<tr><th scope=\"row\">", out);
	html_value(out, texts, declared->said[DECLARED_RELATION], "table not known");
	fputs(", ", out);
	html_value(out, texts, declared->said[DECLARED_COLUMN], "column not known");
	fputs("</th>", out);
	if (declared->declaration == 0)
	{
		fputs("<td colspan=\"4\"><strong>undeclared</strong>: nobody has said what these images "
			  "are collected for</td></tr>\n",
			  out);
		return;
	}
	fputs("<td>", out);
	html_value(out, texts, declared->said[DECLARED_PURPOSE], "not declared");
	fputs("</td><td>", out);
	html_value(out, texts, declared->said[DECLARED_LEGAL_BASIS], "not declared");
	fputs("</td><td>", out);
	put_limits(out, texts, declared);
	fputs("</td><td>", out);
	if (!declared->recorded)
		html_value(out, texts, 0, "not in this archive");
	else
	{
		html_moment(out, declared->at);
		fputs(" by ", out);
		html_value(out, texts, declared->by, "not known");
		fprintf(out, ", entry %" PRIu64, declared->sequence);
	}
	fputs("</td></tr>\n", out);
}

void
html_declared(FILE *out, const Case *matter)
{
	const DeclaredList *list = case_declared(matter);
	bool any = false;

	for (uint32_t i = 0; i < list->count; i++)
		any = any || !list->items[i].ended;
	fputs("<section aria-labelledby=\"declared\">\n<h2 id=\"declared\">What images are collected "
		  "for</h2>\n",
		  out);
	if (!any)
	{
		fputs("<p>No column was declared; nobody has said what its images are collected "
			  "for.</p>\n</section>\n",
			  out);
		return;
	}
	fprintf(out,
			"<p>As the agency has declared it, and as it stands at the end of this ledger%s. What "
			"had been declared when an image was stored is counted above.</p>\n",
			matter->asked ? "; columns that hold images without it are undeclared"
						  : "; which columns are undeclared only the server knows");
	fputs("<table>\n<caption>Declared collections</caption>\n<colgroup><col style=\"width:18%\">"
		  "<col style=\"width:20%\"><col style=\"width:20%\"><col><col style=\"width:20%\">"
		  "</colgroup>\n<thead><tr><th scope=\"col\">table, column</th>"
		  "<th scope=\"col\">purpose</th><th scope=\"col\">legal basis</th>"
		  "<th scope=\"col\">limits</th><th scope=\"col\">declared</th></tr></thead>\n<tbody>\n",
		  out);
	for (uint32_t i = 0; i < list->count; i++)
		if (!list->items[i].ended)
			put_declared(out, matter, &list->items[i]);
	fputs("</tbody>\n</table>\n</section>\n", out);
}

/*
 * html_figures.c - the tables of figures.
 */
#include "reporter/html.h"

#include "reporter/member.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Rows of one table; the rest is in report.json. */
#define TABLE_ROWS_MAX 60

/* What is written where a value is none. */
static const char *
none_of(Dimension dimension)
{
	switch (dimension)
	{
		case DIMENSION_AUTHORIZATION:
			return "without an authorization (observed)";
		case DIMENSION_PURPOSE:
			return "none declared";
		case DIMENSION_PLACE:
		case DIMENSION_COLLECTED_ON:
			return "not recorded";
		case DIMENSION_COLLECTED_FOR:
			return "undeclared when it was stored";
		default:
			return "not known";
	}
}

/* Writes what a permit allows, as the entry says that granted it, if the ledger has that. */
static void
put_terms(FILE *out, const Case *matter, Span permit)
{
	Buffer text = {0};
	Span detail = {0};
	Span value;

	for (uint32_t i = 0; i < matter->count.notable_count && detail.bytes == NULL; i++)
	{
		Span said = texts_get(&matter->texts, matter->count.notables[i].detail);

		if (member_string(said, "action", &text) && strcmp((char *) text.bytes, "authorize") == 0 &&
			member_find(said, "permit", &value) && value.length == permit.length &&
			memcmp(value.bytes, permit.bytes, permit.length) == 0)
			detail = said;
	}
	if (detail.bytes != NULL)
	{
		fputs(": ", out);
		html_terms(out, detail);
	}
	free(text.bytes);
}

/* Writes what images were collected for: "border control; legal basis: 8 USC 1365b". */
static void
put_declared(FILE *out, Span declared)
{
	Buffer text = {0};
	bool any = member_string(declared, "purpose", &text);

	if (any)
		html_span(out, (Span){(const char *) text.bytes, text.length});
	if (member_string(declared, "legal_basis", &text))
	{
		fputs(any ? "; legal basis: " : "legal basis: ", out);
		html_span(out, (Span){(const char *) text.bytes, text.length});
	}
	free(text.bytes);
}

static void
put_value(FILE *out, const Case *matter, const Figure *figure)
{
	Span text = texts_get(&matter->texts, figure->value);

	if (figure->value == 0)
		html_value(out, &matter->texts, 0, none_of(figure->dimension));
	else if (figure->dimension == DIMENSION_COLLECTED_FOR)
		put_declared(out, text);
	else if (figure->dimension == DIMENSION_PLACE)
		html_words(out, text);
	else
		html_span(out, text);
	if (figure->dimension == DIMENSION_AUTHORIZATION && figure->value != 0)
		put_terms(out, matter, text);
}

static void
put_row(FILE *out, const Case *matter, const Figure *figure, uint64_t most)
{
	fputs("<tr><th scope=\"row\">", out);
	put_value(out, matter, figure);
	fputs("</th><td class=\"b\">", out);
	html_bar(out, figure->images, most);
	fputs("</td>", out);
	html_number_cell(out, figure->images);
	html_number_cell(out, figure->subjects);
	html_number_cell(out, figure->rows);
	html_number_cell(out, figure->disclosures);
	fputs("</tr>\n", out);
}

/* How many values of a dimension were taken, and the most images of any. */
static uint32_t
measure(const Case *matter, Dimension dimension, uint64_t *most)
{
	uint32_t count = 0;

	*most = 0;
	for (uint32_t i = 0; i < matter->shown.count; i++)
	{
		const Figure *figure = &matter->shown.items[i];

		if (figure->dimension != dimension || figure->disclosures == 0)
			continue;
		count++;
		if (figure->images > *most)
			*most = figure->images;
	}
	return count;
}

static void
put_table(FILE *out, const Case *matter, Dimension dimension)
{
	uint64_t most;
	uint32_t all = measure(matter, dimension, &most);
	uint32_t shown = 0;

	if (all == 0)
		return;
	fprintf(out,
			"<table>\n<caption>%s</caption>\n<colgroup><col class=\"v\"><col class=\"b\"><col "
			"class=\"c\"><col class=\"c\"><col class=\"c\"><col class=\"d\"></colgroup>\n"
			"<thead><tr><th scope=\"col\">value</th><th scope=\"col\" class=\"b\">share</th>"
			"<th scope=\"col\" class=\"n\">images</th><th scope=\"col\" class=\"n\">people</th>"
			"<th scope=\"col\" class=\"n\">rows</th><th scope=\"col\" class=\"n\">disclosures</th>"
			"</tr></thead>\n<tbody>\n",
			dimension_title(dimension));
	for (uint32_t i = 0; i < matter->shown.count && shown < TABLE_ROWS_MAX; i++)
	{
		const Figure *figure = &matter->shown.items[i];

		if (figure->dimension != dimension || figure->disclosures == 0)
			continue;
		put_row(out, matter, figure, most);
		shown++;
	}
	fputs("</tbody>\n</table>\n", out);
	if (all > shown)
		fprintf(out, "<p>%u more are in <code>report.json</code>.</p>\n", (unsigned) (all - shown));
}

/* The values of a dimension that the server knows and nothing was taken of. */
static bool
put_untaken(FILE *out, const Case *matter, Dimension dimension, const char *what)
{
	bool any = false;

	for (uint32_t i = 0; i < matter->shown.count; i++)
	{
		const Figure *figure = &matter->shown.items[i];

		if (figure->dimension != dimension || figure->disclosures > 0 || figure->taken)
			continue;
		fprintf(out, any ? ", <b>" : "<li>%s: <b>", what);
		put_value(out, matter, figure);
		fputs("</b>", out);
		any = true;
	}
	if (any)
		fputs("</li>\n", out);
	return any;
}

static void
put_not_taken(FILE *out, const Case *matter)
{
	bool any = false;

	fputs("<section aria-labelledby=\"not-taken\">\n<h2 id=\"not-taken\">What was not taken</h2>\n",
		  out);
	if (!matter->asked)
	{
		fputs("<p>This report was made from the ledger&rsquo;s archive alone. An archive says what "
			  "was released, not which other tables, networks and authorizations there were: a "
			  "report made from the server lists them here.</p>\n</section>\n",
			  out);
		return;
	}
	fputs("<p>In this period <strong>no image</strong> of the following was released to this "
		  "party. Each of these zeroes was counted from the ledger like every other figure.</p>\n"
		  "<ul class=\"plain\">\n",
		  out);
	any = put_untaken(out, matter, DIMENSION_KIND, "Kinds of image");
	any = put_untaken(out, matter, DIMENSION_RELATION, "Tables") || any;
	any = put_untaken(out, matter, DIMENSION_NETWORK, "Networks of this party") || any;
	any = put_untaken(out, matter, DIMENSION_AUTHORIZATION, "Authorizations of this party") || any;
	if (!any)
		fputs("<li>Images of every kind, from every table, through every network and under every "
			  "authorization were released.</li>\n",
			  out);
	fputs("</ul>\n</section>\n", out);
}

void
html_tables(FILE *out, const Case *matter)
{
	static const Dimension order[] = {
		DIMENSION_KIND,	   DIMENSION_PLACE,		  DIMENSION_RELATION, DIMENSION_COLLECTED_FOR,
		DIMENSION_PURPOSE, DIMENSION_NETWORK,	  DIMENSION_LOGIN,	  DIMENSION_AUTHORIZATION,
		DIMENSION_DAY,	   DIMENSION_COLLECTED_ON};
	fputs("<section class=\"page\" aria-labelledby=\"taken\">\n<h2 id=\"taken\">What was "
		  "taken</h2>\n<p>An image counts once in each line, however often it was released; a "
		  "disclosure is one release of one image. People are counted where a table&rsquo;s owner "
		  "has said which columns name them. An image that several rows hold counts at each of "
		  "their places, so that lines can add up to more than the whole.</p>\n",
		  out);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		put_table(out, matter, order[i]);
	fputs("</section>\n", out);
	put_not_taken(out, matter);
}

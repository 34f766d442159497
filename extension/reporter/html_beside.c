/*
 * html_beside.c - what was refused, what changed, and whom to notify.
 */
#include "reporter/html.h"

#include "reporter/member.h"
#include "reporter/moment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PEOPLE_SHOWN 100
#define NOTABLES_SHOWN 200
#define ROWS_SHOWN 5

static void
put_notable(FILE *out, const Case *matter, const Notable *notable)
{
	unsigned mark = html_mark_of(matter, notable);

	fputs("<tr><td>", out);
	if (mark > 0)
		fprintf(out, "<span class=\"dot\">%u</span>", mark);
	fputs("</td>", out);
	html_moment_cell(out, notable->at);
	fputs("<th scope=\"row\">", out);
	html_step(out, matter, notable);
	fputs("</th><td>", out);
	html_value(out, &matter->texts, notable->by, "not known");
	fprintf(out, "</td><td class=\"n\">%" PRIu64 "</td></tr>\n", notable->sequence);
}

static void
put_notables(FILE *out, const Case *matter)
{
	const Count *count = &matter->count;

	if (count->notable_count == 0)
		return;
	fputs("<table>\n<caption>What was changed and noted about this party</caption>\n<colgroup><col "
		  "style=\"width:7%\"><col style=\"width:21%\"><col><col style=\"width:15%\"><col "
		  "style=\"width:9%\"></colgroup>\n<thead><tr><th scope=\"col\">chart</th>"
		  "<th scope=\"col\">when</th><th scope=\"col\">what</th>"
		  "<th scope=\"col\">by</th><th scope=\"col\" class=\"n\">entry</th></tr></thead>\n"
		  "<tbody>\n",
		  out);
	for (uint32_t i = 0; i < count->notable_count && i < NOTABLES_SHOWN; i++)
		put_notable(out, matter, &count->notables[i]);
	fputs("</tbody>\n</table>\n", out);
	if (count->notable_count > NOTABLES_SHOWN)
		fprintf(out, "<p>%u more are in <code>report.json</code>.</p>\n",
				(unsigned) (count->notable_count - NOTABLES_SHOWN));
}

/* Why something was refused, for people, and the rule's name. */
static void
put_reason(FILE *out, Span name)
{
	static const char *const reasons[][2] = {
		{"ledger_unavailable", "it could not be put on record"},
		{"key_unavailable", "the key was not there"},
		{"unregistered_network", "the network was nobody&rsquo;s"},
		{"contract_expired", "the contract had ended, or not begun"},
		{"quarantined", "the party was cut off"},
		{"no_permit", "no authorization for these images"},
		{"refused_by_permit", "an authorization says that they are not to be released"},
		{"tls_required", "the connection was not encrypted"},
		{"purpose_missing", "no purpose was declared"},
		{"purpose_not_permitted", "not for the purpose that was declared"},
		{"quota_exceeded", "more than the quota"},
		{"retention_expired", "kept longer than allowed"}};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
	{
		if (name.length == strlen(reasons[i][0]) &&
			memcmp(name.bytes, reasons[i][0], name.length) == 0)
			fprintf(out, "%s: ", reasons[i][1]);
	}
	fputs("<code>", out);
	html_span(out, name.bytes != NULL ? name : (Span){"not recorded", 12});
	fputs("</code>", out);
}

static void
put_refusals(FILE *out, const Case *matter)
{
	const Count *count = &matter->count;

	if (count->refusal_count == 0)
	{
		fputs("<p>No request of this party was refused in this period.</p>\n", out);
		return;
	}
	fputs("<table>\n<caption>Requests that were refused</caption>\n<colgroup><col><col "
		  "style=\"width:16%\"><col style=\"width:10%\"><col style=\"width:22%\"><col "
		  "style=\"width:21%\"></colgroup>\n<thead><tr>"
		  "<th scope=\"col\">rule</th><th scope=\"col\">network</th>"
		  "<th scope=\"col\" class=\"n\">refusals</th><th scope=\"col\">first</th>"
		  "<th scope=\"col\">last</th></tr></thead>\n<tbody>\n",
		  out);
	for (uint32_t i = 0; i < count->refusal_count; i++)
	{
		const Refusal *refusal = &count->refusals[i];

		fputs("<tr><th scope=\"row\">", out);
		put_reason(out, texts_get(&matter->texts, refusal->reason));
		fputs("</th><td>", out);
		html_value(out, &matter->texts, refusal->network, "none");
		fputs("</td>", out);
		html_number_cell(out, refusal->times);
		html_moment_cell(out, refusal->first);
		html_moment_cell(out, refusal->last);
		fputs("</tr>\n", out);
	}
	fputs("</tbody>\n</table>\n", out);
}

void
html_beside(FILE *out, const Case *matter)
{
	fputs("<section aria-labelledby=\"when\">\n<h2 id=\"when\">When it "
		  "happened</h2>\n",
		  out);
	if (!matter->counted)
	{
		fputs("<p>The ledger could not be read; there is nothing to draw.</p>\n</section>\n", out);
		return;
	}
	html_timeline(out, matter);
	put_notables(out, matter);
	put_refusals(out, matter);
	if (matter->count.exports + matter->count.replication > 0)
	{
		fputs("<p>Besides, ", out);
		html_count(out, matter->count.exports, "statement sent", "statements sent");
		fputs(" images in sealed form, which cannot be opened without the agency&rsquo;s keys, "
			  "and there ",
			  out);
		fputs(matter->count.replication == 1 ? "was " : "were ", out);
		html_count(out, matter->count.replication, "replication connection",
				   "replication connections");
		fputs(". Sealed images are not counted as disclosures.</p>\n", out);
	}
	fputs("</section>\n", out);
}

static void
put_rows_of(FILE *out, const Case *matter, const Person *person)
{
	const Count *count = &matter->count;
	unsigned shown = 0;

	for (uint32_t at = person->rows; at != 0; at = count->people_row[at - 1].next)
	{
		if (shown++ == ROWS_SHOWN)
		{
			fputs("; &hellip;", out);
			return;
		}
		fputs(shown > 1 ? "; " : "", out);
		html_words(out, texts_get(&matter->texts, count->people_row[at - 1].key));
	}
}

static void
put_kinds(FILE *out, unsigned kinds)
{
	bool any = false;

	for (int kind = 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		if ((kinds >> kind & 1) == 0)
			continue;
		fprintf(out, "%s%s", any ? ", " : "", image_kind_name(kind));
		any = true;
	}
}

static void
put_person(FILE *out, const Case *matter, const Person *person)
{
	fputs("<tr><th scope=\"row\">", out);
	if (person->subject == 0)
		html_value(out, &matter->texts, 0, "row not known");
	else
		html_words(out, texts_get(&matter->texts, person->subject));
	if (!person->recorded && person->subject != 0)
		fputs(" <span class=\"none\">(row; no person recorded)</span>", out);
	fputs("</th><td>", out);
	html_value(out, &matter->texts, person->relation, "not known");
	fputs("</td><td>", out);
	put_rows_of(out, matter, person);
	fputs("</td><td>", out);
	put_kinds(out, person->kinds);
	fputs("</td>", out);
	html_number_cell(out, person->images);
	html_moment_cell(out, person->first);
	fputs("<td>", out);
	if (!matter->people_known)
		html_value(out, &matter->texts, 0, "not known");
	else if (person->notified_at == INT64_MIN)
		fputs("<strong>not yet</strong>", out);
	else
	{
		html_moment(out, person->notified_at);
		fputs(", ", out);
		html_value(out, &matter->texts, person->means, "means not recorded");
	}
	fputs("</td></tr>\n", out);
}

void
html_people(FILE *out, const Case *matter)
{
	const Count *count = &matter->count;

	if (!matter->counted || count->people_count == 0)
		return;
	fputs("<section class=\"page\" aria-labelledby=\"notify\">\n<h2 id=\"notify\">Who is to be "
		  "notified</h2>\n<p>",
		  out);
	html_count(out, count->people_count, "line", "lines");
	fputs(count->people_count > PEOPLE_SHOWN ? ", of which the first 100 are here; all" : "; they",
		  out);
	fputs(" are in <code>notification.csv</code>, to be handed to whoever writes to them. Where "
		  "no person was recorded, a line is the row that held the image.</p>\n",
		  out);
	fputs("<table>\n<caption>People, by table</caption>\n<colgroup><col style=\"width:20%\"><col "
		  "style=\"width:13%\"><col style=\"width:13%\"><col style=\"width:8%\"><col "
		  "style=\"width:9%\"><col style=\"width:20%\"><col></colgroup>\n<thead><tr><th "
		  "scope=\"col\">person</th>"
		  "<th scope=\"col\">table</th><th scope=\"col\">rows</th><th scope=\"col\">kinds</th>"
		  "<th scope=\"col\" class=\"n\">images</th><th scope=\"col\">first released</th>"
		  "<th scope=\"col\">notified</th></tr></thead>\n<tbody>\n",
		  out);
	for (uint32_t i = 0; i < count->people_count && i < PEOPLE_SHOWN; i++)
		put_person(out, matter, &count->people[i]);
	fputs("</tbody>\n</table>\n</section>\n", out);
}

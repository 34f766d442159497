/*
 * html_words.c - the sentences: what happened, and why it can be believed.
 */
#define _GNU_SOURCE

#include "reporter/html.h"

#include "reporter/member.h"
#include "reporter/moment.h"
#include "reporter/write.h"
#include "tool/print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Values of one dimension that a sentence lists. */
#define LISTED_MAX 4

/* How many values of a dimension there are; that none is known does not count. */
static uint32_t
count_values(const Case *matter, Dimension dimension)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < matter->shown.count; i++)
		count += matter->shown.items[i].dimension == dimension &&
				 matter->shown.items[i].disclosures > 0 && matter->shown.items[i].value != 0;
	return count;
}

/* Writes values of a dimension as a list in a sentence; says how many more there are. */
static void
put_list(FILE *out, const Case *matter, Dimension dimension)
{
	uint32_t all = count_values(matter, dimension);
	uint32_t shown = 0;

	for (uint32_t i = 0; i < matter->shown.count && shown < LISTED_MAX; i++)
	{
		const Figure *figure = &matter->shown.items[i];

		if (figure->dimension != dimension || figure->disclosures == 0 || figure->value == 0)
			continue;
		shown++;
		fputs(shown == 1 ? "" : shown == all ? " and " : ", ", out);
		fputs("<strong>", out);
		html_value(out, &matter->texts, figure->value, "");
		fputs("</strong>", out);
	}
	if (all > shown)
		fprintf(out, " and %u more", (unsigned) (all - shown));
}

/* "Northgate Systems GmbH (northgate)", or the name alone. */
static void
put_party(FILE *out, const Case *matter)
{
	if (matter->party_title != 0)
	{
		html_value(out, &matter->texts, matter->party_title, "");
		fputs(" (<code>", out);
		html_text(out, matter->party);
		fputs("</code>)", out);
	}
	else if (matter->party[0] == '\0')
		fputs("Clients that belong to no party", out);
	else
	{
		fputs("Party <code>", out);
		html_text(out, matter->party);
		fputs("</code>", out);
	}
}

static void
put_kinds(FILE *out, const Case *matter)
{
	bool any = false;

	for (uint32_t i = 0; i < matter->shown.count; i++)
	{
		const Figure *figure = &matter->shown.items[i];

		if (figure->dimension != DIMENSION_KIND || figure->disclosures == 0)
			continue;
		fputs(any ? ", " : " (", out);
		html_value(out, &matter->texts, figure->value, "not known");
		fputs(" ", out);
		html_number(out, figure->images);
		any = true;
	}
	fputs(any ? ")" : "", out);
}

/* Lines of the list of whom to notify that name a person, not the row that held an image. */
static uint64_t
count_recorded(const Case *matter)
{
	uint64_t people = 0;

	for (uint32_t i = 0; i < matter->count.people_count; i++)
		people += matter->count.people[i].recorded;
	return people;
}

/* How many rows there are of which nobody knows whom they show, behind the people. */
static void
put_nameless(FILE *out, const Case *matter)
{
	uint64_t people = count_recorded(matter);

	if (!matter->counted || people == matter->count.people_count)
		return;
	fputs(" (and ", out);
	html_count(out, matter->count.people_count - people, "row whose person is not recorded)",
			   "rows whose people are not recorded)");
}

static void
put_released(FILE *out, const Case *matter, const Figure *total)
{
	/* what reads the same is one moment to people */
	bool at_once = total->first / 1000000 == total->last / 1000000;

	fputs("<p class=\"lead\">", out);
	put_party(out, matter);
	fputs(" received <strong>", out);
	html_count(out, total->images, "image", "images");
	fputs("</strong>", out);
	put_kinds(out, matter);
	if (total->subjects > 0)
	{
		fputs(" of <strong>", out);
		html_count(out, total->subjects, "person", "people");
		fputs("</strong>", out);
		put_nameless(out, matter);
	}
	fputs(" in <strong>", out);
	html_count(out, total->rows, "row", "rows");
	fputs(at_once ? "</strong>, on " : "</strong>, between ", out);
	html_moment(out, total->first);
	if (!at_once)
	{
		fputs(" and ", out);
		html_moment(out, total->last);
	}
	if (0 < count_values(matter, DIMENSION_NETWORK))
	{
		fputs(", through network ", out);
		put_list(out, matter, DIMENSION_NETWORK);
	}
	fputs(".</p>\n<p>They come from ", out);
	put_list(out, matter, DIMENSION_RELATION);
	if (0 < count_values(matter, DIMENSION_PURPOSE))
	{
		fputs(", and were asked for as ", out);
		put_list(out, matter, DIMENSION_PURPOSE);
	}
	fputs(". Counting each release of each image, there were ", out);
	html_count(out, total->disclosures, "disclosure", "disclosures");
	fputs(". ", out);
}

/* A date of a figure, for people. */
static void
put_date(FILE *out, Span date)
{
	char words[MOMENT_TEXT_MAX];
	int64_t moment;

	if (!moment_parse(date.bytes, date.length, &moment))
	{
		html_span(out, date);
		return;
	}
	moment_day_words(moment_day(moment), words);
	html_text(out, words);
}

/* When and where the images were collected. */
static void
put_collected(FILE *out, const Case *matter)
{
	Span first;
	Span last;
	uint64_t odd;

	if (case_span(matter, DIMENSION_COLLECTED_ON, &first, &last, &odd))
	{
		fputs("The images had been collected ", out);
		fputs(first.bytes == last.bytes ? "on <strong>" : "between <strong>", out);
		put_date(out, first);
		if (first.bytes != last.bytes)
		{
			fputs("</strong> and <strong>", out);
			put_date(out, last);
		}
		fputs("</strong>, as recorded", out);
	}
	else
		fputs(odd > 0 ? "When the images had been collected is not known"
					  : "When the images had been collected is not recorded",
			  out);
	if (odd > 0)
	{
		fputs(" (", out);
		html_count(out, odd, "recorded day", "recorded days");
		fputs(" before 1900 or in the future left out)", out);
	}
	if (0 < count_values(matter, DIMENSION_PLACE))
	{
		fputs(", at <strong>", out);
		html_count(out, count_values(matter, DIMENSION_PLACE), "place", "places");
		fputs("</strong>", out);
	}
	fputs(".</p>\n", out);
}

/* Whether the party is cut off, by the last change that says anything of it. */
static void
put_quarantine(FILE *out, const Case *matter)
{
	const Notable *last = NULL;
	Buffer action = {0};
	Span detail = {0};
	bool quarantined = false;

	for (uint32_t i = 0; i < matter->count.notable_count; i++)
	{
		Span said = texts_get(&matter->texts, matter->count.notables[i].detail);

		if (!member_string(said, "action", &action) ||
			(strcmp((char *) action.bytes, "quarantine") != 0 &&
			 strcmp((char *) action.bytes, "reinstate") != 0))
			continue;
		last = &matter->count.notables[i];
		detail = said;
		quarantined = strcmp((char *) action.bytes, "quarantine") == 0;
	}
	if (last != NULL)
	{
		fputs(quarantined ? "<p>The party was put into <strong>quarantine</strong> on "
						  : "<p>After a quarantine, the party was reinstated on ",
			  out);
		html_moment(out, last->at);
		fputs(quarantined ? "; nothing is released to it from then on" : "", out);
		if (member_string(detail, "reason", &action))
		{
			fputs(" (&ldquo;", out);
			html_span(out, (Span){(const char *) action.bytes, action.length});
			fputs("&rdquo;)", out);
		}
		fputs(".</p>\n", out);
	}
	free(action.bytes);
}

static void
put_incident(FILE *out, const Case *matter)
{
	const Incident *incident = &matter->incident;

	if (incident->id == 0 || !incident->known)
		return;
	fprintf(out, "<p>Incident %" PRIu64 " is <strong>", incident->id);
	html_span(out, case_incident_state(matter));
	fputs("</strong>: of ", out);
	if (matter->counted)
	{
		uint64_t people = count_recorded(matter);

		html_count(out, people, "person", "people");
		put_nameless(out, matter);
	}
	else
		html_count(out, incident->people, "person or row", "people or rows");
	fputs(" to be notified, ", out);
	html_number(out, incident->notified);
	fputs(incident->notified == 1 ? " has been" : " have been", out);
	if (incident->due_at != INT64_MIN)
	{
		fputs("; notification is due by ", out);
		html_moment(out, incident->due_at);
	}
	fputs(".</p>\n", out);
}

static void
put_tile(FILE *out, uint64_t number, const char *what)
{
	fputs("<li><b>", out);
	html_number(out, number);
	fprintf(out, "</b><span>%s</span></li>", what);
}

void
html_summary(FILE *out, const Case *matter)
{
	Figure total = case_total(matter);

	fputs("<section aria-labelledby=\"summary\">\n<h2 id=\"summary\">In short</h2>\n", out);
	if (total.disclosures > 0)
	{
		put_released(out, matter, &total);
		put_collected(out, matter);
		fputs("<ul class=\"tiles\">", out);
		put_tile(out, total.images, total.images == 1 ? "image" : "different images");
		put_tile(out, total.subjects,
				 matter->counted && count_recorded(matter) < matter->count.people_count
					 ? "people who are recorded"
					 : "people");
		put_tile(out, total.rows, "rows that held them");
		put_tile(out, total.disclosures, "disclosures");
		fputs("</ul>\n", out);
		if (total.subjects == 0)
			fputs("<p>Whom the images show is not recorded in the ledger: the owner of the table "
				  "has not said which columns name a person. A report that is made after "
				  "<code>biometric.describe_collection()</code> counts people, for rows that still "
				  "exist.</p>\n",
				  out);
	}
	else
	{
		fputs("<p class=\"lead\">", out);
		put_party(out, matter);
		fputs(" received <strong>no image</strong> in this period.</p>\n", out);
	}
	if (matter->counted && matter->count.refused > 0)
	{
		fputs("<p>In the same period ", out);
		html_count(out, matter->count.refused, "request", "requests");
		fputs(" of this party for images ", out);
		fputs(matter->count.refused == 1 ? "was refused.</p>\n" : "were refused.</p>\n", out);
	}
	put_quarantine(out, matter);
	put_incident(out, matter);
	fputs("</section>\n", out);
}

/* How each figure was come by. */
static void
put_counting(FILE *out, const Case *matter)
{
	const Comparison *comparison = &matter->comparison;

	fputs("<p>The ledger&rsquo;s archive was read from entry ", out);
	html_number(out, matter->count.from);
	fputs(" to its last one, <strong>", out);
	html_count(out, matter->head.checkpoint.size, "entry", "entries");
	fputs("</strong> long. Each entry was hashed again, and the hashes lead to the root that is "
		  "signed below. ",
		  out);
	if (matter->asked)
	{
		fputs("Apart from the server, and by another program, <strong>", out);
		html_count(out, comparison->compared, "number", "numbers");
		fputs("</strong> that the server had given were counted again from the bytes of these "
			  "entries: <strong>",
			  out);
		html_number(out, comparison->compared - comparison->different);
		fputs("</strong> are equal, <strong>", out);
		html_number(out, comparison->different);
		fputs("</strong> differ.", out);
	}
	else
		fputs("All figures were counted from the bytes of these entries; no server was asked.",
			  out);
	fputs("</p>\n", out);
	if (matter->detached && matter->count.detached > 0)
	{
		fputs("<p>An entry of the ledger says that the entries before number ", out);
		html_number(out, matter->count.detached);
		fputs(
			" were detached from the server, which counts without them. Its numbers were compared "
			"with a count of the entries from there on; those of this report are of all entries "
			"in the archive.</p>\n",
			out);
	}
}

static void
put_keys(FILE *out, const Case *matter)
{
	char text[NOTE_KEY_TEXT_MAX];

	for (int i = 0; i < matter->keys.count; i++)
	{
		note_key_format(&matter->keys.log[i], text);
		html_text(out, text);
		fputs("\n", out);
	}
}

static void
put_signed(FILE *out, const Case *matter)
{
	char root[2 * MERKLE_HASH_SIZE + 1];

	print_hex(matter->head.checkpoint.root.bytes, MERKLE_HASH_SIZE, root);
	fputs("<h3>The signed checkpoint</h3>\n<dl class=\"facts\"><dt>log</dt><dd>", out);
	html_text(out, matter->head.checkpoint.origin);
	fputs("</dd><dt>size</dt><dd>", out);
	html_count(out, matter->head.checkpoint.size, "entry", "entries");
	fprintf(out, "</dd><dt>root (SHA-256)</dt><dd><code>%s</code></dd></dl>\n<pre>", root);
	for (size_t at = 0; at < matter->note.length;)
	{
		const char *line = (const char *) matter->note.bytes + at;
		const char *newline = memchr(line, '\n', matter->note.length - at);
		size_t length = newline != NULL ? (size_t) (newline - line) : matter->note.length - at;

		html_span(out, (Span){line, length});
		fputs("\n", out);
		at += length + 1;
	}
	fputs("</pre>\n<h3>The key that it was verified by</h3>\n<pre>", out);
	put_keys(out, matter);
	fputs("</pre>\n", out);
	if (!matter->keys.trusted)
		fputs("<p><strong>Nobody has vouched for this key:</strong> it came with the ledger. "
			  "Compare it with the one that the agency has published.</p>\n",
			  out);
}

static void
put_repeat(FILE *out, const Case *matter)
{
	fputs("<h3>How to repeat it</h3>\n<p>With the archive <code>", out);
	html_text(out, matter->archive);
	fputs("</code>, and without the server:</p>\n<pre>biometric-verify verify ARCHIVE --key "
		  "'<i>verifier key</i>'\nbiometric-report --offline --archive ARCHIVE --party '",
		  out);
	html_text(out, matter->party);
	fputs("' ...\n", out);
	if (matter->proofs > 0)
		fprintf(out,
				"biometric-verify proof proofs/%" PRIu64 ".tlog-proof --key '<i>verifier key</i>'",
				matter->proof_sequences[0]);
	fputs("</pre>\n<p>", out);
	if (matter->proofs > 0)
	{
		html_count(out, matter->proofs, "proof", "proofs");
		fputs(" in <code>proofs/</code> (c2sp.org/tlog-proof) each show one disclosure and that it "
			  "is part of the signed ledger, to somebody who must not see the rest. ",
			  out);
	}
	fputs("<code>report.json</code> has every figure, <code>events.ocsf.json</code> every "
		  "disclosure and refusal as an OCSF " OCSF_VERSION " event.</p>\n",
		  out);
}

static void
put_limits(FILE *out)
{
	fputs("<h3>What the words mean, and what this cannot say</h3>\n<ul class=\"plain\">\n"
		  "<li>A <b>disclosure</b> is recorded before the image leaves, so that none leaves "
		  "unrecorded; one whose transmission then failed is counted, too.</li>\n"
		  "<li>A <b>row</b> is named by its key as it was then, also if it was changed or deleted "
		  "since. A <b>person</b> is what the table&rsquo;s owner named as the subject; "
		  "person, place and day of collection are as they were recorded last.</li>\n"
		  "<li>Days and times are UTC.</li>\n"
		  "<li>What the party did with the images afterwards is not known to the ledger.</li>\n"
		  "</ul>\n",
		  out);
}

void
html_evidence(FILE *out, const Case *matter)
{
	fputs("<section class=\"page\" aria-labelledby=\"checked\">\n<h2 id=\"checked\">How this "
		  "report was checked</h2>\n",
		  out);
	if (matter->counted)
	{
		put_counting(out, matter);
		put_signed(out, matter);
		put_repeat(out, matter);
	}
	else
		fputs("<p>The ledger could not be verified: nothing in this report is proven. The figures "
			  "are what the server says.</p>\n",
			  out);
	put_limits(out);
	fputs("</section>\n", out);
}

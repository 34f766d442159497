/*
 * write_html.c - report.html, from its sections.
 */
#include "reporter/html.h"
#include "reporter/moment.h"
#include "reporter/write.h"

#include <inttypes.h>

static void
put_fact(FILE *out, const char *name)
{
	fprintf(out, "<dt>%s</dt><dd>", name);
}

static void
put_period(FILE *out, const Case *matter)
{
	fputs("from ", out);
	if (matter->from == INT64_MIN)
		fputs("the beginning", out);
	else
		html_moment(out, matter->from);
	fputs(" until ", out);
	if (matter->to == INT64_MAX)
		fputs("the end of the ledger", out);
	else
		html_moment(out, matter->to);
}

static void
put_header(FILE *out, const Case *matter)
{
	fputs("<header>\n<p class=\"kicker\">Report of a disclosure of biometric images</p>\n<h1>",
		  out);
	html_value(out, &matter->texts, matter->title, "Report");
	fputs("</h1>\n<dl class=\"facts\">", out);
	put_fact(out, "Party");
	if (matter->party_title != 0)
	{
		html_value(out, &matter->texts, matter->party_title, "");
		fputs(" &ndash; ", out);
	}
	if (matter->party[0] == '\0')
		fputs("none: clients that belong to no party", out);
	else
	{
		fputs("<code>", out);
		html_text(out, matter->party);
		fputs("</code>", out);
	}
	fputs("</dd>", out);
	put_fact(out, "Period");
	put_period(out, matter);
	fputs("</dd>", out);
	if (matter->incident.id != 0)
	{
		put_fact(out, "Incident");
		fprintf(out, "%" PRIu64 " ", matter->incident.id);
		html_value(out, &matter->texts, matter->incident.title, "");
		fputs("</dd>", out);
	}
	if (matter->counted)
	{
		put_fact(out, "Ledger");
		html_text(out, matter->head.checkpoint.origin);
		fputs(", ", out);
		html_count(out, matter->head.checkpoint.size, "entry", "entries");
		fputs("</dd>", out);
	}
	put_fact(out, "Made");
	html_moment(out, matter->made_at);
	fprintf(out, " by biometric-report %s%s</dd></dl>\n</header>\n", VERSION,
			matter->asked ? ", from the server and its ledger"
						  : ", from the ledger&rsquo;s archive");
}

static void
put_bad(FILE *out, const Case *matter)
{
	fputs("<div class=\"verdict bad\" role=\"alert\"><p><strong>This report does not "
		  "verify.</strong></p><p>",
		  out);
	if (matter->counted)
	{
		html_count(out, matter->comparison.different, "number of the server differs",
				   "numbers of the server differ");
		fputs(" from what the ledger&rsquo;s entries say. The first: ", out);
		html_text(out, matter->comparison.first != NULL ? matter->comparison.first : "not known");
		if (matter->logs > 1)
			fputs(". The server has entries of several logs; the archive is of the newest only",
				  out);
		fputs(". The figures below are those of the entries.</p></div>\n", out);
		return;
	}
	html_text(out, matter->problem != NULL ? matter->problem : "The ledger cannot be verified");
	fputs(". The figures below are only what the server says, and prove nothing.</p></div>\n", out);
}

/* What the report is worth, in a box. */
static void
put_verdict(FILE *out, const Case *matter)
{
	bool unknown = matter->incident.id != 0 && !matter->people_known;
	bool several = matter->comparison.several;
	bool fair = matter->detached || !matter->keys.trusted || matter->count.from > 0 || unknown ||
				several || matter->count.forked;

	if (!case_sound(matter))
	{
		put_bad(out, matter);
		return;
	}
	fprintf(out, "<div class=\"verdict %s\" role=\"note\"><p><strong>", fair ? "fair" : "good");
	if (matter->asked && matter->detached)
	{
		fputs("Every figure was counted from the signed ledger; the server has a part of it, and "
			  "agrees in that.</strong></p><p>",
			  out);
		html_count(out, matter->comparison.compared, "number", "numbers");
		fputs(" that the server gave of what it still has were counted again from ", out);
	}
	else if (matter->asked)
	{
		fputs(several ? "What could be counted twice agrees.</strong></p><p>"
					  : "Every figure was counted twice, and agrees.</strong></p><p>",
			  out);
		html_count(out, matter->comparison.compared, "number", "numbers");
		fputs(" that the server gave were counted again from ", out);
	}
	else
		fputs("Every figure comes from the signed ledger.</strong></p><p>They were counted from ",
			  out);
	html_count(out, matter->head.checkpoint.size, "entry", "entries");
	fputs(" of the ledger, whose hashes lead to the signed checkpoint "
		  "(<a href=\"#checked\">how this was checked</a>).</p>",
		  out);
	if (!matter->keys.trusted)
		fputs("<p><strong>But:</strong> the key that verifies the signature came with the ledger, "
			  "and nobody has vouched for it.</p>",
			  out);
	if (matter->count.from > 0)
		fprintf(out,
				"<p><strong>But:</strong> entries before number %" PRIu64
				" were not in the archive, and are not counted.</p>",
				matter->count.from);
	if (matter->detached)
		fputs("<p><strong>But:</strong> parts of the ledger are detached from the server, which "
			  "cannot count them any more: they were counted once, from the archive.</p>",
			  out);
	if (several)
	{
		fputs("<p><strong>But:</strong> the ledger has earlier logs, which the server counts, and "
			  "the archive is of the newest only. ",
			  out);
		html_count(out, matter->comparison.uncounted, "number that goes", "numbers that go");
		fputs(" by rows and people, or that earlier releases are in, could not be recounted: the "
			  "figures below are the server&rsquo;s. Events, proofs and those to be notified are "
			  "of the newest log; <code>biometric.notify_list()</code> has everybody.</p>",
			  out);
	}
	else if (matter->count.forked)
		fputs("<p><strong>But:</strong> the ledger has earlier logs. Releases that are in these, "
			  "and rows and people that only these name, are not counted.</p>",
			  out);
	if (unknown)
		fputs("<p><strong>But:</strong> the entry that opened the incident is not in the archive: "
			  "its party, period and deadline are what the server says.</p>",
			  out);
	fputs("</div>\n", out);
}

ToolExit
write_html(const Output *output, Case *matter)
{
	FILE *out = output_begin(output, "report.html");

	if (out == NULL)
		return report_code();
	html_head(out, matter);
	fputs("<body>\n", out);
	put_header(out, matter);
	fputs("<main>\n", out);
	put_verdict(out, matter);
	html_summary(out, matter);
	html_beside(out, matter);
	html_tables(out, matter);
	html_declared(out, matter);
	html_people(out, matter);
	html_evidence(out, matter);
	fputs("</main>\n<footer>This report names people&rsquo;s records. Keep it as the images "
		  "themselves are kept.</footer>\n</body>\n</html>\n",
		  out);
	return output_end(output, "report.html", out);
}

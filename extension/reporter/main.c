/*
 * main.c - biometric-report: what a party has received, for those who must be told, and
 * proof of it for those who believe nobody.
 *
 * The server's figures are asked first, the ledger is fetched behind them, verified, and
 * all figures are counted once more from its entries. Whatever differs is said in the
 * report itself.
 */
#define _GNU_SOURCE

#include "reporter/case.h"
#include "reporter/member.h"
#include "reporter/server.h"
#include "reporter/write.h"
#include "tool/commands.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/* How often figures are asked for again when the ledger has grown meanwhile. */
#define ATTEMPTS 5

/* Everything of one run. */
typedef struct Run
{
	Request request;
	Case matter;
	Output output;
	Server *server; /* NULL: offline */
	Archive archive;
	bool opened;  /* the archive is */
	char *ledger; /* its path */
	FILE *events;
} Run;

static void
take_problem(Case *matter, const char *text)
{
	if (matter->problem == NULL)
		matter->problem = strdup(text);
}

/* Writes each disclosure and refusal down, and remembers which are to be proven. */
static bool
take_event(void *context, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin)
{
	Run *run = context;
	Case *matter = &run->matter;

	write_event(run->events, matter, sequence, fields, origin);
	if (fields->event != ENTRY_REFUSED && matter->proofs < run->request.proofs)
		matter->proof_sequences[matter->proofs++] = sequence;
	return !ferror(run->events);
}

static ToolExit
open_archive(Run *run)
{
	Case *matter = &run->matter;

	if (archive_open(&run->archive, run->ledger) != TOOL_VERIFIED)
		return report_code();
	run->opened = true;
	if (flock(run->archive.fd, LOCK_SH | LOCK_NB) != 0)
		return report_problem(TOOL_INPUT, "%s is being written by another process", run->ledger);
	if (keys_load(&run->request.keys, &run->archive, NULL, &matter->keys) != TOOL_VERIFIED ||
		keys_read_head(&matter->keys, run->archive.fd, "checkpoint", &matter->head) !=
			TOOL_VERIFIED)
		return report_code();
	if (file_read(run->archive.fd, "checkpoint", NOTE_MAX_SIZE, &matter->note) != FILE_OK)
		return report_problem(TOOL_INPUT, "%s/checkpoint cannot be read again", run->ledger);
	buffer_trim(&matter->note);
	return TOOL_VERIFIED;
}

static void
close_archive(Run *run)
{
	if (run->opened)
		archive_close(&run->archive);
	run->opened = false;
}

/* Counts all that the archive says below its signed head, from one entry on. */
static ToolExit
count_from(Run *run, Count *count, uint64_t begin, uint64_t in_doubt)
{
	Case *matter = &run->matter;

	count_free(count);
	count->wanted = (CountWanted){.party = {matter->party, strlen(matter->party)},
								  .from = matter->from,
								  .to = matter->to,
								  .begin = begin,
								  .in_doubt = in_doubt,
								  .incident = matter->incident.id,
								  .pruned = run->request.pruned};
	count->texts = &matter->texts;
	if (count == &matter->count)
	{
		count->on_event = take_event;
		count->context = run;
	}
	return count_run(count, &run->archive, &matter->head);
}

static ToolExit
count_archive(Run *run, uint64_t in_doubt)
{
	Case *matter = &run->matter;
	ToolExit code;

	matter->proofs = 0;
	output_abandon(&run->output, "events.ocsf.json", run->events);
	run->events = output_begin(&run->output, "events.ocsf.json");
	if (run->events == NULL)
		return report_code();
	code = open_archive(run);
	if (code == TOOL_VERIFIED)
		code = count_from(run, &matter->count, 0, in_doubt);
	/* what the server can still have, which its figures are compared with */
	if (code == TOOL_VERIFIED && matter->detached && matter->count.detached > 0)
		code = count_from(run, &matter->left, matter->count.detached, UINT64_MAX);
	matter->counted = code == TOOL_VERIFIED;
	return code;
}

/* Brings the archive up to date, as biometric-verify does. */
static ToolExit
fetch_archive(Run *run)
{
	Options options = run->request.keys;
	ToolExit code;

	options.command = "fetch";
	options.count = 2;
	options.arguments[0] = run->request.conninfo;
	options.arguments[1] = run->ledger;
	report_open("fetch");
	code = command_fetch(&options);
	report_close();
	return code;
}

/* Compares what the server said with what was counted of the entries that it still has. */
static void
compare(Run *run)
{
	Case *matter = &run->matter;
	Comparison *comparison = &matter->comparison;
	bool part = matter->detached && matter->count.detached > 0;
	const Count *count = part ? &matter->left : &matter->count;

	compare_clear(comparison);
	/* the server's word alone excuses nothing, unless the archive lacks the entry */
	comparison->several = matter->count.forked || (matter->count.from > 0 && matter->logs > 1);
	if (matter->detached && !part)
		compare_texts(comparison, "entries that were detached", (Span){0}, (Span){"some", 4},
					  (Span){0});
	if (matter->incident.id != 0)
	{
		incident_replay(&matter->incident, &matter->count);
		incident_count(&matter->incident, count);
		/* an archive that begins later, or of a later log, may lack the entry */
		if (matter->incident.known || (matter->count.from == 0 && !comparison->several))
			incident_compare(&matter->told, &matter->incident, &matter->texts, comparison);
		incident_count(&matter->incident, &matter->count);
	}
	figures_compare(&matter->server, &count->figures, &matter->texts, comparison);
	/* earlier logs, and entries that are not in the archive, may have declared more */
	if (!comparison->several && matter->count.from == 0)
		declared_compare(&matter->declared, &matter->count.declared, &matter->texts, comparison);
	server_compare(run->server, matter, count);
}

/* Whether the report is of another party or period than the entries of its incident say. */
static bool
is_of_another(const Case *matter)
{
	const Incident *incident = &matter->incident;
	Span party = texts_get(&matter->texts, incident->party);

	return incident->known && (incident->from != matter->from || incident->to != matter->to ||
							   strcmp(party.bytes != NULL ? party.bytes : "", matter->party) != 0);
}

/*
 * Asks the server, fetches, counts and compares; again when something differs and the
 * ledger was growing, or when the server has named another party than the ledger does.
 */
static ToolExit
count_online(Run *run)
{
	Case *matter = &run->matter;

	for (int attempt = 1;; attempt++)
	{
		uint64_t in_doubt = 0;
		uint64_t limit = 0;

		/* it is locked against whoever writes it, which is to be done again */
		close_archive(run);
		if (server_ask(run->server, matter, &in_doubt, &limit) != TOOL_VERIFIED ||
			fetch_archive(run) != TOOL_VERIFIED)
			return report_code();
		report_open("verify");
		(void) count_archive(run, in_doubt);
		report_close();
		if (report_code() != TOOL_VERIFIED)
			return report_code();
		compare(run);
		matter->moving = matter->count.doubtful > 0 || matter->head.checkpoint.size < limit;
		if (matter->comparison.different == 0 || attempt == ATTEMPTS)
			return TOOL_VERIFIED;
		if (is_of_another(matter))
			(void) case_set_incident(matter, &matter->incident);
		else if (!matter->moving)
			return TOOL_VERIFIED;
		matter->counted = false;
	}
}

/* The party and period of an incident, from the entry that opened it. */
static ToolExit
find_incident(Run *run)
{
	return report_problem(TOOL_USAGE,
						  "incident %" PRIu64 " is known by the server only; offline, give its "
						  "party and period",
						  run->request.incident);
}

static ToolExit
gather(Run *run)
{
	Case *matter = &run->matter;
	ToolExit code;

	if (!run->request.offline)
	{
		run->server = server_open(run->request.conninfo);
		if (run->server == NULL || server_begin(run->server, matter) != TOOL_VERIFIED)
			return report_code();
		return count_online(run);
	}
	if (matter->incident.id != 0)
		return find_incident(run);
	report_open("verify");
	code = count_archive(run, UINT64_MAX);
	report_close();
	if (code == TOOL_VERIFIED && !matter->count.named && matter->count.from > 0)
		report_warning("no entry that is in the archive names party \"%s\"", matter->party);
	else if (code == TOOL_VERIFIED && !matter->count.named)
		return report_problem(TOOL_USAGE,
							  "no entry of this ledger names a party \"%s\"; "
							  "biometric-verify show lists those that registered one",
							  matter->party);
	return code;
}

static int
compare_people(const void *left, const void *right, void *texts)
{
	const Person *a = left;
	const Person *b = right;
	Span x[2] = {texts_get(texts, a->relation), texts_get(texts, a->subject)};
	Span y[2] = {texts_get(texts, b->relation), texts_get(texts, b->subject)};

	/* people before rows of nobody */
	if (a->recorded != b->recorded)
		return a->recorded ? -1 : 1;
	for (int i = 0; i < 2; i++)
	{
		int order =
			strcmp(x[i].bytes != NULL ? x[i].bytes : "", y[i].bytes != NULL ? y[i].bytes : "");

		if (order != 0)
			return order;
	}
	return 0;
}

/* Says what differs, and chooses what is shown. */
static void
settle(Run *run)
{
	Case *matter = &run->matter;
	Comparison *comparison = &matter->comparison;

	if (matter->counted && matter->asked)
	{
		report_number("compared", comparison->compared);
		report_number("different", comparison->different);
		if (comparison->different > 0)
			(void) report_problem(
				TOOL_FAILED, "%" PRIu64 " of %" PRIu64 " figures differ; %s%s",
				comparison->different, comparison->compared,
				comparison->first != NULL ? comparison->first : "",
				!matter->moving ? ""
								: "; the ledger was growing whenever it was asked: try again, or "
								  "end the period in the past");
	}
	if (!matter->counted || !matter->incident.known)
		incident_take(&matter->incident, &matter->told);
	else
		incident_mark(&matter->incident, &matter->count);
	matter->people_known = matter->counted && matter->incident.known;
	if (matter->count.people_count > 0)
		qsort_r(matter->count.people, matter->count.people_count, sizeof(Person), compare_people,
				&matter->texts);
	case_choose(matter);
}

/* The party's title as it was when it was registered last, where no server says it. */
static void
find_party_title(Case *matter)
{
	Buffer text = {0};

	for (uint32_t i = 0; !matter->asked && i < matter->count.notable_count; i++)
	{
		Span detail = texts_get(&matter->texts, matter->count.notables[i].detail);

		if (member_string(detail, "action", &text) &&
			strcmp((const char *) text.bytes, "register_party") == 0 &&
			member_string(detail, "title", &text))
			matter->party_title = texts_add(&matter->texts, (const char *) text.bytes, text.length);
	}
	free(text.bytes);
}

/* What the report is called, unless the user says. */
static void
make_title(Run *run)
{
	Case *matter = &run->matter;
	Span party;
	char *text = NULL;

	find_party_title(matter);
	party = texts_get(&matter->texts, matter->party_title);
	if (run->request.title != NULL)
		text = strdup(run->request.title);
	else if (matter->incident.title != 0)
		text = strdup(texts_get(&matter->texts, matter->incident.title).bytes);
	else if (asprintf(&text, "Images released to %s",
					  party.bytes != NULL	  ? party.bytes
					  : matter->party[0] != 0 ? matter->party
											  : "clients that belong to no party") < 0)
		text = NULL;
	if (text != NULL)
		matter->title = texts_add(&matter->texts, text, strlen(text));
	free(text);
}

/* What stands for the signed state of the ledger. */
static ToolExit
write_evidence(Run *run)
{
	Case *matter = &run->matter;
	char keys[OPTIONS_LIST_MAX * (NOTE_KEY_TEXT_MAX + 1)];
	size_t length = 0;

	for (int i = 0; i < matter->keys.count; i++)
	{
		note_key_format(&matter->keys.log[i], keys + length);
		length += strlen(keys + length);
		keys[length++] = '\n';
	}
	if (output_put(&run->output, "checkpoint", matter->note.bytes, matter->note.length) !=
			TOOL_VERIFIED ||
		output_put(&run->output, "verifier", keys, length) != TOOL_VERIFIED ||
		output_end(&run->output, "events.ocsf.json", run->events) != TOOL_VERIFIED)
		return TOOL_INPUT;
	run->events = NULL;
	return write_proofs(&run->output, matter, &run->archive);
}

static ToolExit
write_all(Run *run)
{
	ToolExit code = TOOL_VERIFIED;

	make_title(run);
	if (run->matter.counted)
		code = write_evidence(run);
	if (code == TOOL_VERIFIED)
		code = write_json(&run->output, &run->matter);
	if (code == TOOL_VERIFIED)
		code = write_csv(&run->output, &run->matter);
	if (code == TOOL_VERIFIED)
		code = write_html(&run->output, &run->matter);
	return code;
}

/* What came of counting all figures a second time, in words. */
static void
report_recount(const Case *matter)
{
	const Comparison *comparison = &matter->comparison;
	char *text = NULL;
	int written = 0;

	if (!matter->counted)
		report_text("figures", "as the server says; the ledger's entries do not verify");
	else if (!matter->asked)
		report_text("figures", "counted from the ledger's entries; no server was asked");
	else
		written = asprintf(
			&text, "%" PRIu64 " of %" PRIu64 " recounted from the ledger's entries are equal%s%s",
			comparison->compared - comparison->different, comparison->compared,
			matter->detached ? "; the server has less, since entries were detached from it" : "",
			!comparison->several ? ""
								 : "; the others go by earlier logs, too, and were not recounted");
	if (text != NULL && written > 0)
		report_text("figures", text);
	free(text);
}

static void
report_facts(const Run *run)
{
	Figure total = case_total(&run->matter);

	report_number("disclosures", total.disclosures);
	report_number("images", total.images);
	report_number("rows", total.rows);
	report_number("subjects", total.subjects);
	report_number("refused", run->matter.count.refused);
	report_number("to_notify", run->matter.count.people_count);
	report_number("proofs", run->matter.proofs);
	if (run->output.replaced)
		report_warning("an earlier report in %s was replaced", run->output.path);
	if (run->matter.counted && !run->matter.keys.trusted)
		report_limit("by the key that is in the archive, which nobody has vouched for");
	if (run->matter.counted && run->matter.count.forked)
		report_warning("the ledger has earlier logs, which this archive does not have: events, "
					   "proofs and those to be notified are of the newest; "
					   "biometric.notify_list() has everybody");
	report_recount(&run->matter);
	report_text("report", run->output.path);
}

/* Does it all. */
static void
make_report(Run *run)
{
	Case *matter = &run->matter;
	ToolExit code = output_open(&run->output, run->request.output);

	if (code == TOOL_VERIFIED)
		code = write_readme(&run->output);
	if (code != TOOL_VERIFIED)
		return;
	code = gather(run);
	/* only what does not verify is worth a report; without figures there is none */
	if (code != TOOL_VERIFIED && (code != TOOL_FAILED || !matter->asked))
		return;
	if (code == TOOL_FAILED)
		take_problem(matter, report_problem_text());
	settle(run);
	if (write_all(run) == TOOL_VERIFIED && output_commit(&run->output) == TOOL_VERIFIED)
		report_facts(run);
}

static bool
begin(Run *run)
{
	Case *matter = &run->matter;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	matter->request = &run->request;
	matter->made_at = (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
	matter->from = run->request.from;
	matter->to = run->request.to;
	incident_clear(&matter->incident, run->request.incident);
	incident_clear(&matter->told, run->request.incident);
	matter->party = strdup(run->request.party != NULL ? run->request.party : "");
	matter->proof_sequences = calloc(run->request.proofs + 1, sizeof(uint64_t));
	run->output = (Output){.home = -1, .fd = -1};
	if (run->request.archive != NULL)
		run->ledger = strdup(run->request.archive);
	else if (asprintf(&run->ledger, "%s/" OUTPUT_LEDGER, run->request.output) < 0)
		run->ledger = NULL;
	matter->archive = run->ledger;
	return matter->party != NULL && matter->proof_sequences != NULL && run->ledger != NULL;
}

int
main(int argc, char **argv)
{
	static Run run;
	int code = request_parse(argc, argv, &run.request);

	if (code >= 0)
		return code;
	report_program("biometric-report");
	report_start("report", run.request.json, run.request.quiet);
	if (begin(&run))
		make_report(&run);
	else
		(void) report_problem(TOOL_INPUT, "out of memory");
	output_abandon(&run.output, "events.ocsf.json", run.events);
	close_archive(&run);
	server_close(run.server);
	output_close(&run.output);
	case_free(&run.matter);
	free(run.ledger);
	return report_finish();
}

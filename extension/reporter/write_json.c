/*
 * write_json.c - report.json.
 */
#include "reporter/moment.h"
#include "reporter/write.h"
#include "tool/json.h"
#include "tool/print.h"

#include <inttypes.h>
#include <string.h>

static void
put_text(FILE *out, const char *name, Span text)
{
	fprintf(out, "\"%s\":", name);
	if (text.bytes == NULL)
		fputs("null", out);
	else
		json_string(out, text.bytes, text.length);
}

static void
put_number_of(FILE *out, const char *name, const Texts *texts, uint32_t number)
{
	put_text(out, name, texts_get(texts, number));
}

static void
put_moment(FILE *out, const char *name, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];

	moment_text(moment, text);
	if (moment == INT64_MIN || moment == INT64_MAX)
		fprintf(out, "\"%s\":null", name);
	else
		fprintf(out, "\"%s\":\"%s\"", name, text);
}

static void
put_figure(FILE *out, const Case *matter, const Figure *figure)
{
	bool any = figure->disclosures > 0;

	fprintf(out, "{\"dimension\":\"%s\",", dimension_name(figure->dimension));
	put_number_of(out, "value", &matter->texts, figure->value);
	fprintf(out,
			",\"taken\":%s,\"disclosures\":%" PRIu64 ",\"images\":%" PRIu64 ",\"rows\":%" PRIu64
			",\"subjects\":%" PRIu64 ",",
			any ? "true" : "false", figure->disclosures, figure->images, figure->rows,
			figure->subjects);
	put_moment(out, "first_released", any ? figure->first : INT64_MIN);
	fputc(',', out);
	put_moment(out, "last_released", any ? figure->last : INT64_MIN);
	fputc('}', out);
}

static void
put_subject_matter(FILE *out, const Case *matter)
{
	const Incident *incident = &matter->incident;

	put_number_of(out, "title", &matter->texts, matter->title);
	fputc(',', out);
	put_text(out, "party", (Span){matter->party, strlen(matter->party)});
	fputc(',', out);
	put_number_of(out, "party_title", &matter->texts, matter->party_title);
	fputs(",\"period\":{", out);
	put_moment(out, "from", matter->from);
	fputc(',', out);
	put_moment(out, "to", matter->to);
	fputs("},\"incident\":", out);
	if (incident->id == 0)
	{
		fputs("null,", out);
		return;
	}
	fprintf(out, "{\"id\":%" PRIu64 ",", incident->id);
	put_number_of(out, "title", &matter->texts, incident->title);
	fputc(',', out);
	put_text(out, "state", case_incident_state(matter));
	fputc(',', out);
	put_moment(out, "opened_at", incident->opened_at);
	fputc(',', out);
	put_moment(out, "due_at", incident->due_at);
	fprintf(out, ",\"people\":%" PRIu64 ",\"notified\":%" PRIu64 "},", incident->people,
			incident->notified);
}

static void
put_ledger(FILE *out, const Case *matter)
{
	char root[2 * MERKLE_HASH_SIZE + 1];

	if (!matter->counted)
	{
		fputs("\"ledger\":null,", out);
		return;
	}
	print_hex(matter->head.checkpoint.root.bytes, MERKLE_HASH_SIZE, root);
	fputs("\"ledger\":{", out);
	put_text(out, "origin",
			 (Span){matter->head.checkpoint.origin, strlen(matter->head.checkpoint.origin)});
	fprintf(out, ",\"size\":%" PRIu64 ",\"root\":\"%s\",\"first_entry\":%" PRIu64 ",",
			matter->head.checkpoint.size, root, matter->count.from);
	put_text(out, "checkpoint", (Span){(const char *) matter->note.bytes, matter->note.length});
	fputs(",\"verifier_keys\":[", out);
	for (int i = 0; i < matter->keys.count; i++)
	{
		char text[NOTE_KEY_TEXT_MAX];

		note_key_format(&matter->keys.log[i], text);
		fputs(i > 0 ? "," : "", out);
		json_string(out, text, strlen(text));
	}
	fprintf(out, "],\"key_trusted\":%s},", matter->keys.trusted ? "true" : "false");
}

static void
put_check(FILE *out, const Case *matter)
{
	const Comparison *comparison = &matter->comparison;

	fprintf(out,
			"\"check\":{\"source\":\"%s\",\"ledger_verified\":%s,\"figures_from\":\"%s\","
			"\"compared\":%" PRIu64 ",\"different\":%" PRIu64 ",\"not_recounted\":%" PRIu64
			",\"detached\":%s,\"logs\":%" PRIu64 ",",
			matter->asked ? "server and ledger" : "ledger", matter->counted ? "true" : "false",
			case_shows_server(matter) ? "server" : "ledger", comparison->compared,
			comparison->different, comparison->uncounted, matter->detached ? "true" : "false",
			matter->logs);
	put_text(out, "first_difference",
			 (Span){comparison->first, comparison->first != NULL ? strlen(comparison->first) : 0});
	fputc(',', out);
	put_text(out, "problem",
			 (Span){matter->problem, matter->problem != NULL ? strlen(matter->problem) : 0});
	fputs("},\n", out);
}

static void
put_declared(FILE *out, const Case *matter, const Declared *declared)
{
	const Texts *texts = &matter->texts;

	fprintf(out, "{\"declared\":%s,", declared->declaration != 0 ? "true" : "false");
	put_number_of(out, "kind", texts, declared->kind);
	for (int i = 0; i < DECLARED_MEMBERS; i++)
	{
		Span text = texts_get(texts, declared->said[i]);

		fputc(',', out);
		if (text.bytes == NULL || i < DECLARED_MAX_WIDTH)
		{
			put_text(out, declared_member_name((DeclaredMember) i), text);
			continue;
		}
		fprintf(out, "\"%s\":", declared_member_name((DeclaredMember) i));
		json_value(out, text.bytes, text.length);
	}
	fputc(',', out);
	put_moment(out, "declared_at", declared->recorded ? declared->at : INT64_MIN);
	fputc(',', out);
	put_number_of(out, "declared_by", texts, declared->by);
	if (declared->recorded)
		fprintf(out, ",\"seq\":%" PRIu64 "}", declared->sequence);
	else
		fputs(",\"seq\":null}", out);
}

static void
put_collections(FILE *out, const Case *matter)
{
	const DeclaredList *list = case_declared(matter);
	bool any = false;

	fputs("\"collections\":[", out);
	for (uint32_t i = 0; i < list->count; i++)
	{
		if (list->items[i].ended)
			continue;
		fputs(any ? ",\n" : "", out);
		put_declared(out, matter, &list->items[i]);
		any = true;
	}
	fputs("],\n", out);
}

static void
put_besides(FILE *out, const Case *matter)
{
	const Count *count = &matter->count;

	fprintf(out,
			"\"refused\":%" PRIu64 ",\"exported_sealed\":%" PRIu64 ",\"replication\":%" PRIu64
			",\"people\":%u,\n\"refusals\":[",
			count->refused, count->exports, count->replication, (unsigned) count->people_count);
	for (uint32_t i = 0; i < count->refusal_count; i++)
	{
		const Refusal *refusal = &count->refusals[i];

		fputs(i > 0 ? ",\n{" : "{", out);
		put_number_of(out, "reason", &matter->texts, refusal->reason);
		fputc(',', out);
		put_number_of(out, "network", &matter->texts, refusal->network);
		fprintf(out, ",\"times\":%" PRIu64 ",", refusal->times);
		put_moment(out, "first", refusal->first);
		fputc(',', out);
		put_moment(out, "last", refusal->last);
		fputc('}', out);
	}
	fputs("],\n\"notes\":[", out);
	for (uint32_t i = 0; i < count->notable_count; i++)
	{
		const Notable *notable = &count->notables[i];
		Span detail = texts_get(&matter->texts, notable->detail);

		fprintf(out, "%s{\"seq\":%" PRIu64 ",\"event\":\"%s\",", i > 0 ? ",\n" : "",
				notable->sequence, entry_event_name((int) notable->event));
		put_moment(out, "at", notable->at);
		fputc(',', out);
		put_number_of(out, "by", &matter->texts, notable->by);
		fputs(",\"detail\":", out);
		if (detail.bytes == NULL)
			fputs("null", out);
		else
			json_value(out, detail.bytes, detail.length);
		fputc('}', out);
	}
	fputs("]", out);
}

ToolExit
write_json(const Output *output, Case *matter)
{
	FILE *out = output_begin(output, "report.json");

	if (out == NULL)
		return report_code();
	fprintf(out, "{\"generator\":\"biometric-report\",\"version\":\"%s\",", VERSION);
	put_moment(out, "made_at", matter->made_at);
	fputc(',', out);
	put_subject_matter(out, matter);
	put_ledger(out, matter);
	put_check(out, matter);
	fputs("\"figures\":[", out);
	for (uint32_t i = 0; i < matter->shown.count; i++)
	{
		fputs(i > 0 ? ",\n" : "", out);
		put_figure(out, matter, &matter->shown.items[i]);
	}
	fputs("],\n", out);
	put_collections(out, matter);
	put_besides(out, matter);
	fputs("}\n", out);
	return output_end(output, "report.json", out);
}

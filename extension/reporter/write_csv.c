/*
 * write_csv.c - notification.csv, and the file that says what is what.
 */
#define _GNU_SOURCE

#include "reporter/moment.h"
#include "reporter/write.h"
#include "tool/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * Writes a field. Spreadsheets take what begins with one of these for a formula:
 * an apostrophe before it makes it text.
 */
static void
put_field(FILE *out, Span text)
{
	char *plain = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&plain, &length);

	if (memory == NULL)
		return;
	if (text.length > 0 && strchr("=+-@\t\r", text.bytes[0]) != NULL)
		fputc('\'', memory);
	if (text.bytes != NULL)
		json_plain(memory, text.bytes, text.length);
	if (fclose(memory) == 0)
	{
		fputc('"', out);
		for (size_t i = 0; i < length; i++)
		{
			if (plain[i] == '"')
				fputc('"', out);
			fputc(plain[i], out);
		}
		fputc('"', out);
	}
	free(plain);
}

static void
put_rows(FILE *out, const Case *matter, const Person *person)
{
	const Count *count = &matter->count;
	char *list = NULL;
	size_t length = 0;
	FILE *memory = open_memstream(&list, &length);

	if (memory == NULL)
		return;
	fputc('[', memory);
	for (uint32_t at = person->rows; at != 0; at = count->people_row[at - 1].next)
	{
		Span key = texts_get(&matter->texts, count->people_row[at - 1].key);

		fputs(at == person->rows ? "" : ", ", memory);
		fwrite(key.bytes, 1, key.length, memory);
	}
	fputc(']', memory);
	if (fclose(memory) == 0)
		put_field(out, (Span){list, length});
	free(list);
}

static void
put_moment(FILE *out, int64_t moment)
{
	char text[MOMENT_TEXT_MAX];

	moment_text(moment, text);
	if (moment != INT64_MIN)
		fputs(text, out);
}

static void
put_person(FILE *out, const Case *matter, const Person *person)
{
	bool any = false;

	put_field(out, texts_get(&matter->texts, person->relation));
	fputc(',', out);
	put_field(out, texts_get(&matter->texts, person->subject));
	fprintf(out, ",%s,", person->recorded ? "person" : person->subject != 0 ? "row" : "unknown");
	put_rows(out, matter, person);
	fputc(',', out);
	for (int kind = 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		if ((person->kinds >> kind & 1) == 0)
			continue;
		fprintf(out, "%s%s", any ? " " : "", image_kind_name(kind));
		any = true;
	}
	fprintf(out, ",%u,", (unsigned) person->images);
	put_moment(out, person->first);
	fputc(',', out);
	put_moment(out, person->last);
	fputc(',', out);
	put_moment(out, person->notified_at);
	fputc(',', out);
	put_field(out, texts_get(&matter->texts, person->means));
	fputs("\r\n", out);
}

ToolExit
write_csv(const Output *output, Case *matter)
{
	FILE *out = output_begin(output, "notification.csv");

	if (out == NULL)
		return report_code();
	fputs("table,subject,subject_is,row_keys,kinds,images,first_released,last_released,notified_at,"
		  "means\r\n",
		  out);
	for (uint32_t i = 0; matter->counted && i < matter->count.people_count; i++)
		put_person(out, matter, &matter->count.people[i]);
	return output_end(output, "notification.csv", out);
}

ToolExit
write_readme(const Output *output)
{
	static const char text[] = OUTPUT_MARKER_LINE
		"\n"
		"report.html        the report, for people: open it in a browser, or print it\n"
		"report.json        every figure, and how it was checked\n"
		"notification.csv   whom to notify (RFC 4180, UTF-8); texts that a spreadsheet would take\n"
		"                   for a formula have an apostrophe before them\n"
		"events.ocsf.json   every disclosure and refusal, a line each: OCSF " OCSF_VERSION
		",\n                   class 6005 Datastore Activity\n"
		"checkpoint         the signed size and root of the ledger (c2sp.org/tlog-checkpoint)\n"
		"verifier           the key that it was verified by\n"
		"proofs/            N.tlog-proof: that entry N, a disclosure, is in the ledger\n"
		"ledger/            the ledger itself (c2sp.org/tlog-tiles), unless it is kept "
		"elsewhere\n\n"
		"All of this names people's records: keep it as the images themselves are kept.\n";

	return output_mark(output, text);
}

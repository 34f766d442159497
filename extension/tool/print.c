/*
 * print.c - one entry, one line.
 */
#include "tool/print.h"

#include "tool/json.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

typedef enum ShownAs
{
	SHOWN_ID,
	SHOWN_HASH, /* 32 bytes */
	SHOWN_KIND,
	SHOWN_REASON,
	SHOWN_OPERATION,
	SHOWN_U32,
	SHOWN_U64,
	SHOWN_SIGNED, /* 64 bits that the server shows with a sign */
	SHOWN_FLAG,
	SHOWN_TEXT,
	SHOWN_LINES, /* a list, one a line */
	SHOWN_JSON
} ShownAs;

typedef struct Shown
{
	const char *name;
	ShownAs as;
	size_t offset; /* in EntryFields */
} Shown;

/* In the order in which they are printed; the names are those of biometric.decode_entry(). */
static const Shown shown_table[] = {
	{"image_id", SHOWN_ID, offsetof(EntryFields, image_id)},
	{"old_image_id", SHOWN_ID, offsetof(EntryFields, old_image_id)},
	{"kind", SHOWN_KIND, offsetof(EntryFields, kind)},
	{"relation_index", SHOWN_U32, offsetof(EntryFields, relation_index)},
	{"permit", SHOWN_U64, offsetof(EntryFields, permit)},
	{"reason", SHOWN_REASON, offsetof(EntryFields, reason)},
	{"party", SHOWN_TEXT, offsetof(EntryFields, party)},
	{"network", SHOWN_TEXT, offsetof(EntryFields, network)},
	{"client_addr", SHOWN_TEXT, offsetof(EntryFields, client_addr)},
	{"session_user_name", SHOWN_TEXT, offsetof(EntryFields, session_user_name)},
	{"current_user_name", SHOWN_TEXT, offsetof(EntryFields, current_user_name)},
	{"application", SHOWN_TEXT, offsetof(EntryFields, application)},
	{"purpose", SHOWN_TEXT, offsetof(EntryFields, purpose)},
	{"command", SHOWN_TEXT, offsetof(EntryFields, command)},
	{"query_id", SHOWN_SIGNED, offsetof(EntryFields, query_id)},
	{"relations", SHOWN_LINES, offsetof(EntryFields, relations)},
	{"operation", SHOWN_OPERATION, offsetof(EntryFields, operation)},
	{"relation", SHOWN_TEXT, offsetof(EntryFields, relation)},
	{"relation_oid", SHOWN_U64, offsetof(EntryFields, relation_oid)},
	{"column_name", SHOWN_TEXT, offsetof(EntryFields, column)},
	{"row_key", SHOWN_JSON, offsetof(EntryFields, row_key)},
	{"collected", SHOWN_JSON, offsetof(EntryFields, collected)},
	{"digest", SHOWN_HASH, offsetof(EntryFields, digest)},
	{"key", SHOWN_U64, offsetof(EntryFields, key)},
	{"picture_hash", SHOWN_HASH, offsetof(EntryFields, picture_hash)},
	{"marked", SHOWN_FLAG, offsetof(EntryFields, marked)},
	{"transaction", SHOWN_U64, offsetof(EntryFields, transaction)},
	{"process", SHOWN_U64, offsetof(EntryFields, process)},
	{"database", SHOWN_TEXT, offsetof(EntryFields, database)},
	{"tls", SHOWN_FLAG, offsetof(EntryFields, tls)},
	{"detail", SHOWN_JSON, offsetof(EntryFields, detail)},
};

#define SHOWN_COUNT (sizeof(shown_table) / sizeof(shown_table[0]))

void
print_time(int64_t time, char out[PRINT_TIME_MAX])
{
	int64_t micros = time % 1000000;
	time_t seconds;
	struct tm parts;

	if (micros < 0)
		micros += 1000000;
	/* time - micros could be less than the least */
	seconds = (time_t) (time / 1000000 - (time % 1000000 < 0));
	if (gmtime_r(&seconds, &parts) == NULL)
	{
		snprintf(out, PRINT_TIME_MAX, "%" PRId64 " us", time);
		return;
	}
	snprintf(out, PRINT_TIME_MAX, "%04lld-%02d-%02dT%02d:%02d:%02d.%06dZ",
			 (long long) parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
			 parts.tm_min, parts.tm_sec, (int) micros);
}

void
print_hex(const uint8_t *bytes, size_t length, char *out)
{
	for (size_t i = 0; i < length; i++)
	{
		out[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[bytes[i] & 0x0f];
	}
	out[2 * length] = '\0';
}

/* Prints a UUID, as a JSON string where quoted. */
static void
print_id(FILE *out, const uint8_t *id, bool quoted)
{
	char digits[2 * ENTRY_IMAGE_ID_SIZE + 1];

	print_hex(id, ENTRY_IMAGE_ID_SIZE, digits);
	fprintf(out, "%s%.8s-%.4s-%.4s-%.4s-%.12s%s", quoted ? "\"" : "", digits, digits + 8,
			digits + 12, digits + 16, digits + 20, quoted ? "\"" : "");
}

/* Prints a digest or a picture hash, as a JSON string where quoted. */
static void
print_hash(FILE *out, const uint8_t *hash, bool quoted)
{
	char digits[2 * ENTRY_HASH_SIZE + 1];

	print_hex(hash, ENTRY_HASH_SIZE, digits);
	fprintf(out, quoted ? "\"%s\"" : "%s", digits);
}

/* Whether a text can do without quotes on a line of name=value. */
static bool
is_plain(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
	{
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  (c != '\0' && strchr("._-:/@+,", c) != NULL)))
			return false;
	}
	return length > 0;
}

static void
print_text(FILE *out, const char *text, size_t length, bool quoted)
{
	if (!quoted && is_plain(text, length))
		fwrite(text, 1, length, out);
	else
		json_string(out, text, length);
}

/* Prints the lines of a text as a JSON array. */
static void
print_lines(FILE *out, const EntryText *text)
{
	const char *at = text->bytes;
	const char *end = at + text->length;

	fputc('[', out);
	while (at < end)
	{
		const char *newline = memchr(at, '\n', (size_t) (end - at));
		const char *stop = newline != NULL ? newline : end;

		json_string(out, at, (size_t) (stop - at));
		at = newline != NULL ? newline + 1 : end;
		if (at < end)
			fputc(',', out);
	}
	fputc(']', out);
}

/* A field's number, whatever its width; 0: it is absent. */
static uint64_t
number_of(const EntryFields *fields, const Shown *shown)
{
	const char *where = (const char *) fields + shown->offset;
	uint64_t wide;
	uint32_t narrow;

	switch (shown->as)
	{
		case SHOWN_KIND:
		case SHOWN_REASON:
		case SHOWN_OPERATION:
		case SHOWN_U32:
			memcpy(&narrow, where, sizeof(narrow));
			return narrow;
		default:
			memcpy(&wide, where, sizeof(wide));
			return wide;
	}
}

static bool
is_present(const EntryFields *fields, const Shown *shown)
{
	const char *where = (const char *) fields + shown->offset;
	const uint8_t *bytes;
	EntryText text;

	switch (shown->as)
	{
		case SHOWN_ID:
		case SHOWN_HASH:
			memcpy(&bytes, where, sizeof(bytes));
			return bytes != NULL;
		case SHOWN_TEXT:
		case SHOWN_LINES:
		case SHOWN_JSON:
			memcpy(&text, where, sizeof(text));
			return text.bytes != NULL;
		default:
			return number_of(fields, shown) != 0;
	}
}

/* The name of a field's code. */
static const char *
code_name(const Shown *shown, int code)
{
	switch (shown->as)
	{
		case SHOWN_KIND:
			return image_kind_name(code);
		case SHOWN_REASON:
			return reason_name(code);
		case SHOWN_OPERATION:
			return operation_name(code);
		default:
			return NULL;
	}
}

/* Prints a text of a field. */
static void
print_text_field(FILE *out, const Shown *shown, const EntryText *text, bool quoted)
{
	switch (shown->as)
	{
		case SHOWN_LINES:
			print_lines(out, text);
			break;
		case SHOWN_JSON:
			json_value(out, text->bytes, text->length);
			break;
		default:
			print_text(out, text->bytes, text->length, quoted);
	}
}

static void
print_value(FILE *out, const EntryFields *fields, const Shown *shown, bool quoted)
{
	const char *where = (const char *) fields + shown->offset;
	uint64_t number;
	const char *name;
	const uint8_t *bytes;
	EntryText text;

	switch (shown->as)
	{
		case SHOWN_ID:
			memcpy(&bytes, where, sizeof(bytes));
			print_id(out, bytes, quoted);
			return;
		case SHOWN_HASH:
			memcpy(&bytes, where, sizeof(bytes));
			print_hash(out, bytes, quoted);
			return;
		case SHOWN_TEXT:
		case SHOWN_LINES:
		case SHOWN_JSON:
			memcpy(&text, where, sizeof(text));
			print_text_field(out, shown, &text, quoted);
			return;
		case SHOWN_FLAG:
			fputs("true", out);
			return;
		case SHOWN_SIGNED:
			fprintf(out, "%" PRId64, (int64_t) number_of(fields, shown));
			return;
		default:
			number = number_of(fields, shown);
			name = code_name(shown, (int) number);
			if (name != NULL)
				print_text(out, name, strlen(name), quoted);
			else
				fprintf(out, "%" PRIu64, number);
	}
}

/* What people want to know of an entry, and find in those that it refers to. */
static const char *const origin_names[] = {
	"party", "network", "client_addr", "session_user_name", "current_user_name", "purpose"};

static const Shown *
find_shown(const char *name)
{
	for (size_t i = 0; i < SHOWN_COUNT; i++)
	{
		if (strcmp(shown_table[i].name, name) == 0)
			return &shown_table[i];
	}
	return NULL;
}

/* Prints the relation that an entry names by its place in the statement's list. */
static void
print_relation(FILE *out, const EntryFields *fields, const EntryFields *statement)
{
	const char *at = statement->relations.bytes;
	const char *end = at != NULL ? at + statement->relations.length : NULL;

	if (at == NULL || fields->relation.bytes != NULL)
		return;
	for (uint32_t number = 1; at < end; number++)
	{
		const char *newline = memchr(at, '\n', (size_t) (end - at));
		const char *stop = newline != NULL ? newline : end;

		if (number == fields->relation_index)
		{
			fputs(" relation=", out);
			print_text(out, at, (size_t) (stop - at), false);
			return;
		}
		at = newline != NULL ? newline + 1 : end;
	}
}

/* Prints what the statement and the session of an entry add to it. */
static void
print_origin_line(FILE *out, const EntryFields *fields, const PrintOrigin *origin)
{
	for (size_t i = 0; i < sizeof(origin_names) / sizeof(origin_names[0]); i++)
	{
		const Shown *shown = find_shown(origin_names[i]);
		const EntryFields *from = origin->session;

		if (shown == NULL || is_present(fields, shown))
			continue;
		if (origin->statement != NULL && is_present(origin->statement, shown))
			from = origin->statement;
		if (from == NULL || !is_present(from, shown))
			continue;
		fprintf(out, " %s=", shown->name);
		print_value(out, from, shown, false);
	}
	if (origin->statement != NULL)
		print_relation(out, fields, origin->statement);
}

void
print_entry_line(FILE *out, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin)
{
	char time[PRINT_TIME_MAX];

	print_time(fields->at, time);
	fprintf(out, "%" PRIu64 " %s %s", sequence, time, entry_event_name((int) fields->event));
	if (fields->reference != ENTRY_NO_REFERENCE)
		fprintf(out, " reference=%" PRId64, fields->reference);
	for (size_t i = 0; i < SHOWN_COUNT; i++)
	{
		if (!is_present(fields, &shown_table[i]))
			continue;
		fprintf(out, " %s=", shown_table[i].name);
		print_value(out, fields, &shown_table[i], false);
	}
	if (origin != NULL && fields->image_id != NULL)
		print_origin_line(out, fields, origin);
	fputc('\n', out);
}

/* Prints an entry's object without the brace that ends it. */
static void
print_members(FILE *out, uint64_t sequence, const EntryFields *fields)
{
	char time[PRINT_TIME_MAX];

	print_time(fields->at, time);
	fprintf(out, "{\"seq\":%" PRIu64 ",\"at\":\"%s\",\"event\":\"%s\"", sequence, time,
			entry_event_name((int) fields->event));
	if (fields->reference != ENTRY_NO_REFERENCE)
		fprintf(out, ",\"reference\":%" PRId64, fields->reference);
	for (size_t i = 0; i < SHOWN_COUNT; i++)
	{
		if (!is_present(fields, &shown_table[i]))
			continue;
		fprintf(out, ",\"%s\":", shown_table[i].name);
		print_value(out, fields, &shown_table[i], true);
	}
}

void
print_entry_json(FILE *out, uint64_t sequence, const EntryFields *fields, const PrintOrigin *origin)
{
	print_members(out, sequence, fields);
	if (origin != NULL && origin->statement != NULL)
	{
		fputs(",\"statement\":", out);
		print_members(out, origin->statement_sequence, origin->statement);
		fputc('}', out);
	}
	if (origin != NULL && origin->session != NULL)
	{
		fputs(",\"session\":", out);
		print_members(out, origin->session_sequence, origin->session);
		fputc('}', out);
	}
	fputc('}', out);
}

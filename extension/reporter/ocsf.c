/*
 * ocsf.c - disclosures and refusals as events of the Open Cybersecurity Schema
 * Framework, class Datastore Activity.
 */
#include "reporter/write.h"

#include "tool/json.h"

#include <inttypes.h>
#include <string.h>

#define CATEGORY_APPLICATION 6
#define CLASS_DATASTORE_ACTIVITY 6005
#define ACTIVITY_READ 1
#define SEVERITY_INFORMATIONAL 1
#define SEVERITY_MEDIUM 3
#define STATUS_SUCCESS 1
#define STATUS_FAILURE 2
#define TYPE_TABLE 3

static void
put_text(FILE *out, const char *before, const EntryText *text)
{
	if (text->bytes == NULL)
		return;
	fputs(before, out);
	json_string(out, text->bytes, text->length);
}

/* Whether a client's address is one: not "local". */
static bool
is_address(const EntryText *text)
{
	return text->bytes != NULL && !(text->length == 5 && memcmp(text->bytes, "local", 5) == 0);
}

/* The relation that an entry is about, by its place in its statement's list. */
static EntryText
find_relation(const EntryFields *fields, const PrintOrigin *origin)
{
	EntryText line = fields->relation;
	const char *end;

	if (line.bytes != NULL || fields->relation_index == 0 || origin->statement == NULL ||
		origin->statement->relations.bytes == NULL)
		return line;
	line = origin->statement->relations;
	end = line.bytes + line.length;
	for (uint32_t number = 1; line.bytes < end; number++)
	{
		const char *newline = memchr(line.bytes, '\n', (size_t) (end - line.bytes));

		line.length = (size_t) ((newline != NULL ? newline : end) - line.bytes);
		if (number == fields->relation_index)
			return line;
		line.bytes += line.length + 1;
	}
	return (EntryText){0};
}

static void
put_who(FILE *out, const EntryFields *session)
{
	static const EntryText unknown = {"unknown", 7};
	const EntryText *login =
		session->session_user_name.bytes != NULL ? &session->session_user_name : &unknown;

	put_text(out, ",\"actor\":{\"user\":{\"name\":", login);
	fputs("}", out);
	put_text(out, ",\"app_name\":", &session->application);
	fputs("},\"src_endpoint\":{", out);
	if (is_address(&session->client_addr))
		put_text(out, "\"ip\":", &session->client_addr);
	else
		fputs("\"name\":\"local\"", out);
	fputs("}", out);
	if (session->database.bytes != NULL)
	{
		put_text(out, ",\"database\":{\"name\":", &session->database);
		fputs("}", out);
	}
}

/* What the schema has no attribute for. */
static void
put_unmapped(FILE *out, const Case *matter, uint64_t sequence, const EntryFields *fields,
			 const PrintOrigin *origin)
{
	const char *kind = image_kind_name(fields->kind);

	fprintf(out, ",\"unmapped\":{\"ledger_seq\":%" PRIu64 ",\"ledger\":", sequence);
	json_string(out, matter->head.checkpoint.origin, strlen(matter->head.checkpoint.origin));
	put_text(out, ",\"party\":", &origin->session->party);
	put_text(out, ",\"network\":", &origin->session->network);
	if (origin->statement != NULL)
		put_text(out, ",\"purpose\":", &origin->statement->purpose);
	if (kind != NULL)
		fprintf(out, ",\"image_kind\":\"%s\"", kind);
	if (fields->image_id != NULL)
	{
		char digits[2 * ENTRY_IMAGE_ID_SIZE + 1];

		print_hex(fields->image_id, ENTRY_IMAGE_ID_SIZE, digits);
		fprintf(out, ",\"image_id\":\"%.8s-%.4s-%.4s-%.4s-%.12s\"", digits, digits + 8, digits + 12,
				digits + 16, digits + 20);
	}
	if (fields->permit != 0)
		fprintf(out, ",\"authorization\":%" PRIu64, fields->permit);
	fputs("}", out);
}

void
write_event(FILE *out, const Case *matter, uint64_t sequence, const EntryFields *fields,
			const PrintOrigin *origin)
{
	const char *event = entry_event_name((int) fields->event);
	const char *reason = reason_name((int) fields->reason);
	bool refused = fields->event == ENTRY_REFUSED;
	bool plain = fields->event == ENTRY_DISCLOSED;
	EntryText relation = find_relation(fields, origin);

	/* the schema's times are milliseconds */
	fprintf(out,
			"{\"category_uid\":%d,\"category_name\":\"Application Activity\",\"class_uid\":%d,"
			"\"class_name\":\"Datastore Activity\",\"activity_id\":%d,\"activity_name\":\"Read\","
			"\"type_uid\":%d,\"type_name\":\"Datastore Activity: Read\",\"severity_id\":%d,"
			"\"severity\":\"%s\",\"status_id\":%d,\"status\":\"%s\",\"time\":%" PRId64,
			CATEGORY_APPLICATION, CLASS_DATASTORE_ACTIVITY, ACTIVITY_READ,
			CLASS_DATASTORE_ACTIVITY * 100 + ACTIVITY_READ,
			plain ? SEVERITY_INFORMATIONAL : SEVERITY_MEDIUM, plain ? "Informational" : "Medium",
			refused ? STATUS_FAILURE : STATUS_SUCCESS, refused ? "Failure" : "Success",
			fields->at / 1000);
	if (reason != NULL)
		fprintf(out, ",\"status_detail\":\"%s\"", reason);
	fprintf(out,
			",\"message\":\"biometric image %s\",\"metadata\":{\"version\":\"" OCSF_VERSION
			"\",\"product\":{\"name\":\"biometric_audit\",\"vendor_name\":\"biometric_audit\","
			"\"version\":\"%s\"},\"event_code\":\"%s\",\"log_name\":\"biometric.ledger\","
			"\"sequence\":%" PRIu64 ",\"uid\":\"%" PRIu64 "\"}",
			event, VERSION, event, sequence, sequence);
	put_who(out, origin->session);
	fprintf(out, ",\"type_id\":%d,\"type\":\"Table\"", TYPE_TABLE);
	if (relation.bytes != NULL)
		put_text(out, ",\"table\":{\"name\":", &relation);
	fputs(relation.bytes != NULL ? "}" : ",\"table\":{\"name\":\"unknown\"}", out);
	put_unmapped(out, matter, sequence, fields, origin);
	fputs("}\n", out);
}

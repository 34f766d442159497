/*
 * fetch.c - an archive, brought up to date from a server.
 *
 * Nothing that the server says is taken for granted: what it sends must lead
 * to the root that it signed, and on the way to the one that it signed before.
 */
#define _GNU_SOURCE

#include "tool/commands.h"

#include "core/entry.h"
#include "core/reader.h"
#include "tool/keys.h"
#include "tool/print.h"
#include "tool/tree.h"
#include "tool/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Entries that are asked for at once. */
#define CHUNK 4096
/* SQLSTATE object_not_in_prerequisite_state. */
#define NOT_IN_STATE "55000"

typedef struct Fetch
{
	PGconn *connection;
	Archive archive;
	Writer writer;
	char *note; /* the server's checkpoint */
	char *vkey; /* the server's verifier key; may be NULL */
	Head head;
	bool has_old;
	Head old;		 /* the archive's checkpoint */
	bool used_files; /* entries came from files that no checkpoint covers yet */
} Fetch;

static ToolExit
connect_server(Fetch *fetch, const char *conninfo)
{
	const char *keywords[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *values[] = {conninfo, "biometric-verify", "UTF8", NULL};

	fetch->connection = PQconnectdbParams(keywords, values, 1);
	if (PQstatus(fetch->connection) == CONNECTION_OK)
		return TOOL_VERIFIED;
	return report_problem(TOOL_CONNECTION, "%s", PQerrorMessage(fetch->connection));
}

static ToolExit
server_problem(Fetch *fetch, const PGresult *result)
{
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	const char *hint = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

	if (message == NULL)
		message = PQerrorMessage(fetch->connection);
	if (message[0] == '\0')
		return report_problem(TOOL_CONNECTION, "the server answered a query by something else "
											   "than rows");
	return report_problem(TOOL_CONNECTION, "the server says: %s%s%s%s%s", message,
						  detail != NULL ? ". " : "", detail != NULL ? detail : "",
						  hint != NULL ? " " : "", hint != NULL ? hint : "");
}

/*
 * Asks for the newest checkpoint, in bytes since the server's encoding may not have all
 * of its characters, and the key that signs.
 */
static ToolExit
ask_checkpoint(Fetch *fetch)
{
	PGresult *result = PQexecParams(fetch->connection,
									"SELECT biometric.checkpoint_note(), biometric.verifier_key()",
									0, NULL, NULL, NULL, NULL, 1);
	ToolExit code = TOOL_VERIFIED;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		code = server_problem(fetch, result);
	else if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0))
		code = report_problem(TOOL_CONNECTION, "the server has signed no checkpoint; see "
											   "biometric_audit.signing_key");
	else
	{
		fetch->note = strdup(PQgetvalue(result, 0, 0));
		fetch->vkey = PQgetisnull(result, 0, 1) ? NULL : strdup(PQgetvalue(result, 0, 1));
		if (fetch->note == NULL)
			code = report_problem(TOOL_INPUT, "out of memory");
	}
	PQclear(result);
	return code;
}

static ToolExit
open_directory(Fetch *fetch, const char *path)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return report_problem(TOOL_INPUT, "directory %s cannot be made: %s", path, strerror(errno));
	if (archive_open(&fetch->archive, path) != TOOL_VERIFIED)
		return report_code();
	if (flock(fetch->archive.fd, LOCK_EX | LOCK_NB) != 0)
		return report_problem(TOOL_INPUT, "%s is being written by another process", path);
	return TOOL_VERIFIED;
}

/*
 * Loads the keys: those of the command line; else the archive's, which were
 * trusted before; else the one that the server names.
 */
static ToolExit
load_keys(Fetch *fetch, const Options *options, Keys *keys)
{
	Options own = *options;

	own.trust_archive_key = own.keys.count + own.key_files.count == 0;
	return keys_load(&own, &fetch->archive, fetch->vkey, keys);
}

/*
 * Keeps the server's checkpoint beside the archive's: together they are the
 * evidence. Each has a name of its own, and none is replaced.
 */
static void
keep_refused(Fetch *fetch)
{
	char digits[2 * MERKLE_HASH_SIZE + 1];
	char name[sizeof("checkpoint.refused..") + 20 + sizeof(digits)];

	print_hex(fetch->head.checkpoint.root.bytes, MERKLE_HASH_SIZE, digits);
	snprintf(name, sizeof(name), "checkpoint.refused.%" PRIu64 ".%s", fetch->head.checkpoint.size,
			 digits);
	if (file_exists(fetch->archive.fd, name, 0) ||
		file_write(fetch->archive.fd, name, fetch->note, strlen(fetch->note), true))
		report_warning("the server's checkpoint is kept in %s/%s, the archive's in %s/checkpoint",
					   fetch->archive.path, name, fetch->archive.path);
	else
		report_warning("%s/%s cannot be written: %s", fetch->archive.path, name, strerror(errno));
}

static ToolExit
compare_with_old(Fetch *fetch)
{
	const Checkpoint *old = &fetch->old.checkpoint;
	const Checkpoint *new = &fetch->head.checkpoint;

	if (strcmp(old->origin, new->origin) != 0)
		return report_problem(TOOL_FAILED,
							  "%s is the archive of log \"%s\", the server's log is \"%s\"",
							  fetch->archive.path, old->origin, new->origin);
	if (new->size < old->size)
		return report_problem(TOOL_FAILED,
							  "the server's checkpoint is of %" PRIu64
							  " entries, the archive's of %" PRIu64
							  ": the server has lost entries that it had signed",
							  new->size, old->size);
	if (new->size == old->size && memcmp(&old->root, &new->root, sizeof(MerkleHash)) != 0)
		return report_problem(TOOL_FAILED,
							  "the server's checkpoint of %" PRIu64
							  " entries has another root than the archive's: the log has two "
							  "histories",
							  new->size);
	return TOOL_VERIFIED;
}

/* Verifies the server's checkpoint, and the archive's if it has one. */
static ToolExit
open_heads(Fetch *fetch, const Keys *keys)
{
	ToolExit code = keys_open_head(keys, "server", fetch->note, strlen(fetch->note), &fetch->head);

	fetch->has_old = file_exists(fetch->archive.fd, "checkpoint", 0);
	if (code != TOOL_VERIFIED || !fetch->has_old)
		return code;
	code = keys_read_head(keys, fetch->archive.fd, "checkpoint", &fetch->old);
	if (code != TOOL_VERIFIED)
		return code;
	code = compare_with_old(fetch);
	if (code != TOOL_VERIFIED)
		keep_refused(fetch);
	return code;
}

/* Compares the root with the archive's checkpoint when the writer has got there. */
static ToolExit
check_old_root(Fetch *fetch)
{
	MerkleHash root;

	if (!fetch->has_old || fetch->writer.frontier.size != fetch->old.checkpoint.size)
		return TOOL_VERIFIED;
	tlog_frontier_root(&fetch->writer.frontier, &root);
	if (memcmp(&root, &fetch->old.checkpoint.root, sizeof(root)) == 0)
		return TOOL_VERIFIED;
	keep_refused(fetch);
	return report_problem(TOOL_FAILED,
						  "the first %" PRIu64
						  " entries do not have the root that the archive's checkpoint says: "
						  "either the archive is damaged (see biometric-verify verify), or the "
						  "log has two histories",
						  fetch->old.checkpoint.size);
}

static ToolExit
add_entry(Fetch *fetch, const void *entry, size_t length)
{
	ToolExit code = writer_add(&fetch->writer, entry, length);

	return code == TOOL_VERIFIED ? check_old_root(fetch) : code;
}

/* Takes a bundle that an interrupted run has left, if it is whole. */
static bool
read_left_bundle(Fetch *fetch, Buffer *bundle)
{
	uint64_t index = fetch->writer.frontier.size / TLOG_TILE_WIDTH;
	size_t at = 0;
	int count = 0;
	int found;

	if (fetch->writer.frontier.size % TLOG_TILE_WIDTH != 0 ||
		(index + 1) * TLOG_TILE_WIDTH > fetch->head.checkpoint.size ||
		archive_read_bundle(&fetch->archive, index, TLOG_TILE_WIDTH, bundle, &found) != FILE_OK)
		return false;
	for (;; count++)
	{
		const uint8_t *entry;
		size_t length;

		if (tlog_bundle_next(bundle->bytes, bundle->length, &at, &entry, &length) != CORE_OK)
			return false;
		if (entry == NULL)
			return count == TLOG_TILE_WIDTH;
	}
}

/* Adds the entries that are in files already. */
static ToolExit
add_left_bundles(Fetch *fetch)
{
	Buffer bundle = {0};
	ToolExit code = TOOL_VERIFIED;

	while (code == TOOL_VERIFIED && read_left_bundle(fetch, &bundle))
	{
		size_t at = 0;
		const uint8_t *entry;
		size_t length;

		fetch->used_files = true;
		while (code == TOOL_VERIFIED &&
			   tlog_bundle_next(bundle.bytes, bundle.length, &at, &entry, &length) == CORE_OK &&
			   entry != NULL)
			code = add_entry(fetch, entry, length);
	}
	free(bundle.bytes);
	return code;
}

/* Asks for the next entries, without waiting for them. */
static ToolExit
ask_entries(Fetch *fetch, uint64_t first, uint64_t count)
{
	uint8_t numbers[2][8];
	const char *values[2] = {(const char *) numbers[0], (const char *) numbers[1]};
	const int lengths[2] = {8, 8};
	const int formats[2] = {1, 1};

	write_uint(numbers[0], first, 8);
	write_uint(numbers[1], count, 8);
	if (PQsendQueryParams(fetch->connection,
						  "SELECT seq, entry FROM biometric.entries($1::pg_catalog.int8, "
						  "$2::pg_catalog.int8)",
						  2, NULL, values, lengths, formats, 1) == 1)
		return TOOL_VERIFIED;
	return report_problem(TOOL_CONNECTION, "%s", PQerrorMessage(fetch->connection));
}

/* Why entries were not sent: those of detached segments are in an archive, or nowhere. */
static ToolExit
entries_problem(Fetch *fetch, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (state != NULL && strcmp(state, NOT_IN_STATE) == 0)
		report_warning("entries of detached segments cannot be fetched: go on with the archive "
					   "that has them, or with a directory that biometric.export_ledger() wrote");
	return server_problem(fetch, result);
}

/* Adds the entries of one answer, which must be those that were asked for. */
static ToolExit
add_answer(Fetch *fetch, const PGresult *result, uint64_t first, uint64_t count)
{
	ToolExit code = TOOL_VERIFIED;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		return entries_problem(fetch, result);
	if (PQnfields(result) != 2 || PQfformat(result, 0) != 1 ||
		(uint64_t) PQntuples(result) != count)
		return report_problem(TOOL_CONNECTION,
							  "the server sent %d entries from %" PRIu64 " on, of %" PRIu64
							  " that its checkpoint covers",
							  PQntuples(result), first, count);
	for (int row = 0; row < PQntuples(result) && code == TOOL_VERIFIED; row++)
	{
		Reader reader = reader_make((const uint8_t *) PQgetvalue(result, row, 0),
									(size_t) PQgetlength(result, row, 0));

		if (PQgetlength(result, row, 0) != 8 || reader_u64(&reader) != first + (uint64_t) row ||
			PQgetisnull(result, row, 1))
			return report_problem(TOOL_CONNECTION, "the server did not send entry %" PRIu64,
								  first + (uint64_t) row);
		code = add_entry(fetch, PQgetvalue(result, row, 1), (size_t) PQgetlength(result, row, 1));
	}
	return code;
}

/*
 * Waits for the answer to the last question, which is one result. Behind any
 * other than rows there may be no end: COPY is answered for ever.
 */
static PGresult *
take_answer(Fetch *fetch)
{
	PGresult *answer = PQgetResult(fetch->connection);
	PGresult *more;

	if (PQresultStatus(answer) != PGRES_TUPLES_OK)
		return answer;
	more = PQgetResult(fetch->connection);
	if (more == NULL)
		return answer;
	PQclear(answer);
	return more;
}

static uint64_t
chunk_at(const Fetch *fetch, uint64_t first)
{
	uint64_t left = fetch->head.checkpoint.size - first;

	return left < CHUNK ? left : CHUNK;
}

/*
 * Gets all entries from the server that are not there; it makes the next answer
 * while one is written.
 */
static ToolExit
add_from_server(Fetch *fetch)
{
	uint64_t at = fetch->writer.frontier.size;
	uint64_t begun = at;
	ToolExit code = TOOL_VERIFIED;

	if (at < fetch->head.checkpoint.size)
		code = ask_entries(fetch, at, chunk_at(fetch, at));
	while (code == TOOL_VERIFIED && at < fetch->head.checkpoint.size)
	{
		uint64_t count = chunk_at(fetch, at);
		uint64_t next = at + count;
		PGresult *answer = take_answer(fetch);

		if (next < fetch->head.checkpoint.size && PQresultStatus(answer) == PGRES_TUPLES_OK)
			code = ask_entries(fetch, next, chunk_at(fetch, next));
		if (code == TOOL_VERIFIED)
			code = add_answer(fetch, answer, at, count);
		PQclear(answer);
		at = next;
		report_progress(at - begun, fetch->head.checkpoint.size - begun);
	}
	return code;
}

/*
 * Brings the files up to the server's checkpoint, whose root they must have then.
 * matches: they have.
 */
static ToolExit
extend(Fetch *fetch, bool use_files, bool *matches)
{
	MerkleHash root;
	ToolExit code = writer_start(&fetch->writer, &fetch->archive,
								 fetch->has_old ? fetch->old.checkpoint.size : 0);

	*matches = false;
	fetch->used_files = false;
	if (code == TOOL_VERIFIED)
		code = check_old_root(fetch);
	if (code == TOOL_VERIFIED && use_files)
		code = add_left_bundles(fetch);
	if (code == TOOL_VERIFIED)
		code = add_from_server(fetch);
	if (code != TOOL_VERIFIED)
		return code;
	tlog_frontier_root(&fetch->writer.frontier, &root);
	*matches = memcmp(&root, &fetch->head.checkpoint.root, sizeof(root)) == 0;
	return TOOL_VERIFIED;
}

/* Adds the keys that were used to those that the archive has. */
static ToolExit
keep_keys(Fetch *fetch, const Keys *keys)
{
	Buffer file = {0};
	FileResult result = file_read(fetch->archive.fd, "verifier", NOTE_MAX_SIZE, &file);
	ToolExit code = TOOL_VERIFIED;
	bool added = false;

	if (result == FILE_MISSING)
		file.length = 0;
	else if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "%s/verifier %s", fetch->archive.path,
							  file_result_text(result));
	for (int i = 0; i < keys->count && code == TOOL_VERIFIED; i++)
	{
		char text[NOTE_KEY_TEXT_MAX];
		size_t length;

		if (keys_list_has(&file, &keys->log[i]))
			continue;
		note_key_format(&keys->log[i], text);
		length = strlen(text);
		buffer_reserve(&file, file.length + length + 2);
		if (file.length > 0 && file.bytes[file.length - 1] != '\n')
			file.bytes[file.length++] = '\n';
		memcpy(file.bytes + file.length, text, length);
		file.length += length;
		file.bytes[file.length++] = '\n';
		added = true;
	}
	if (added && !file_write(fetch->archive.fd, "verifier", file.bytes, file.length, true))
		code = report_problem(TOOL_INPUT, "%s/verifier cannot be written: %s", fetch->archive.path,
							  strerror(errno));
	free(file.bytes);
	return code;
}

/* Whether a note has a signature of the same name and key. */
static bool
has_signature(const Note *note, const NoteSignature *wanted)
{
	for (int i = 0; i < note->count; i++)
	{
		const NoteSignature *signature = &note->signatures[i];

		if (signature->id == wanted->id && signature->name_length == wanted->name_length &&
			memcmp(signature->name, wanted->name, wanted->name_length) == 0)
			return true;
	}
	return false;
}

/*
 * Makes the archive's new checkpoint: the server's, with the signatures of
 * witnesses that the archive's own has and that one has not, when both are of one tree.
 */
static void
merge_notes(Fetch *fetch, Buffer *note)
{
	static Note old;
	static Note new;
	size_t length = strlen(fetch->note);
	Buffer file = {0};

	buffer_reserve(note, length);
	memcpy(note->bytes, fetch->note, length);
	note->length = length;
	if (!fetch->has_old || fetch->old.checkpoint.size != fetch->head.checkpoint.size)
		return;
	if (file_read(fetch->archive.fd, "checkpoint", NOTE_MAX_SIZE, &file) != FILE_OK)
		file.length = 0;
	buffer_trim(&file);
	if (note_parse((const char *) file.bytes, file.length, &old) == CORE_OK &&
		note_parse(fetch->note, length, &new) == CORE_OK &&
		old.text_length == new.text_length &&memcmp(old.text, new.text, old.text_length) == 0)
	{
		for (int i = 0, count = new.count; i < old.count &&count < NOTE_SIGNATURES_MAX; i++)
		{
			const NoteSignature *signature = &old.signatures[i];

			if (has_signature(&new, signature) ||
				note->length + signature->line_length > NOTE_MAX_SIZE)
				continue;
			buffer_reserve(note, note->length + signature->line_length);
			memcpy(note->bytes + note->length, signature->line, signature->line_length);
			note->length += signature->line_length;
			count++;
		}
	}
	free(file.bytes);
}

static ToolExit
publish(Fetch *fetch, uint64_t old_size)
{
	Buffer note = {0};
	ToolExit code;

	merge_notes(fetch, &note);
	code = writer_publish(&fetch->writer, note.bytes, note.length, old_size);
	free(note.bytes);
	return code;
}

static ToolExit
bring_up_to_date(Fetch *fetch, const Keys *keys)
{
	uint64_t old_size = fetch->has_old ? fetch->old.checkpoint.size : 0;
	bool matches;
	ToolExit code = extend(fetch, true, &matches);

	/* the files of an interrupted run may be the ones that are wrong */
	if (code == TOOL_VERIFIED && !matches && fetch->used_files)
		code = extend(fetch, false, &matches);
	if (code != TOOL_VERIFIED)
		return code;
	if (!matches)
	{
		keep_refused(fetch);
		return report_problem(TOOL_FAILED, "the entries that the server sent do not have the root "
										   "that its checkpoint says");
	}
	code = writer_finish(&fetch->writer);
	if (code == TOOL_VERIFIED)
		code = keep_keys(fetch, keys);
	if (code == TOOL_VERIFIED)
		code = publish(fetch, old_size);
	if (code == TOOL_VERIFIED)
	{
		report_number("size", fetch->head.checkpoint.size);
		report_hash("root", &fetch->head.checkpoint.root);
		report_number("fetched", fetch->head.checkpoint.size - old_size);
	}
	return code;
}

ToolExit
command_fetch(const Options *options)
{
	static Fetch fetch;
	static Keys keys;
	ToolExit code = connect_server(&fetch, options->arguments[0]);

	if (code == TOOL_VERIFIED)
		code = ask_checkpoint(&fetch);
	if (code == TOOL_VERIFIED)
		code = open_directory(&fetch, options->arguments[1]);
	if (code == TOOL_VERIFIED)
	{
		report_text("archive", fetch.archive.path);
		code = load_keys(&fetch, options, &keys);
	}
	if (code == TOOL_VERIFIED)
		code = open_heads(&fetch, &keys);
	if (code == TOOL_VERIFIED)
		code = bring_up_to_date(&fetch, &keys);
	if (fetch.archive.path != NULL)
		archive_close(&fetch.archive);
	writer_free(&fetch.writer);
	free(fetch.note);
	free(fetch.vkey);
	PQfinish(fetch.connection);
	return code;
}

/*
 * keys.c - verifier keys and checkpoints.
 */
#define _GNU_SOURCE

#include "tool/keys.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define KEY_FILE_MAX 65536

/* Whether two keys are the same. */
static bool
is_same(const NoteKey *a, const NoteKey *b)
{
	return a->id == b->id && a->algorithm == b->algorithm && strcmp(a->name, b->name) == 0 &&
		   memcmp(a->public_key, b->public_key, SIGN_PUBLIC_SIZE) == 0;
}

/* Parses a key and puts it into a list, if it is of the right kind. */
static ToolExit
add_key(const char *text, size_t length, NoteAlgorithm algorithm, NoteKey *list, int *count)
{
	NoteKey key;
	CoreStatus status = note_key_parse(text, length, &key);

	if (status == CORE_BAD_VERSION)
		return report_problem(TOOL_INPUT,
							  "verifier key \"%.*s\" is of an algorithm that is not "
							  "known here",
							  (int) length, text);
	if (status != CORE_OK)
		return report_problem(TOOL_INPUT,
							  "\"%.*s\" is not a verifier key (name+id+key, the id being a hash of "
							  "name and key)",
							  (int) (length < 400 ? length : 400), text);
	if (key.algorithm != algorithm)
		return report_problem(TOOL_INPUT, "verifier key of \"%s\" is that of a %s, not of a %s",
							  key.name, algorithm == NOTE_ED25519 ? "witness" : "log",
							  algorithm == NOTE_ED25519 ? "log" : "witness");
	for (int i = 0; i < *count; i++)
	{
		if (is_same(&list[i], &key))
			return TOOL_VERIFIED;
	}
	if (*count >= OPTIONS_LIST_MAX)
		return report_problem(TOOL_INPUT, "more than %d keys", OPTIONS_LIST_MAX);
	list[(*count)++] = key;
	return TOOL_VERIFIED;
}

/* Adds the keys of a file, one a line; empty lines and lines that begin with # are passed over. */
static ToolExit
add_file(int directory, const char *path, Keys *keys)
{
	Buffer buffer = {0};
	FileResult result = file_read(directory, path, KEY_FILE_MAX, &buffer);
	ToolExit code = TOOL_VERIFIED;
	size_t at = 0;

	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "key file %s %s", path, file_result_text(result));
	while (code == TOOL_VERIFIED && at < buffer.length)
	{
		const char *line = (const char *) buffer.bytes + at;
		const char *newline = memchr(line, '\n', buffer.length - at);
		size_t length = newline != NULL ? (size_t) (newline - line) : buffer.length - at;

		if (length > 0 && line[0] != '#')
			code = add_key(line, length, NOTE_ED25519, keys->log, &keys->count);
		at += length + 1;
	}
	free(buffer.bytes);
	return code;
}

/* Reads the keys that came with the archive, and says that they did. */
static ToolExit
use_archive_keys(Archive *archive, Keys *keys)
{
	ToolExit code;

	if (archive == NULL)
		return report_problem(TOOL_USAGE, "no key: name the log's verifier key by --key or "
										  "--key-file");
	code = add_file(archive->fd, "verifier", keys);
	if (code != TOOL_VERIFIED)
		return code;
	keys->source = "archive";
	report_warning("the verifier key came with the ledger: whoever made the one could make the "
				   "other. Give the key that you know by --key");
	return TOOL_VERIFIED;
}

ToolExit
keys_load(const Options *options, const char *source, Archive *archive, Keys *keys)
{
	ToolExit code = TOOL_VERIFIED;

	memset(keys, 0, sizeof(*keys));
	keys->source = source;
	for (int i = 0; i < options->keys.count && code == TOOL_VERIFIED; i++)
		code = add_key(options->keys.texts[i], strlen(options->keys.texts[i]), NOTE_ED25519,
					   keys->log, &keys->count);
	for (int i = 0; i < options->key_files.count && code == TOOL_VERIFIED; i++)
		code = add_file(AT_FDCWD, options->key_files.texts[i], keys);
	for (int i = 0; i < options->witnesses.count && code == TOOL_VERIFIED; i++)
		code = add_key(options->witnesses.texts[i], strlen(options->witnesses.texts[i]),
					   NOTE_COSIGNATURE, keys->witnesses, &keys->witness_count);
	if (code == TOOL_VERIFIED && options->keys.count + options->key_files.count == 0)
		code = use_archive_keys(archive, keys);
	if (code != TOOL_VERIFIED)
		return code;
	if (keys->count == 0)
		return report_problem(TOOL_INPUT, "there is no verifier key in the file");
	keys->required =
		options->require_witnesses >= 0 ? options->require_witnesses : keys->witness_count;
	report_text("key_source", keys->source);
	return TOOL_VERIFIED;
}

/* Looks for a signature of the log's. */
static ToolExit
open_signed(const Keys *keys, const char *source, const void *bytes, size_t length, Head *head)
{
	CoreStatus status = CORE_WRONG_KEY;
	char text[NOTE_KEY_TEXT_MAX];

	for (int i = 0; i < keys->count && status == CORE_WRONG_KEY; i++)
	{
		status = checkpoint_open(bytes, length, &keys->log[i], &head->checkpoint);
		if (status == CORE_OK)
		{
			note_key_format(&keys->log[i], text);
			report_text("signed_by", text);
		}
	}
	switch (status)
	{
		case CORE_OK:
			return TOOL_VERIFIED;
		case CORE_WRONG_KEY:
			return report_problem(TOOL_FAILED,
								  "checkpoint %s is not signed by a key that was given", source);
		case CORE_NOT_AUTHENTIC:
			return report_problem(TOOL_FAILED, "the signature of checkpoint %s is not right",
								  source);
		case CORE_TRUNCATED:
		case CORE_MALFORMED:
			return report_problem(TOOL_INPUT, "%s is not a checkpoint", source);
		default:
			return report_problem(TOOL_INPUT, "checkpoint %s: %s", source,
								  core_status_text(status));
	}
}

/* Looks for witnesses' signatures. One that is wrong is a problem. */
static ToolExit
find_witnesses(const Keys *keys, const char *source, const Note *note, Head *head)
{
	head->cosigned = 0;
	for (int i = 0; i < keys->witness_count; i++)
	{
		uint64_t time;
		CoreStatus status = note_verify(note, &keys->witnesses[i], &time);

		if (status == CORE_WRONG_KEY)
			continue;
		if (status != CORE_OK)
			return report_problem(TOOL_FAILED,
								  "the signature of witness \"%s\" on checkpoint %s is not right",
								  keys->witnesses[i].name, source);
		head->cosigned++;
		report_open("witnesses");
		report_text("name", keys->witnesses[i].name);
		if (time <= (uint64_t) INT64_MAX / 1000000)
			report_time("at", (int64_t) time * 1000000);
		report_close();
	}
	return TOOL_VERIFIED;
}

ToolExit
keys_open_head(const Keys *keys, const char *source, const void *bytes, size_t length, Head *head)
{
	Note note;
	ToolExit code;

	memset(head, 0, sizeof(*head));
	head->source = source;
	report_open("checkpoints");
	report_text("file", source);
	code = open_signed(keys, source, bytes, length, head);
	if (code == TOOL_VERIFIED)
	{
		report_text("origin", head->checkpoint.origin);
		report_number("size", head->checkpoint.size);
		report_hash("root", &head->checkpoint.root);
		if (note_parse(bytes, length, &note) != CORE_OK)
			code = report_problem(TOOL_INPUT, "%s is not a checkpoint", source);
		else
			code = find_witnesses(keys, source, &note, head);
	}
	report_close();
	return code;
}

size_t
keys_trim(const void *bytes, size_t length)
{
	const char *text = bytes;

	while (length >= 2 && text[length - 1] == '\n' && text[length - 2] == '\n')
		length--;
	return length;
}

ToolExit
keys_read_head(const Keys *keys, int directory, const char *path, Head *head)
{
	Buffer buffer = {0};
	FileResult result = file_read(directory, path, NOTE_MAX_SIZE, &buffer);
	ToolExit code;

	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "checkpoint %s %s", path, file_result_text(result));
	else
		code =
			keys_open_head(keys, path, buffer.bytes, keys_trim(buffer.bytes, buffer.length), head);
	free(buffer.bytes);
	return code;
}

ToolExit
keys_enough_witnesses(const Keys *keys, const Head *heads, int count)
{
	int most = 0;
	uint64_t size = 0;

	if (keys->required == 0)
		return TOOL_VERIFIED;
	for (int i = 0; i < count; i++)
	{
		if (heads[i].cosigned > most)
			most = heads[i].cosigned;
		if (heads[i].cosigned >= keys->required && heads[i].checkpoint.size > size)
			size = heads[i].checkpoint.size;
	}
	if (most < keys->required)
		return report_problem(TOOL_FAILED,
							  "no checkpoint has the signatures of %d witnesses; the most is %d",
							  keys->required, most);
	report_number("witnessed_size", size);
	return TOOL_VERIFIED;
}

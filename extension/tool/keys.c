/*
 * keys.c - verifier keys and checkpoints.
 */
#define _GNU_SOURCE

#include "tool/keys.h"

#include <fcntl.h>
#include <inttypes.h>
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

/* Takes the next line that is neither empty nor begins with #; NULL: there is none. */
static const char *
next_line(const Buffer *file, size_t *at, size_t *length)
{
	while (*at < file->length)
	{
		const char *line = (const char *) file->bytes + *at;
		const char *newline = memchr(line, '\n', file->length - *at);

		*length = newline != NULL ? (size_t) (newline - line) : file->length - *at;
		*at += *length + 1;
		while (*length > 0 && (line[*length - 1] == '\r' || line[*length - 1] == ' '))
			(*length)--;
		if (*length > 0 && line[0] != '#')
			return line;
	}
	return NULL;
}

bool
keys_list_has(const Buffer *file, const NoteKey *wanted)
{
	size_t at = 0;
	size_t length;
	const char *line;

	while ((line = next_line(file, &at, &length)) != NULL)
	{
		NoteKey key;

		if (note_key_parse(line, length, &key) == CORE_OK && is_same(&key, wanted))
			return true;
	}
	return false;
}

/* Adds the keys of a file, one a line; empty lines and lines that begin with # are passed over. */
static ToolExit
add_file(int directory, const char *path, Keys *keys)
{
	Buffer buffer = {0};
	FileResult result = file_read(directory, path, KEY_FILE_MAX, &buffer);
	ToolExit code = TOOL_VERIFIED;
	size_t at = 0;
	size_t length;
	const char *line;

	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "key file %s %s", path, file_result_text(result));
	while (code == TOOL_VERIFIED && (line = next_line(&buffer, &at, &length)) != NULL)
		code = add_key(line, length, NOTE_ED25519, keys->log, &keys->count);
	free(buffer.bytes);
	return code;
}

/* Takes keys that nobody has vouched for, if that was asked for, and says that it does. */
static ToolExit
use_untrusted_keys(const Options *options, Archive *archive, const char *offered, Keys *keys)
{
	keys->trusted = false;
	if (!options->trust_archive_key || archive == NULL)
		return report_problem(TOOL_USAGE,
							  "no key: name the log's verifier key, which you have had from "
							  "elsewhere, by --key or --key-file%s",
							  archive == NULL ? ""
											  : "; --trust-archive-key takes the archive's own, "
												"which whoever made the archive could have made");
	if (offered != NULL && !file_exists(archive->fd, "verifier", 0))
	{
		keys->source = "server";
		report_limit("by the key that the server names");
		report_warning("the verifier key came from the server: compare it with the one that you "
					   "know, or give that by --key");
		return add_key(offered, strlen(offered), NOTE_ED25519, keys->log, &keys->count);
	}
	keys->source = "archive";
	report_limit("by the key that is in the archive");
	report_warning("the verifier key is the archive's own: whoever made the archive could have "
				   "made it, too. Give the key that you know by --key");
	return add_file(archive->fd, "verifier", keys);
}

/* Whether a witness is one of those before it, under another name. */
static bool
is_another_name(const Keys *keys, int index)
{
	for (int i = 0; i < index; i++)
	{
		if (memcmp(keys->witnesses[i].public_key, keys->witnesses[index].public_key,
				   SIGN_PUBLIC_SIZE) == 0)
			return true;
	}
	return false;
}

static ToolExit
load_witnesses(const Options *options, Keys *keys)
{
	ToolExit code = TOOL_VERIFIED;
	int different = 0;

	for (int i = 0; i < options->witnesses.count && code == TOOL_VERIFIED; i++)
		code = add_key(options->witnesses.texts[i], strlen(options->witnesses.texts[i]),
					   NOTE_COSIGNATURE, keys->witnesses, &keys->witness_count);
	for (int i = 0; i < keys->witness_count; i++)
		different += !is_another_name(keys, i);
	keys->required = options->require_witnesses >= 0 ? options->require_witnesses : different;
	return code;
}

ToolExit
keys_load(const Options *options, Archive *archive, const char *offered, Keys *keys)
{
	ToolExit code = TOOL_VERIFIED;

	memset(keys, 0, sizeof(*keys));
	keys->source = "command line";
	keys->trusted = true;
	for (int i = 0; i < options->keys.count && code == TOOL_VERIFIED; i++)
		code = add_key(options->keys.texts[i], strlen(options->keys.texts[i]), NOTE_ED25519,
					   keys->log, &keys->count);
	for (int i = 0; i < options->key_files.count && code == TOOL_VERIFIED; i++)
		code = add_file(AT_FDCWD, options->key_files.texts[i], keys);
	if (code == TOOL_VERIFIED && options->keys.count + options->key_files.count == 0)
		code = use_untrusted_keys(options, archive, offered, keys);
	if (code == TOOL_VERIFIED)
		code = load_witnesses(options, keys);
	if (code != TOOL_VERIFIED)
		return code;
	if (keys->count == 0)
		return report_problem(TOOL_INPUT, "there is no verifier key in the file");
	report_text("key_source", keys->source);
	report_flag("key_trusted", keys->trusted);
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
			return report_problem(TOOL_INPUT, "there is no signed checkpoint in %s", source);
		default:
			return report_problem(TOOL_INPUT, "checkpoint %s: %s", source,
								  core_status_text(status));
	}
}

/* Whether the key of a witness has signed under one of the names before. */
static bool
has_signed(const Keys *keys, const bool *signed_by, int index)
{
	for (int i = 0; i < index; i++)
	{
		if (signed_by[i] && memcmp(keys->witnesses[i].public_key, keys->witnesses[index].public_key,
								   SIGN_PUBLIC_SIZE) == 0)
			return true;
	}
	return false;
}

/*
 * Looks for witnesses' signatures. One that is wrong is a problem; one key's
 * count once, under whatever names.
 */
static ToolExit
find_witnesses(const Keys *keys, const char *source, const Note *note, Head *head)
{
	bool signed_by[OPTIONS_LIST_MAX] = {false};

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
		signed_by[i] = true;
		head->cosigned += !has_signed(keys, signed_by, i);
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
			code = report_problem(TOOL_INPUT, "there is no signed checkpoint in %s", source);
		else
			code = find_witnesses(keys, source, &note, head);
	}
	report_close();
	return code;
}

ToolExit
keys_read_head(const Keys *keys, int directory, const char *path, Head *head)
{
	Buffer buffer = {0};
	FileResult result = file_read(directory, path, NOTE_MAX_SIZE, &buffer);
	ToolExit code;

	buffer_trim(&buffer);
	if (result != FILE_OK)
		code = report_problem(TOOL_INPUT, "checkpoint %s %s", path, file_result_text(result));
	else
		code = keys_open_head(keys, path, buffer.bytes, buffer.length, head);
	free(buffer.bytes);
	return code;
}

ToolExit
keys_enough_witnesses(const Keys *keys, const Head *head)
{
	if (keys->required == 0)
		return TOOL_VERIFIED;
	if (head->cosigned < keys->required)
		return report_problem(TOOL_FAILED,
							  "%d of the witnesses have signed checkpoint %s, of %" PRIu64
							  " entries; %d are required",
							  head->cosigned, head->source, head->checkpoint.size, keys->required);
	report_number("witnessed_size", head->checkpoint.size);
	return TOOL_VERIFIED;
}

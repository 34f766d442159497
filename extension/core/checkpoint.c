/*
 * checkpoint.c - a tree's head in three lines.
 */
#include "core/checkpoint.h"

#include "core/base64.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A line without its newline. */
typedef struct Line
{
	const char *text;
	size_t length;
} Line;

/* Cuts the next line off; false when there is none that ends in a newline. */
static bool
next_line(const char **at, const char *end, Line *line)
{
	const char *newline = *at < end ? memchr(*at, '\n', (size_t) (end - *at)) : NULL;

	if (newline == NULL)
		return false;
	*line = (Line){*at, (size_t) (newline - *at)};
	*at = newline + 1;
	return true;
}

/* Reads a decimal number below CHECKPOINT_SIZE_LIMIT, which is written in one way only. */
static bool
read_size(Line line, uint64_t *size)
{
	*size = 0;
	if (line.length == 0 || (line.length > 1 && line.text[0] == '0'))
		return false;
	for (size_t i = 0; i < line.length; i++)
	{
		if (line.text[i] < '0' || line.text[i] > '9')
			return false;
		*size = *size * 10 + (uint64_t) (line.text[i] - '0');
		if (*size >= CHECKPOINT_SIZE_LIMIT)
			return false;
	}
	return true;
}

static bool
read_root(Line line, MerkleHash *root)
{
	size_t count;

	return base64_decode(line.text, line.length, root->bytes, MERKLE_HASH_SIZE, &count) ==
			   CORE_OK &&
		   count == MERKLE_HASH_SIZE;
}

static CoreStatus
parse_lines(const char *text, size_t length, Checkpoint *checkpoint)
{
	const char *end = text + length;
	Line origin;
	Line size;
	Line root;
	Line extension;

	if (!next_line(&text, end, &origin) || !next_line(&text, end, &size) ||
		!next_line(&text, end, &root))
		return CORE_TRUNCATED;
	if (origin.length == 0 || origin.length > NOTE_NAME_MAX ||
		!read_size(size, &checkpoint->size) || !read_root(root, &checkpoint->root))
		return CORE_MALFORMED;
	memcpy(checkpoint->origin, origin.text, origin.length);
	while (next_line(&text, end, &extension))
	{
		if (extension.length == 0)
			return CORE_MALFORMED;
	}
	return CORE_OK;
}

CoreStatus
checkpoint_parse(const char *text, size_t length, Checkpoint *checkpoint)
{
	CoreStatus status;

	memset(checkpoint, 0, sizeof(*checkpoint));
	if (length == 0 || text[length - 1] != '\n')
		return CORE_TRUNCATED;
	if (!note_text_is_valid(text, length))
		return CORE_MALFORMED;
	status = parse_lines(text, length, checkpoint);
	if (status != CORE_OK)
		memset(checkpoint, 0, sizeof(*checkpoint));
	return status;
}

CoreStatus
checkpoint_sign(const Checkpoint *checkpoint, const NoteKey *key, const SignKey *private_key,
				char out[CHECKPOINT_MAX], size_t *length)
{
	char root[BASE64_LENGTH(MERKLE_HASH_SIZE) + 1];
	char line[NOTE_LINE_MAX];
	CoreStatus status;
	int written;

	out[0] = '\0';
	*length = 0;
	if (checkpoint->size >= CHECKPOINT_SIZE_LIMIT || key->algorithm != NOTE_ED25519)
		return CORE_MALFORMED;
	base64_encode(checkpoint->root.bytes, MERKLE_HASH_SIZE, root);
	written =
		snprintf(out, CHECKPOINT_MAX, "%s\n%" PRIu64 "\n%s\n", key->name, checkpoint->size, root);
	status = note_sign(out, (size_t) written, key, private_key, 0, line);
	if (status != CORE_OK)
	{
		out[0] = '\0';
		return status;
	}
	written += snprintf(out + written, CHECKPOINT_MAX - (size_t) written, "\n%s", line);
	*length = (size_t) written;
	return CORE_OK;
}

CoreStatus
checkpoint_open(const char *bytes, size_t length, const NoteKey *key, Checkpoint *checkpoint)
{
	Note note;
	CoreStatus status = note_parse(bytes, length, &note);

	memset(checkpoint, 0, sizeof(*checkpoint));
	if (status == CORE_OK)
		status = note_verify(&note, key, NULL);
	if (status == CORE_OK)
		status = checkpoint_parse(note.text, note.text_length, checkpoint);
	if (status == CORE_OK && strcmp(checkpoint->origin, key->name) != 0)
	{
		memset(checkpoint, 0, sizeof(*checkpoint));
		status = CORE_WRONG_KEY;
	}
	return status;
}

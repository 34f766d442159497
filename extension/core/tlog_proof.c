/*
 * tlog_proof.c - the file that proves one entry.
 */
#include "core/tlog_proof.h"

#include "core/base64.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FIRST_LINE "c2sp.org/tlog-proof@v1"
#define ANY_VERSION "c2sp.org/tlog-proof@"
#define EXTRA "extra "
#define INDEX "index "
#define HASH_CHARACTERS BASE64_LENGTH(MERKLE_HASH_SIZE)
#define DIGITS_MAX 20

/* What is left of the file. */
typedef struct Lines
{
	const char *at;
	const char *end;
} Lines;

/* Takes the next line, without its newline; false when the file ends before one. */
static bool
next_line(Lines *lines, const char **line, size_t *length)
{
	const char *newline = memchr(lines->at, '\n', (size_t) (lines->end - lines->at));

	if (newline == NULL)
		return false;
	*line = lines->at;
	*length = (size_t) (newline - lines->at);
	lines->at = newline + 1;
	return true;
}

static bool
begins_with(const char *line, size_t length, const char *prefix)
{
	return length >= strlen(prefix) && memcmp(line, prefix, strlen(prefix)) == 0;
}

/* Tells a file that is cut short from one of another version, and that from anything else. */
static CoreStatus
parse_first_line(Lines *lines)
{
	const char *line;
	size_t length;

	if (!next_line(lines, &line, &length))
	{
		length = (size_t) (lines->end - lines->at);
		if (begins_with(lines->at, length, ANY_VERSION) ||
			(length < strlen(ANY_VERSION) && memcmp(lines->at, ANY_VERSION, length) == 0))
			return CORE_TRUNCATED;
		return CORE_MALFORMED;
	}
	if (length == strlen(FIRST_LINE) && begins_with(line, length, FIRST_LINE))
		return CORE_OK;
	return begins_with(line, length, ANY_VERSION) ? CORE_BAD_VERSION : CORE_MALFORMED;
}

/* Decodes piece by piece, to see whether it can be decoded. */
static bool
is_base64(const char *text, size_t length)
{
	uint8_t bytes[48];

	while (length > 0)
	{
		size_t piece = length < 64 ? length : 64;
		size_t count;

		/* Only the last piece may be padded. */
		if (base64_decode(text, piece, bytes, sizeof(bytes), &count) != CORE_OK ||
			(piece < length && count != sizeof(bytes)))
			return false;
		text += piece;
		length -= piece;
	}
	return true;
}

/* Reads a decimal number without leading zeroes. */
static bool
parse_number(const char *text, size_t length, uint64_t *number)
{
	*number = 0;
	if (length == 0 || length > DIGITS_MAX || (text[0] == '0' && length > 1))
		return false;
	for (size_t i = 0; i < length; i++)
	{
		if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(*number, 10, number) ||
			__builtin_add_overflow(*number, (uint64_t) (text[i] - '0'), number))
			return false;
	}
	return true;
}

/* Reads the line of extra data, if there is one, and that of the index. */
static CoreStatus
parse_head(Lines *lines, TlogProof *proof)
{
	const char *line;
	size_t length;

	if (!next_line(lines, &line, &length))
		return CORE_TRUNCATED;
	if (begins_with(line, length, EXTRA))
	{
		proof->extra = line + strlen(EXTRA);
		proof->extra_length = length - strlen(EXTRA);
		if (!is_base64(proof->extra, proof->extra_length))
			return CORE_MALFORMED;
		if (!next_line(lines, &line, &length))
			return CORE_TRUNCATED;
	}
	if (!begins_with(line, length, INDEX) ||
		!parse_number(line + strlen(INDEX), length - strlen(INDEX), &proof->index))
		return CORE_MALFORMED;
	return CORE_OK;
}

/* Reads hashes up to the empty line. */
static CoreStatus
parse_hashes(Lines *lines, Proof *proof)
{
	const char *line;
	size_t length;

	while (next_line(lines, &line, &length))
	{
		size_t count;

		if (length == 0)
			return CORE_OK;
		if (length != HASH_CHARACTERS || proof->count == PROOF_MAX ||
			base64_decode(line, length, proof->hashes[proof->count].bytes, MERKLE_HASH_SIZE,
						  &count) != CORE_OK ||
			count != MERKLE_HASH_SIZE)
			return CORE_MALFORMED;
		proof->count++;
	}
	return CORE_TRUNCATED;
}

CoreStatus
tlog_proof_parse(const char *bytes, size_t length, TlogProof *proof)
{
	Lines lines = {bytes, bytes + length};
	CoreStatus status;

	memset(proof, 0, sizeof(*proof));
	if (length == 0)
		return CORE_TRUNCATED;
	status = parse_first_line(&lines);
	if (status == CORE_OK)
		status = parse_head(&lines, proof);
	if (status == CORE_OK)
		status = parse_hashes(&lines, &proof->proof);
	if (status == CORE_OK && lines.at == lines.end)
		status = CORE_TRUNCATED;
	if (status != CORE_OK)
	{
		memset(proof, 0, sizeof(*proof));
		return status;
	}
	proof->checkpoint = lines.at;
	proof->checkpoint_length = (size_t) (lines.end - lines.at);
	return CORE_OK;
}

size_t
tlog_proof_length(const TlogProof *proof)
{
	size_t length = strlen(FIRST_LINE "\n" INDEX "\n\n");

	if (proof->extra != NULL)
		length += strlen(EXTRA "\n") + proof->extra_length;
	length += (size_t) snprintf(NULL, 0, "%" PRIu64, proof->index);
	length += (size_t) proof->proof.count * (HASH_CHARACTERS + 1);
	return length + proof->checkpoint_length;
}

static char *
append(char *out, const char *text, size_t length)
{
	if (length > 0)
		memcpy(out, text, length);
	return out + length;
}

void
tlog_proof_format(const TlogProof *proof, char *out)
{
	char number[DIGITS_MAX + 1];

	out = append(out, FIRST_LINE "\n", strlen(FIRST_LINE "\n"));
	if (proof->extra != NULL)
	{
		out = append(out, EXTRA, strlen(EXTRA));
		out = append(out, proof->extra, proof->extra_length);
		out = append(out, "\n", 1);
	}
	snprintf(number, sizeof(number), "%" PRIu64, proof->index);
	out = append(out, INDEX, strlen(INDEX));
	out = append(out, number, strlen(number));
	out = append(out, "\n", 1);
	for (int i = 0; i < proof->proof.count; i++)
	{
		base64_encode(proof->proof.hashes[i].bytes, MERKLE_HASH_SIZE, out);
		out += HASH_CHARACTERS;
		*out++ = '\n';
	}
	*out++ = '\n';
	out = append(out, proof->checkpoint, proof->checkpoint_length);
	*out = '\0';
}

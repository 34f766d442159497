/*
 * keyfile.c - reads the text of a keyring.
 */
#include "core/keyfile.h"

#include <string.h>

/* One line, without its comment and the blanks around it. */
typedef struct Line
{
	const char *text;
	size_t length;
} Line;

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Cuts the line that starts at text and moves on to the next. */
static Line
next_line(const char **text, const char *end)
{
	const char *start = *text;
	const char *newline = memchr(start, '\n', (size_t) (end - start));
	const char *stop = newline != NULL ? newline : end;
	const char *comment = memchr(start, '#', (size_t) (stop - start));

	*text = newline != NULL ? newline + 1 : end;
	if (comment != NULL)
		stop = comment;
	while (start < stop && is_blank(*start))
		start++;
	while (stop > start && is_blank(stop[-1]))
		stop--;
	return (Line){start, (size_t) (stop - start)};
}

/* Reads the decimal id at the start of a line and passes over it. NULL or what is wrong. */
static const char *
read_id(Line *line, uint32_t *id)
{
	uint64_t value = 0;
	size_t digits = 0;

	while (digits < line->length && line->text[digits] >= '0' && line->text[digits] <= '9')
	{
		value = value * 10 + (uint64_t) (line->text[digits] - '0');
		if (value > UINT32_MAX)
			return "the key id is greater than 4294967295";
		digits++;
	}
	if (digits == 0 || (digits < line->length && !is_blank(line->text[digits])))
		return "the line does not begin with a key id in decimal digits";
	if (line->text[0] == '0')
		return "the key id is zero or begins with a zero";
	*id = (uint32_t) value;
	line->text += digits;
	line->length -= digits;
	while (line->length > 0 && is_blank(*line->text))
	{
		line->text++;
		line->length--;
	}
	return NULL;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Reads the key that is the rest of a line. NULL or what is wrong. */
static const char *
read_master(const Line *line, uint8_t master[SEAL_MASTER_KEY_SIZE])
{
	if (line->length != 2 * SEAL_MASTER_KEY_SIZE)
		return "the key is not 64 hexadecimal digits long";
	for (size_t i = 0; i < SEAL_MASTER_KEY_SIZE; i++)
	{
		int high = hex_digit(line->text[2 * i]);
		int low = hex_digit(line->text[2 * i + 1]);

		if (high < 0 || low < 0)
			return "the key has a character that is no hexadecimal digit";
		master[i] = (uint8_t) (high << 4 | low);
	}
	return NULL;
}

/* The keys read so far. */
typedef struct Ring
{
	SealKey *keys; /* ascending by id */
	int capacity;
	int count;
} Ring;

/* Makes room for an id in its place. Returns its index, or -1 when the id is there already. */
static int
ring_place(const Ring *ring, uint32_t id)
{
	int at = ring->count;

	while (at > 0 && ring->keys[at - 1].id > id)
		at--;
	return at > 0 && ring->keys[at - 1].id == id ? -1 : at;
}

/* Reads one line that is not empty into the ring. */
static CoreStatus
read_line(Line line, Ring *ring, KeyfileError *error)
{
	uint8_t master[SEAL_MASTER_KEY_SIZE];
	uint32_t id = 0;
	int at = -1;
	CoreStatus status = CORE_MALFORMED;

	error->problem = read_id(&line, &id);
	if (error->problem == NULL)
		error->problem = read_master(&line, master);
	if (error->problem == NULL && (at = ring_place(ring, id)) < 0)
		error->problem = "the key id has been used on a line before";
	if (error->problem == NULL && ring->count >= ring->capacity)
	{
		error->problem = "there are more keys than one keyring may hold";
		status = CORE_TOO_SMALL;
	}
	if (error->problem == NULL)
	{
		memmove(ring->keys + at + 1, ring->keys + at,
				(size_t) (ring->count - at) * sizeof(SealKey));
		ring->count++;
		status = seal_key_init(&ring->keys[at], id, master);
		if (status != CORE_OK)
			error->problem = core_status_text(status);
	}
	core_wipe(master, sizeof(master));
	return status;
}

CoreStatus
keyfile_parse(const char *text, size_t length, SealKey *keys, int capacity, int *count,
			  KeyfileError *error)
{
	const char *end = length > 0 ? text + length : text;
	Ring ring = {.keys = keys, .capacity = capacity};
	CoreStatus status = CORE_OK;

	*error = (KeyfileError){0};
	*count = 0;
	memset(keys, 0, (size_t) capacity * sizeof(SealKey));
	while (status == CORE_OK && text < end)
	{
		Line line = next_line(&text, end);

		error->line++;
		if (line.length > 0)
			status = read_line(line, &ring, error);
	}
	if (status == CORE_OK && ring.count == 0)
	{
		*error = (KeyfileError){0, "there is no key"};
		status = CORE_MALFORMED;
	}
	if (status != CORE_OK)
	{
		core_wipe(keys, (size_t) capacity * sizeof(SealKey));
		return status;
	}
	*error = (KeyfileError){0};
	*count = ring.count;
	return CORE_OK;
}

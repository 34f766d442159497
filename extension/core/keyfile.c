/*
 * keyfile.c - reads and writes the text of a keyring.
 */
#include "core/keyfile.h"

#include <string.h>

#define UUID_SIZE 36
#define TIME_SIZE 20
#define MS_PER_DAY 86400000

/* Years that a time may have, which is what its four digits can say. */
#define FIRST_DAY (-719162)
#define LAST_DAY 2932896

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

/* Cuts what stands before the next blank, and passes over the blanks that follow. */
static Line
next_word(Line *line)
{
	Line word = {line->text, 0};

	while (word.length < line->length && !is_blank(word.text[word.length]))
		word.length++;
	line->text += word.length;
	line->length -= word.length;
	while (line->length > 0 && is_blank(*line->text))
	{
		line->text++;
		line->length--;
	}
	return word;
}

/* Reads the decimal id at the start of a line and passes over it. NULL or what is wrong. */
static const char *
read_id(Line *line, uint32_t *id)
{
	Line word = next_word(line);
	uint64_t value = 0;

	for (size_t i = 0; i < word.length; i++)
	{
		if (word.text[i] < '0' || word.text[i] > '9')
			return "the line does not begin with a key id in decimal digits";
		value = value * 10 + (uint64_t) (word.text[i] - '0');
		if (value > UINT32_MAX)
			return "the key id is greater than 4294967295";
	}
	if (word.text[0] == '0')
		return "the key id is zero or begins with a zero";
	*id = (uint32_t) value;
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

/* Reads bytes in hexadecimal digits; false when one is no digit. */
static bool
read_hex(const char *text, uint8_t *out, size_t size)
{
	for (size_t i = 0; i < size; i++)
	{
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t) (high << 4 | low);
	}
	return true;
}

/* Reads the key that is the next word of a line. NULL or what is wrong. */
static const char *
read_master(Line *line, uint8_t master[SEAL_MASTER_KEY_SIZE])
{
	Line word = next_word(line);

	if (word.length != 2 * SEAL_MASTER_KEY_SIZE)
		return "the key is not 64 hexadecimal digits long";
	if (!read_hex(word.text, master, SEAL_MASTER_KEY_SIZE))
		return "the key has a character that is no hexadecimal digit";
	return NULL;
}

/* Reads a UUID in its usual form; false when it is none, or all zero. */
static bool
read_home(Line word, uint8_t home[ENVELOPE_HOME_SIZE])
{
	static const size_t groups[] = {4, 2, 2, 2, 6};
	static const uint8_t none[ENVELOPE_HOME_SIZE];
	size_t at = 0;
	size_t done = 0;

	if (word.length != UUID_SIZE)
		return false;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
	{
		if (i > 0 && word.text[at++] != '-')
			return false;
		if (!read_hex(word.text + at, home + done, groups[i]))
			return false;
		at += 2 * groups[i];
		done += groups[i];
	}
	return memcmp(home, none, sizeof(none)) != 0;
}

/* Days from 1970-01-01 to a day of the Gregorian calendar; the year begins in March here. */
static int64_t
day_number(int year, int month, int day)
{
	int shifted = month > 2 ? month - 3 : month + 9;
	int64_t y = month > 2 ? year : year - 1;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * shifted + 2) / 5 + day - 1 - 719468;
}

/* The reverse of day_number. */
static void
day_civil(int64_t number, int *year, int *month, int *day)
{
	*year = (int) ((number + 719468) / 365.2425);
	while (day_number(*year + 1, 1, 1) <= number)
		(*year)++;
	while (day_number(*year, 1, 1) > number)
		(*year)--;
	*month = 12;
	while (day_number(*year, *month, 1) > number)
		(*month)--;
	*day = (int) (number - day_number(*year, *month, 1)) + 1;
}

static int
read_number(const char *digits, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++)
		value = value * 10 + (digits[i] - '0');
	return value;
}

/* Reads a time as 2026-11-01T00:00:00Z; false when it is none, or no such day exists. */
static bool
read_time(Line word, int64_t *ms)
{
	static const char shape[] = "0000-00-00T00:00:00Z";
	int year, month, day, hour, minute, second;
	int found_year, found_month, found_day;
	int64_t number;

	if (word.length != TIME_SIZE)
		return false;
	for (int i = 0; i < TIME_SIZE; i++)
		if (shape[i] == '0' ? word.text[i] < '0' || word.text[i] > '9' : word.text[i] != shape[i])
			return false;
	year = read_number(word.text, 4);
	month = read_number(word.text + 5, 2);
	day = read_number(word.text + 8, 2);
	hour = read_number(word.text + 11, 2);
	minute = read_number(word.text + 14, 2);
	second = read_number(word.text + 17, 2);
	if (year < 1 || month < 1 || month > 12 || hour > 23 || minute > 59 || second > 59)
		return false;
	number = day_number(year, month, day);
	day_civil(number, &found_year, &found_month, &found_day);
	if (found_year != year || found_month != month || found_day != day)
		return false;
	*ms = number * MS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000LL;
	return true;
}

/* Reads what may follow a key: nothing, or its scope. NULL or what is wrong. */
static const char *
read_scope(Line *line, KeyScope *scope)
{
	if (line->length == 0)
		return NULL;
	if (!read_home(next_word(line), scope->home))
		return "what follows the key is not the UUID of a home";
	if (!read_time(next_word(line), &scope->from_ms) ||
		!read_time(next_word(line), &scope->until_ms))
		return "the home is not followed by two times as 2026-11-01T00:00:00Z";
	if (scope->from_ms >= scope->until_ms)
		return "the key's period ends before it begins";
	if (line->length > 0)
		return "something follows the key's period";
	scope->bound = true;
	return NULL;
}

/* The keys read so far. */
typedef struct Ring
{
	KeyfileKey *keys; /* ascending by id */
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
	KeyfileKey key;
	int at = -1;
	CoreStatus status = CORE_MALFORMED;

	memset(&key, 0, sizeof(key));
	error->problem = read_id(&line, &key.id);
	if (error->problem == NULL)
		error->problem = read_master(&line, key.master);
	if (error->problem == NULL)
		error->problem = read_scope(&line, &key.scope);
	if (error->problem == NULL && (at = ring_place(ring, key.id)) < 0)
		error->problem = "the key id has been used on a line before";
	if (error->problem == NULL && ring->count >= ring->capacity)
	{
		error->problem = "there are more keys than one keyring may hold";
		status = CORE_TOO_SMALL;
	}
	if (error->problem == NULL)
	{
		memmove(ring->keys + at + 1, ring->keys + at,
				(size_t) (ring->count - at) * sizeof(KeyfileKey));
		ring->count++;
		memcpy(&ring->keys[at], &key, sizeof(key));
		status = CORE_OK;
	}
	core_wipe(&key, sizeof(key));
	return status;
}

CoreStatus
keyfile_parse(const char *text, size_t length, KeyfileKey *keys, int capacity, int *count,
			  KeyfileError *error)
{
	const char *end = length > 0 ? text + length : text;
	Ring ring = {.keys = keys, .capacity = capacity};
	CoreStatus status = CORE_OK;

	*error = (KeyfileError){0};
	*count = 0;
	memset(keys, 0, (size_t) capacity * sizeof(KeyfileKey));
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
		core_wipe(keys, (size_t) capacity * sizeof(KeyfileKey));
		return status;
	}
	*error = (KeyfileError){0};
	*count = ring.count;
	return CORE_OK;
}

bool
keyfile_find_line(const char *text, size_t length, uint32_t id, size_t *start, size_t *end)
{
	const char *at = text;
	const char *stop = length > 0 ? text + length : text;

	while (at < stop)
	{
		uint32_t found = 0;
		Line line;

		*start = (size_t) (at - text);
		line = next_line(&at, stop);
		*end = (size_t) (at - text);
		if (line.length > 0 && read_id(&line, &found) == NULL && found == id)
			return true;
	}
	*start = *end = 0;
	return false;
}

static char *
write_hex(char *out, const uint8_t *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < size; i++)
	{
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	*out = '\0';
	return out;
}

/* Writes a number of so many digits, and what follows it. */
static char *
write_number(char *out, uint32_t number, int digits, char next)
{
	for (int i = digits - 1; i >= 0; i--, number /= 10)
		out[i] = (char) ('0' + number % 10);
	out[digits] = next;
	out[digits + 1] = '\0';
	return out + digits + 1;
}

/* Writes a blank and a time; NULL when it has no whole seconds, or no year of four digits. */
static char *
write_time(char *out, int64_t ms)
{
	int64_t number = ms / MS_PER_DAY - (ms % MS_PER_DAY < 0);
	int seconds = (int) ((ms - number * MS_PER_DAY) / 1000);
	int year, month, day;

	if (ms % 1000 != 0 || number < FIRST_DAY || number > LAST_DAY)
		return NULL;
	day_civil(number, &year, &month, &day);
	*out++ = ' ';
	out = write_number(out, (uint32_t) year, 4, '-');
	out = write_number(out, (uint32_t) month, 2, '-');
	out = write_number(out, (uint32_t) day, 2, 'T');
	out = write_number(out, (uint32_t) (seconds / 3600), 2, ':');
	out = write_number(out, (uint32_t) (seconds / 60 % 60), 2, ':');
	return write_number(out, (uint32_t) (seconds % 60), 2, 'Z');
}

bool
keyfile_scope_equal(const KeyScope *a, const KeyScope *b)
{
	return a->bound == b->bound &&
		   (!a->bound || (a->from_ms == b->from_ms && a->until_ms == b->until_ms &&
						  memcmp(a->home, b->home, sizeof(a->home)) == 0));
}

size_t
keyfile_write_scope(const KeyScope *scope, char *out)
{
	static const uint8_t none[ENVELOPE_HOME_SIZE];
	char *at = out;

	strcpy(out, scope->bound ? "" : "-");
	if (!scope->bound)
		return 1;
	if (scope->from_ms >= scope->until_ms || memcmp(scope->home, none, sizeof(none)) == 0)
		return 0;
	for (size_t i = 0; i < ENVELOPE_HOME_SIZE; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*at++ = '-';
		at = write_hex(at, scope->home + i, 1);
	}
	at = write_time(at, scope->from_ms);
	if (at != NULL)
		at = write_time(at, scope->until_ms);
	if (at == NULL)
	{
		memset(out, 0, KEYFILE_SCOPE_SIZE);
		return 0;
	}
	return (size_t) (at - out);
}

size_t
keyfile_write_line(const KeyfileKey *key, char *out)
{
	char scope[KEYFILE_SCOPE_SIZE];
	size_t scope_length = keyfile_write_scope(&key->scope, scope);
	char *at = out;
	uint32_t rest = key->id;
	int digits = 1;

	*out = '\0';
	if (scope_length == 0 || key->id == 0)
		return 0;
	while ((rest /= 10) > 0)
		digits++;
	at = write_number(at, key->id, digits, ' ');
	at = write_hex(at, key->master, sizeof(key->master));
	if (key->scope.bound)
	{
		*at++ = ' ';
		memcpy(at, scope, scope_length);
		at += scope_length;
	}
	*at++ = '\n';
	*at = '\0';
	return (size_t) (at - out);
}

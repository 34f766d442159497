/*
 * json.c - a strict scanner of JSON, and escapes that are safe on a terminal.
 */
#include "tool/json.h"

#include <stdint.h>
#include <string.h>

#define NESTING_MAX 64
#define REPLACEMENT 0xfffd

/* Where a scan is; out NULL: it only looks. */
typedef struct Scan
{
	const char *at;
	const char *end;
	FILE *out;
} Scan;

static bool scan_value(Scan *scan, int depth);

/* Takes one character of UTF-8; one byte and REPLACEMENT where there is none. */
static size_t
take_character(const char *text, size_t length, uint32_t *character)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *bytes = (const uint8_t *) text;
	size_t size = bytes[0] < 0x80 ? 1 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : 4;

	*character = bytes[0];
	if (size == 1)
		return 1;
	*character = REPLACEMENT;
	if (bytes[0] < 0xc2 || bytes[0] > 0xf4 || size > length)
		return 1;
	for (size_t i = 1; i < size; i++)
	{
		if ((bytes[i] & 0xc0) != 0x80)
			return 1;
	}
	*character = bytes[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++)
		*character = *character << 6 | (bytes[i] & 0x3f);
	if (*character >= least[size] && *character <= 0x10ffff &&
		(*character < 0xd800 || *character > 0xdfff))
		return size;
	*character = REPLACEMENT;
	return 1;
}

/* First and last of what is not printed. */
typedef struct Range
{
	uint32_t first;
	uint32_t last;
} Range;

/*
 * In ascending order: control and format characters, separators of lines and
 * paragraphs, what is private or no character at all, and what Unicode calls
 * ignorable by default, with those that look like blanks without being any.
 */
static const Range hidden_table[] = {
	{0x0000, 0x001f},	{0x007f, 0x009f},	{0x00ad, 0x00ad},	 {0x034f, 0x034f},
	{0x0600, 0x0605},	{0x061c, 0x061c},	{0x06dd, 0x06dd},	 {0x070f, 0x070f},
	{0x0890, 0x0891},	{0x08e2, 0x08e2},	{0x115f, 0x1160},	 {0x17b4, 0x17b5},
	{0x180b, 0x180f},	{0x200b, 0x200f},	{0x2028, 0x202e},	 {0x2060, 0x206f},
	{0x2800, 0x2800},	{0x3164, 0x3164},	{0xd800, 0xf8ff},	 {0xfdd0, 0xfdef},
	{0xfe00, 0xfe0f},	{0xfeff, 0xfeff},	{0xffa0, 0xffa0},	 {0xfff0, 0xfffb},
	{0xfffe, 0xffff},	{0x110bd, 0x110bd}, {0x110cd, 0x110cd},	 {0x13430, 0x1343f},
	{0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0x10ffff},
};

/* Characters that move the cursor, turn the text round, hide or are hidden. */
static bool
is_dangerous(uint32_t c)
{
	for (size_t i = 0; i < sizeof(hidden_table) / sizeof(hidden_table[0]); i++)
	{
		if (c <= hidden_table[i].last)
			return c >= hidden_table[i].first;
	}
	return false;
}

/* Writes the escape of a character, as a pair of surrogates above U+FFFF. */
static void
write_escape(FILE *out, uint32_t c)
{
	if (c > 0xffff)
		fprintf(out, "\\u%04x\\u%04x", (unsigned) (0xd800 + ((c - 0x10000) >> 10)),
				(unsigned) (0xdc00 + ((c - 0x10000) & 0x3ff)));
	else
		fprintf(out, "\\u%04x", (unsigned) c);
}

/* Writes the next character of a text; returns its bytes. */
static size_t
write_character(FILE *out, const char *text, size_t length)
{
	uint32_t c;
	size_t size = take_character(text, length, &c);

	if (c == REPLACEMENT)
		fputs("\xef\xbf\xbd", out);
	else if (is_dangerous(c))
		write_escape(out, c);
	else
		fwrite(text, 1, size, out);
	return size;
}

void
json_plain(FILE *out, const char *text, size_t length)
{
	for (size_t at = 0; at < length;)
		at += write_character(out, text + at, length - at);
}

void
json_string(FILE *out, const char *text, size_t length)
{
	fputc('"', out);
	for (size_t at = 0; at < length;)
	{
		switch (text[at])
		{
			case '"':
			case '\\':
				fputc('\\', out);
				fputc(text[at++], out);
				break;
			case '\n':
				fputs("\\n", out);
				at++;
				break;
			default:
				at += write_character(out, text + at, length - at);
		}
	}
	fputc('"', out);
}

static void
skip_blanks(Scan *scan)
{
	while (scan->at < scan->end && strchr(" \t\r\n", *scan->at) != NULL && *scan->at != '\0')
		scan->at++;
}

/* Takes one byte if it is the one expected. */
static bool
take(Scan *scan, char expected)
{
	if (scan->at >= scan->end || *scan->at != expected)
		return false;
	if (scan->out != NULL)
		fputc(expected, scan->out);
	scan->at++;
	return true;
}

static bool
is_digit(const Scan *scan)
{
	return scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9';
}

static bool
take_digits(Scan *scan)
{
	bool any = false;

	for (; is_digit(scan); any = true)
		(void) take(scan, *scan->at);
	return any;
}

/* Takes what comes behind a backslash. */
static bool
scan_escape(Scan *scan)
{
	if (scan->at >= scan->end || *scan->at == '\0' || strchr("\"\\/bfnrtu", *scan->at) == NULL)
		return false;
	if (*scan->at != 'u')
		return take(scan, *scan->at);
	(void) take(scan, 'u');
	for (int i = 0; i < 4; i++)
	{
		if (scan->at >= scan->end || *scan->at == '\0' ||
			strchr("0123456789abcdefABCDEF", *scan->at) == NULL)
			return false;
		(void) take(scan, *scan->at);
	}
	return true;
}

static bool
scan_string(Scan *scan)
{
	if (!take(scan, '"'))
		return false;
	while (scan->at < scan->end && *scan->at != '"')
	{
		size_t left = (size_t) (scan->end - scan->at);
		uint32_t c;

		if (*scan->at == '\\')
		{
			(void) take(scan, '\\');
			if (!scan_escape(scan))
				return false;
			continue;
		}
		if ((uint8_t) *scan->at < 0x20)
			return false;
		scan->at += scan->out != NULL ? write_character(scan->out, scan->at, left)
									  : take_character(scan->at, left, &c);
	}
	return take(scan, '"');
}

static bool
scan_number(Scan *scan)
{
	(void) take(scan, '-');
	if (!take(scan, '0') && !take_digits(scan))
		return false;
	if (take(scan, '.') && !take_digits(scan))
		return false;
	if (take(scan, 'e') || take(scan, 'E'))
	{
		if (!take(scan, '+'))
			(void) take(scan, '-');
		return take_digits(scan);
	}
	return true;
}

static bool
scan_word(Scan *scan, const char *word)
{
	for (; *word != '\0'; word++)
	{
		if (!take(scan, *word))
			return false;
	}
	return true;
}

/* Takes an object or an array, up to the bracket that closes it. */
static bool
scan_members(Scan *scan, char close, int depth)
{
	(void) take(scan, close == '}' ? '{' : '[');
	skip_blanks(scan);
	if (take(scan, close))
		return true;
	do
	{
		skip_blanks(scan);
		if (close == '}')
		{
			if (!scan_string(scan))
				return false;
			skip_blanks(scan);
			if (!take(scan, ':'))
				return false;
			skip_blanks(scan);
		}
		if (!scan_value(scan, depth + 1))
			return false;
		skip_blanks(scan);
	} while (take(scan, ','));
	return take(scan, close);
}

static bool
scan_value(Scan *scan, int depth)
{
	if (scan->at >= scan->end || depth > NESTING_MAX)
		return false;
	switch (*scan->at)
	{
		case '{':
			return scan_members(scan, '}', depth);
		case '[':
			return scan_members(scan, ']', depth);
		case '"':
			return scan_string(scan);
		case 't':
			return scan_word(scan, "true");
		case 'f':
			return scan_word(scan, "false");
		case 'n':
			return scan_word(scan, "null");
		default:
			return scan_number(scan);
	}
}

/* Takes one value that is all there is. */
static bool
scan_all(const char *text, size_t length, FILE *out)
{
	Scan scan = {.at = text, .end = text + length, .out = out};

	skip_blanks(&scan);
	if (!scan_value(&scan, 0))
		return false;
	skip_blanks(&scan);
	return scan.at == scan.end;
}

bool
json_is_valid(const char *text, size_t length)
{
	return scan_all(text, length, NULL);
}

void
json_value(FILE *out, const char *text, size_t length)
{
	if (json_is_valid(text, length))
		(void) scan_all(text, length, out);
	else
		json_string(out, text, length);
}

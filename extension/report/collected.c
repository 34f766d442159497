/*
 * collected.c - takes apart what an entry says was collected with an image.
 */
#include "postgres.h"

#include "report/collection.h"

/* Nothing that describe_collection() lets in nests deeper. */
#define DEPTH_MAX 100

/* Objects of as many members, and more, are left in their order. */
#define MEMBERS_SORTED 64

typedef struct Scanner
{
	const char *at;
	const char *end;
} Scanner;

static void
skip_space(Scanner *scanner)
{
	while (scanner->at < scanner->end && strchr(" \t\r\n", *scanner->at) != NULL &&
		   *scanner->at != '\0')
		scanner->at++;
}

/* Skips a character that must come next. */
static bool
skip_mark(Scanner *scanner, char mark)
{
	skip_space(scanner);
	if (scanner->at == scanner->end || *scanner->at != mark)
		return false;
	scanner->at++;
	return true;
}

/* Skips a string; text: set to what is between its quotes, escapes as they are. */
static bool
skip_string(Scanner *scanner, EntryText *text)
{
	if (!skip_mark(scanner, '"'))
		return false;
	text->bytes = scanner->at;
	for (; scanner->at < scanner->end; scanner->at++)
	{
		if (*scanner->at == '"')
		{
			text->length = scanner->at - text->bytes;
			scanner->at++;
			return true;
		}
		if (*scanner->at == '\\' && ++scanner->at == scanner->end)
			return false;
	}
	return false;
}

/* Skips any value: brackets are counted, whatever is between them. */
static bool
skip_value(Scanner *scanner, EntryText *value)
{
	EntryText string;
	int depth = 0;

	skip_space(scanner);
	value->bytes = scanner->at;
	while (scanner->at < scanner->end)
	{
		char c = *scanner->at;

		if (depth == 0 && scanner->at > value->bytes && (c == ',' || c == '}'))
			break;
		if (c == '"')
		{
			if (!skip_string(scanner, &string))
				return false;
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		if ((c == '}' || c == ']') && --depth < 0)
			return false;
		if (depth > DEPTH_MAX)
			return false;
		scanner->at++;
	}
	value->length = scanner->at - value->bytes;
	return depth == 0 && value->length > 0;
}

static bool
is_named(EntryText name, const char *wanted)
{
	return name.length == strlen(wanted) && memcmp(name.bytes, wanted, name.length) == 0;
}

static void
take_member(Collected *parsed, EntryText name, EntryText value)
{
	bool object = value.bytes[0] == '{' && value.bytes[value.length - 1] == '}';
	bool string = value.length >= 2 && value.bytes[0] == '"';

	if (is_named(name, "subject") && object)
		parsed->subject = value;
	else if (is_named(name, "place") && object)
		parsed->place = value;
	else if (is_named(name, "for") && object)
		parsed->declared = value;
	else if (is_named(name, "of") && string)
		parsed->of = (EntryText){.bytes = value.bytes + 1, .length = value.length - 2};
	else if (is_named(name, "time") && string)
		parsed->time = (EntryText){.bytes = value.bytes + 1, .length = value.length - 2};
}

static bool
parse_members(EntryText collected, Collected *parsed)
{
	Scanner scanner = {.at = collected.bytes, .end = collected.bytes + collected.length};

	if (!skip_mark(&scanner, '{'))
		return false;
	do
	{
		EntryText name;
		EntryText value;

		if (!skip_string(&scanner, &name) || !skip_mark(&scanner, ':') ||
			!skip_value(&scanner, &value))
			return false;
		take_member(parsed, name, value);
	} while (skip_mark(&scanner, ','));
	return skip_mark(&scanner, '}');
}

void
collected_parse(EntryText collected, Collected *parsed)
{
	memset(parsed, 0, sizeof(*parsed));
	if (collected.bytes == NULL || !parse_members(collected, parsed))
		memset(parsed, 0, sizeof(*parsed));
}

/* The character that four hexadecimal digits stand for; 0 unless it is one of ASCII. */
static char
read_code(const char *digits)
{
	int code = 0;

	for (int i = 0; i < 4; i++)
	{
		char c = pg_tolower((unsigned char) digits[i]);

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return '\0';
		code = code * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return code < 0x80 ? (char) code : '\0';
}

/* Appends what a backslash stands for with what is behind it, from a place on; returns its end. */
static size_t
unescape(EntryText string, size_t at, StringInfo text)
{
	static const char letters[] = "bfnrt";
	static const char meant[] = "\b\f\n\r\t";
	char c = string.bytes[at];
	const char *letter = c == '\0' ? NULL : strchr(letters, c);
	char code = c == 'u' && string.length - at > 4 ? read_code(string.bytes + at + 1) : '\0';

	if (code != '\0')
	{
		appendStringInfoChar(text, code);
		return at + 5;
	}
	/* entries have no others */
	if (c == 'u')
		appendStringInfoChar(text, '\\');
	appendStringInfoChar(text, letter != NULL ? meant[letter - letters] : c);
	return at + 1;
}

void
collected_unquoted(EntryText string, StringInfo text)
{
	for (size_t at = 0; at < string.length;)
	{
		if (string.bytes[at] == '\\' && at + 1 < string.length)
			at = unescape(string, at + 1, text);
		else
			appendStringInfoChar(text, string.bytes[at++]);
	}
}

/* ---- members in order ---- */

typedef struct Member
{
	EntryText name; /* without its quotes */
	EntryText value;
} Member;

static int
compare_members(const void *one, const void *other)
{
	const Member *a = one;
	const Member *b = other;

	if (a->name.length != b->name.length)
		return a->name.length < b->name.length ? -1 : 1;
	return memcmp(a->name.bytes, b->name.bytes, a->name.length);
}

/* Takes an object apart; returns how many members it has, 0 for none and for too many. */
static int
split_members(EntryText object, Member *members)
{
	Scanner scanner = {.at = object.bytes, .end = object.bytes + object.length};
	int count = 0;

	if (!skip_mark(&scanner, '{'))
		return 0;
	do
	{
		Member *member = &members[count];

		if (!skip_string(&scanner, &member->name) || !skip_mark(&scanner, ':') ||
			!skip_value(&scanner, &member->value) || ++count == MEMBERS_SORTED)
			return 0;
	} while (skip_mark(&scanner, ','));
	return skip_mark(&scanner, '}') ? count : 0;
}

/* Appends a value with no other blanks than those that jsonb has. */
static void
append_plain(EntryText value, StringInfo text)
{
	bool quoted = false;

	for (size_t i = 0; i < value.length; i++)
	{
		char c = value.bytes[i];

		if (!quoted && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
			continue;
		appendStringInfoChar(text, c);
		if (quoted && c == '\\' && i + 1 < value.length)
			appendStringInfoChar(text, value.bytes[++i]);
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == ',' || c == ':'))
			appendStringInfoChar(text, ' ');
	}
}

void
collected_sorted(EntryText object, StringInfo text)
{
	Member members[MEMBERS_SORTED];
	int count = split_members(object, members);

	if (count == 0)
	{
		append_plain(object, text);
		return;
	}
	qsort(members, count, sizeof(Member), compare_members);
	for (int i = 0; i < count; i++)
	{
		appendStringInfoString(text, i == 0 ? "{\"" : ", \"");
		appendBinaryStringInfo(text, members[i].name.bytes, (int) members[i].name.length);
		appendStringInfoString(text, "\": ");
		append_plain(members[i].value, text);
	}
	appendStringInfoChar(text, '}');
}

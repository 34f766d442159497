/*
 * member.c - scans JSON that json_is_valid() has found valid.
 */
#include "reporter/member.h"

#include "tool/json.h"

#include <stdlib.h>
#include <string.h>

/* Objects of as many members, and more, are left in their order. */
#define MEMBERS_SORTED 64

static size_t
skip_blanks(Span text, size_t at)
{
	while (at < text.length && strchr(" \t\r\n", text.bytes[at]) != NULL && text.bytes[at] != '\0')
		at++;
	return at;
}

/* Behind the string that begins at a quote. */
static size_t
skip_string(Span text, size_t at)
{
	for (at++; at < text.length && text.bytes[at] != '"'; at++)
	{
		if (text.bytes[at] == '\\')
			at++;
	}
	return at + 1;
}

/* Behind the value that begins here. */
static size_t
skip_value(Span text, size_t at)
{
	int depth = 0;

	while (at < text.length)
	{
		char c = text.bytes[at];

		if (c == '"')
		{
			at = skip_string(text, at);
			if (depth == 0)
				return at;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']' || strchr(" \t\r\n", c) != NULL))
			return at;
		if (c == '{' || c == '[')
			depth++;
		at++;
		if ((c == '}' || c == ']') && --depth == 0)
			return at;
	}
	return at;
}

bool
member_next(Span object, size_t *at, Span *name, Span *value)
{
	size_t here = *at;

	if (here == 0)
	{
		if (object.bytes == NULL || !json_is_valid(object.bytes, object.length))
			return false;
		here = skip_blanks(object, 0);
		if (here >= object.length || object.bytes[here] != '{')
			return false;
		here++;
	}
	here = skip_blanks(object, here);
	if (here < object.length && object.bytes[here] == ',')
		here = skip_blanks(object, here + 1);
	if (here >= object.length || object.bytes[here] != '"')
		return false;
	name->bytes = object.bytes + here + 1;
	here = skip_string(object, here);
	name->length = (size_t) (object.bytes + here - 1 - name->bytes);
	here = skip_blanks(object, here);
	here = skip_blanks(object, here + 1);
	value->bytes = object.bytes + here;
	here = skip_value(object, here);
	value->length = (size_t) (object.bytes + here - value->bytes);
	*at = here;
	return true;
}

bool
member_find(Span object, const char *name, Span *value)
{
	size_t length = strlen(name);
	size_t at = 0;
	Span found;

	while (member_next(object, &at, &found, value))
	{
		if (found.length == length && memcmp(found.bytes, name, length) == 0)
			return !(value->length == 4 && memcmp(value->bytes, "null", 4) == 0);
	}
	return false;
}

static void
put(Buffer *text, char c)
{
	if (text->length + 1 >= text->capacity)
		buffer_reserve(text, text->capacity * 2 + 64);
	text->bytes[text->length++] = (uint8_t) c;
}

static void
put_utf8(Buffer *text, uint32_t c)
{
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		c = 0xfffd;
	if (c < 0x80)
		put(text, (char) c);
	else if (c < 0x800)
	{
		put(text, (char) (0xc0 | c >> 6));
		put(text, (char) (0x80 | (c & 0x3f)));
	}
	else if (c < 0x10000)
	{
		put(text, (char) (0xe0 | c >> 12));
		put(text, (char) (0x80 | (c >> 6 & 0x3f)));
		put(text, (char) (0x80 | (c & 0x3f)));
	}
	else
	{
		put(text, (char) (0xf0 | c >> 18));
		put(text, (char) (0x80 | (c >> 12 & 0x3f)));
		put(text, (char) (0x80 | (c >> 6 & 0x3f)));
		put(text, (char) (0x80 | (c & 0x3f)));
	}
}

static uint32_t
hex_value(const char *digits)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
	{
		char c = digits[i];

		value = value << 4 | (uint32_t) (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return value;
}

/* Writes what a \u stands for, with the half of a pair that follows it; returns where it ends. */
static size_t
put_unicode(Span value, size_t at, Buffer *text)
{
	uint32_t c = hex_value(value.bytes + at);

	at += 4;
	if (c >= 0xd800 && c <= 0xdbff && at + 6 < value.length && value.bytes[at] == '\\' &&
		value.bytes[at + 1] == 'u')
	{
		uint32_t low = hex_value(value.bytes + at + 2);

		if (low >= 0xdc00 && low <= 0xdfff)
		{
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
			at += 6;
		}
	}
	put_utf8(text, c);
	return at;
}

/* Writes what is behind a backslash; returns where it ends. */
static size_t
put_escape(Span value, size_t at, Buffer *text)
{
	static const char from[] = "bfnrt";
	static const char to[] = "\b\f\n\r\t";
	const char *found = strchr(from, value.bytes[at]);

	if (value.bytes[at] == 'u')
		return put_unicode(value, at + 1, text);
	put(text, found != NULL ? to[found - from] : value.bytes[at]);
	return at + 1;
}

void
member_text(Span value, Buffer *text)
{
	text->length = 0;
	if (value.length < 2 || value.bytes[0] != '"')
	{
		for (size_t at = 0; at < value.length; at++)
			put(text, value.bytes[at]);
	}
	for (size_t at = 1; value.length >= 2 && value.bytes[0] == '"' && at + 1 < value.length;)
	{
		if (value.bytes[at] == '\\')
			at = put_escape(value, at + 1, text);
		else
			put(text, value.bytes[at++]);
	}
	put(text, '\0');
	text->length--;
}

bool
member_string(Span object, const char *name, Buffer *text)
{
	Span value;

	if (!member_find(object, name, &value))
		return false;
	member_text(value, text);
	return true;
}

bool
member_number(Span object, const char *name, uint64_t *number)
{
	Span value;

	if (!member_find(object, name, &value) || value.length == 0 || value.length > 18)
		return false;
	*number = 0;
	for (size_t i = 0; i < value.length; i++)
	{
		if (value.bytes[i] < '0' || value.bytes[i] > '9')
			return false;
		*number = *number * 10 + (uint64_t) (value.bytes[i] - '0');
	}
	return true;
}

bool
member_items(Span array, size_t *at, Span *value)
{
	size_t here = *at;

	if (here == 0)
	{
		if (array.bytes == NULL || !json_is_valid(array.bytes, array.length))
			return false;
		here = skip_blanks(array, 0);
		if (here >= array.length || array.bytes[here] != '[')
			return false;
		here++;
	}
	here = skip_blanks(array, here);
	if (here < array.length && array.bytes[here] == ',')
		here = skip_blanks(array, here + 1);
	if (here >= array.length || array.bytes[here] == ']')
		return false;
	value->bytes = array.bytes + here;
	here = skip_value(array, here);
	value->length = (size_t) (array.bytes + here - value->bytes);
	*at = here;
	return true;
}

/* Takes the blanks out of a text behind what is there, and puts those in that jsonb has. */
static void
add_plain(Span value, Buffer *text)
{
	for (size_t at = 0; at < value.length;)
	{
		char c = value.bytes[at];

		if (c == '"')
		{
			size_t end = skip_string(value, at);

			for (; at < end && at < value.length; at++)
				put(text, value.bytes[at]);
			continue;
		}
		at++;
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		put(text, c);
		if (c == ',' || c == ':')
			put(text, ' ');
	}
}

static void
end_text(Buffer *text)
{
	put(text, '\0');
	text->length--;
}

void
member_plain(Span value, Buffer *text)
{
	text->length = 0;
	add_plain(value, text);
	end_text(text);
}

/* A member of an object that is put in order. */
typedef struct Member
{
	Span name;
	Span value;
} Member;

static int
compare_members(const void *left, const void *right)
{
	const Member *a = left;
	const Member *b = right;

	if (a->name.length != b->name.length)
		return a->name.length < b->name.length ? -1 : 1;
	return memcmp(a->name.bytes, b->name.bytes, a->name.length);
}

void
member_sorted(Span value, Buffer *text)
{
	Member members[MEMBERS_SORTED];
	size_t count = 0;
	size_t at = 0;

	while (count < MEMBERS_SORTED &&
		   member_next(value, &at, &members[count].name, &members[count].value))
		count++;
	if (count == 0 || count == MEMBERS_SORTED)
	{
		member_plain(value, text);
		return;
	}
	qsort(members, count, sizeof(Member), compare_members);
	text->length = 0;
	for (size_t i = 0; i < count; i++)
	{
		Span name = {members[i].name.bytes - 1, members[i].name.length + 2};

		add_plain(i == 0 ? (Span){"{", 1} : (Span){",", 1}, text);
		add_plain(name, text);
		add_plain((Span){":", 1}, text);
		add_plain(members[i].value, text);
	}
	put(text, '}');
	end_text(text);
}

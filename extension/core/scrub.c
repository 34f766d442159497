/*
 * scrub.c - finds literals in text and takes them out.
 */
#include "core/scrub.h"

#include <stdio.h>
#include <string.h>

/* Names have fewer than 64 bytes, and two quotation marks. */
#define NAME_MAX_QUOTED 66

/* What the server shows of a longer value: 64 bytes of a field, 100 of a line. */
#define EXCERPT_FIELD 64
#define EXCERPT_LINE 104

/* Lines that encode() and others break base64 into have 64 or 76 characters. */
#define RUN_LINE_MIN 40

/* 65535 parameters is what the protocol has room for. */
#define PARAMETER_DIGITS 5

#define NOTE_MAX 32

/* A literal: its body is what stands between its quotes. */
typedef struct Literal
{
	size_t body;
	size_t body_end;
	size_t end; /* after the closing quote, or where the text ends */
	char filling;
} Literal;

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80);
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_word(char c)
{
	return is_letter(c) || is_digit(c) || c == '$';
}

static bool
is_run(char c)
{
	return (is_letter(c) && !(c & 0x80)) || is_digit(c) || c == '+' || c == '/' || c == '=' ||
		   c == '-' || c == '\\';
}

/* The end of a quoted body that starts at from: where its closing quote is, or length. */
static size_t
quoted_end(const char *text, size_t length, size_t from, bool backslash, bool doubled)
{
	size_t at = from;

	while (at < length)
	{
		if (backslash && text[at] == '\\')
		{
			size_t first = at;
			size_t count;

			while (at < length && text[at] == '\\')
				at++;
			count = doubled ? (at - first) / 2 : at - first;
			if (count % 2 == 1 && at < length)
				at++;
		}
		else if (text[at] == '\'' && at + 1 < length && text[at + 1] == '\'')
			at += 2;
		else if (text[at] == '\'')
			return at;
		else
			at++;
	}
	return length;
}

/*
 * Which prefix stands at the end of the text before an apostrophe, of quote
 * bytes: e, b, x, n, u (for U&), 'w' for a word that is none, ' ' for nothing.
 */
static char
literal_prefix(const char *text, size_t quote)
{
	char c;

	if (quote == 0)
		return ' ';
	if (text[quote - 1] == '&')
		return quote >= 2 && (text[quote - 2] | 0x20) == 'u' &&
					   (quote < 3 || !is_word(text[quote - 3]))
				   ? 'u'
				   : ' ';
	if (!is_word(text[quote - 1]))
		return ' ';
	c = (char) (text[quote - 1] | 0x20);
	if ((quote >= 2 && is_word(text[quote - 2])) || strchr("ebxn", c) == NULL)
		return 'w';
	return c;
}

/*
 * A place in a text that is being rewritten: what was before it, as it now
 * is, ends at behind.
 */
typedef struct Place
{
	const char *text;
	size_t length;
	size_t at;
	size_t behind;
} Place;

/* Reads a literal whose opening apostrophe is at a place. False if it is none. */
static bool
quoted_literal(const Place *place, const ScrubRules *rules, Literal *literal)
{
	char prefix = literal_prefix(place->text, place->behind);
	bool backslash = prefix == 'e' || (rules->backslash && strchr("bxu", prefix) == NULL);
	size_t length = place->length;

	if (prefix == 'w' && rules->kind == SCRUB_PROSE)
		return false;
	/* the apostrophe of an elision, in languages that have it */
	if (prefix == 'w' && rules->kind == SCRUB_QUOTED &&
		(place->behind < 2 || !is_word(place->text[place->behind - 2])))
		return false;
	literal->body = place->at + 1;
	literal->body_end = quoted_end(place->text, length, literal->body, backslash, rules->doubled);
	literal->end = literal->body_end < length ? literal->body_end + 1 : length;
	literal->filling = prefix == 'b' || prefix == 'x' ? '0' : 'x';
	return true;
}

/* Reads a dollar-quoted literal that starts at a place. False if it is none. */
static bool
dollar_literal(const Place *place, Literal *literal)
{
	const char *text = place->text;
	size_t length = place->length;
	size_t dollar = place->at;
	size_t at = dollar + 1;
	size_t tag;

	if (place->behind > 0 && is_word(text[place->behind - 1]))
		return false;
	if (at < length && is_digit(text[at]))
		return false;
	while (at < length && text[at] != '$' && is_word(text[at]))
		at++;
	if (at >= length || text[at] != '$')
		return false;
	tag = ++at - dollar;
	literal->body = at;
	literal->filling = 'x';
	while (at < length)
	{
		const char *next = memchr(text + at, '$', length - at);

		if (next == NULL)
			break;
		at = (size_t) (next - text);
		if (length - at >= tag && memcmp(next, text + dollar, tag) == 0)
		{
			literal->body_end = at;
			literal->end = at + tag;
			return true;
		}
		at++;
	}
	literal->body_end = length;
	literal->end = length;
	return true;
}

static bool
begins_comment(const char *text, size_t length, size_t at)
{
	return at + 1 < length &&
		   ((text[at] == '-' && text[at + 1] == '-') || (text[at] == '/' && text[at + 1] == '*'));
}

/* Where a comment that starts at from ends; from itself if none starts there. */
static size_t
comment_end(const char *text, size_t length, size_t from)
{
	size_t at = from + 2;
	size_t depth = 1;

	if (!begins_comment(text, length, from))
		return from;
	if (text[from] == '-')
	{
		while (at < length && text[at] != '\n' && text[at] != '\r')
			at++;
		return at;
	}
	while (at < length && depth > 0)
	{
		if (at + 1 < length && text[at] == '/' && text[at + 1] == '*')
		{
			depth++;
			at += 2;
		}
		else if (at + 1 < length && text[at] == '*' && text[at + 1] == '/')
		{
			depth--;
			at += 2;
		}
		else
			at++;
	}
	return at;
}

/* What follows a closing quotation mark in words. */
static bool
ends_quotation(const char *text, size_t length, size_t at)
{
	return at + 1 >= length || strchr(" ,.;:)\n", text[at + 1]) != NULL;
}

/* Where a name in quotation marks that starts at from ends; from itself if it is none. */
static size_t
name_end(const char *text, size_t length, size_t from, ScrubKind kind)
{
	size_t at = from + 1;

	while (at < length && text[at] != '"')
	{
		if (kind != SCRUB_SQL &&
			(at - from > NAME_MAX_QUOTED || text[at] == '\'' || text[at] == '\n'))
			return from;
		at++;
	}
	if (at < length)
		return kind != SCRUB_PROSE || ends_quotation(text, length, at) ? at + 1 : from;
	return kind == SCRUB_SQL ? length : from;
}

/* Finds a literal that starts at a place. */
static bool
literal_at(const Place *place, const ScrubRules *rules, Literal *literal)
{
	if (place->text[place->at] == '\'')
		return quoted_literal(place, rules, literal);
	if (place->text[place->at] == '$')
		return dollar_literal(place, literal);
	return false;
}

size_t
scrub_conceal(char *text, size_t length, const ScrubRules *rules)
{
	ScrubRules exact = *rules;
	size_t at = 0;
	size_t count = 0;

	exact.kind = SCRUB_SQL;
	exact.doubled = false;
	while (at < length)
	{
		Place place = {text, length, at, at};
		Literal literal;
		size_t skip =
			text[at] == '"' ? name_end(text, length, at, SCRUB_SQL) : comment_end(text, length, at);

		if (skip > at)
			at = skip;
		else if (literal_at(&place, &exact, &literal))
		{
			if (literal.body_end - literal.body > exact.limit)
			{
				for (size_t i = literal.body; i < literal.body_end; i++)
					if (text[i] != '\n' && text[i] != '\r')
						text[i] = literal.filling;
				count++;
			}
			at = literal.end;
		}
		else
			at++;
	}
	return count;
}

/* The text as it is rewritten: out never overtakes at. */
typedef struct Scrubber
{
	char *text;
	size_t length;
	size_t at;
	size_t out;
	size_t quote_last; /* the last quotation mark of the text, or 0 */
	size_t paren_last; /* the last closing parenthesis, or 0 */
	const ScrubRules *rules;
} Scrubber;

static void
keep(Scrubber *scrubber, size_t until)
{
	size_t count = until - scrubber->at;

	memmove(scrubber->text + scrubber->out, scrubber->text + scrubber->at, count);
	scrubber->out += count;
	scrubber->at = until;
}

/* Puts a note in place of everything up to a place, if that has room for it. */
static void
cut(Scrubber *scrubber, size_t until)
{
	char note[NOTE_MAX];
	size_t count = until - scrubber->at;
	size_t size = (size_t) snprintf(note, sizeof(note), "<%zu bytes>", count);

	if (size > count)
	{
		memset(note, '?', sizeof(note));
		size = count < sizeof(note) ? count : sizeof(note);
	}
	memcpy(scrubber->text + scrubber->out, note, size);
	scrubber->out += size;
	scrubber->at = until;
}

/* Where a run as hex or base64 have them ends, over newlines between long lines. */
static size_t
run_end(const Scrubber *scrubber, size_t from)
{
	const char *text = scrubber->text;
	bool sql = scrubber->rules->kind == SCRUB_SQL;
	size_t at = from;
	size_t line = from;

	for (;;)
	{
		size_t next;

		while (at < scrubber->length && is_run(text[at]) &&
			   !(sql && begins_comment(text, scrubber->length, at)))
			at++;
		next = at;
		if (next < scrubber->length && text[next] == '\r')
			next++;
		if (next >= scrubber->length || text[next] != '\n' || at - line < RUN_LINE_MIN)
			return at;
		next++;
		/* lines of one message are indented by some */
		while (next < scrubber->length && text[next] == '\t')
			next++;
		if (next >= scrubber->length || !is_run(text[next]))
			return at;
		at = line = next;
	}
}

/* The value of a bound parameter: $1 = 'x' or $1 = NULL. */
static bool
scrub_parameter(Scrubber *scrubber)
{
	const char *text = scrubber->text;
	size_t at = scrubber->at + 1;
	size_t end;

	while (at < scrubber->length && is_digit(text[at]) && at - scrubber->at <= PARAMETER_DIGITS)
		at++;
	if (at == scrubber->at + 1 || scrubber->length - at < 4 || memcmp(text + at, " = ", 3) != 0)
		return false;
	at += 3;
	if (text[at] == '\'')
	{
		end = quoted_end(text, scrubber->length, at + 1, false, false);
		end = end < scrubber->length ? end + 1 : end;
	}
	else if (scrubber->length - at >= 4 && memcmp(text + at, "NULL", 4) == 0)
		end = at + 4;
	else
		return false;
	keep(scrubber, at);
	scrubber->text[scrubber->out++] = '?';
	scrubber->at = end;
	return true;
}

static bool
scrub_run(Scrubber *scrubber, size_t until)
{
	size_t end;

	if (!is_run(scrubber->text[scrubber->at]))
		return false;
	end = run_end(scrubber, scrubber->at);
	if (end > until)
		end = until;
	if (end - scrubber->at > scrubber->rules->limit)
	{
		cut(scrubber, end);
		return true;
	}
	return false;
}

/* The longest stretch of run characters from here, as one step, so that no run is read twice. */
static void
keep_word(Scrubber *scrubber, size_t until)
{
	size_t end = scrubber->at;

	while (end < until && is_run(scrubber->text[end]) && scrubber->text[end] != '-' &&
		   scrubber->text[end] != '/')
		end++;
	keep(scrubber, end > scrubber->at ? end : scrubber->at + 1);
}

static void
scrub_plain(Scrubber *scrubber, size_t until)
{
	while (scrubber->at < until)
		if (!scrub_run(scrubber, until))
			keep_word(scrubber, until);
}

static bool
scrub_literal(Scrubber *scrubber)
{
	Place place = {scrubber->text, scrubber->length, scrubber->at, scrubber->out};
	Literal literal;

	if (!literal_at(&place, scrubber->rules, &literal))
		return false;
	/* a tag so long is no tag that anybody chose */
	if (literal.body - scrubber->at > SCRUB_LIMIT_MIN)
	{
		cut(scrubber, literal.end);
		return true;
	}
	keep(scrubber, literal.body);
	if (literal.body_end - literal.body > scrubber->rules->limit)
		cut(scrubber, literal.body_end);
	else if (scrubber->rules->every && literal.body_end > literal.body)
	{
		scrubber->text[scrubber->out++] = '?';
		scrubber->at = literal.body_end;
	}
	keep(scrubber, literal.end);
	return true;
}

/*
 * What words quote: a name stays; of anything longer nobody can tell where it
 * ends, for it may have quotation marks itself, so it goes up to the last one.
 */
static bool
scrub_quotation(Scrubber *scrubber)
{
	const char *text = scrubber->text;
	size_t start = scrubber->at + 1;
	const char *closing;
	size_t end;

	if (text[scrubber->at] == '(' && scrubber->out > 0 && text[scrubber->out - 1] == '=')
	{
		end = scrubber->paren_last > start ? scrubber->paren_last : scrubber->length;
		if (end - start <= scrubber->rules->limit)
			return false;
	}
	else if (text[scrubber->at] == '"')
	{
		closing = memchr(text + start, '"',
						 scrubber->length - start < NAME_MAX_QUOTED ? scrubber->length - start
																	: NAME_MAX_QUOTED);
		if (closing != NULL && ends_quotation(text, scrubber->length, (size_t) (closing - text)))
		{
			scrub_plain(scrubber, (size_t) (closing - text) + 1);
			return true;
		}
		end = scrubber->quote_last > start ? scrubber->quote_last : scrubber->length;
		if (end - start <= scrubber->rules->limit)
			return false;
	}
	else
		return false;
	keep(scrubber, start);
	cut(scrubber, end);
	return true;
}

/* Whether three full stops stand for words left out of a command, as in "COPY ... PROGRAM". */
static bool
is_ellipsis_in_prose(const Scrubber *scrubber)
{
	const char *text = scrubber->text;
	size_t after = scrubber->at + 3;

	return scrubber->out >= 2 && text[scrubber->out - 1] == ' ' && text[scrubber->out - 2] != ':' &&
		   after < scrubber->length && text[after] == ' ';
}

/*
 * Three full stops after a value that was cut short by whoever reported it:
 * what was already kept of the value is taken back. A value may have anything
 * in it, so its beginning is told by its length alone, but for the mark that
 * begins what COPY shows of a line.
 */
static bool
scrub_excerpt(Scrubber *scrubber)
{
	static const char note[] = "<cut>";
	const char *text = scrubber->text;
	size_t from = scrubber->out > EXCERPT_LINE ? scrubber->out - EXCERPT_LINE : 0;
	size_t start = scrubber->out > EXCERPT_FIELD ? scrubber->out - EXCERPT_FIELD : 0;

	if (scrubber->length - scrubber->at < 3 || memcmp(text + scrubber->at, "...", 3) != 0 ||
		is_ellipsis_in_prose(scrubber))
		return false;
	for (size_t i = from; i + 3 <= scrubber->out; i++)
		if (memcmp(text + i, ": \"", 3) == 0)
		{
			start = i + 3;
			break;
		}
	if (scrubber->out >= 2 && memcmp(text + scrubber->out - 2, ": ", 2) == 0)
	{
		const char *newline = memchr(text + scrubber->at, '\n', scrubber->length - scrubber->at);

		cut(scrubber, newline ? (size_t) (newline - text) : scrubber->length);
		return true;
	}
	if (scrubber->out - start >= SCRUB_LIMIT_MIN)
	{
		memcpy(scrubber->text + start, note, sizeof(note) - 1);
		scrubber->out = start + sizeof(note) - 1;
	}
	keep(scrubber, scrubber->at + 3);
	return true;
}

/* Names and comments, in which an apostrophe begins nothing; runs in them are cut all the same. */
static size_t
plain_until(const Scrubber *scrubber)
{
	const char *text = scrubber->text;

	if (text[scrubber->at] == '"')
		return name_end(text, scrubber->length, scrubber->at, scrubber->rules->kind);
	if (scrubber->rules->kind != SCRUB_SQL)
		return scrubber->at;
	return comment_end(text, scrubber->length, scrubber->at);
}

static void
find_last_marks(Scrubber *scrubber)
{
	for (size_t i = scrubber->length; i-- > 0 && (!scrubber->quote_last || !scrubber->paren_last);)
	{
		if (scrubber->text[i] == '"' && !scrubber->quote_last)
			scrubber->quote_last = i;
		if (scrubber->text[i] == ')' && !scrubber->paren_last)
			scrubber->paren_last = i;
	}
}

static void
scrub_step(Scrubber *scrubber)
{
	const ScrubRules *rules = scrubber->rules;
	size_t plain = plain_until(scrubber);
	char c = scrubber->text[scrubber->at];

	if (c == '"' && plain - scrubber->at > rules->limit)
		cut(scrubber, plain);
	else if (plain > scrubber->at)
		scrub_plain(scrubber, plain);
	else if (c == '$' && scrub_parameter(scrubber))
		return;
	else if ((c == '\'' || c == '$') && scrub_literal(scrubber))
		return;
	else if (rules->kind == SCRUB_PROSE && (c == '"' || c == '(') && scrub_quotation(scrubber))
		return;
	else if (rules->excerpts && c == '.' && scrub_excerpt(scrubber))
		return;
	else if (!scrub_run(scrubber, scrubber->length))
		keep_word(scrubber, scrubber->length);
}

size_t
scrub_text(char *text, size_t length, const ScrubRules *rules)
{
	Scrubber scrubber = {.text = text, .length = length, .rules = rules};

	if (rules->limit < SCRUB_LIMIT_MIN)
		return scrub_all(text, length);
	if (rules->kind == SCRUB_PROSE)
		find_last_marks(&scrubber);
	while (scrubber.at < length)
		scrub_step(&scrubber);
	text[scrubber.out] = '\0';
	if (rules->kind == SCRUB_PROSE && rules->prose_max > 0 && scrubber.out > rules->prose_max)
		return scrub_all(text, length);
	return scrubber.out;
}

size_t
scrub_all(char *text, size_t length)
{
	char note[NOTE_MAX];
	size_t size = (size_t) snprintf(note, sizeof(note), "<%zu bytes>", length);

	if (size > length)
	{
		memset(note, '?', sizeof(note));
		size = length;
	}
	memcpy(text, note, size);
	text[size] = '\0';
	return size;
}

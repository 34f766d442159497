/*
 * html_steps.c - what was changed and noted, in sentences.
 *
 * A sentence is a text in which {name} stands for a member of the entry's detail. A part in
 * brackets is left out when a member in it is not there, is false or is empty; {?name} only
 * asks for it, {#name} says how many items it has.
 */
#include "reporter/html.h"

#include "reporter/member.h"
#include "reporter/moment.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_LENGTH_MAX 40

typedef struct Sentence
{
	const char *action;
	const char *text;
} Sentence;

static const char terms[] = "[{kinds} images, ][{delivery}][, from table {relation}][, for the "
							"purpose {purposes}][, valid {valid}][, over encrypted connections "
							"only{?require_tls}][, marked{?mark}][, at most {quota} images in "
							"{quota_window}]";

static const Sentence sentences[] = {
	{"register_party", "The party was registered[ as {title}][, with a contract {contract}][; it "
					   "had been registered before{?renewed}]"},
	{"register_network", "Network {network} was registered as the party&rsquo;s"},
	{"register_local", "Programs on the server itself were registered as the party&rsquo;s"},
	{"unregister_network", "Network {network} is not the party&rsquo;s any more[: {reason}]"},
	{"unregister_local", "Programs on the server itself are not the party&rsquo;s any more[: "
						 "{reason}]"},
	{"revoke", "Authorization {permit} was revoked[: {reason}]"},
	{"set_quota", "The quota of authorization {permit} was changed[ to {quota} images in "
				  "{quota_window}][: {reason}]"},
	{"quarantine", "The party was cut off: nothing is released to it any more[; reason: "
				   "{reason}]"},
	{"reinstate", "The party is not cut off any more[; reason: {reason}]"},
	{"open_incident", "Incident {incident} was opened[: {title}][; period: {during}][; everybody "
					  "is to be notified by {due}]"},
	{"set_incident_due", "The deadline for notification was moved to {due}[, from "
						 "{previous_due}][; reason: {reason}]"},
	{"mark_notified", "Notified: {#subjects}[ of table {relation}][, means: {means}]"},
	{"close_incident", "Incident {incident} was closed[; {notified} of {people} had been "
					   "notified][; reason: {reason}]"},
};

/* Writes "from .. until .." of a range's text. */
static void
put_period(FILE *out, Span range)
{
	int64_t from = INT64_MIN;
	int64_t to = INT64_MAX;

	if (!incident_period(range, &from, &to))
	{
		html_span(out, range);
		return;
	}
	if (from == INT64_MIN && to == INT64_MAX)
		fputs("at any time", out);
	if (from != INT64_MIN)
	{
		fputs("from ", out);
		html_moment(out, from);
	}
	if (to != INT64_MAX)
	{
		fputs(from != INT64_MIN ? " until " : "until ", out);
		html_moment(out, to);
	}
}

static void
put_items(FILE *out, Span array)
{
	Buffer text = {0};
	size_t at = 0;
	size_t ahead;
	Span item;
	Span next;
	bool any = false;

	while (member_items(array, &at, &item))
	{
		ahead = at;
		fputs(!any ? "" : member_items(array, &ahead, &next) ? ", " : " and ", out);
		member_text(item, &text);
		html_span(out, (Span){(const char *) text.bytes, text.length});
		any = true;
	}
	free(text.bytes);
}

static void
put_string(FILE *out, const char *name, Span text)
{
	static const char *const deliveries[][2] = {
		{"open", "readable"}, {"sealed", "in sealed form only"}, {"refuse", "not to be released"}};
	int64_t moment;

	for (size_t i = 0; strcmp(name, "delivery") == 0 && i < 3; i++)
	{
		if (text.length == strlen(deliveries[i][0]) &&
			memcmp(text.bytes, deliveries[i][0], text.length) == 0)
		{
			fputs(deliveries[i][1], out);
			return;
		}
	}
	if (strcmp(name, "valid") == 0 || strcmp(name, "contract") == 0 || strcmp(name, "during") == 0)
		put_period(out, text);
	else if ((strcmp(name, "due") == 0 || strcmp(name, "previous_due") == 0) &&
			 moment_parse(text.bytes, text.length, &moment))
		html_moment(out, moment);
	else if (strcmp(name, "title") == 0 || strcmp(name, "reason") == 0 ||
			 strcmp(name, "means") == 0)
	{
		fputs("&ldquo;", out);
		html_span(out, text);
		fputs("&rdquo;", out);
	}
	else
		html_span(out, text);
}

/* Finds a member that says something. */
static bool
find_said(Span detail, const char *name, Span *value)
{
	size_t at = 0;
	Span item;

	if (!member_find(detail, name, value))
		return false;
	if (value->bytes[0] == '[')
		return member_items(*value, &at, &item);
	return !(value->length == 5 && memcmp(value->bytes, "false", 5) == 0) &&
		   !(value->length == 2 && memcmp(value->bytes, "\"\"", 2) == 0);
}

/* Writes what stands in braces; returns where that ends. */
static const char *
put_member(FILE *out, const char *at, Span detail)
{
	char name[NAME_LENGTH_MAX];
	const char *end = strchr(at, '}');
	bool asked = at[1] == '?';
	bool number = at[1] == '#';
	const char *first = at + 1 + (asked || number);
	Buffer text = {0};
	Span value;
	uint64_t items = 0;

	snprintf(name, sizeof(name), "%.*s", (int) (end - first), first);
	if (asked || !find_said(detail, name, &value))
		return end + 1;
	if (number)
	{
		for (size_t next = 0; member_items(value, &next, &(Span){0});)
			items++;
		html_count(out, items, "person", "people");
		return end + 1;
	}
	if (value.bytes[0] == '[')
		put_items(out, value);
	else
	{
		member_text(value, &text);
		put_string(out, name, (Span){(const char *) text.bytes, text.length});
	}
	free(text.bytes);
	return end + 1;
}

/* Whether all members that a part in brackets names are there. */
static bool
has_members(const char *at, const char *end, Span detail)
{
	char name[NAME_LENGTH_MAX];
	Span value;

	for (at = memchr(at, '{', (size_t) (end - at)); at != NULL && at < end;
		 at = memchr(at, '{', (size_t) (end - at)))
	{
		const char *close = strchr(at, '}');

		at += 1 + (at[1] == '?' || at[1] == '#');
		snprintf(name, sizeof(name), "%.*s", (int) (close - at), at);
		if (!find_said(detail, name, &value))
			return false;
	}
	return true;
}

static void
put_sentence(FILE *out, const char *text, Span detail)
{
	while (*text != '\0')
	{
		if (*text == '[' && !has_members(text, strchr(text, ']'), detail))
			text = strchr(text, ']') + 1;
		else if (*text == '{')
			text = put_member(out, text, detail);
		else if (*text == '[' || *text == ']')
			text++;
		else
			fputc(*text++, out);
	}
}

/* Writes an action that has no sentence, and what it says besides the party, which is known. */
static void
put_other(FILE *out, Span action, Span detail)
{
	Buffer text = {0};
	size_t at = 0;
	bool any = false;
	Span name;
	Span value;

	for (size_t i = 0; i < action.length; i++)
		html_span(out, (Span){action.bytes[i] == '_' ? " " : action.bytes + i, 1});
	while (member_next(detail, &at, &name, &value))
	{
		if ((name.length == 6 && memcmp(name.bytes, "action", 6) == 0) ||
			(name.length == 5 && memcmp(name.bytes, "party", 5) == 0))
			continue;
		fputs(any ? "; " : ": ", out);
		html_span(out, name);
		fputs(" ", out);
		if (value.bytes[0] == '[' || value.bytes[0] == '{')
			member_plain(value, &text);
		else
			member_text(value, &text);
		html_span(out, (Span){(const char *) text.bytes, text.length});
		any = true;
	}
	free(text.bytes);
}

void
html_terms(FILE *out, Span detail)
{
	put_sentence(out, terms, detail);
}

void
html_step(FILE *out, const Case *matter, const Notable *notable)
{
	Span detail = texts_get(&matter->texts, notable->detail);
	Buffer action = {0};
	const char *text = NULL;

	if (!member_string(detail, "action", &action))
	{
		html_text(out, entry_event_name((int) notable->event));
		free(action.bytes);
		return;
	}
	for (size_t i = 0; i < sizeof(sentences) / sizeof(sentences[0]) && text == NULL; i++)
		text = strcmp(sentences[i].action, (const char *) action.bytes) == 0 ? sentences[i].text
																			 : NULL;
	if (text != NULL)
		put_sentence(out, text, detail);
	else if (strcmp((const char *) action.bytes, "authorize") == 0)
	{
		put_sentence(out, "Authorization {permit} was given: ", detail);
		html_terms(out, detail);
	}
	else
		put_other(out, (Span){(const char *) action.bytes, action.length}, detail);
	free(action.bytes);
}

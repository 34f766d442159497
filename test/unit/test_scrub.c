/*
 * test_scrub.c - what is taken out of texts, and what stays in them.
 */
#include "core/scrub.h"
#include "tap.h"

#define LONG "0123456789abcdef0123456789abcdef0123456789abcdef"
#define WORDS "some words that nobody may read, and there are many of them"

typedef struct Case
{
	const char *name;
	const char *text;
	const char *expected;
	ScrubRules rules;
} Case;

#define SQL                                                                                        \
	{                                                                                              \
		.kind = SCRUB_SQL, .limit = 40                                                             \
	}
#define QUOTED                                                                                     \
	{                                                                                              \
		.kind = SCRUB_QUOTED, .limit = 40, .excerpts = true                                        \
	}
#define PROSE                                                                                      \
	{                                                                                              \
		.kind = SCRUB_PROSE, .limit = 40, .excerpts = true                                         \
	}

static const Case texts[] = {
	{"a short literal stays", "SELECT 'a', E'\\'', $$b$$", "SELECT 'a', E'\\'', $$b$$", SQL},
	{"a long literal", "SELECT '" WORDS "', 'a'", "SELECT '<59 bytes>', 'a'", SQL},
	{"doubled apostrophes", "SELECT 'it''s " WORDS "', 'a'", "SELECT '<65 bytes>', 'a'", SQL},
	{"backslashes in E''", "SELECT E'\\'" WORDS "', 'a'", "SELECT E'<61 bytes>', 'a'", SQL},
	{"no escapes otherwise", "SELECT 'a\\', '" WORDS "'", "SELECT 'a\\', '<59 bytes>'", SQL},
	{"escapes where they are on",
	 "SELECT '\\'" WORDS "', 'a'",
	 "SELECT '<61 bytes>', 'a'",
	 {.kind = SCRUB_SQL, .limit = 40, .backslash = true}},
	{"dollar quotes", "DO $a$ $$ '" WORDS "' $a$ 'x'", "DO $a$<66 bytes>$a$ 'x'", SQL},
	{"a literal that does not end", "SELECT '" WORDS, "SELECT '<59 bytes>", SQL},
	{"dollar quotes that do not end", "SELECT $a$" WORDS "$b$", "SELECT $a$<62 bytes>", SQL},
	{"a comment", "/* it's /* */ */ '" WORDS "'", "/* it's /* */ */ '<59 bytes>'", SQL},
	{"a comment to the end of a line", "-- it's\n'" WORDS "'", "-- it's\n'<59 bytes>'", SQL},
	{"a name", "\"it's\" '" WORDS "'", "\"it's\" '<59 bytes>'", SQL},
	{"a run without quotes", "x " LONG " y", "x <48 bytes> y", SQL},
	{"a run in a comment", "-- " LONG "\nSELECT 1", "-- <48 bytes>\nSELECT 1", SQL},
	{"a run in lines", "a\n" LONG "\n" LONG "\nb c", "a\n<99 bytes> c", PROSE},
	{"parameters", "with: $1 = 'a''b', $2 = NULL, $13 = ''", "with: $1 = ?, $2 = ?, $13 = ?",
	 QUOTED},
	{"an excerpt of a line",
	 "COPY t, line 1, column f: \"" WORDS " a b c d e f g h i j k l m n...\"",
	 "COPY t, line 1, column f: \"<cut>...\"",
	 {.kind = SCRUB_QUOTED, .limit = 128, .excerpts = true}},
	{"every literal of a plan",
	 "Output: 'a'::text, '', E'\\'b'",
	 "Output: '?'::text, '', E'?'",
	 {.kind = SCRUB_SQL, .limit = 40, .every = true}},
	{"words left out of a command", "users of COPY ... PROGRAM may",
	 "users of COPY ... PROGRAM may", PROSE},
	{"the end of a line", "JSON data, line 1: ..." WORDS, "JSON data, line 1: <62 bytes>", QUOTED},
	{"a statement in quotation marks", "SQL statement \"SELECT '" WORDS "'\"\nline 2",
	 "SQL statement \"SELECT '<59 bytes>'\"\nline 2", QUOTED},
	{"an elision", "relation t, ligne 1 \303\240 l'instruction, qui n'a pas de valeur",
	 "relation t, ligne 1 \303\240 l'instruction, qui n'a pas de valeur", QUOTED},
	{"names in words", "relation \"a\" doesn't have a column \"b\" and can't get one from anywhere",
	 "relation \"a\" doesn't have a column \"b\" and can't get one from anywhere", PROSE},
	{"a value in words", "invalid input: \"" WORDS " \"and\" more" WORDS "\"",
	 "invalid input: \"<129 bytes>\"", PROSE},
	{"a key", "Key (a)=(" WORDS ") exists.", "Key (a)=(<59 bytes>) exists.", PROSE},
	{"a short key", "Key (a)=(1) exists.", "Key (a)=(1) exists.", PROSE},
	{"words without end",
	 WORDS " " WORDS,
	 "<119 bytes>",
	 {.kind = SCRUB_PROSE, .limit = 40, .prose_max = 100}},
	{"a statement in JSON",
	 "\"Query Text\": \"SELECT E'\\\\'" WORDS "', 'a'\"",
	 "\"Query Text\": \"SELECT E'<62 bytes>', 'a'\"",
	 {.kind = SCRUB_QUOTED, .limit = 40, .doubled = true}},
	{"a limit below the least takes all",
	 "SELECT 1 FROM something",
	 "<23 bytes>",
	 {.kind = SCRUB_SQL}},
	{"nothing", "", "", SQL},
};

static const Case concealed[] = {
	{"a literal", "SELECT '" WORDS "', 'a'",
	 "SELECT 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', 'a'", SQL},
	{"hexadecimal digits", "X'" LONG "'", "X'000000000000000000000000000000000000000000000000'",
	 SQL},
	{"dollar quotes", "$a$" LONG "$a$", "$a$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx$a$",
	 SQL},
	{"lines stay lines", "E'\\\n" LONG "'",
	 "E'x\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'", SQL},
	{"a short literal", "SELECT 'a'", "SELECT 'a'", SQL},
	{"a comment and a name", "/* '" LONG "' */ \"'" LONG "'\"", "/* '" LONG "' */ \"'" LONG "'\"",
	 SQL},
};

static void
check(const Case *test, const char *what, bool conceal)
{
	size_t length = strlen(test->text);
	char *text = (char *) tap_copy(test->text, length + 1);
	size_t result = length;

	if (conceal)
		(void) scrub_conceal(text, length, &test->rules);
	else
		result = scrub_text(text, length, &test->rules);
	if (!tap_ok(strcmp(text, test->expected) == 0 && result == strlen(test->expected), "%s: %s",
				what, test->name))
		printf("# %s\n# %s\n", text, test->expected);
	free(text);
}

/* A statement cut anywhere, as pg_stat_activity and others do: nothing of its literal stays. */
static void
check_cut_short(void)
{
	static const char statement[] = "INSERT INTO t VALUES (1, '" WORDS WORDS "')";
	ScrubRules rules = {.kind = SCRUB_SQL, .limit = 40};
	bool good = true;

	for (size_t length = 0; length < sizeof(statement); length++)
	{
		char *text = (char *) tap_copy(statement, sizeof(statement));

		text[length] = '\0';
		(void) scrub_text(text, length, &rules);
		if (length > 26 + 40 && strstr(text, "some words") != NULL)
			good = false;
		free(text);
	}
	tap_ok(good, "a statement that was cut short shows nothing of its literal");
}

int
main(void)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check(&texts[i], "scrubbed", false);
	for (size_t i = 0; i < sizeof(concealed) / sizeof(concealed[0]); i++)
		check(&concealed[i], "concealed", true);
	check_cut_short();
	return tap_done();
}

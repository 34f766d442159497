/*
 * test_keyfile.c - keyrings as they should be, and every shape that they
 * should not have.
 */
#include "core/keyfile.h"
#include "tap.h"

#define HEX_A "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define HEX_B "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static KeyfileKey keys[KEYFILE_MAX_KEYS];
static int count;
static KeyfileError error;

static CoreStatus
parse(const char *text, size_t length, int capacity)
{
	char *copy = (char *) tap_copy(text, length);
	CoreStatus status;

	memset(keys, 0xee, sizeof(KeyfileKey) * (size_t) capacity);
	count = -1;
	error = (KeyfileError){-1, "not set"};
	status = keyfile_parse(copy, length, keys, capacity, &count, &error);
	free(copy);
	return status;
}

static void
check_good(void)
{
	static const char *const texts[] = {
		"7 " HEX_A,
		"7 " HEX_A "\n",
		"\n\n  # a comment\n\t7\t" HEX_A "  # another, with text\n\n#end",
		"7 " HEX_A "\r\n",
		"#\n7   " HEX_A "#",
	};
	KeyfileKey expected = {.id = 7};

	tap_unhex(HEX_A, expected.master);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		tap_ok(parse(texts[i], strlen(texts[i]), 4) == CORE_OK && count == 1 && error.line == 0 &&
				   error.problem == NULL && memcmp(&keys[0], &expected, sizeof(expected)) == 0,
			   "a keyring of one key, shape %d", (int) i + 1);
}

static void
check_order(void)
{
	static const char text[] = "9 " HEX_A "\n1 " HEX_B "\n4294967295 " HEX_A "\n3 " HEX_B "\n";
	KeyfileKey expected = {.id = 3};

	tap_number(parse(text, strlen(text), 4), CORE_OK, "four keys in any order are read");
	tap_ok(count == 4 && keys[0].id == 1 && keys[1].id == 3 && keys[2].id == 9 &&
			   keys[3].id == UINT32_MAX,
		   "and stand ascending by id");
	tap_unhex(HEX_B, expected.master);
	tap_ok(memcmp(&keys[1], &expected, sizeof(expected)) == 0, "each with the key of its own line");
	tap_number(parse(text, strlen(text), 3), CORE_TOO_SMALL, "one more than there is room for");
	tap_number(error.line, 4, "is told by its line");
}

#define HOME "0192f5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b"
#define FROM "2026-11-01T00:00:00Z"
#define UNTIL "2026-12-01T00:00:00Z"

static void
check_scope(void)
{
	static const char text[] = "1 " HEX_A "\n2 " HEX_B "\t " HOME "  " FROM " " UNTIL " # bound\n";
	KeyfileKey expected = {
		.id = 2,
		.scope = {.bound = true, .from_ms = 1793491200000LL, .until_ms = 1796083200000LL},
	};

	tap_unhex(HEX_B, expected.master);
	tap_unhex("0192f5a01c2d7e3f8a4b5c6d7e8f9a0b", expected.scope.home);
	tap_ok(parse(text, strlen(text), 4) == CORE_OK && count == 2 &&
			   memcmp(&keys[1], &expected, sizeof(expected)) == 0,
		   "a key may be bound to a home and a period");
	tap_ok(!keys[0].scope.bound, "another is not");
}

/* Days that calendars get wrong, as they are written. */
static void
check_times(void)
{
	static const struct
	{
		const char *text;
		int64_t ms;
	} times[] = {
		{"0001-01-01T00:00:00Z", -62135596800000LL},
		{"1969-12-31T23:59:59Z", -1000},
		{"1970-01-01T00:00:00Z", 0},
		{"2000-02-29T12:30:45Z", 951827445000LL},
		{"2024-12-31T23:59:59Z", 1735689599000LL},
		{"2100-03-01T00:00:00Z", 4107542400000LL},
		{"9999-12-31T23:59:58Z", 253402300798000LL},
	};
	long failed = 0;

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
	{
		char text[KEYFILE_LINE_SIZE];
		char scope[KEYFILE_SCOPE_SIZE];
		int length = snprintf(text, sizeof(text), "7 %s %s %s 9999-12-31T23:59:59Z\n", HEX_A, HOME,
							  times[i].text);

		failed += parse(text, (size_t) length, 1) != CORE_OK ||
				  keys[0].scope.from_ms != times[i].ms ||
				  keyfile_write_scope(&keys[0].scope, scope) != strlen(text) - 68 ||
				  strncmp(scope, text + 67, strlen(text) - 68) != 0;
	}
	tap_all(failed, (long) (sizeof(times) / sizeof(times[0])), -1,
			"times are read as they are, and written as they were read");
}

static void
check_writing(void)
{
	KeyfileKey key = {.id = UINT32_MAX, .scope = {.bound = true, .from_ms = 0, .until_ms = 1000}};
	KeyfileKey again = key;
	char line[KEYFILE_LINE_SIZE];
	size_t length;

	tap_unhex(HEX_A, key.master);
	tap_unhex("0192f5a01c2d7e3f8a4b5c6d7e8f9a0b", key.scope.home);
	again = key;
	length = keyfile_write_line(&key, line);
	tap_number((long) length, KEYFILE_LINE_SIZE - 1, "the longest line has the length it may have");
	tap_ok(parse(line, length, 1) == CORE_OK && memcmp(&keys[0], &again, sizeof(again)) == 0,
		   "what was written is read again");
	key.scope.bound = false;
	length = keyfile_write_line(&key, line);
	tap_ok(parse(line, length, 1) == CORE_OK && !keys[0].scope.bound && line[length] == '\0',
		   "and a key that is not bound");
	key.scope = again.scope;
	key.scope.until_ms = 0;
	tap_number((long) keyfile_write_line(&key, line), 0, "an empty period is not written");
	key.scope.until_ms = 1500;
	tap_number((long) keyfile_write_line(&key, line), 0, "nor half a second");
	key.scope.until_ms = 253402300800000LL;
	tap_number((long) keyfile_write_line(&key, line), 0, "nor the year 10000");
	key.scope = (KeyScope){.bound = true, .until_ms = 1000};
	tap_number((long) keyfile_write_line(&key, line), 0, "nor a home that is none");
	key.scope = (KeyScope){0};
	key.id = 0;
	tap_number((long) keyfile_write_line(&key, line), 0, "nor a key without an id");
}

static void
check_lines(void)
{
	static const char text[] = "# 5 a comment\n 15 " HEX_A "\n5\t" HEX_B " # its own\n6 " HEX_A;
	size_t start;
	size_t end;

	tap_ok(keyfile_find_line(text, strlen(text), 5, &start, &end) &&
			   strncmp(text + start, "5\t", 2) == 0 && strncmp(text + end, "6 ", 2) == 0,
		   "a key's line is found with its comment");
	tap_ok(keyfile_find_line(text, strlen(text), 6, &start, &end) && end == strlen(text),
		   "the last line needs no newline");
	tap_ok(!keyfile_find_line(text, strlen(text), 1, &start, &end) && start == 0 && end == 0,
		   "an id that is not there has no line");
}

typedef struct Bad
{
	const char *text;
	int line;
	const char *name;
} Bad;

static const Bad bad[] = {
	{"", 0, "an empty file"},
	{"\n# nothing\n", 0, "a file of comments"},
	{HEX_A, 1, "a key without an id"},
	{"7", 1, "an id without a key"},
	{"7\n" HEX_A, 1, "an id and its key on two lines"},
	{"7" HEX_A, 1, "no blank between id and key"},
	{"7:" HEX_A, 1, "a colon between id and key"},
	{"0 " HEX_A, 1, "id zero"},
	{"07 " HEX_A, 1, "an id that begins with zero"},
	{"-7 " HEX_A, 1, "a negative id"},
	{"+7 " HEX_A, 1, "an id with a sign"},
	{"0x7 " HEX_A, 1, "a hexadecimal id"},
	{"4294967296 " HEX_A, 1, "an id of more than 32 bits"},
	{"18446744073709551617 " HEX_A, 1, "an id of more than 64 bits"},
	{"seven " HEX_A, 1, "an id in words"},
	{"7 " HEX_A "00", 1, "a key of 33 bytes"},
	{"7 0011", 1, "a key of 2 bytes"},
	{"7 " HEX_A " " HEX_B, 1, "two keys on a line"},
	{"7 " HEX_A " x", 1, "something after the key"},
	{"7 g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 1, "a digit g"},
	{"7 00112233445566778899aabbccddeeff00112233445566778899aabbccddee f", 1, "a blank in a key"},
	{"7 0x112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", 1, "a key with 0x"},
	{"7 " HEX_A " " HOME, 1, "a home without a period"},
	{"7 " HEX_A " " HOME " " FROM, 1, "a period without an end"},
	{"7 " HEX_A " " FROM " " UNTIL, 1, "a period without a home"},
	{"7 " HEX_A " " HOME " " UNTIL " " FROM, 1, "a period that ends before it begins"},
	{"7 " HEX_A " " HOME " " FROM " " FROM, 1, "an empty period"},
	{"7 " HEX_A " " HOME " " FROM " " UNTIL " x", 1, "something after the period"},
	{"7 " HEX_A " " HOME "0 " FROM " " UNTIL, 1, "a home of 37 characters"},
	{"7 " HEX_A " 00000000-0000-0000-0000-000000000000 " FROM " " UNTIL, 1, "a home of zeroes"},
	{"7 " HEX_A " 0192f5a0x1c2d-7e3f-8a4b-5c6d7e8f9a0b " FROM " " UNTIL, 1,
	 "a home without dashes"},
	{"7 " HEX_A " " HOME " 2026-02-29T00:00:00Z " UNTIL, 1, "a day that is not in the calendar"},
	{"7 " HEX_A " " HOME " 2026-04-31T00:00:00Z " UNTIL, 1, "April 31"},
	{"7 " HEX_A " " HOME " 2026-00-01T00:00:00Z " UNTIL, 1, "month zero"},
	{"7 " HEX_A " " HOME " 2026-01-00T00:00:00Z " UNTIL, 1, "day zero"},
	{"7 " HEX_A " " HOME " 2026-01-01T24:00:00Z " UNTIL, 1, "hour 24"},
	{"7 " HEX_A " " HOME " 0000-01-01T00:00:00Z " UNTIL, 1, "year zero"},
	{"7 " HEX_A " " HOME " 2026-01-01 00:00:00Z " UNTIL, 1, "a time of two words"},
	{"7 " HEX_A " " HOME " 2026-01-01T00:00:00 " UNTIL, 1, "a time without its zone"},
	{"7 " HEX_A "\n8 " HEX_B "\n7 " HEX_B, 3, "an id that is used twice"},
	{"7 " HEX_A "\n\nx", 3, "rubbish on the third line"},
	{"\xef\xbb\xbf"
	 "7 " HEX_A,
	 1, "a byte order mark"},
};

static void
check_bad(void)
{
	static const KeyfileKey zero[4];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		CoreStatus status = parse(bad[i].text, strlen(bad[i].text), 4);

		if (!tap_ok(status == CORE_MALFORMED && count == 0 && error.line == bad[i].line &&
						error.problem != NULL && memcmp(keys, zero, sizeof(zero)) == 0,
					"%s is refused, and nothing is left of it", bad[i].name))
			printf("# status %d, line %d: %s\n", status, error.line, error.problem);
	}
	tap_number(parse("7 " HEX_A "\0\n", 68, 4), CORE_MALFORMED, "a zero byte is refused");
	tap_number(parse("7 " HEX_A, 66, 0), CORE_TOO_SMALL, "no room for any key");
}

/* No message repeats what stands in the file. */
static void
check_silence(void)
{
	static const char secret[] = "7 deadbeefdeadbeefdeadbeef";

	tap_ok(parse(secret, strlen(secret), 4) == CORE_MALFORMED &&
			   strstr(error.problem, "dead") == NULL,
		   "an error tells the line, not what is on it");
}

static void
check_many(void)
{
	static char text[KEYFILE_MAX_KEYS * KEYFILE_LINE_SIZE];
	size_t length = 0;
	long failed = 0;

	for (int i = KEYFILE_MAX_KEYS; i > 0; i--)
		length += (size_t) snprintf(text + length, sizeof(text) - length, "%d %s\n", i, HEX_B);
	failed += parse(text, length, KEYFILE_MAX_KEYS) != CORE_OK || count != KEYFILE_MAX_KEYS;
	for (int i = 0; i < KEYFILE_MAX_KEYS; i++)
		failed += keys[i].id != (uint32_t) i + 1;
	tap_all(failed, KEYFILE_MAX_KEYS, -1, "a keyring may hold as many keys as it says");
}

int
main(void)
{
	check_good();
	check_order();
	check_scope();
	check_times();
	check_writing();
	check_lines();
	check_bad();
	check_silence();
	check_many();
	return tap_done();
}

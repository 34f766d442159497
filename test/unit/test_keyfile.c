/*
 * test_keyfile.c - keyrings as they should be, and every shape that they
 * should not have.
 */
#include "core/keyfile.h"
#include "tap.h"

#define HEX_A "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define HEX_B "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

static SealKey keys[KEYFILE_MAX_KEYS];
static int count;
static KeyfileError error;

static CoreStatus
parse(const char *text, size_t length, int capacity)
{
	char *copy = (char *) tap_copy(text, length);
	CoreStatus status;

	memset(keys, 0xee, sizeof(SealKey) * (size_t) capacity);
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
	uint8_t master[32];
	SealKey expected;

	tap_unhex(HEX_A, master);
	tap_ok(seal_key_init(&expected, 7, master) == CORE_OK, "a key is derived to compare with");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		tap_ok(parse(texts[i], strlen(texts[i]), 4) == CORE_OK && count == 1 && error.line == 0 &&
				   error.problem == NULL && memcmp(&keys[0], &expected, sizeof(expected)) == 0,
			   "a keyring of one key, shape %d", (int) i + 1);
}

static void
check_order(void)
{
	static const char text[] = "9 " HEX_A "\n1 " HEX_B "\n4294967295 " HEX_A "\n3 " HEX_B "\n";
	uint8_t master[32];
	SealKey expected;
	bool found;

	tap_number(parse(text, strlen(text), 4), CORE_OK, "four keys in any order are read");
	tap_ok(count == 4 && keys[0].id == 1 && keys[1].id == 3 && keys[2].id == 9 &&
			   keys[3].id == UINT32_MAX,
		   "and stand ascending by id");
	tap_unhex(HEX_B, master);
	found = seal_key_init(&expected, 3, master) == CORE_OK;
	tap_ok(found && memcmp(&keys[1], &expected, sizeof(expected)) == 0,
		   "each with the key of its own line");
	tap_number(parse(text, strlen(text), 3), CORE_TOO_SMALL, "one more than there is room for");
	tap_number(error.line, 4, "is told by its line");
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
	{"7 " HEX_A "\n8 " HEX_B "\n7 " HEX_B, 3, "an id that is used twice"},
	{"7 " HEX_A "\n\nx", 3, "rubbish on the third line"},
	{"\xef\xbb\xbf"
	 "7 " HEX_A,
	 1, "a byte order mark"},
};

static void
check_bad(void)
{
	static const SealKey zero[4];

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
	static char text[KEYFILE_MAX_KEYS * 80];
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
	check_bad();
	check_silence();
	check_many();
	return tap_done();
}

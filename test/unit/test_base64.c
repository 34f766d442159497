/*
 * test_base64.c - one text for some bytes, and no other.
 */
#include "core/base64.h"
#include "tap.h"

#include <openssl/evp.h>

static uint8_t bytes[512];
static size_t count;

static CoreStatus
decode(const char *text, size_t length, size_t capacity)
{
	char *copy = (char *) tap_copy(text, length);
	CoreStatus status;

	count = 999;
	status = base64_decode(copy, length, bytes, capacity, &count);
	free(copy);
	return status;
}

/* RFC 4648 section 10. */
static void
check_published(void)
{
	static const char *const pairs[][2] = {
		{"", ""},
		{"f", "Zg=="},
		{"fo", "Zm8="},
		{"foo", "Zm9v"},
		{"foob", "Zm9vYg=="},
		{"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		size_t length = strlen(pairs[i][0]);
		char text[16];

		base64_encode((const uint8_t *) pairs[i][0], length, text);
		tap_ok(strcmp(text, pairs[i][1]) == 0 && strlen(text) == BASE64_LENGTH(length),
			   "the published encoding of '%s'", pairs[i][0]);
		tap_ok(decode(text, strlen(text), sizeof(bytes)) == CORE_OK && count == length &&
				   memcmp(bytes, pairs[i][0], length) == 0,
			   "and back");
	}
}

static void
check_bad(void)
{
	static const char *const bad[] = {
		"Z",
		"Zg",
		"Zg=",
		"Zm9vY",
		"Zm9vYg=",
		"=",
		"==",
		"====",
		"Z===",
		"Zg==Zg==",
		"Zm8=Zm9v",
		"Zm=v",
		"=m9v",
		"Zm9v====",
		"Zh==",
		"Zn==",
		"Zo==",
		"Z/==",
		"Zm9=",
		"Zm+=",
		"Zm/=",
		" Zm9v",
		"Zm9v ",
		"Zm9v\n",
		"Zm9v\nZg==",
		"Zm\n9v",
		"Zm9v\r\n",
		"Zm9-",
		"Zm9_",
		"Zm9.",
		"Zm 9",
		"Zm\t9",
		"Zm9\x80",
		"Zm9\xff",
		"\xc3\xa9"
		"Zm",
		"Zg=A",
		"Zg=\n",
		"Zg\n=",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		tap_ok(decode(bad[i], strlen(bad[i]), sizeof(bytes)) == CORE_MALFORMED && count == 0,
			   "text %d that encodes nothing is refused", (int) i + 1);
		tap_ok(base64_decode(bad[i], strlen(bad[i]), NULL, 0, &count) == CORE_MALFORMED,
			   "also when it is only checked");
	}
	tap_ok(decode("Zm\0v", 4, sizeof(bytes)) == CORE_MALFORMED, "a zero byte is refused");
	tap_ok(decode("Zm9v", 4, 2) == CORE_TOO_SMALL && count == 0, "three bytes do not fit in two");
	tap_ok(decode("Zm8=", 4, 2) == CORE_OK && count == 2, "two do");
	tap_ok(decode("Zg==", 4, 0) == CORE_TOO_SMALL, "one does not fit in none");
	tap_ok(decode("", 0, 0) == CORE_OK && count == 0, "nothing does");
	tap_ok(base64_decode("Zm9vYg==", 8, NULL, 0, &count) == CORE_OK && count == 4,
		   "without an output the bytes are counted");
}

/* Of all texts of four characters over every byte in one place, 64 are good, at most. */
static void
check_every_character(void)
{
	for (int place = 0; place < 4; place++)
	{
		long good = 0;

		for (int c = 0; c < 256; c++)
		{
			char text[4] = {'A', 'A', 'A', 'A'};

			text[place] = (char) c;
			good += decode(text, 4, sizeof(bytes)) == CORE_OK;
		}
		tap_number(good, place == 3 ? 65 : 64, "64 characters mean something, and padding");
	}
}

static void
check_against_openssl(void)
{
	long failed = 0;

	for (int i = 0; i < 5000; i++)
	{
		uint8_t original[300];
		size_t length = (size_t) (tap_random() % sizeof(original));
		char ours[BASE64_LENGTH(sizeof(original)) + 1];
		unsigned char theirs[BASE64_LENGTH(sizeof(original)) + 1];

		for (size_t at = 0; at < length; at++)
			original[at] = (uint8_t) tap_random();
		base64_encode(original, length, ours);
		failed += EVP_EncodeBlock(theirs, original, (int) length) != (int) strlen(ours) ||
				  memcmp(ours, theirs, strlen(ours)) != 0 ||
				  decode(ours, strlen(ours), length) != CORE_OK || count != length ||
				  memcmp(original, bytes, length) != 0;
	}
	tap_all(failed, 5000, -1, "random bytes are encoded as OpenSSL does, and come back");
}

/* Whatever is accepted is what encoding would have written. */
static void
check_canonical(void)
{
	static const char characters[] = "AQgw/+9z=";
	long failed = 0;
	long accepted = 0;

	for (long i = 0; i < 9L * 9 * 9 * 9 * 9 * 9 * 9 * 9; i += 7)
	{
		char text[8];
		char again[BASE64_LENGTH(6) + 1];
		long rest = i;

		for (int at = 0; at < 8; at++, rest /= 9)
			text[at] = characters[rest % 9];
		if (base64_decode(text, 8, bytes, sizeof(bytes), &count) != CORE_OK)
			continue;
		accepted++;
		base64_encode(bytes, count, again);
		failed += memcmp(again, text, 8) != 0;
	}
	tap_all(failed, accepted, -1, "no bytes have two encodings");
}

int
main(void)
{
	check_published();
	check_bad();
	check_every_character();
	check_against_openssl();
	check_canonical();
	return tap_done();
}

/*
 * tap.h - prints the Test Anything Protocol, so that prove can run the tests.
 *
 * A program makes its checks and returns tap_done() from main. A check that
 * runs thousands of times belongs in a loop that remembers its first failure
 * and reports once, with tap_all.
 */
#ifndef BIOMETRIC_TEST_TAP_H
#define BIOMETRIC_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_count;
static int tap_failed;

/* tap_ok reports one check; the rest is a printf format for its name. */
__attribute__((format(printf, 2, 3), unused)) static bool
tap_ok(bool passed, const char *format, ...)
{
	va_list arguments;

	tap_count++;
	if (!passed)
		tap_failed++;
	printf("%sok %d - ", passed ? "" : "not ", tap_count);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
	return passed;
}

/* tap_number checks that a number is what it should be. */
__attribute__((unused)) static bool
tap_number(long long found, long long expected, const char *name)
{
	bool passed = tap_ok(found == expected, "%s", name);

	if (!passed)
		printf("# found %lld, expected %lld\n", found, expected);
	return passed;
}

/* tap_all reports on many cases at once: failed of total went wrong, the first at `first`. */
__attribute__((unused)) static bool
tap_all(long failed, long total, long first, const char *name)
{
	bool passed = tap_ok(failed == 0 && total > 0, "%s (%ld cases)", name, total);

	if (!passed)
		printf("# %ld of %ld went wrong, the first at %ld\n", failed, total, first);
	return passed;
}

/* tap_unhex turns hexadecimal digits into bytes; returns their number. */
__attribute__((unused)) static size_t
tap_unhex(const char *hex, uint8_t *out)
{
	size_t length = strlen(hex) / 2;

	for (size_t i = 0; i < length; i++)
	{
		char pair[3] = {hex[2 * i], hex[2 * i + 1], 0};

		out[i] = (uint8_t) strtoul(pair, NULL, 16);
	}
	return length;
}

/* tap_hex checks bytes against hexadecimal digits. */
__attribute__((unused)) static bool
tap_hex(const uint8_t *found, size_t length, const char *expected, const char *name)
{
	uint8_t *wanted = malloc(strlen(expected) / 2 + 1);
	bool passed = tap_unhex(expected, wanted) == length && memcmp(found, wanted, length) == 0;

	free(wanted);
	tap_ok(passed, "%s", name);
	if (!passed)
	{
		printf("# found ");
		for (size_t i = 0; i < length; i++)
			printf("%02x", found[i]);
		printf("\n# expected %s\n", expected);
	}
	return passed;
}

/*
 * tap_copy returns a copy on the heap that is exactly as long as the bytes,
 * so that the sanitizers see a read beyond them.
 */
__attribute__((unused)) static uint8_t *
tap_copy(const void *bytes, size_t length)
{
	uint8_t *copy = malloc(length > 0 ? length : 1);

	if (length > 0)
		memcpy(copy, bytes, length);
	return copy;
}

/* tap_random is a small generator with a fixed seed: failures can be repeated. */
__attribute__((unused)) static uint64_t
tap_random(void)
{
	static uint64_t state = 0x9e3779b97f4a7c15;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* tap_done prints the plan; what main returns. */
__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0 ? 1 : 0;
}

#endif

/*
 * fuzz_json.c - what is printed of a text is valid JSON, without a character
 * that a terminal would act on, and printing it again changes nothing.
 */
#include "tool/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prints a text; the result is the caller's to free. */
static char *
print(void (*printer)(FILE *, const char *, size_t), const char *text, size_t length,
	  size_t *printed)
{
	char *out = NULL;
	FILE *stream = open_memstream(&out, printed);

	if (stream == NULL)
		abort();
	printer(stream, text, length);
	fclose(stream);
	return out;
}

static void
check_printed(const char *text, size_t length)
{
	size_t again_length;
	char *again;

	if (!json_is_valid(text, length))
		abort();
	for (size_t i = 0; i < length; i++)
	{
		if ((uint8_t) text[i] < 0x20 || text[i] == 0x7f ||
			((uint8_t) text[i] == 0xc2 && i + 1 < length && (uint8_t) text[i + 1] < 0xa0))
			abort();
	}
	again = print(json_value, text, length, &again_length);
	if (again_length != length || memcmp(again, text, length) != 0)
		abort();
	free(again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t length;
	char *text = print(json_string, (const char *) data, size, &length);

	check_printed(text, length);
	free(text);
	text = print(json_value, (const char *) data, size, &length);
	check_printed(text, length);
	free(text);
	return 0;
}

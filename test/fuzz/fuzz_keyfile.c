/*
 * fuzz_keyfile.c - keyfile_parse: what it accepts is ascending and can be written again; what
 * it refuses leaves no key behind.
 */
#include "core/keyfile.h"

#include <stdlib.h>
#include <string.h>

#define ROOM 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A key's line is found, and what is written of it is read as the same key. */
static void
check_line(const char *text, size_t size, const KeyfileKey *key)
{
	char line[KEYFILE_LINE_SIZE];
	KeyfileError error;
	KeyfileKey again;
	size_t start;
	size_t end;
	int count;

	if (!keyfile_find_line(text, size, key->id, &start, &end) || start >= end || end > size)
		abort();
	if (keyfile_parse(line, keyfile_write_line(key, line), &again, 1, &count, &error) != CORE_OK ||
		memcmp(&again, key, sizeof(again)) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	KeyfileKey keys[ROOM];
	KeyfileError error;
	int count = -1;
	CoreStatus status = keyfile_parse((const char *) data, size, keys, ROOM, &count, &error);

	if (status == CORE_OK)
	{
		if (count < 1 || count > ROOM || error.problem != NULL || keys[0].id == 0)
			abort();
		for (int i = 1; i < count; i++)
		{
			if (keys[i].id <= keys[i - 1].id)
				abort();
		}
		for (int i = 0; i < count; i++)
			check_line((const char *) data, size, &keys[i]);
		return 0;
	}
	if (count != 0 || error.problem == NULL)
		abort();
	for (size_t i = 0; i < sizeof(keys); i++)
	{
		if (((const uint8_t *) keys)[i] != 0)
			abort();
	}
	return 0;
}

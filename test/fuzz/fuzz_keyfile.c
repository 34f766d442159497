/*
 * fuzz_keyfile.c - keyfile_parse: what it accepts is ascending, what it
 * refuses leaves no key behind.
 */
#include "core/keyfile.h"

#include <stdlib.h>

#define ROOM 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SealKey keys[ROOM];
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

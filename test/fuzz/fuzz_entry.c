/*
 * fuzz_entry.c - entry_decode: bytes that decode are the only encoding of
 * what they say.
 */
#include "core/entry.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t again[ENTRY_MAX_SIZE];
	static const EntryFields none;
	EntryFields fields;
	size_t length = 1;

	if (entry_decode(data, size, &fields) != CORE_OK)
	{
		if (memcmp(&fields, &none, sizeof(none)) != 0)
			abort();
		return 0;
	}
	if (entry_encode(&fields, again, sizeof(again), &length) != CORE_OK || length != size ||
		memcmp(again, data, size) != 0)
		abort();
	if (size > 0 && (entry_encode(&fields, again, size - 1, &length) != CORE_TOO_SMALL || length))
		abort();
	return 0;
}

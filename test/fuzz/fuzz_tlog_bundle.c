/*
 * fuzz_tlog_bundle.c - tlog_bundle_next: what is taken off a bundle, put into
 * another, makes the same bytes again.
 */
#include "core/tlog_tiles.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *again = malloc(size + 1);
	size_t at = 0;
	size_t written = 0;
	const uint8_t *entry;
	size_t length;
	CoreStatus status;

	while ((status = tlog_bundle_next(data, size, &at, &entry, &length)) == CORE_OK &&
		   entry != NULL)
	{
		if (tlog_bundle_add(again, size, &written, entry, length) != CORE_OK)
			abort();
	}
	if (written != at || memcmp(again, data, at) != 0 || (status == CORE_OK) != (at == size) ||
		entry != NULL || length != 0)
		abort();
	free(again);
	return 0;
}

/*
 * fuzz_checkpoint.c - what checkpoint_parse reads is what its first three
 * lines say, in the one way in which they can be written; what it refuses
 * leaves nothing behind.
 */
#define _GNU_SOURCE /* memmem */

#include "core/base64.h"
#include "core/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Checkpoint checkpoint;
	char root[BASE64_LENGTH(MERKLE_HASH_SIZE) + 1];
	char text[NOTE_NAME_MAX + 128];
	size_t length;

	if (checkpoint_parse((const char *) data, size, &checkpoint) != CORE_OK)
	{
		for (size_t i = 0; i < sizeof(checkpoint); i++)
		{
			if (((const uint8_t *) &checkpoint)[i] != 0)
				abort();
		}
		return 0;
	}
	base64_encode(checkpoint.root.bytes, MERKLE_HASH_SIZE, root);
	length = (size_t) snprintf(text, sizeof(text), "%s\n%" PRIu64 "\n%s\n", checkpoint.origin,
							   checkpoint.size, root);
	if (checkpoint.size >= CHECKPOINT_SIZE_LIMIT || length > size ||
		memcmp(text, data, length) != 0 || data[size - 1] != '\n' ||
		memmem(data, size, "\n\n", 2) != NULL)
		abort();
	return 0;
}

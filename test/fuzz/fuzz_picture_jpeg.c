/*
 * fuzz_picture_jpeg.c - picture_decode of JPEG files, and the hash of what comes out.
 */
#include "picture/picture.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const PictureLimits limits = {.pixels = 1000000, .time_ms = 500};
	uint8_t hash[PICTURE_HASH_SIZE];
	PictureGrey grey;

	if (picture_decode(IMAGE_FORMAT_JPEG, data, size, &limits, &grey))
	{
		if (grey.width < 1 || grey.width > PICTURE_MOST_SIDE || grey.height < 1 ||
			grey.height > PICTURE_MOST_SIDE)
			abort();
		/* Slow under sanitizers, and much the same each time. */
		if (size % 8 == 0)
			(void) picture_hash(&grey, hash);
	}
	else if (grey.pixels != NULL)
		abort();
	picture_free(&grey);
	return 0;
}

/*
 * fuzz_picture_png.c - picture_decode of PNG files, and the hash of what comes out.
 * Checksums are put right first: else little would be decoded.
 */
#include "core/reader.h"
#include "picture/picture.h"

#include <stdlib.h>
#include <string.h>

#define SIGNATURE_SIZE 8
#define CHUNK_OVERHEAD 12 /* length, type and checksum */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* CRC-32 as ISO/IEC 15948 annex D has it. */
static uint32_t
checksum(const uint8_t *bytes, size_t length)
{
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < length; i++)
	{
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? 0xedb88320 ^ crc >> 1 : crc >> 1;
	}
	return ~crc;
}

static void
put_checksums_right(uint8_t *file, size_t size)
{
	size_t at = SIGNATURE_SIZE;

	while (at + CHUNK_OVERHEAD <= size)
	{
		Reader reader = reader_make(file + at, size - at);
		size_t length = reader_u32(&reader);

		if (length > size - at - CHUNK_OVERHEAD)
			return;
		write_uint(file + at + 8 + length, checksum(file + at + 4, length + 4), 4);
		at += length + CHUNK_OVERHEAD;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const PictureLimits limits = {.pixels = 1000000, .time_ms = 500};
	uint8_t *file = malloc(size > 0 ? size : 1);
	uint8_t hash[PICTURE_HASH_SIZE];
	PictureGrey grey;

	if (file == NULL)
		return 0;
	if (size > 0)
		memcpy(file, data, size);
	put_checksums_right(file, size);
	if (picture_decode(IMAGE_FORMAT_PNG, file, size, &limits, &grey))
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
	free(file);
	return 0;
}

/*
 * format_png.c - PNG (ISO/IEC 15948).
 */
#include "core/crc32.h"
#include "core/format_parts.h"

#define PNG_SIGNATURE_SIZE 8
#define PNG_CHUNK_MAX 0x7fffffff
#define PNG_IHDR 0x49484452
#define PNG_IDAT 0x49444154
#define PNG_IEND 0x49454e44

/* Tells whether a colour type goes with a bit depth (ISO/IEC 15948 table 11.1). */
static bool
depth_is_allowed(uint8_t colour, uint8_t depth)
{
	switch (colour)
	{
		case 0:
			return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
		case 3:
			return depth == 1 || depth == 2 || depth == 4 || depth == 8;
		case 2:
		case 4:
		case 6:
			return depth == 8 || depth == 16;
		default:
			return false;
	}
}

/* Reads the IHDR chunk, which must be the first; the reader is after the signature. */
static CoreStatus
read_header(Reader *reader, ImageInfo *info)
{
	uint32_t length = reader_u32(reader);
	const uint8_t *start = reader->bytes + reader->position;
	uint32_t type = reader_u32(reader);
	uint8_t depth;
	uint8_t colour;
	bool methods;
	uint32_t crc;

	if (reader->short_read)
		return CORE_TRUNCATED;
	if (type != PNG_IHDR || length != 13)
		return CORE_MALFORMED;
	info->width = reader_u32(reader);
	info->height = reader_u32(reader);
	depth = reader_u8(reader);
	colour = reader_u8(reader);
	/* Compression and filter method 0, interlacing 0 or 1. */
	methods = (reader_uint(reader, 3) & ~(uint64_t) 1) == 0;
	crc = reader_u32(reader);
	if (reader->short_read)
		return CORE_TRUNCATED;
	return methods && depth_is_allowed(colour, depth) && crc == crc32_of(start, 17)
			   ? CORE_OK
			   : CORE_MALFORMED;
}

static bool
type_is_letters(uint32_t type)
{
	for (int shift = 0; shift < 32; shift += 8)
	{
		uint8_t letter = (uint8_t) (type >> shift | 0x20);

		if (letter < 'a' || letter > 'z')
			return false;
	}
	return true;
}

CoreStatus
format_png(Reader reader, ImageInfo *info)
{
	bool data_seen = false;
	CoreStatus status;

	reader_skip(&reader, PNG_SIGNATURE_SIZE);
	status = read_header(&reader, info);
	if (status != CORE_OK)
		return status;
	for (;;)
	{
		uint32_t length = reader_u32(&reader);
		uint32_t type = reader_u32(&reader);

		if (!reader.short_read &&
			(length > PNG_CHUNK_MAX || !type_is_letters(type) || type == PNG_IHDR))
			return CORE_MALFORMED;
		reader_skip(&reader, length);
		reader_skip(&reader, 4);
		if (reader.short_read)
			return CORE_TRUNCATED;
		if (type == PNG_IEND)
			return data_seen && length == 0 && reader_only_zeroes(&reader) ? CORE_OK
																		   : CORE_MALFORMED;
		data_seen = data_seen || (type == PNG_IDAT && length > 0);
	}
}

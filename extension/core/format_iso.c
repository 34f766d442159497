/*
 * format_iso.c - the image records of ISO/IEC 19794: fingers (part 4), faces
 * (part 5), irises (part 6), editions 2005 and 2011.
 *
 * All begin with an identifier of four bytes, a version of four, and the
 * length of the whole record; then come blocks, each with its own length,
 * which must fill the record exactly.
 */
#include "core/format_parts.h"

#define VERSION_010 0x30313000
#define VERSION_020 0x30323000
#define VERSION_030 0x30333000

/* Capture date and time, device technology, vendor and type: in every 2011 representation. */
#define CAPTURE_SIZE 14
#define QUALITY_BLOCK_SIZE 5
#define CERTIFICATION_BLOCK_SIZE 3
#define FEATURE_POINT_SIZE 8
#define IIR_2005_HEADER_SIZE 45

/* Reads identifier, version and, of length_size bytes, the record length, and judges the last. */
static CoreStatus
read_record_length(Reader *reader, int length_size)
{
	uint64_t length = reader_uint(reader, length_size);

	if (reader->short_read || length > reader->length)
		return CORE_TRUNCATED;
	return length == reader->length ? CORE_OK : CORE_MALFORMED;
}

static uint32_t
read_version(Reader *reader)
{
	reader_skip(reader, 4);
	return reader_u32(reader);
}

/*
 * Cuts the next block of 2005: its first four bytes are its length, themselves
 * included. The record's length was right, so a block that goes beyond the
 * record contradicts it.
 */
static CoreStatus
read_block(Reader *reader, Reader *block)
{
	uint32_t length = reader_u32(reader);

	if (reader->short_read || length < 4 || length - 4 > reader_left(reader))
		return CORE_MALFORMED;
	*block = reader_nested(reader, length - 4);
	return CORE_OK;
}

/* Passes over image data of length bytes; an image without data is none. */
static CoreStatus
skip_data(Reader *reader, uint64_t length)
{
	if (length == 0 || length > reader_left(reader) || reader->short_read)
		return CORE_MALFORMED;
	reader_skip(reader, (size_t) length);
	return CORE_OK;
}

/* Passes over what every 2011 representation begins with, the quality blocks included. */
static void
skip_capture(Reader *reader)
{
	reader_skip(reader, CAPTURE_SIZE);
	reader_skip(reader, (size_t) QUALITY_BLOCK_SIZE * reader_u8(reader));
}

/* Reads what is in a representation of 2011, from after its length to the end of its image. */
typedef CoreStatus (*ParseRepresentation)(Reader *reader, ImageInfo *info);

/*
 * Reads `count` representations of 2011, which must end where the record does.
 * Their own length matters only for what may follow the image (segmentation,
 * annotations, 3D data): there are writers, NIST's among them, that leave a
 * quality block out of it, and the image's length is enough to go by.
 */
static CoreStatus
read_representations(Reader *reader, uint32_t count, ParseRepresentation parse, ImageInfo *info)
{
	if (reader->short_read || count == 0)
		return CORE_MALFORMED;
	for (uint32_t i = 0; i < count; i++)
	{
		size_t start = reader->position;
		uint32_t length = reader_u32(reader);
		CoreStatus status;

		if (reader->short_read || length < 4 || length > reader->length - start)
			return CORE_MALFORMED;
		status = parse(reader, info);
		if (status != CORE_OK)
			return status;
		if (reader->position < start + length)
			reader->position = start + length;
	}
	return reader_left(reader) == 0 ? CORE_OK : CORE_MALFORMED;
}

/* A finger image block of 2005, after its length (19794-4:2005 table 3). */
static CoreStatus
parse_fir_2005(Reader block, ImageInfo *info)
{
	uint16_t width;
	uint16_t height;
	CoreStatus status;

	reader_skip(&block, 5);
	width = reader_u16(&block);
	height = reader_u16(&block);
	reader_skip(&block, 1);
	status = skip_data(&block, reader_left(&block));
	return status == CORE_OK ? format_set_dimensions(info, width, height) : status;
}

/*
 * A record of 2005 counts fingers, of which each may have several views, each
 * a block of its own that tells the number of its finger's views.
 */
static CoreStatus
read_fir_2005(Reader *reader, ImageInfo *info)
{
	CoreStatus status = read_record_length(reader, 6);
	uint8_t fingers;

	if (status != CORE_OK)
		return status;
	reader_skip(reader, 4);
	fingers = reader_u8(reader);
	reader_skip(reader, 13);
	if (reader->short_read || fingers == 0)
		return CORE_MALFORMED;
	for (uint32_t blocks = 0; reader_left(reader) > 0 || blocks < fingers; blocks++)
	{
		Reader block;

		status = read_block(reader, &block);
		if (status == CORE_OK)
			status = parse_fir_2005(block, info);
		if (status != CORE_OK)
			return status;
	}
	return CORE_OK;
}

/* What follows the quality blocks of a finger representation of 2011 (19794-4:2011 table 4). */
static CoreStatus
finish_fir_2011(Reader *reader, ImageInfo *info)
{
	uint16_t width;
	uint16_t height;
	CoreStatus status;

	/* Position, number, scale units, four sampling rates, depth, compression, impression. */
	reader_skip(reader, 14);
	width = reader_u16(reader);
	height = reader_u16(reader);
	status = skip_data(reader, reader_u32(reader));
	return status == CORE_OK ? format_set_dimensions(info, width, height) : status;
}

static CoreStatus
parse_fir_2011(Reader *reader, ImageInfo *info)
{
	skip_capture(reader);
	return finish_fir_2011(reader, info);
}

static CoreStatus
parse_fir_2011_certified(Reader *reader, ImageInfo *info)
{
	skip_capture(reader);
	reader_skip(reader, (size_t) CERTIFICATION_BLOCK_SIZE * reader_u8(reader));
	return finish_fir_2011(reader, info);
}

static CoreStatus
read_fir_2011(Reader *reader, ImageInfo *info)
{
	CoreStatus status = read_record_length(reader, 4);
	uint16_t count = reader_u16(reader);
	uint8_t certified = reader_u8(reader);

	reader_skip(reader, 1);
	if (status != CORE_OK)
		return status;
	if (certified > 1)
		return CORE_MALFORMED;
	return read_representations(reader, count,
								certified ? parse_fir_2011_certified : parse_fir_2011, info);
}

CoreStatus
format_fir(Reader reader, ImageInfo *info)
{
	switch (read_version(&reader))
	{
		case VERSION_010:
			return read_fir_2005(&reader, info);
		case VERSION_020:
			return read_fir_2011(&reader, info);
		default:
			return reader.short_read ? CORE_TRUNCATED : CORE_MALFORMED;
	}
}

/* A face of 2005, after its length (19794-5:2005 clause 5.5 to 5.8). */
static CoreStatus
parse_fac_2005(Reader block, ImageInfo *info)
{
	uint16_t points = reader_u16(&block);
	uint16_t width;
	uint16_t height;
	CoreStatus status;

	reader_skip(&block, 14);
	reader_skip(&block, (size_t) FEATURE_POINT_SIZE * points);
	reader_skip(&block, 2);
	width = reader_u16(&block);
	height = reader_u16(&block);
	reader_skip(&block, 6);
	status = skip_data(&block, reader_left(&block));
	return status == CORE_OK ? format_set_dimensions(info, width, height) : status;
}

/* A face record of 2005: as many faces as it says, to its end. */
static CoreStatus
read_fac_2005(Reader *reader, uint16_t count, ImageInfo *info)
{
	if (reader->short_read || count == 0)
		return CORE_MALFORMED;
	for (uint16_t i = 0; i < count; i++)
	{
		Reader block;
		CoreStatus status = read_block(reader, &block);

		if (status == CORE_OK)
			status = parse_fac_2005(block, info);
		if (status != CORE_OK)
			return status;
	}
	return reader_left(reader) == 0 ? CORE_OK : CORE_MALFORMED;
}

/* A face representation of 2011, after its length (19794-5:2011 figure 2). */
static CoreStatus
parse_fac_2011(Reader *reader, ImageInfo *info)
{
	uint16_t points;
	uint16_t width;
	uint16_t height;
	CoreStatus status;

	skip_capture(reader);
	points = reader_u16(reader);
	reader_skip(reader, 15);
	reader_skip(reader, (size_t) FEATURE_POINT_SIZE * points);
	reader_skip(reader, 2);
	width = reader_u16(reader);
	height = reader_u16(reader);
	reader_skip(reader, 5);
	status = skip_data(reader, reader_u32(reader));
	return status == CORE_OK ? format_set_dimensions(info, width, height) : status;
}

CoreStatus
format_fac(Reader reader, ImageInfo *info)
{
	uint32_t version = read_version(&reader);
	CoreStatus status = read_record_length(&reader, 4);
	uint16_t count = reader_u16(&reader);

	if (!reader.short_read && version != VERSION_010 && version != VERSION_030)
		return CORE_MALFORMED;
	if (status != CORE_OK)
		return status;
	if (version == VERSION_010)
		return read_fac_2005(&reader, count, info);
	/* The certification flag, of which faces have none, and the temporal semantics. */
	if (reader_u8(&reader) != 0)
		return CORE_MALFORMED;
	reader_skip(&reader, 2);
	return read_representations(&reader, count, parse_fac_2011, info);
}

/* Passes over the images of one eye of 2005; *images counts them. */
static CoreStatus
skip_eye(Reader *reader, uint32_t *images)
{
	uint16_t count;

	reader_skip(reader, 1);
	count = reader_u16(reader);
	for (uint16_t i = 0; i < count && !reader->short_read; i++)
	{
		uint32_t length;

		/* Number, quality, rotation angle and its uncertainty. */
		reader_skip(reader, 7);
		length = reader_u32(reader);
		if (length == 0)
			return CORE_MALFORMED;
		reader_skip(reader, length);
	}
	*images += count;
	return reader->short_read ? CORE_MALFORMED : CORE_OK;
}

/* An iris record of 2005, in which all images have the same size (19794-6:2005 clause 6.5). */
static CoreStatus
read_iir_2005(Reader *reader, ImageInfo *info)
{
	CoreStatus status = read_record_length(reader, 4);
	uint32_t images = 0;
	uint16_t header_size;
	uint8_t eyes;

	if (status != CORE_OK)
		return status;
	reader_skip(reader, 2);
	eyes = reader_u8(reader);
	header_size = reader_u16(reader);
	/* Properties, iris diameter, image format. */
	reader_skip(reader, 6);
	info->width = reader_u16(reader);
	info->height = reader_u16(reader);
	reader_skip(reader, 18);
	if (reader->short_read || header_size != IIR_2005_HEADER_SIZE)
		return CORE_MALFORMED;
	for (uint8_t i = 0; i < eyes && status == CORE_OK; i++)
		status = skip_eye(reader, &images);
	if (status != CORE_OK)
		return status;
	return images > 0 && reader_left(reader) == 0 ? CORE_OK : CORE_MALFORMED;
}

/* An iris representation of 2011, after its length (19794-6:2011 table 4). */
static CoreStatus
parse_iir_2011(Reader *reader, ImageInfo *info)
{
	uint16_t width;
	uint16_t height;
	CoreStatus status;

	skip_capture(reader);
	/* Number, eye, image type, image format, properties. */
	reader_skip(reader, 6);
	width = reader_u16(reader);
	height = reader_u16(reader);
	/* Depth, range, roll and its uncertainty, bounds of centre and diameter. */
	reader_skip(reader, 19);
	status = skip_data(reader, reader_u32(reader));
	return status == CORE_OK ? format_set_dimensions(info, width, height) : status;
}

static CoreStatus
read_iir_2011(Reader *reader, ImageInfo *info)
{
	CoreStatus status = read_record_length(reader, 4);
	uint16_t count = reader_u16(reader);
	uint8_t certified = reader_u8(reader);

	reader_skip(reader, 1);
	if (status != CORE_OK)
		return status;
	/* Irises have no certification blocks. */
	if (certified != 0)
		return CORE_MALFORMED;
	return read_representations(reader, count, parse_iir_2011, info);
}

CoreStatus
format_iir(Reader reader, ImageInfo *info)
{
	switch (read_version(&reader))
	{
		case VERSION_010:
			return read_iir_2005(&reader, info);
		case VERSION_020:
			return read_iir_2011(&reader, info);
		default:
			return reader.short_read ? CORE_TRUNCATED : CORE_MALFORMED;
	}
}

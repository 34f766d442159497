/*
 * format_jpeg2000.c - JPEG 2000 (ISO/IEC 15444-1), codestreams and JP2 files.
 */
#include "core/format_parts.h"

#define J2K_SOC 0xff4f
#define J2K_SIZ 0xff51
#define J2K_SOT 0xff90
#define J2K_SOD 0xff93
#define J2K_EOC 0xffd9

/* The smallest tile-part: SOT with its segment, then SOD. */
#define J2K_TILE_PART_MIN 14

#define BOX_FTYP 0x66747970
#define BOX_JP2H 0x6a703268
#define BOX_IHDR 0x69686472
#define BOX_JP2C 0x6a703263
#define BRAND_JP2 0x6a703220

/* Reads the SIZ segment's dimensions (A.5.1); a grid that is empty gives zero. */
static CoreStatus
read_size(Reader segment, ImageInfo *info)
{
	uint32_t extent[2];
	uint32_t offset[2];
	uint32_t tile[2];
	uint32_t tile_offset[2];
	uint32_t *fields[] = {extent, offset, tile, tile_offset};
	uint16_t components;

	reader_skip(&segment, 2);
	for (int i = 0; i < 4; i++)
	{
		fields[i][0] = reader_u32(&segment);
		fields[i][1] = reader_u32(&segment);
	}
	components = reader_u16(&segment);
	if (segment.short_read || components == 0 || reader_left(&segment) != 3U * components)
		return CORE_MALFORMED;
	for (int i = 0; i < 2; i++)
	{
		/* The first tile must reach into the image (B.3). */
		if (tile[i] == 0 || tile_offset[i] > offset[i] ||
			(uint64_t) tile_offset[i] + tile[i] <= offset[i])
			return CORE_MALFORMED;
	}
	info->width = extent[0] > offset[0] ? extent[0] - offset[0] : 0;
	info->height = extent[1] > offset[1] ? extent[1] - offset[1] : 0;
	return CORE_OK;
}

/* Passes over the tile-parts; the reader is after the first SOT marker (A.4.2). */
static CoreStatus
walk_tile_parts(Reader *reader)
{
	for (;;)
	{
		uint16_t segment_length = reader_u16(reader);
		uint32_t length;
		uint16_t marker;

		reader_skip(reader, 2);
		length = reader_u32(reader);
		reader_skip(reader, 2);
		if (reader->short_read)
			return CORE_TRUNCATED;
		if (segment_length != 10)
			return CORE_MALFORMED;
		if (length == 0)
			return format_ends_with(reader, J2K_EOC) ? CORE_OK : CORE_TRUNCATED;
		if (length < J2K_TILE_PART_MIN)
			return CORE_MALFORMED;
		/* The length counts from the marker's first byte. */
		reader_skip(reader, length - 12);
		marker = reader_u16(reader);
		if (reader->short_read)
			return CORE_TRUNCATED;
		if (marker == J2K_EOC)
			return reader_only_zeroes(reader) ? CORE_OK : CORE_MALFORMED;
		if (marker != J2K_SOT)
			return CORE_MALFORMED;
	}
}

CoreStatus
format_j2k(Reader reader, ImageInfo *info)
{
	CoreStatus status = CORE_OK;
	bool size_seen = false;

	if (reader_u16(&reader) != J2K_SOC)
		return reader.short_read ? CORE_TRUNCATED : CORE_MALFORMED;
	while (status == CORE_OK)
	{
		uint16_t marker = reader_u16(&reader);
		uint16_t length;
		Reader segment;

		if (reader.short_read)
			return CORE_TRUNCATED;
		if ((marker == J2K_SIZ) == size_seen)
			return CORE_MALFORMED;
		if (marker == J2K_SOT)
			return walk_tile_parts(&reader);
		/* Markers from FF30 to FF3F stand alone (A.1). */
		if (marker >= 0xff30 && marker <= 0xff3f)
			continue;
		if (marker < 0xff4f || marker == J2K_SOC || marker == J2K_SOD || marker == J2K_EOC)
			return CORE_MALFORMED;
		length = reader_u16(&reader);
		if (!reader.short_read && length < 2)
			return CORE_MALFORMED;
		segment = reader_nested(&reader, length < 2 ? 0 : length - 2U);
		if (reader.short_read)
			return CORE_TRUNCATED;
		if (marker == J2K_SIZ)
		{
			size_seen = true;
			status = read_size(segment, info);
		}
	}
	return status;
}

/* One box of a JP2 file. */
typedef struct Box
{
	uint32_t type;
	Reader content;
} Box;

/* Reads a box (I.4): length 1 means a longer length follows, 0 that it goes on to the end. */
static CoreStatus
read_box(Reader *reader, Box *box)
{
	uint64_t length = reader_u32(reader);
	uint64_t head = 8;

	box->type = reader_u32(reader);
	if (length == 1)
	{
		length = reader_u64(reader);
		head = 16;
	}
	else if (length == 0)
		length = head + reader_left(reader);
	if (reader->short_read)
		return CORE_TRUNCATED;
	if (length < head)
		return CORE_MALFORMED;
	if (length - head > reader_left(reader))
		return CORE_TRUNCATED;
	box->content = reader_nested(reader, (size_t) (length - head));
	return CORE_OK;
}

/* Tells whether a file type box names the JP2 format among its compatible ones (I.5.2). */
static bool
is_jp2_compatible(Reader content)
{
	uint32_t brand = reader_u32(&content);

	reader_skip(&content, 4);
	while (brand != BRAND_JP2 && reader_left(&content) >= 4)
		brand = reader_u32(&content);
	return brand == BRAND_JP2;
}

/* Reads the image header, the first box inside the JP2 header box (I.5.3). */
static CoreStatus
read_image_header(Reader content, ImageInfo *info)
{
	Box box;

	/* The super box is whole, so that a box within that is not contradicts it. */
	if (read_box(&content, &box) != CORE_OK || box.type != BOX_IHDR ||
		reader_left(&box.content) != 14)
		return CORE_MALFORMED;
	info->height = reader_u32(&box.content);
	info->width = reader_u32(&box.content);
	return CORE_OK;
}

/* Judges the codestream and that the header told the same dimensions. */
static CoreStatus
check_codestream(Reader content, const ImageInfo *header)
{
	ImageInfo found = {0};
	CoreStatus status = format_j2k(reader_make(content.bytes, content.length), &found);

	if (status != CORE_OK)
		return status;
	return found.width == header->width && found.height == header->height ? CORE_OK
																		  : CORE_MALFORMED;
}

CoreStatus
format_jp2(Reader reader, ImageInfo *info)
{
	bool header_seen = false;
	bool codestream_seen = false;
	CoreStatus status;
	Box box;

	reader_skip(&reader, 12);
	status = read_box(&reader, &box);
	if (status != CORE_OK)
		return status;
	if (box.type != BOX_FTYP || !is_jp2_compatible(box.content))
		return CORE_MALFORMED;
	while (!reader_only_zeroes(&reader))
	{
		status = read_box(&reader, &box);
		if (status == CORE_OK && box.type == BOX_JP2H)
		{
			status = header_seen ? CORE_MALFORMED : read_image_header(box.content, info);
			header_seen = true;
		}
		else if (status == CORE_OK && box.type == BOX_JP2C && !codestream_seen)
		{
			status = header_seen ? check_codestream(box.content, info) : CORE_MALFORMED;
			codestream_seen = true;
		}
		if (status != CORE_OK)
			return status;
	}
	return codestream_seen ? CORE_OK : CORE_TRUNCATED;
}

/*
 * format_jpeg.c - JPEG (ITU-T T.81).
 */
#include "core/format_parts.h"

#define JPEG_SOI 0xd8
#define JPEG_EOI 0xd9
#define JPEG_SOS 0xda
#define JPEG_DHT 0xc4
#define JPEG_JPG 0xc8
#define JPEG_DAC 0xcc
#define JPEG_TEM 0x01
#define JPEG_RST0 0xd0

/* Tells whether a marker starts a frame: SOF0 to SOF15 less the three others among them. */
static bool
is_frame(uint8_t marker)
{
	return marker >= 0xc0 && marker <= 0xcf && marker != JPEG_DHT && marker != JPEG_JPG &&
		   marker != JPEG_DAC;
}

/* Reads a marker, any number of fill bytes before it. 0 when there is none. */
static uint8_t
read_marker(Reader *reader)
{
	uint8_t byte = reader_u8(reader);

	if (byte != 0xff)
		return 0;
	while (byte == 0xff && !reader->short_read)
		byte = reader_u8(reader);
	return byte;
}

/* Reads a frame header's dimensions (T.81 B.2.2). */
static CoreStatus
read_frame(Reader segment, ImageInfo *info)
{
	uint8_t components;

	reader_skip(&segment, 1);
	info->height = reader_u16(&segment);
	info->width = reader_u16(&segment);
	components = reader_u8(&segment);
	if (segment.short_read || components == 0 || reader_left(&segment) != 3U * components)
		return CORE_MALFORMED;
	return CORE_OK;
}

/* Judges a scan header and that what follows it ends where an image does (T.81 B.2.3). */
static CoreStatus
check_scan(Reader segment, const Reader *rest)
{
	uint8_t components = reader_u8(&segment);

	if (segment.short_read || components == 0 || reader_left(&segment) != 2U * components + 3)
		return CORE_MALFORMED;
	return format_ends_with(rest, 0xff00 | JPEG_EOI) ? CORE_OK : CORE_TRUNCATED;
}

CoreStatus
format_jpeg(Reader reader, ImageInfo *info)
{
	bool frame_seen = false;

	reader_skip(&reader, 2);
	for (;;)
	{
		uint8_t marker = read_marker(&reader);
		uint16_t length;
		Reader segment;
		CoreStatus status = CORE_OK;

		if (reader.short_read)
			return CORE_TRUNCATED;
		if (marker == JPEG_TEM)
			continue;
		if (marker < 0xc0 || (marker >= JPEG_RST0 && marker <= JPEG_EOI))
			return CORE_MALFORMED;
		length = reader_u16(&reader);
		if (!reader.short_read && length < 2)
			return CORE_MALFORMED;
		segment = reader_nested(&reader, length < 2 ? 0 : length - 2U);
		if (reader.short_read)
			return CORE_TRUNCATED;
		if (marker == JPEG_SOS)
			return frame_seen ? check_scan(segment, &reader) : CORE_MALFORMED;
		if (is_frame(marker))
		{
			status = frame_seen ? CORE_MALFORMED : read_frame(segment, info);
			frame_seen = true;
		}
		if (status != CORE_OK)
			return status;
	}
}

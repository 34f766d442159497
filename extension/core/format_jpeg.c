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
#define JPEG_RST7 0xd7

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

/* Judges a scan header (T.81 B.2.3). */
static CoreStatus
check_scan(Reader segment)
{
	uint8_t components = reader_u8(&segment);

	if (segment.short_read || components == 0 || reader_left(&segment) != 2U * components + 3)
		return CORE_MALFORMED;
	return CORE_OK;
}

/*
 * Passes over entropy-coded data, up to the next marker that is no restart
 * (T.81 B.1.1.5: a data byte of 0xff is always followed by a zero).
 */
static void
skip_entropy_coded(Reader *reader)
{
	while (!reader->short_read)
	{
		Reader ahead = *reader;
		uint8_t byte = reader_u8(&ahead);
		uint8_t next = reader_u8(&ahead);

		if (byte == 0xff && next != 0x00 && (next < JPEG_RST0 || next > JPEG_RST7) &&
			!ahead.short_read)
			return;
		reader_skip(reader, 1);
		reader_skip_until(reader, 0xff);
	}
}

/* Judges one marker segment; frames and scans tell how far the image has come. */
static CoreStatus
read_segment(uint8_t marker, Reader segment, bool *frame_seen, ImageInfo *info)
{
	CoreStatus status = CORE_OK;

	if (marker == JPEG_SOS)
		return *frame_seen ? check_scan(segment) : CORE_MALFORMED;
	if (is_frame(marker))
	{
		status = *frame_seen ? CORE_MALFORMED : read_frame(segment, info);
		*frame_seen = true;
	}
	return status;
}

/*
 * What cameras append after the image's end is part of the evidence and kept,
 * but not looked at.
 */
CoreStatus
format_jpeg(Reader reader, ImageInfo *info)
{
	bool frame_seen = false;
	bool scan_seen = false;

	reader_skip(&reader, 2);
	for (;;)
	{
		uint8_t marker = read_marker(&reader);
		uint16_t length;
		Reader segment;
		CoreStatus status;

		if (reader.short_read)
			return CORE_TRUNCATED;
		if (marker == JPEG_TEM)
			continue;
		if (marker == JPEG_EOI && scan_seen)
			return CORE_OK;
		if (marker < 0xc0 || (marker >= JPEG_RST0 && marker <= JPEG_EOI))
			return CORE_MALFORMED;
		length = reader_u16(&reader);
		if (!reader.short_read && length < 2)
			return CORE_MALFORMED;
		segment = reader_nested(&reader, length < 2 ? 0 : length - 2U);
		if (reader.short_read)
			return CORE_TRUNCATED;
		status = read_segment(marker, segment, &frame_seen, info);
		if (status != CORE_OK)
			return status;
		if (marker == JPEG_SOS)
		{
			scan_seen = true;
			skip_entropy_coded(&reader);
		}
	}
}

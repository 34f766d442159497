/*
 * format_wsq.c - WSQ, the FBI's wavelet scalar quantization of fingerprints
 * (IAFIS-IC-0110).
 */
#include "core/format_parts.h"

#define WSQ_SOF 0xffa2
#define WSQ_SOB 0xffa3
#define WSQ_DTT 0xffa4
#define WSQ_COM 0xffa8
#define WSQ_EOI 0xffa1

/* Length of a frame header segment, its length field included. */
#define WSQ_FRAME_SIZE 17

/* Reads a frame header's dimensions: black and white come before them. */
static CoreStatus
read_frame(Reader segment, ImageInfo *info)
{
	if (segment.length != WSQ_FRAME_SIZE - 2)
		return CORE_MALFORMED;
	reader_skip(&segment, 2);
	info->height = reader_u16(&segment);
	info->width = reader_u16(&segment);
	return CORE_OK;
}

CoreStatus
format_wsq(Reader reader, ImageInfo *info)
{
	bool frame_seen = false;

	reader_skip(&reader, 2);
	for (;;)
	{
		uint16_t marker = reader_u16(&reader);
		uint16_t length;
		Reader segment;
		CoreStatus status = CORE_OK;

		if (reader.short_read)
			return CORE_TRUNCATED;
		if (marker != WSQ_SOF && marker != WSQ_SOB && !(marker >= WSQ_DTT && marker <= WSQ_COM))
			return CORE_MALFORMED;
		length = reader_u16(&reader);
		if (!reader.short_read && length < 2)
			return CORE_MALFORMED;
		segment = reader_nested(&reader, length < 2 ? 0 : length - 2U);
		if (reader.short_read)
			return CORE_TRUNCATED;
		if (marker == WSQ_SOB)
		{
			if (!frame_seen)
				return CORE_MALFORMED;
			return format_ends_with(&reader, WSQ_EOI) ? CORE_OK : CORE_TRUNCATED;
		}
		if (marker == WSQ_SOF)
		{
			status = frame_seen ? CORE_MALFORMED : read_frame(segment, info);
			frame_seen = true;
		}
		if (status != CORE_OK)
			return status;
	}
}

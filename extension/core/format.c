/*
 * format.c - tells the formats apart, by their first bytes.
 */
#include "core/formats.h"

#include "core/format_parts.h"

#include <string.h>

#define MAGIC_MAX 12

/* One format: what it begins with, and who reads the rest. */
typedef struct Format
{
	ImageFormat format;
	const char *name;
	uint8_t magic_length;
	uint8_t magic[MAGIC_MAX];
	CoreStatus (*parse)(Reader reader, ImageInfo *info);
} Format;

/*
 * AN2K is there twice: field numbers have two digits in the first edition
 * and three in later ones.
 */
static const Format format_table[] = {
	{IMAGE_FORMAT_JPEG, "jpeg", 3, {0xff, 0xd8, 0xff}, format_jpeg},
	{IMAGE_FORMAT_PNG, "png", 8, {0x89, 'P', 'N', 'G', 0x0d, 0x0a, 0x1a, 0x0a}, format_png},
	{IMAGE_FORMAT_JP2,
	 "jp2",
	 12,
	 {0, 0, 0, 0x0c, 'j', 'P', ' ', ' ', 0x0d, 0x0a, 0x87, 0x0a},
	 format_jp2},
	{IMAGE_FORMAT_J2K, "j2k", 4, {0xff, 0x4f, 0xff, 0x51}, format_j2k},
	{IMAGE_FORMAT_WSQ, "wsq", 3, {0xff, 0xa0, 0xff}, format_wsq},
	{IMAGE_FORMAT_FIR, "fir", 4, {'F', 'I', 'R', 0}, format_fir},
	{IMAGE_FORMAT_FAC, "fac", 4, {'F', 'A', 'C', 0}, format_fac},
	{IMAGE_FORMAT_IIR, "iir", 4, {'I', 'I', 'R', 0}, format_iir},
	{IMAGE_FORMAT_AN2K, "an2k", 6, {'1', '.', '0', '0', '1', ':'}, format_an2k},
	{IMAGE_FORMAT_AN2K, "an2k", 5, {'1', '.', '0', '1', ':'}, format_an2k},
};

#define FORMAT_COUNT (sizeof(format_table) / sizeof(format_table[0]))

static const Format *
format_find(const uint8_t *bytes, size_t length)
{
	for (size_t i = 0; i < FORMAT_COUNT; i++)
	{
		const Format *format = &format_table[i];

		if (length >= format->magic_length &&
			memcmp(bytes, format->magic, format->magic_length) == 0)
			return format;
	}
	return NULL;
}

static bool
side_is_plausible(uint32_t side)
{
	return side >= 1 && side <= IMAGE_MAX_SIDE;
}

CoreStatus
image_probe(const uint8_t *bytes, size_t length, ImageInfo *info)
{
	const Format *format = format_find(bytes, length);
	CoreStatus status;

	*info = (ImageInfo){0};
	if (format == NULL)
		return CORE_NOT_AN_IMAGE;
	info->format = format->format;
	status = format->parse(reader_make(bytes, length), info);
	if (status == CORE_OK && !(side_is_plausible(info->width) && side_is_plausible(info->height)))
		status = CORE_BAD_DIMENSIONS;
	if (status != CORE_OK)
		*info = (ImageInfo){.format = format->format};
	return status;
}

const char *
image_format_name(int code)
{
	for (size_t i = 0; i < FORMAT_COUNT; i++)
	{
		if ((int) format_table[i].format == code)
			return format_table[i].name;
	}
	return NULL;
}

bool
format_ends_with(const Reader *reader, uint16_t marker)
{
	size_t end = reader->length;

	while (end > reader->position && reader->bytes[end - 1] == 0)
		end--;
	return end - reader->position >= 2 && reader->bytes[end - 2] == marker >> 8 &&
		   reader->bytes[end - 1] == (marker & 0xff);
}

CoreStatus
format_set_dimensions(ImageInfo *info, uint32_t width, uint32_t height)
{
	if (width == 0 || height == 0)
		return CORE_BAD_DIMENSIONS;
	if (info->width == 0)
	{
		info->width = width;
		info->height = height;
	}
	return CORE_OK;
}

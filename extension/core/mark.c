/*
 * mark.c - marks in released files.
 */
#include "core/mark.h"

#include "core/crc32.h"
#include "core/reader.h"

#include <string.h>

/* What the MAC covers: the mark before it, then the image id and the entry's time. */
#define MARK_MACED_SIZE 36
#define MARK_TIME_SIZE 8
#define MARK_MESSAGE_SIZE (MARK_MACED_SIZE + ENVELOPE_ID_SIZE + MARK_TIME_SIZE)

#define JPEG_MARKER_SIZE 2
#define JPEG_LENGTH_SIZE 2
#define JPEG_APP0 0xe0
#define JPEG_APP1 0xe1

#define PNG_IHDR_END 33
#define PNG_CHUNK_HEAD 8
#define PNG_CRC_SIZE 4

static const uint8_t magic[8] = {'B', 'I', 'O', 'M', 'A', 'R', 'K', 1};

/* What stands before a mark: APP11, its length, the identifier (NUL included). */
static const uint8_t jpeg_head[20] = {0xff, 0xeb, 0x00, 0x56, 'b', 'i', 'o', 'm', 'e', 't',
									  'r',	'i',  'c',	'_',  'a', 'u', 'd', 'i', 't', 0};
static const uint8_t png_head[PNG_CHUNK_HEAD] = {0, 0, 0, MARK_SIZE, 'b', 'm', 'M', 'K'};

/* Signature, and the IHDR chunk's length and type, which every PNG file begins with. */
static const uint8_t png_start[16] = {0x89, 'P', 'N', 'G', 0x0d, 0x0a, 0x1a, 0x0a,
									  0,	0,	 0,	  13,  'I',	 'H',  'D',	 'R'};

_Static_assert(MARK_MESSAGE_SIZE <= MARK_SIZE, "the MAC's message is made where a mark fits");
_Static_assert(sizeof(jpeg_head) - JPEG_MARKER_SIZE + MARK_SIZE == 0x56,
			   "the segment's length is what its head says");

size_t
mark_overhead(ImageFormat format)
{
	switch (format)
	{
		case IMAGE_FORMAT_JPEG:
			return sizeof(jpeg_head) + MARK_SIZE;
		case IMAGE_FORMAT_PNG:
			return sizeof(png_head) + MARK_SIZE + PNG_CRC_SIZE;
		default:
			return 0;
	}
}

static void
write_mark(const Mark *mark, uint8_t out[MARK_SIZE])
{
	memcpy(out, magic, sizeof(magic));
	write_uint(out + 8, mark->key_id, 4);
	memcpy(out + 12, mark->log_id, MARK_LOG_ID_SIZE);
	write_uint(out + 28, (uint64_t) mark->sequence, 8);
	memcpy(out + MARK_MACED_SIZE, mark->mac, sizeof(mark->mac));
}

/* False for numbers that no mark has. */
static bool
read_mark(const uint8_t *bytes, Mark *mark)
{
	Reader reader = reader_make(bytes, MARK_SIZE);

	reader_skip(&reader, sizeof(magic));
	mark->key_id = reader_u32(&reader);
	reader_copy(&reader, mark->log_id, MARK_LOG_ID_SIZE);
	mark->sequence = (int64_t) reader_u64(&reader);
	reader_copy(&reader, mark->mac, sizeof(mark->mac));
	return mark->key_id != 0 && mark->sequence >= 0;
}

static CoreStatus
mark_mac(const SealKey *key, const Mark *mark, int64_t at, const uint8_t *image_id, uint8_t out[32])
{
	uint8_t message[MARK_SIZE];

	write_mark(mark, message);
	memcpy(message + MARK_MACED_SIZE, image_id, ENVELOPE_ID_SIZE);
	write_uint(message + MARK_MACED_SIZE + ENVELOPE_ID_SIZE, (uint64_t) at, MARK_TIME_SIZE);
	return core_hmac_sha256(key->mark, sizeof(key->mark), message, MARK_MESSAGE_SIZE, out);
}

CoreStatus
mark_make(const SealKey *key, const uint8_t *log_id, int64_t sequence, int64_t at,
		  const uint8_t *image_id, Mark *mark)
{
	CoreStatus status;

	memset(mark, 0, sizeof(*mark));
	if (sequence < 0)
		return CORE_MALFORMED;
	mark->key_id = key->id;
	memcpy(mark->log_id, log_id, MARK_LOG_ID_SIZE);
	mark->sequence = sequence;
	status = mark_mac(key, mark, at, image_id, mark->mac);
	if (status != CORE_OK)
		memset(mark, 0, sizeof(*mark));
	return status;
}

CoreStatus
mark_check(const SealKey *key, const Mark *mark, int64_t at, const uint8_t *image_id)
{
	uint8_t mac[32];
	CoreStatus status;

	if (key->id != mark->key_id)
		return CORE_WRONG_KEY;
	status = mark_mac(key, mark, at, image_id, mac);
	if (status == CORE_OK && !core_equal(mac, mark->mac, sizeof(mac)))
		status = CORE_NOT_AUTHENTIC;
	core_wipe(mac, sizeof(mac));
	return status;
}

/* Where a mark goes in a JPEG file: behind what readers want at the front. 0: nowhere. */
static size_t
jpeg_place(const uint8_t *file, size_t length)
{
	Reader reader = reader_make(file, length);
	size_t place;

	if (reader_u16(&reader) != 0xffd8)
		return 0;
	for (;;)
	{
		uint8_t marker;
		uint16_t size;

		place = reader.position;
		if (reader_u8(&reader) != 0xff)
			return 0;
		/* any marker may have fill bytes before it (T.81 B.1.1.2) */
		do
			marker = reader_u8(&reader);
		while (marker == 0xff);
		if (reader.short_read)
			return 0;
		if (marker != JPEG_APP0 && marker != JPEG_APP1)
			return place;
		size = reader_u16(&reader);
		if (size < JPEG_LENGTH_SIZE)
			return 0;
		reader_skip(&reader, size - JPEG_LENGTH_SIZE);
		if (reader.short_read)
			return 0;
	}
}

static size_t
png_place(const uint8_t *file, size_t length)
{
	return length > PNG_IHDR_END && memcmp(file, png_start, sizeof(png_start)) == 0 ? PNG_IHDR_END
																					: 0;
}

/* Writes a mark with what goes around it; out: mark_overhead(format) bytes. */
static void
write_segment(ImageFormat format, const Mark *mark, uint8_t *out)
{
	if (format == IMAGE_FORMAT_JPEG)
	{
		memcpy(out, jpeg_head, sizeof(jpeg_head));
		write_mark(mark, out + sizeof(jpeg_head));
	}
	else
	{
		/* the CRC covers the chunk's type and data */
		uint8_t *type = out + PNG_CHUNK_HEAD - 4;

		memcpy(out, png_head, sizeof(png_head));
		write_mark(mark, out + PNG_CHUNK_HEAD);
		write_uint(out + PNG_CHUNK_HEAD + MARK_SIZE, crc32_of(type, 4 + MARK_SIZE), PNG_CRC_SIZE);
	}
}

CoreStatus
mark_insert(ImageFormat format, uint8_t *buffer, size_t length, const Mark *mark)
{
	size_t overhead = mark_overhead(format);
	const uint8_t *file = buffer + overhead;
	size_t place = 0;

	if (format == IMAGE_FORMAT_JPEG)
		place = jpeg_place(file, length);
	else if (format == IMAGE_FORMAT_PNG)
		place = png_place(file, length);
	if (place == 0)
	{
		memmove(buffer, file, length);
		return CORE_MALFORMED;
	}
	memmove(buffer, file, place);
	write_segment(format, mark, buffer + place);
	return CORE_OK;
}

/* The next of the marks' magic numbers; NULL when there is none with a whole mark. */
static const uint8_t *
find_magic(const uint8_t *from, const uint8_t *end)
{
	while (end - from >= MARK_SIZE)
	{
		const uint8_t *found = memchr(from, magic[0], (size_t) (end - from) - MARK_SIZE + 1);

		if (found == NULL)
			return NULL;
		if (memcmp(found, magic, sizeof(magic)) == 0)
			return found;
		from = found + 1;
	}
	return NULL;
}

static bool
follows(const uint8_t *bytes, const uint8_t *found, const uint8_t *head, size_t size)
{
	return (size_t) (found - bytes) >= size && memcmp(found - size, head, size) == 0;
}

bool
mark_find(const uint8_t *bytes, size_t length, Mark *mark, size_t *offset, size_t *size)
{
	const uint8_t *end = bytes + length;
	const uint8_t *from = bytes;
	const uint8_t *found;

	while ((found = length > 0 ? find_magic(from, end) : NULL) != NULL)
	{
		bool jpeg = follows(bytes, found, jpeg_head, sizeof(jpeg_head));
		bool png = !jpeg && follows(bytes, found, png_head, sizeof(png_head)) &&
				   end - found >= MARK_SIZE + PNG_CRC_SIZE;

		if ((jpeg || png) && read_mark(found, mark))
		{
			*offset = (size_t) (found - bytes) - (jpeg ? sizeof(jpeg_head) : sizeof(png_head));
			*size = mark_overhead(jpeg ? IMAGE_FORMAT_JPEG : IMAGE_FORMAT_PNG);
			return true;
		}
		from = found + 1;
	}
	memset(mark, 0, sizeof(*mark));
	*offset = *size = 0;
	return false;
}

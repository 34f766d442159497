/*
 * envelope.c - reads and writes an envelope's header, without keys.
 */
#include "core/envelope.h"

#include "core/reader.h"

#include <string.h>

const uint8_t envelope_magic[ENVELOPE_MAGIC_SIZE] = {0x89, 'S', 'E', 'A', 'L', 0x0d, 0x0a, 0x1a};

bool
envelope_has_magic(const uint8_t *bytes, size_t length)
{
	return length >= ENVELOPE_MAGIC_SIZE && memcmp(bytes, envelope_magic, ENVELOPE_MAGIC_SIZE) == 0;
}

/* Reads the fixed fields after the version; the values are judged by the caller. */
static void
envelope_read_fields(Reader *reader, EnvelopeHeader *header)
{
	header->key_id = reader_u32(reader);
	header->width = reader_u32(reader);
	header->height = reader_u32(reader);
	header->plaintext_length = reader_u64(reader);
	reader_copy(reader, header->image_id, ENVELOPE_ID_SIZE);
	reader_copy(reader, header->nonce, ENVELOPE_NONCE_SIZE);
	reader_copy(reader, header->digest, ENVELOPE_DIGEST_SIZE);
	reader_copy(reader, header->picture_hash, ENVELOPE_PICTURE_HASH_SIZE);
	reader_copy(reader, header->home, ENVELOPE_HOME_SIZE);
	reader_copy(reader, header->origin, ENVELOPE_HOME_SIZE);
	header->counts_from_ms = reader_u64(reader);
	reader_skip(reader, ENVELOPE_MAC_SIZE);
}

/* Tells whether a header says only what a header may say, for an envelope of total bytes. */
static bool
envelope_is_plausible(const EnvelopeHeader *header, uint64_t total)
{
	return image_kind_name((int) header->kind) != NULL &&
		   image_format_name((int) header->format) != NULL && header->key_id != 0 &&
		   header->width >= 1 && header->width <= IMAGE_MAX_SIDE && header->height >= 1 &&
		   header->height <= IMAGE_MAX_SIDE && header->plaintext_length >= 1 &&
		   total > ENVELOPE_OVERHEAD && header->plaintext_length == total - ENVELOPE_OVERHEAD &&
		   (header->flags & ~(ENVELOPE_FLAG_IMPORTED | ENVELOPE_FLAG_UNCLAIMED)) == 0;
}

CoreStatus
envelope_parse(const uint8_t *bytes, size_t available, uint64_t total, EnvelopeHeader *header)
{
	Reader reader = reader_make(bytes, available);
	EnvelopeHeader found = {0};
	uint64_t reserved;

	memset(header, 0, sizeof(*header));
	if (available < ENVELOPE_MAGIC_SIZE)
		return CORE_TRUNCATED;
	if (!envelope_has_magic(bytes, available))
		return CORE_MALFORMED;
	if (available < ENVELOPE_HEADER_SIZE || total < available)
		return CORE_TRUNCATED;

	reader_skip(&reader, ENVELOPE_MAGIC_SIZE);
	if (reader_u8(&reader) != ENVELOPE_VERSION)
		return CORE_BAD_VERSION;
	found.kind = (ImageKind) reader_u8(&reader);
	found.format = (ImageFormat) reader_u8(&reader);
	reserved = reader_u8(&reader);
	envelope_read_fields(&reader, &found);
	found.flags = reader_u8(&reader);
	reserved |= reader_uint(&reader, ENVELOPE_STAMP_OFFSET - ENVELOPE_FLAGS_OFFSET - 1);
	reader_copy(&reader, found.stamp, ENVELOPE_STAMP_SIZE);

	if (reader.short_read)
		return CORE_TRUNCATED;
	if (reserved != 0 || !envelope_is_plausible(&found, total))
		return CORE_MALFORMED;
	*header = found;
	return CORE_OK;
}

void
envelope_write_header(const EnvelopeHeader *header, uint8_t *bytes)
{
	memset(bytes, 0, ENVELOPE_HEADER_SIZE);
	memcpy(bytes, envelope_magic, ENVELOPE_MAGIC_SIZE);
	bytes[8] = ENVELOPE_VERSION;
	bytes[9] = (uint8_t) header->kind;
	bytes[10] = (uint8_t) header->format;
	write_uint(bytes + 12, header->key_id, 4);
	write_uint(bytes + 16, header->width, 4);
	write_uint(bytes + 20, header->height, 4);
	write_uint(bytes + 24, header->plaintext_length, 8);
	memcpy(bytes + 32, header->image_id, ENVELOPE_ID_SIZE);
	memcpy(bytes + 48, header->nonce, ENVELOPE_NONCE_SIZE);
	memcpy(bytes + 72, header->digest, ENVELOPE_DIGEST_SIZE);
	memcpy(bytes + ENVELOPE_PICTURE_HASH_OFFSET, header->picture_hash, ENVELOPE_PICTURE_HASH_SIZE);
	memcpy(bytes + ENVELOPE_HOME_OFFSET, header->home, ENVELOPE_HOME_SIZE);
	memcpy(bytes + ENVELOPE_ORIGIN_OFFSET, header->origin, ENVELOPE_HOME_SIZE);
	write_uint(bytes + ENVELOPE_COUNTS_FROM_OFFSET, header->counts_from_ms, 8);
}

uint64_t
envelope_sealed_at_ms(const EnvelopeHeader *header)
{
	Reader reader = reader_make(header->image_id, ENVELOPE_ID_SIZE);

	return reader_uint(&reader, 6);
}

/*
 * reader.h - a bounds-checked reader of big-endian bytes.
 *
 * Every byte that core/ takes from outside passes through here. A read that
 * would go beyond the end yields zeroes and sets `short_read`, which stays
 * set: a parser may read a whole structure and ask once, before it believes
 * any of it. Borrows the bytes; never allocates.
 */
#ifndef BIOMETRIC_CORE_READER_H
#define BIOMETRIC_CORE_READER_H

#include "core/status.h"

#include <string.h>

typedef struct Reader
{
	const uint8_t *bytes;
	size_t length;	 /* bytes */
	size_t position; /* bytes from the start, never beyond length */
	bool short_read; /* a read went beyond the end */
} Reader;

/* reader_make starts reading at the first of length bytes. */
static inline Reader
reader_make(const uint8_t *bytes, size_t length)
{
	return (Reader){.bytes = bytes, .length = length};
}

/* reader_left returns the number of bytes not read yet. */
static inline size_t
reader_left(const Reader *reader)
{
	return reader->length - reader->position;
}

/* reader_take returns the next count bytes and passes over them, or NULL when there are fewer. */
static inline const uint8_t *
reader_take(Reader *reader, size_t count)
{
	const uint8_t *taken = reader->bytes + reader->position;

	if (count > reader_left(reader))
	{
		reader->position = reader->length;
		reader->short_read = true;
		return NULL;
	}
	reader->position += count;
	return taken;
}

/* reader_skip passes over count bytes. */
static inline void
reader_skip(Reader *reader, size_t count)
{
	(void) reader_take(reader, count);
}

/*
 * reader_skip_until passes over bytes up to the next that has a value, which
 * is not taken; to the end, as a short read, when none has.
 */
static inline void
reader_skip_until(Reader *reader, uint8_t value)
{
	const uint8_t *from = reader->bytes + reader->position;
	const uint8_t *found =
		reader_left(reader) > 0 ? memchr(from, value, reader_left(reader)) : NULL;

	reader_skip(reader, found != NULL ? (size_t) (found - from) : reader_left(reader) + 1);
}

/* reader_copy copies the next count bytes to out, zeroes when there are fewer. */
static inline void
reader_copy(Reader *reader, uint8_t *out, size_t count)
{
	const uint8_t *taken = reader_take(reader, count);

	if (taken != NULL)
		memcpy(out, taken, count);
	else
		memset(out, 0, count);
}

/* reader_uint reads a big-endian integer of 1 to 8 bytes; 0 when there are fewer. */
static inline uint64_t
reader_uint(Reader *reader, int size)
{
	const uint8_t *taken = reader_take(reader, (size_t) size);
	uint64_t value = 0;

	for (int i = 0; taken != NULL && i < size; i++)
		value = value << 8 | taken[i];
	return value;
}

/* reader_u8, reader_u16, reader_u32 and reader_u64 read 1, 2, 4 and 8 bytes. */
static inline uint8_t
reader_u8(Reader *reader)
{
	return (uint8_t) reader_uint(reader, 1);
}

static inline uint16_t
reader_u16(Reader *reader)
{
	return (uint16_t) reader_uint(reader, 2);
}

static inline uint32_t
reader_u32(Reader *reader)
{
	return (uint32_t) reader_uint(reader, 4);
}

static inline uint64_t
reader_u64(Reader *reader)
{
	return reader_uint(reader, 8);
}

/* reader_nested starts a reader over the next count bytes and passes over them here. */
static inline Reader
reader_nested(Reader *reader, size_t count)
{
	const uint8_t *taken = reader_take(reader, count);

	return taken != NULL ? reader_make(taken, count) : (Reader){.short_read = true};
}

/* reader_only_zeroes tells whether nothing but zero bytes, or nothing, is left. */
static inline bool
reader_only_zeroes(const Reader *reader)
{
	for (size_t i = reader->position; i < reader->length; i++)
	{
		if (reader->bytes[i] != 0)
			return false;
	}
	return true;
}

/* write_uint writes an integer as size big-endian bytes, 1 to 8. */
static inline void
write_uint(uint8_t *out, uint64_t value, int size)
{
	for (int i = size - 1; i >= 0; i--)
	{
		out[i] = (uint8_t) value;
		value >>= 8;
	}
}

#endif

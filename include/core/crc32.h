/*
 * crc32.h - the CRC-32 of PNG chunks. It guards against accidents, not against people.
 */
#ifndef BIOMETRIC_CORE_CRC32_H
#define BIOMETRIC_CORE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/*
 * crc32_of computes the CRC-32 of ISO/IEC 15948 annex D, bit by bit: it only ever covers less
 * than a hundred bytes here.
 */
static inline uint32_t
crc32_of(const uint8_t *bytes, size_t length)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < length; i++)
	{
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
	}
	return ~crc;
}

#endif

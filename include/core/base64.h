/*
 * base64.h - RFC 4648 section 4, with padding, without line breaks.
 */
#ifndef BIOMETRIC_CORE_BASE64_H
#define BIOMETRIC_CORE_BASE64_H

#include "core/status.h"

/* Characters for count bytes, without a terminating NUL. */
#define BASE64_LENGTH(count) (((count) + 2) / 3 * 4)

/* base64_encode writes BASE64_LENGTH(count) characters and a NUL to out, which has room for them. */
extern void base64_encode(const uint8_t *bytes, size_t count, char *out);

/*
 * base64_decode reads length characters; only the one canonical encoding of
 * some bytes is accepted: no blanks, padded, the bits behind the last byte
 * zero. out: room for capacity bytes, may be written to also on failure; NULL
 * only checks and counts. count: the bytes, on CORE_OK, else 0. Returns
 * CORE_OK, CORE_TOO_SMALL or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus base64_decode(const char *text, size_t length, uint8_t *out,
												size_t capacity, size_t *count);

#endif

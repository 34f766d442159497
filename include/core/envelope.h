/*
 * envelope.h - the layout of a sealed image.
 *
 * A sealed image is a header, the ciphertext and a tag. All integers are
 * big-endian.
 *
 *   offset size
 *        0    8  magic  89 'S' 'E' 'A' 'L' 0D 0A 1A
 *        8    1  version, 1
 *        9    1  kind                 (ImageKind)
 *       10    1  format               (ImageFormat)
 *       11    1  zero
 *       12    4  key id               (1 to 2^32-1)
 *       16    4  width, pixels
 *       20    4  height, pixels
 *       24    8  plaintext length, bytes
 *       32   16  image id             (UUIDv7, RFC 9562; its time is the sealing time)
 *       48   24  nonce                (XAES-256-GCM)
 *       72   32  digest               (HMAC-SHA256 of the plaintext, own key)
 *      104   32  picture hash         (core/picture_hash.h, XORed with a stream of the
 *                                    image's own; zeroes below it: no hash)
 *   --- 136  the bytes above are the body's AAD and never change
 *      136   16  home                 (random id of (relation, column), zero until bound)
 *      152   16  origin               (the home that it was bound to first)
 *      168    8  counts from          (ms since 1970-01-01 UTC, signed, that its retention
 *                                    counts from, by its row; 0: the sealing time)
 *   --- 176  the bytes above are what the header MAC covers
 *      176   32  header MAC           (HMAC-SHA256, own key)
 *   --- 208  the bytes below are outside both MACs
 *      208    1  flags                (bit 0: imported; bit 1: unclaimed)
 *      209    7  zero
 *      216   16  stamp                (written by the cast to bytea only, else zero)
 *   --- 232
 *      232    n  ciphertext, n = plaintext length
 *    232+n   16  tag
 *
 * The magic differs from every format's within the first two bytes, and its
 * first byte begins no UTF-8 text, so that neither an image nor text can be
 * mistaken for an envelope.
 */
#ifndef BIOMETRIC_CORE_ENVELOPE_H
#define BIOMETRIC_CORE_ENVELOPE_H

#include "core/formats.h"
#include "core/kinds.h"
#include "core/status.h"

#define ENVELOPE_MAGIC_SIZE 8
#define ENVELOPE_VERSION 1
#define ENVELOPE_PICTURE_HASH_OFFSET 104
#define ENVELOPE_PICTURE_HASH_SIZE 32
#define ENVELOPE_AAD_SIZE 136
#define ENVELOPE_HOME_OFFSET 136
#define ENVELOPE_HOME_SIZE 16
#define ENVELOPE_ORIGIN_OFFSET 152
#define ENVELOPE_COUNTS_FROM_OFFSET 168
#define ENVELOPE_MACED_SIZE 176
#define ENVELOPE_MAC_OFFSET 176
#define ENVELOPE_MAC_SIZE 32
#define ENVELOPE_FLAGS_OFFSET 208
#define ENVELOPE_STAMP_OFFSET 216
#define ENVELOPE_STAMP_SIZE 16
#define ENVELOPE_HEADER_SIZE 232
#define ENVELOPE_TAG_SIZE 16
#define ENVELOPE_OVERHEAD (ENVELOPE_HEADER_SIZE + ENVELOPE_TAG_SIZE)
#define ENVELOPE_NONCE_SIZE 24
#define ENVELOPE_DIGEST_SIZE 32
#define ENVELOPE_ID_SIZE 16

/*
 * imported: given from outside, and nobody has shown yet whose it is.
 * unclaimed: was stored so; no rights of whoever moves it on claim it now.
 */
#define ENVELOPE_FLAG_IMPORTED 0x01
#define ENVELOPE_FLAG_UNCLAIMED 0x02

extern const uint8_t envelope_magic[ENVELOPE_MAGIC_SIZE];

/* A header in host order. Filled by envelope_parse only; holds no pointers. */
typedef struct EnvelopeHeader
{
	ImageKind kind;
	ImageFormat format;
	uint32_t key_id;
	uint32_t width;
	uint32_t height;
	uint64_t plaintext_length; /* bytes */
	uint8_t image_id[ENVELOPE_ID_SIZE];
	uint8_t nonce[ENVELOPE_NONCE_SIZE];
	uint8_t digest[ENVELOPE_DIGEST_SIZE];
	uint8_t picture_hash[ENVELOPE_PICTURE_HASH_SIZE]; /* encrypted: see seal_picture_hash */
	uint8_t home[ENVELOPE_HOME_SIZE];
	uint8_t origin[ENVELOPE_HOME_SIZE];
	uint64_t counts_from_ms; /* two's complement: negative before 1970; 0: the sealing time */
	uint8_t flags;
	uint8_t stamp[ENVELOPE_STAMP_SIZE];
} EnvelopeHeader;

/* envelope_has_magic tells whether length bytes begin with the magic. */
extern bool envelope_has_magic(const uint8_t *bytes, size_t length);

/*
 * envelope_parse reads the header of an envelope, trusting no length.
 *
 * bytes, available: at least the first ENVELOPE_HEADER_SIZE bytes.
 * total: length of the whole envelope in bytes (known from TOAST even when
 *   only a slice is at hand); must equal what the header says.
 * header: filled on CORE_OK, zeroed otherwise.
 * Returns CORE_OK, CORE_TRUNCATED, CORE_MALFORMED (magic, reserved bytes,
 * kind, format, key id, dimensions or length) or CORE_BAD_VERSION. Authenticates
 * nothing: seal_check_header does.
 */
extern CORE_MUST_CHECK CoreStatus envelope_parse(const uint8_t *bytes, size_t available,
												 uint64_t total, EnvelopeHeader *header);

/*
 * envelope_write_header writes the first ENVELOPE_MACED_SIZE bytes of a
 * header and zeroes the rest of its ENVELOPE_HEADER_SIZE bytes (MAC, flags,
 * stamp). bytes must have room for ENVELOPE_HEADER_SIZE.
 */
extern void envelope_write_header(const EnvelopeHeader *header, uint8_t *bytes);

/* envelope_sealed_at_ms returns the sealing time in ms since 1970-01-01 UTC, from the image id. */
extern uint64_t envelope_sealed_at_ms(const EnvelopeHeader *header);

#endif

/*
 * mark.h - the mark that a released JPEG or PNG can carry: which disclosure it
 * is of, by whose ledger, and a MAC. Pixels and all other bytes stay as they are.
 *
 * The mark is MARK_SIZE bytes:
 *
 *   offset size
 *        0    8  "BIOMARK" and the version, 1
 *        8    4  key id, big-endian
 *       12   16  log id
 *       28    8  sequence number of the disclosure, big-endian
 *       36   32  HMAC-SHA256 by the key's mark key of the bytes above, the image id
 *                of the image that was released, and the time of the disclosure's
 *                entry, 8 bytes, big-endian
 *
 * The time makes the entry the only one of its number: after a failover that lost the ledger's
 * end, or with a volume that was rewound, numbers are given again under the same log id.
 *
 * In a JPEG file it is an APP11 segment of its own, which begins with the identifier
 * "biometric_audit" and a NUL, after the APP0 and APP1 segments that the file begins with;
 * in a PNG file an ancillary, private, unsafe-to-copy chunk "bmMK" behind IHDR. A file that is
 * marked again has the newest mark first.
 */
#ifndef BIOMETRIC_CORE_MARK_H
#define BIOMETRIC_CORE_MARK_H

#include "core/formats.h"
#include "core/seal.h"

#define MARK_SIZE 68
#define MARK_LOG_ID_SIZE 16

typedef struct Mark
{
	uint32_t key_id; /* from 1 */
	uint8_t log_id[MARK_LOG_ID_SIZE];
	int64_t sequence; /* of the disclosure, from 0 */
	uint8_t mac[32];
} Mark;

/* mark_overhead returns by how many bytes a mark makes a file longer; 0: not this format. */
extern size_t mark_overhead(ImageFormat format);

/*
 * mark_make fills in a mark with its MAC. log_id: MARK_LOG_ID_SIZE bytes; sequence, at: of the
 * disclosure's entry, at in microseconds since 1970-01-01 UTC; image_id: ENVELOPE_ID_SIZE
 * bytes. Returns CORE_OK, CORE_MALFORMED (a negative sequence number) or CORE_CRYPTO_FAILURE;
 * the mark is zeroed on failure.
 */
extern CORE_MUST_CHECK CoreStatus mark_make(const SealKey *key, const uint8_t *log_id,
											int64_t sequence, int64_t at, const uint8_t *image_id,
											Mark *mark);

/*
 * mark_check verifies a mark's MAC, for the time of its disclosure and the image that this was
 * of. Returns CORE_OK, CORE_WRONG_KEY, CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus mark_check(const SealKey *key, const Mark *mark, int64_t at,
											 const uint8_t *image_id);

/*
 * mark_insert puts a mark into a file. buffer: the file's bytes begin at
 * buffer + mark_overhead(format); afterwards the marked file begins at buffer
 * and is length + mark_overhead(format) bytes long. length: of the file. Returns CORE_OK, or
 * CORE_MALFORMED (the file moved to the buffer's beginning, without a mark) when the file's
 * structure has no place for it.
 */
extern CORE_MUST_CHECK CoreStatus mark_insert(ImageFormat format, uint8_t *buffer, size_t length,
											  const Mark *mark);

/*
 * mark_find finds the first mark in a file, trusting nothing: it looks for the bytes that a mark
 * stands between, not for the structure of the file around them, so that files that are cut short,
 * damaged or kept whole within other files give theirs, too. mark: filled in, its MAC not
 * checked; zeroed when there is none. offset, size: where it stands, with the segment or chunk
 * around it, so that without these bytes the file is as it was before it was marked. The next one
 * is found from offset + 1 on: forged ones may reach into others. False: there is none.
 */
extern bool mark_find(const uint8_t *bytes, size_t length, Mark *mark, size_t *offset,
					  size_t *size);

#endif

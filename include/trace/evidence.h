/*
 * evidence.h - what a file can be known by: its marks, and under each key of the
 * keyring its digest and the hashes of its picture.
 *
 * For extension/trace only.
 */
#ifndef BIOMETRIC_TRACE_EVIDENCE_H
#define BIOMETRIC_TRACE_EVIDENCE_H

#include "postgres.h"

#include "core/mark.h"
#include "core/picture_hash.h"

/* So many marks of one file are looked at. */
#define EVIDENCE_MARKS 8

typedef struct EvidenceMark
{
	Mark mark; /* not authenticated */
	Size offset;
	Size size;
} EvidenceMark;

/* A picture hash, blinded, as numbers. */
typedef struct EvidenceHash
{
	uint64 words[PICTURE_HASH_SIZE / sizeof(uint64)];
} EvidenceHash;

/* What the file is under one key. */
typedef struct EvidenceKey
{
	uint32 id;
	int digests; /* of the file, and of it without marks */
	uint8 (*digest)[ENVELOPE_DIGEST_SIZE];
	int guesses; /* 0: no picture */
	EvidenceHash *guess;
} EvidenceKey;

typedef struct Evidence
{
	bool sealed;	 /* it is a sealed image, known by its header */
	bool has_format; /* of a known format, be it damaged */
	ImageFormat format;
	bool has_picture;
	int marks;
	bool more_marks; /* than EVIDENCE_MARKS */
	EvidenceMark mark[EVIDENCE_MARKS];
	int keys; /* ascending by id */
	EvidenceKey *key;
} Evidence;

/*
 * evidence_read looks at a file. A sealed image is known by its header if a key
 * authenticates it, else a NOTICE says why not. Result: in the current memory
 * context; what was derived from the file on the way is wiped. Interruptible.
 * Errors: CONFIG_FILE_ERROR without a usable keyring; 58000 when OpenSSL failed.
 */
extern Evidence *evidence_read(const uint8 *bytes, Size length);

/* evidence_key returns what the file is under a key; NULL: the key is not in the keyring. */
extern const EvidenceKey *evidence_key(const Evidence *evidence, uint32 id);

/* evidence_has_digest tells whether the first size bytes of a digest are the file's under a key. */
extern bool evidence_has_digest(const EvidenceKey *key, const uint8 *digest, Size size);

/*
 * evidence_distance returns in how many bits an image's picture hash differs from the nearest of
 * the file's under the same key; -1: in more than limit, or one of them has none.
 * picture_hash: PICTURE_HASH_SIZE bytes or NULL.
 */
extern int evidence_distance(const EvidenceKey *key, const uint8 *picture_hash, int limit);

#endif

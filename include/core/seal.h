/*
 * seal.h - seals and opens envelopes.
 *
 * XAES-256-GCM (c2sp.org/XAES-256-GCM) for the body, HMAC-SHA256 for the
 * header, for the digest, and for the stream that hides a picture hash. From
 * each 32-byte master key one key a purpose is derived with HKDF-SHA256
 * (RFC 5869, no salt; info "biometric_audit 1 body", "... header", "... digest",
 * "... picture", "... blind", "... mark"), so that no key serves two purposes.
 *
 * Nothing here allocates besides OpenSSL's contexts, which are fetched once a
 * process and reused. Secrets live only in SealKey, which its owner wipes.
 * Outputs are zeroed on every failure.
 */
#ifndef BIOMETRIC_CORE_SEAL_H
#define BIOMETRIC_CORE_SEAL_H

#include "core/envelope.h"
#include "core/status.h"

#define SEAL_MASTER_KEY_SIZE 32
#define SEAL_CHECK_SIZE 32

typedef struct SealKey
{
	uint32_t id; /* 1 to 2^32-1 */
	uint8_t body[32];
	uint8_t cmac_k1[16]; /* XAES's subkey, from body */
	uint8_t header[32];
	uint8_t digest[32];
	uint8_t picture[32];	  /* for the streams that hide picture hashes in envelopes */
	uint8_t mark[32];		  /* for the MACs of marks */
	uint8_t blind_mask[32];	  /* which bits of a picture hash are turned round, */
	uint8_t blind_order[256]; /* and where bit i of a blinded one comes from: a permutation */
} SealKey;

/* What the caller knows of an image to be sealed. */
typedef struct SealRequest
{
	ImageKind kind;
	ImageInfo info;
	uint64_t now_ms;		  /* sealing time, ms since 1970-01-01 UTC, goes into the image id */
	const uint8_t *plaintext; /* borrowed; not wiped here */
	size_t length;			  /* bytes, at least 1 */
	/* ENVELOPE_PICTURE_HASH_SIZE bytes, not all zero; borrowed. NULL: it has none. */
	const uint8_t *picture_hash;
} SealRequest;

/* seal_key_init derives a SealKey from a master key. key is zeroed on failure. */
extern CORE_MUST_CHECK CoreStatus seal_key_init(SealKey *key, uint32_t id,
												const uint8_t master[SEAL_MASTER_KEY_SIZE]);

/*
 * seal_key_check derives what a key is recognised by without being told: HKDF-SHA256 of the
 * master key, info "biometric_audit 1 check". It opens nothing. check: zeroed on failure.
 */
extern CORE_MUST_CHECK CoreStatus seal_key_check(const uint8_t master[SEAL_MASTER_KEY_SIZE],
												 uint8_t check[SEAL_CHECK_SIZE]);

/* seal_key_wipe overwrites a key with zeroes the compiler cannot drop. */
extern void seal_key_wipe(SealKey *key);

/*
 * seal_image writes a whole envelope: fresh image id and nonce, empty home,
 * no flags, no stamp.
 *
 * out: request->length + ENVELOPE_OVERHEAD bytes; zeroed on failure.
 * Returns CORE_OK or CORE_CRYPTO_FAILURE (also when randomness failed).
 */
extern CORE_MUST_CHECK CoreStatus seal_image(const SealKey *key, const SealRequest *request,
											 uint8_t *out);

/*
 * seal_check_header verifies the header MAC of an envelope's first
 * ENVELOPE_HEADER_SIZE bytes. Returns CORE_OK, CORE_WRONG_KEY,
 * CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus seal_check_header(const SealKey *key, const uint8_t *header_bytes,
													const EnvelopeHeader *header);

/*
 * seal_open checks the header MAC, then decrypts the body and verifies its
 * tag.
 *
 * envelope: whole envelope, as parsed into header.
 * out: header->plaintext_length bytes, may not overlap the envelope; zeroed
 *   unless CORE_OK. Until this function has returned CORE_OK the bytes in out
 *   are unauthenticated and must not be used.
 * Returns CORE_OK, CORE_WRONG_KEY, CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus seal_open(const SealKey *key, const uint8_t *envelope,
											const EnvelopeHeader *header, uint8_t *out);

/* seal_verify is seal_open without an output: body is decrypted piecewise into a wiped scratch. */
extern CORE_MUST_CHECK CoreStatus seal_verify(const SealKey *key, const uint8_t *envelope,
											  const EnvelopeHeader *header);

/* seal_digest computes the keyed digest of a plaintext, as it stands in the header. */
extern CORE_MUST_CHECK CoreStatus seal_digest(const SealKey *key, const uint8_t *plaintext,
											  size_t length, uint8_t out[ENVELOPE_DIGEST_SIZE]);

/*
 * seal_picture_hash takes an image's picture hash out of its header, blinded
 * (picture_hash_blind): the only form in which a hash leaves an envelope.
 * header: parsed, and checked by seal_check_header with the same key.
 * blinded: zeroed on false. False: the image has no hash, the key is another, or
 * OpenSSL failed.
 */
extern CORE_MUST_CHECK bool seal_picture_hash(const SealKey *key, const EnvelopeHeader *header,
											  uint8_t blinded[ENVELOPE_PICTURE_HASH_SIZE]);

/* Where an image is, was first, and what its retention counts from. */
typedef struct SealPlace
{
	const uint8_t *home;	 /* ENVELOPE_HOME_SIZE bytes */
	const uint8_t *origin;	 /* likewise */
	uint64_t counts_from_ms; /* ms since 1970-01-01 UTC; 0: the sealing time */
} SealPlace;

/*
 * seal_rehome puts an image's place into an envelope's header and renews the
 * header MAC; the body is not touched. header_bytes: ENVELOPE_HEADER_SIZE
 * bytes, whose MAC the caller has checked.
 */
extern CORE_MUST_CHECK CoreStatus seal_rehome(const SealKey *key, uint8_t *header_bytes,
											  const SealPlace *place);

/* Memory that a plaintext goes through, a piece at a time, when it is sealed again. */
typedef struct SealScratch
{
	uint8_t *bytes; /* wiped by seal_again */
	size_t size;	/* bytes, at least 1 */
} SealScratch;

/*
 * seal_again seals an image under another key: the same image id and whatever else the header
 * says, flags included; fresh nonce, digest, picture hash and header MAC of the other key, no stamp.
 * The body is authenticated, and digested, before the first byte of it is sealed.
 *
 * from: the envelope's key. to: another. envelope: whole, as parsed into header.
 * scratch: the plaintext is nowhere else.
 * out: as many bytes as the envelope, zeroed unless CORE_OK; may not overlap it.
 * Returns CORE_OK, CORE_WRONG_KEY, CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus seal_again(const SealKey *from, const SealKey *to,
											 const uint8_t *envelope, const EnvelopeHeader *header,
											 const SealScratch *scratch, uint8_t *out);

/* core_random fills length bytes from OpenSSL's generator. */
extern CORE_MUST_CHECK CoreStatus core_random(uint8_t *out, size_t length);

/* core_wipe overwrites memory with zeroes the compiler cannot drop. */
extern void core_wipe(void *memory, size_t length);

/* core_equal compares in constant time. */
extern bool core_equal(const void *a, const void *b, size_t length);

/*
 * core_hmac_begin, core_hmac_add and core_hmac_end compute HMAC-SHA256 of what comes in pieces.
 * Nothing else may be authenticated in between. core_hmac_end must follow core_hmac_begin
 * whatever that and core_hmac_add returned: it forgets the key. done: whether they all succeeded.
 */
extern CORE_MUST_CHECK bool core_hmac_begin(const uint8_t *key, size_t key_length);
extern CORE_MUST_CHECK bool core_hmac_add(const void *data, size_t length);
extern CORE_MUST_CHECK CoreStatus core_hmac_end(bool done, uint8_t out[32]);

/* core_hmac_sha256 computes HMAC-SHA256 (RFC 2104). out is zeroed on failure. */
extern CORE_MUST_CHECK CoreStatus core_hmac_sha256(const uint8_t *key, size_t key_length,
												   const void *data, size_t length,
												   uint8_t out[32]);

#endif

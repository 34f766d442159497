/*
 * xaes.h - XAES-256-GCM, as c2sp.org/XAES-256-GCM defines it: AES-256-GCM
 * under a key derived by NIST SP 800-108 counter mode over CMAC-AES-256 from
 * the first 12 bytes of a 24-byte nonce.
 */
#ifndef BIOMETRIC_CORE_XAES_H
#define BIOMETRIC_CORE_XAES_H

#include "core/status.h"

#define XAES_KEY_SIZE 32
#define XAES_NONCE_SIZE 24
#define XAES_TAG_SIZE 16

/* What is sealed or opened. AAD and text are borrowed. */
typedef struct XaesInput
{
	const uint8_t *key;		/* XAES_KEY_SIZE bytes */
	const uint8_t *cmac_k1; /* from xaes_subkey for that key, 16 bytes */
	const uint8_t *nonce;	/* XAES_NONCE_SIZE bytes */
	const uint8_t *aad;
	size_t aad_length; /* bytes */
	const uint8_t *text;
	size_t length; /* bytes of text, without tag */
} XaesInput;

/* xaes_subkey computes CMAC's K1 for a key, once a key. out is zeroed on failure. */
extern CORE_MUST_CHECK CoreStatus xaes_subkey(const uint8_t key[XAES_KEY_SIZE], uint8_t out[16]);

/* xaes_seal writes in->length bytes of ciphertext and the tag. Both are zeroed on failure. */
extern CORE_MUST_CHECK CoreStatus xaes_seal(const XaesInput *in, uint8_t *ciphertext,
											uint8_t tag[XAES_TAG_SIZE]);

/*
 * xaes_open decrypts and verifies. plaintext (in->length bytes) is zeroed
 * unless CORE_OK; pass NULL to verify only, in bounded scratch memory.
 * Returns CORE_OK, CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus xaes_open(const XaesInput *in, const uint8_t tag[XAES_TAG_SIZE],
											uint8_t *plaintext);

/* Memory that a plaintext goes through, a piece at a time: the only place where any of it is. */
typedef struct XaesScratch
{
	uint8_t *bytes; /* wiped by whoever used it, on success and failure */
	size_t size;	/* bytes, at least 1 */
} XaesScratch;

/* A sink takes a piece; false: it could not. */
typedef bool (*XaesSink)(const uint8_t *piece, size_t length, void *context);

/*
 * xaes_open_pieces decrypts as xaes_open does, handing each piece to a sink. in->text is
 * followed by its tag. What the sink was given is unauthenticated until CORE_OK is returned.
 * Returns CORE_OK, CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE (also when the sink could not).
 */
extern CORE_MUST_CHECK CoreStatus xaes_open_pieces(const XaesInput *in, const XaesScratch *scratch,
												   XaesSink sink, void *context);

/*
 * xaes_reseal decrypts one message and encrypts it as another.
 *
 * from: from->text is followed by its tag. to: key, nonce and AAD of the new message; its text
 *   is not looked at. out: from->length bytes of ciphertext, then the tag; zeroed unless
 *   CORE_OK. May not overlap from->text.
 * Returns as xaes_open_pieces.
 */
extern CORE_MUST_CHECK CoreStatus xaes_reseal(const XaesInput *from, const XaesInput *to,
											  const XaesScratch *scratch, uint8_t *out);

#endif

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

#endif

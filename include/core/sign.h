/*
 * sign.h - Ed25519 (RFC 8032) keys and signatures.
 *
 * Nothing here logs or keeps a key; what fails leaves OpenSSL's error queue
 * as it was.
 */
#ifndef BIOMETRIC_CORE_SIGN_H
#define BIOMETRIC_CORE_SIGN_H

#include "core/status.h"

#define SIGN_PUBLIC_SIZE 32
#define SIGN_SIGNATURE_SIZE 64
#define SIGN_PEM_MAX 4096

/*
 * A private key, in memory of OpenSSL's that sign_key_free wipes and gives back: locked, and
 * in no core dump, where the system grants that.
 */
typedef struct SignKey SignKey;

/*
 * sign_key_read takes a private key from PEM text, as `openssl genpkey
 * -algorithm ed25519` writes it; *key is NULL on failure. Nobody is asked for
 * a password. The text is the caller's to wipe. Returns CORE_OK,
 * CORE_MALFORMED (no PEM, longer than SIGN_PEM_MAX, encrypted, or no Ed25519
 * key) or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus sign_key_read(const char *pem, size_t length, SignKey **key);

/* sign_key_generate makes a new key. Returns CORE_OK or, with *key NULL, CORE_CRYPTO_FAILURE. */
extern CORE_MUST_CHECK CoreStatus sign_key_generate(SignKey **key);

/* sign_key_free wipes and frees a key; NULL is fine. */
extern void sign_key_free(SignKey *key);

/* sign_key_public returns the public half, zeroes with CORE_CRYPTO_FAILURE. */
extern CORE_MUST_CHECK CoreStatus sign_key_public(const SignKey *key,
												  uint8_t public_key[SIGN_PUBLIC_SIZE]);

/*
 * sign_public_is_sound tells whether a public key binds whoever shows it:
 * canonical (RFC 8032 section 5.1.3), and not one of the points of small
 * order, under which one signature is valid for many texts.
 */
extern bool sign_public_is_sound(const uint8_t public_key[SIGN_PUBLIC_SIZE]);

/* sign_message signs length bytes. Returns CORE_OK or, with zeroes, CORE_CRYPTO_FAILURE. */
extern CORE_MUST_CHECK CoreStatus sign_message(const SignKey *key, const void *message,
											   size_t length,
											   uint8_t signature[SIGN_SIGNATURE_SIZE]);

/* sign_verify returns CORE_OK, CORE_NOT_AUTHENTIC or CORE_CRYPTO_FAILURE. */
extern CORE_MUST_CHECK CoreStatus sign_verify(const uint8_t public_key[SIGN_PUBLIC_SIZE],
											  const void *message, size_t length,
											  const uint8_t signature[SIGN_SIGNATURE_SIZE]);

#endif

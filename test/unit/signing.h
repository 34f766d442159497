/*
 * signing.h - private keys whose seeds are written in a test, so that a
 * signature is the same each time.
 */
#ifndef BIOMETRIC_TEST_SIGNING_H
#define BIOMETRIC_TEST_SIGNING_H

#include "core/base64.h"
#include "core/note.h"
#include "tap.h"

#define SIGNING_SEED_SIZE 32

/* signing_pem writes a seed as a private key in PEM; returns its length. */
__attribute__((unused)) static size_t
signing_pem(const uint8_t seed[SIGNING_SEED_SIZE], char out[256])
{
	/* RFC 8410: PKCS #8 of version 0, Ed25519, an octet string of an octet string. */
	uint8_t der[48] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
					   0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
	char text[BASE64_LENGTH(sizeof(der)) + 1];

	memcpy(der + 16, seed, SIGNING_SEED_SIZE);
	base64_encode(der, sizeof(der), text);
	return (size_t) snprintf(out, 256,
							 "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n", text);
}

/* signing_key returns the private key of a seed, for sign_key_free; ends the program without. */
__attribute__((unused)) static SignKey *
signing_key(const uint8_t seed[SIGNING_SEED_SIZE])
{
	char pem[256];
	SignKey *key;

	if (sign_key_read(pem, signing_pem(seed, pem), &key) != CORE_OK)
		abort();
	return key;
}

/* signing_key_number returns the private key whose seed is a number in each byte. */
__attribute__((unused)) static SignKey *
signing_key_number(uint8_t number)
{
	uint8_t seed[SIGNING_SEED_SIZE];

	memset(seed, number, sizeof(seed));
	return signing_key(seed);
}

/* signing_name returns a private key's other half under a name. */
__attribute__((unused)) static NoteKey
signing_name(const SignKey *key, const char *name, NoteAlgorithm algorithm)
{
	uint8_t public_key[SIGN_PUBLIC_SIZE];
	NoteKey named;

	if (sign_key_public(key, public_key) != CORE_OK ||
		note_key_make(name, algorithm, public_key, &named) != CORE_OK)
		abort();
	return named;
}

#endif

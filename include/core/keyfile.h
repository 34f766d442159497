/*
 * keyfile.h - reads the text of a keyring: a line "id hex64" a key, ids 1 to
 * 2^32-1 each once, '#' comments, blank lines. The highest id seals.
 */
#ifndef BIOMETRIC_CORE_KEYFILE_H
#define BIOMETRIC_CORE_KEYFILE_H

#include "core/seal.h"
#include "core/status.h"

/* The most keys one keyring may hold. */
#define KEYFILE_MAX_KEYS 1024

typedef struct KeyfileError
{
	int line;			 /* 1-based; 0 when the fault is of the whole text */
	const char *problem; /* static phrase, never key material */
} KeyfileError;

/*
 * keyfile_parse reads a keyring.
 *
 * text, length: bytes; not necessarily NUL-terminated; not wiped here.
 * keys: room for capacity keys; ascending by id on CORE_OK, zeroed otherwise.
 * count: number of keys; 0 unless CORE_OK.
 * error: filled when not CORE_OK.
 * Returns CORE_OK, CORE_MALFORMED (also for no key at all), CORE_TOO_SMALL
 * (more than capacity keys) or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus keyfile_parse(const char *text, size_t length, SealKey *keys,
												int capacity, int *count, KeyfileError *error);

#endif

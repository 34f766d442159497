/*
 * status.h - what every function of core/ answers.
 *
 * core/ is plain C: it knows no ereport, no palloc, no server. Its functions
 * return a CoreStatus and leave the raising of errors to whoever called. All
 * of core/ is single-threaded and keeps no state besides OpenSSL's fetched
 * algorithms.
 */
#ifndef BIOMETRIC_CORE_STATUS_H
#define BIOMETRIC_CORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORE_MUST_CHECK __attribute__((warn_unused_result))

typedef enum CoreStatus
{
	CORE_OK = 0,
	CORE_NOT_AN_IMAGE,	 /* no known format's magic */
	CORE_TRUNCATED,		 /* the format is known, but the bytes end too soon */
	CORE_BAD_DIMENSIONS, /* zero, negative or beyond IMAGE_MAX_SIDE */
	CORE_MALFORMED,		 /* structure contradicts itself */
	CORE_BAD_VERSION,	 /* an envelope or entry from a version we do not know */
	CORE_WRONG_KEY,		 /* the key is not the one that sealed or signed */
	CORE_NOT_AUTHENTIC,	 /* a MAC, tag or signature does not verify */
	CORE_TOO_SMALL,		 /* the output buffer does not hold the result */
	CORE_CRYPTO_FAILURE	 /* OpenSSL failed; nothing was produced */
} CoreStatus;

/*
 * core_status_text returns a static English phrase for a status, fit for an
 * errdetail: no full stop, no secrets.
 */
extern const char *core_status_text(CoreStatus status);

#endif

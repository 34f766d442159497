/*
 * keyfile.h - the text of a keyring: a line a key, ids 1 to 2^32-1 each once, '#'
 * comments, blank lines.
 *
 *   id hex64                       a general key; of these the highest id seals
 *   id hex64 home from until       a key that seals only what is stored in one home (a
 *                                  UUID, core/envelope.h) and counts from within a period:
 *                                  from inclusive, until exclusive, both UTC, as
 *                                  2026-11-01T00:00:00Z
 */
#ifndef BIOMETRIC_CORE_KEYFILE_H
#define BIOMETRIC_CORE_KEYFILE_H

#include "core/envelope.h"
#include "core/seal.h"
#include "core/status.h"

/* The most keys one keyring may hold. */
#define KEYFILE_MAX_KEYS 1024

/* Bytes that the longest scope and the longest line take, with the NUL behind. */
#define KEYFILE_SCOPE_SIZE (36 + 2 * 21 + 1)
#define KEYFILE_LINE_SIZE (10 + 1 + 2 * SEAL_MASTER_KEY_SIZE + 1 + KEYFILE_SCOPE_SIZE + 1)

typedef struct KeyfileError
{
	int line;			 /* 1-based; 0 when the fault is of the whole text */
	const char *problem; /* static phrase, never key material */
} KeyfileError;

/* What a key may seal. */
typedef struct KeyScope
{
	bool bound;						  /* false: anything, and the rest is zero */
	uint8_t home[ENVELOPE_HOME_SIZE]; /* what it seals is stored there */
	int64_t from_ms;				  /* ms since 1970-01-01 UTC, whole seconds; inclusive */
	int64_t until_ms;				  /* likewise; exclusive, and later */
} KeyScope;

/* One line. A secret, for its owner to wipe. */
typedef struct KeyfileKey
{
	uint32_t id;
	uint8_t master[SEAL_MASTER_KEY_SIZE];
	KeyScope scope;
} KeyfileKey;

/*
 * keyfile_parse reads a keyring.
 *
 * text, length: bytes; not necessarily NUL-terminated; not wiped here.
 * keys: room for capacity keys; ascending by id on CORE_OK, zeroed otherwise.
 * count: number of keys; 0 unless CORE_OK.
 * error: filled when not CORE_OK.
 * Returns CORE_OK, CORE_MALFORMED (also for no key at all) or CORE_TOO_SMALL
 * (more than capacity keys).
 */
extern CORE_MUST_CHECK CoreStatus keyfile_parse(const char *text, size_t length, KeyfileKey *keys,
												int capacity, int *count, KeyfileError *error);

/* keyfile_scope_equal compares what two keys may seal. */
extern bool keyfile_scope_equal(const KeyScope *a, const KeyScope *b);

/*
 * keyfile_write_scope writes "-" for a scope that is not bound, else "home from until".
 * out: KEYFILE_SCOPE_SIZE bytes, NUL-terminated. Returns the length, or 0 and an empty text for a
 * scope that keyfile_parse would refuse.
 */
extern size_t keyfile_write_scope(const KeyScope *scope, char *out);

/*
 * keyfile_write_line writes a key's line with its newline. out: KEYFILE_LINE_SIZE bytes, a secret,
 * NUL-terminated. Returns as keyfile_write_scope.
 */
extern size_t keyfile_write_line(const KeyfileKey *key, char *out);

/*
 * keyfile_find_line finds the line of a key in the text of a keyring that keyfile_parse accepts.
 * start, end: byte offsets of its first byte and of what follows its newline. False: there is none.
 */
extern bool keyfile_find_line(const char *text, size_t length, uint32_t id, size_t *start,
							  size_t *end);

#endif

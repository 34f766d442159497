/*
 * note.h - signed notes and their keys (c2sp.org/signed-note), with the
 * signatures of witnesses (c2sp.org/tlog-cosignature).
 *
 * A note is a text that ends in a newline, an empty line, and signature lines.
 * Signatures of kinds that are not known here are kept and skipped. Nothing is
 * allocated beyond a call, nothing is kept; what is returned of a note points
 * into the bytes that the caller gave. Outputs are empty on failure.
 */
#ifndef BIOMETRIC_CORE_NOTE_H
#define BIOMETRIC_CORE_NOTE_H

#include "core/sign.h"

#define NOTE_NAME_MAX 255
/* Room for 16 signatures of 5 kB, which every verifier has to accept. */
#define NOTE_MAX_SIZE 131072
#define NOTE_SIGNATURES_MAX 64
/* Bytes of a verifier key's text: name, key id, and a public key, with a NUL. */
#define NOTE_KEY_TEXT_MAX (NOTE_NAME_MAX + 64)
/* Bytes of a signature line of ours or of a witness, with newline and NUL. */
#define NOTE_LINE_MAX (NOTE_NAME_MAX + 128)

/* What a key signs; the numbers are the format's. */
typedef enum NoteAlgorithm
{
	NOTE_ED25519 = 1,	 /* the text */
	NOTE_COSIGNATURE = 4 /* a witness: time and text */
} NoteAlgorithm;

/* A public key with its name. */
typedef struct NoteKey
{
	char name[NOTE_NAME_MAX + 1];
	uint32_t id; /* the beginning of SHA-256(name, newline, algorithm, public key) */
	NoteAlgorithm algorithm;
	uint8_t public_key[SIGN_PUBLIC_SIZE];
} NoteKey;

/* One signature line; everything points into it. */
typedef struct NoteSignature
{
	const char *name;
	size_t name_length;
	uint32_t id;
	const char *line;	/* the whole line, its newline included */
	size_t line_length; /* bytes, as all lengths */
	const char *base64; /* of key id and signature */
	size_t base64_length;
} NoteSignature;

/* A note that was taken apart; everything points into its bytes. */
typedef struct Note
{
	const char *text; /* what is signed, the last newline included */
	size_t text_length;
	int count;
	NoteSignature signatures[NOTE_SIGNATURES_MAX];
} Note;

/*
 * note_text_is_valid tells whether a text can be signed, or be a note: UTF-8
 * without control characters besides newline, the last character a newline,
 * at most NOTE_MAX_SIZE bytes.
 */
extern bool note_text_is_valid(const char *text, size_t length);

/*
 * note_name_is_valid tells whether a text can be a key's name: UTF-8 without
 * control characters, spaces of any kind and plus signs, 1 to NOTE_NAME_MAX
 * bytes.
 */
extern bool note_name_is_valid(const char *name, size_t length);

/*
 * note_key_make makes a key of a name and a public key, and computes its id.
 * Returns CORE_OK, CORE_MALFORMED for a name that is none or a public key that
 * is not sound, or CORE_BAD_VERSION.
 */
extern CORE_MUST_CHECK CoreStatus note_key_make(const char *name, NoteAlgorithm algorithm,
												const uint8_t public_key[SIGN_PUBLIC_SIZE],
												NoteKey *key);

/*
 * note_key_parse reads a verifier key ("name+hexid+base64"), whose id must be
 * that of its name and bytes. A newline at its end is fine. Returns CORE_OK,
 * CORE_MALFORMED, or CORE_BAD_VERSION for an algorithm that is not known.
 */
extern CORE_MUST_CHECK CoreStatus note_key_parse(const char *text, size_t length, NoteKey *key);

/* note_key_format writes the verifier key of a key that was made or parsed, NUL-terminated. */
extern void note_key_format(const NoteKey *key, char out[NOTE_KEY_TEXT_MAX]);

/*
 * note_parse takes a note of at most NOTE_MAX_SIZE bytes and
 * NOTE_SIGNATURES_MAX signatures apart; the last empty line is what separates
 * them from the text. It verifies nothing: do not believe the text yet.
 * Returns CORE_OK, CORE_TRUNCATED (no signature) or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus note_parse(const char *bytes, size_t length, Note *note);

/*
 * note_parse_signature takes one signature line apart, with or without its
 * newline. Returns CORE_OK or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus note_parse_signature(const char *line, size_t length,
													   NoteSignature *signature);

/*
 * note_verify looks for signatures by a key and verifies each. timestamp:
 * seconds since 1970 that a witness signed, the latest when it signed more than
 * once, else 0; may be NULL. Returns CORE_OK, CORE_WRONG_KEY (no signature has
 * this key's name and id), CORE_NOT_AUTHENTIC (one does and is wrong, whatever
 * the others say), CORE_MALFORMED (the text cannot be signed, or the key's
 * algorithm is not known) or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus note_verify(const Note *note, const NoteKey *key,
											  uint64_t *timestamp);

/* note_verify_signature verifies one signature over a text; returns what note_verify does. */
extern CORE_MUST_CHECK CoreStatus note_verify_signature(const char *text, size_t text_length,
														const NoteSignature *signature,
														const NoteKey *key, uint64_t *timestamp);

/*
 * note_sign writes the signature line over a text, newline and NUL at its end.
 * key: whose name and id it bears; private_key: its other half. timestamp: for
 * NOTE_COSIGNATURE, seconds since 1970, at most 2^63 - 1. Returns CORE_OK,
 * CORE_MALFORMED (the text cannot be signed, or the key or time is none),
 * CORE_WRONG_KEY (the two halves are not of one key) or CORE_CRYPTO_FAILURE.
 */
extern CORE_MUST_CHECK CoreStatus note_sign(const char *text, size_t length, const NoteKey *key,
											const SignKey *private_key, uint64_t timestamp,
											char out[NOTE_LINE_MAX]);

#endif

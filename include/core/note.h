/*
 * note.h - signed notes and their keys (c2sp.org/signed-note), with the
 * signatures of witnesses (c2sp.org/tlog-cosignature).
 *
 * A note is a text that ends in a newline, an empty line, and signature lines.
 * Signatures of kinds that are not known here are kept and skipped.
 */
#ifndef BIOMETRIC_CORE_NOTE_H
#define BIOMETRIC_CORE_NOTE_H

#include "core/sign.h"

#define NOTE_NAME_MAX 255
#define NOTE_MAX_SIZE 65536
#define NOTE_SIGNATURES_MAX 64
/* Bytes of a verifier key's text: name, key id, and a public key, with a NUL. */
#define NOTE_KEY_TEXT_MAX (NOTE_NAME_MAX + 64)
/* Bytes of a signature line of ours or of a witness, with newline and NUL. */
#define NOTE_LINE_MAX (NOTE_NAME_MAX + 128)

/* What a key signs; the numbers are the format's. */
typedef enum NoteAlgorithm
{
	NOTE_ED25519 = 1,	  /* the text */
	NOTE_COSIGNATURE = 4  /* a witness: time and text */
} NoteAlgorithm;

/* A public key with its name. */
typedef struct NoteKey
{
	char name[NOTE_NAME_MAX + 1];
	uint32_t id;
	NoteAlgorithm algorithm;
	uint8_t public_key[SIGN_PUBLIC_SIZE];
} NoteKey;

/* One signature line; name points into the note. */
typedef struct NoteSignature
{
	const char *name;
	size_t name_length;
	uint32_t id;
	const char *line; /* the whole line, its newline included */
	size_t line_length;
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

/* note_name_is_valid tells whether a text can be a key's name: UTF-8, no spaces, no plus, 1 to 255 bytes. */
extern bool note_name_is_valid(const char *name, size_t length);

/* note_key_make makes a key of a name and a public key. CORE_MALFORMED for a name that is none. */
extern CORE_MUST_CHECK CoreStatus note_key_make(const char *name, NoteAlgorithm algorithm,
												const uint8_t public_key[SIGN_PUBLIC_SIZE],
												NoteKey *key);

/*
 * note_key_parse reads a verifier key ("name+hexid+base64"), whose id must be
 * that of its name and bytes. A newline at its end is fine. Returns CORE_OK, CORE_MALFORMED, or CORE_BAD_VERSION
 * for an algorithm that is not known.
 */
extern CORE_MUST_CHECK CoreStatus note_key_parse(const char *text, size_t length, NoteKey *key);

/* note_key_format writes a verifier key, NUL-terminated. */
extern void note_key_format(const NoteKey *key, char out[NOTE_KEY_TEXT_MAX]);

/*
 * note_parse takes a note apart. Returns CORE_OK, CORE_TRUNCATED (no signature)
 * or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus note_parse(const char *bytes, size_t length, Note *note);

/*
 * note_parse_signature takes one signature line apart, with or without its newline.
 */
extern CORE_MUST_CHECK CoreStatus note_parse_signature(const char *line, size_t length,
													   NoteSignature *signature);

/*
 * note_verify looks for a signature by a key and verifies it. timestamp:
 * seconds since 1970 that a witness signed, else 0; may be NULL. Returns CORE_OK,
 * CORE_WRONG_KEY (no signature names this key), CORE_NOT_AUTHENTIC (one does
 * and is wrong, whatever the others say) or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus note_verify(const Note *note, const NoteKey *key,
											  uint64_t *timestamp);

/* note_verify_signature verifies one signature over a text; as note_verify. */
extern CORE_MUST_CHECK CoreStatus note_verify_signature(const char *text, size_t text_length,
														const NoteSignature *signature,
														const NoteKey *key, uint64_t *timestamp);

/*
 * note_sign writes the signature line over a text, newline and NUL at its end.
 * key: whose name and id it bears; private_key: its other half. timestamp: for NOTE_COSIGNATURE.
 */
extern CORE_MUST_CHECK CoreStatus note_sign(const char *text, size_t length, const NoteKey *key,
											const SignKey *private_key, uint64_t timestamp,
											char out[NOTE_LINE_MAX]);

#endif

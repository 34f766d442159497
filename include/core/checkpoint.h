/*
 * checkpoint.h - the text of a tree's signed head (c2sp.org/tlog-checkpoint):
 * origin, size, root in base64, a line each; further lines are allowed and
 * ignored. Outputs are empty on failure.
 */
#ifndef BIOMETRIC_CORE_CHECKPOINT_H
#define BIOMETRIC_CORE_CHECKPOINT_H

#include "core/merkle.h"
#include "core/note.h"

/* Bytes of a checkpoint of ours with one signature, with a NUL. */
#define CHECKPOINT_MAX (NOTE_NAME_MAX + 128 + NOTE_LINE_MAX)

/* No tree has as many entries. */
#define CHECKPOINT_SIZE_LIMIT (UINT64_C(1) << 60)

typedef struct Checkpoint
{
	char origin[NOTE_NAME_MAX + 1];
	uint64_t size; /* entries */
	MerkleHash root;
} Checkpoint;

/*
 * checkpoint_parse reads the text of a note, without its signatures. Returns
 * CORE_OK, CORE_TRUNCATED (fewer than three lines) or CORE_MALFORMED.
 */
extern CORE_MUST_CHECK CoreStatus checkpoint_parse(const char *text, size_t length,
												   Checkpoint *checkpoint);

/*
 * checkpoint_sign writes a whole note: text, empty line, one signature. The
 * origin is the key's name, whatever the checkpoint says. key: of algorithm
 * NOTE_ED25519. out is NUL-terminated; length: bytes without the NUL, 0 on
 * failure. Returns what note_sign does.
 */
extern CORE_MUST_CHECK CoreStatus checkpoint_sign(const Checkpoint *checkpoint, const NoteKey *key,
												  const SignKey *private_key,
												  char out[CHECKPOINT_MAX], size_t *length);

/*
 * checkpoint_open parses a note, verifies its signature by a key whose name is
 * its origin, and reads it. Returns what note_parse, note_verify and
 * checkpoint_parse do; CORE_WRONG_KEY also when the origin is not the key's name.
 */
extern CORE_MUST_CHECK CoreStatus checkpoint_open(const char *bytes, size_t length,
												  const NoteKey *key, Checkpoint *checkpoint);

#endif

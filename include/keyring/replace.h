/*
 * replace.h - replaces a keyring's file as a whole.
 *
 * For extension/keyring alone. Whoever changes the file holds an exclusive flock on a file beside
 * it, with ".lock" behind its name, which stays: so servers with one keyring change it one after
 * the other. The new text is written beside it, with ".new" behind its name, flushed, and renamed;
 * the directory is flushed; then the bytes of the old file are overwritten. What a crash left
 * behind is overwritten and removed by the next change. Symbolic links are followed to the real
 * file.
 */
#ifndef BIOMETRIC_KEYRING_REPLACE_H
#define BIOMETRIC_KEYRING_REPLACE_H

#include "postgres.h"

#include "keyring/place.h"

/*
 * An edit makes the new text of a keyring from what it holds now. result: allocated by it, freed by
 * replace_file; empty when nothing is to be changed. False, with problem filled in, when it cannot.
 */
typedef bool (*ReplaceEdit)(void *context, const KeyringText *now, SecretMemory *result,
							KeyringProblem *problem);

/*
 * replace_file changes a keyring's file by an edit. Returns false, with problem filled in, when it
 * was not changed. warning: what could not be done after it was changed, static; or NULL. Never
 * raises, but returns false soon when the statement was cancelled.
 */
extern bool replace_file(const KeyringPlace *place, ReplaceEdit edit, void *context,
						 KeyringProblem *problem, const char **warning);

/* replace_possible tells whether the file's directory and file system let it be replaced. */
extern bool replace_possible(const KeyringPlace *place, KeyringProblem *problem);

#endif

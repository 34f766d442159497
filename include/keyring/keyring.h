/*
 * keyring.h - where a backend gets its keys from.
 *
 * Keys come from the file biometric_audit.keyring or from the output of
 * biometric_audit.keyring_command. They are read when first needed and again
 * after a configuration reload (SIGHUP); they live in this process only,
 * never in shared memory, in a page excluded from core dumps, and are wiped
 * when replaced and at exit.
 *
 * A file is refused unless it is a regular file outside the data directory,
 * owned by the server's user or root, with no permission for group or others.
 */
#ifndef BIOMETRIC_KEYRING_KEYRING_H
#define BIOMETRIC_KEYRING_KEYRING_H

#include "postgres.h"

#include "core/seal.h"

/* keyring_define_settings defines biometric_audit.keyring and .keyring_command; from _PG_init. */
extern void keyring_define_settings(void);

/*
 * keyring_active returns the key that seals new images, the highest id.
 * Borrowed: valid until the next call of a keyring function.
 * Errors: ERRCODE_CONFIG_FILE_ERROR when no keyring is configured, or it
 * cannot be read, is exposed, inside the data directory or malformed; names
 * the file (never its contents), the rule, and what to do.
 */
extern const SealKey *keyring_active(void);

/*
 * keyring_find returns the key with an id, or NULL when the keyring does not
 * hold it. Never raises for a keyring that cannot be used: that is NULL too,
 * so that sealed values can be carried about on a machine without keys.
 * Borrowed as keyring_active's.
 */
extern const SealKey *keyring_find(uint32 id);

/*
 * keyring_next returns the key with the lowest id above an id (0: of all), or
 * NULL: so all are gone through. Otherwise as keyring_find.
 */
extern const SealKey *keyring_next(uint32 id);

/*
 * keyring_usable tells whether there is a keyring with at least one key,
 * without raising. problem, if not NULL, gets a static or palloc'd phrase for
 * errdetail_log when false.
 */
extern bool keyring_usable(const char **problem);

#endif

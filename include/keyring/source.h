/*
 * source.h - reads the text of a keyring from where it is kept, into memory
 * that is neither dumped nor inherited.
 *
 * For extension/keyring, and for the signing key. Nothing here raises: what cannot
 * be read is told by a KeyringProblem, which never holds a byte of its contents.
 */
#ifndef BIOMETRIC_KEYRING_SOURCE_H
#define BIOMETRIC_KEYRING_SOURCE_H

#include "postgres.h"

/* The longest keyring, in bytes: KEYFILE_MAX_KEYS lines and as much again of comments. */
#define KEYRING_MAX_SIZE (256 * 1024)

/* Why a keyring cannot be used. Means nothing unless something failed. */
typedef struct KeyringProblem
{
	char message[MAXPGPATH + 128];
	char detail[256];
	const char *hint; /* static */
} KeyringProblem;

/* Memory for secrets. memory NULL: none. */
typedef struct SecretMemory
{
	void *memory;
	Size size; /* bytes mapped */
	Size used; /* bytes of them that the owner uses */
} SecretMemory;

/*
 * secret_allocate maps zeroed memory of its own pages, locked if the system
 * allows it, left out of core dumps and of forked children.
 * size: bytes, more than 0. Returns false when there is no memory.
 */
extern bool secret_allocate(SecretMemory *secret, Size size);

/* secret_free wipes and unmaps; does nothing to a SecretMemory that holds none. */
extern void secret_free(SecretMemory *secret);

/*
 * keyring_read_file reads a keyring's file.
 * path: as configured. text: its contents, used bytes; the caller frees it.
 * On failure text holds nothing, problem is filled and false returned.
 */
extern bool keyring_read_file(const char *path, SecretMemory *text, KeyringProblem *problem);

/*
 * secret_read_file does so for any file that holds a secret. what: "keyring
 * file", for the message.
 */
extern bool secret_read_file(const char *what, const char *path, SecretMemory *text,
							 KeyringProblem *problem);

/*
 * keyring_read_command reads what a shell command prints, as keyring_read_file. setting: where
 * the command stands, for the message. cancellable: what must not be left half done is not.
 * The command is killed when it takes longer than ten seconds, or when the statement is cancelled.
 */
extern bool keyring_read_command(const char *setting, const char *command, bool cancellable,
								 SecretMemory *text, KeyringProblem *problem);

/*
 * keyring_refuse fills in what is wrong with a keyring, beside the message,
 * which the caller has set. hint: static. detail: printf format.
 * Returns false, for the caller to return.
 */
extern bool keyring_refuse(KeyringProblem *problem, const char *hint, const char *detail, ...)
	pg_attribute_printf(3, 4);

#endif

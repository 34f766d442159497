/*
 * place.h - where this database's keyring is, what is in it at the moment, and whether it has
 * changed.
 *
 * For extension/keyring alone. Nothing here raises but for want of memory.
 */
#ifndef BIOMETRIC_KEYRING_PLACE_H
#define BIOMETRIC_KEYRING_PLACE_H

#include "postgres.h"

#include <sys/stat.h>

#include "core/keyfile.h"
#include "keyring/source.h"

/* What a file is known again by. */
typedef struct FileMark
{
	bool exists;
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed;
} FileMark;

/* The settings with the database's name put in. Borrowed, until the settings change. */
typedef struct KeyringPlace
{
	const char *file;	 /* NULL: keys come from a command */
	const char *command; /* NULL: keys come from a file */
	const char *change;	 /* keyring_change_command, unexpanded; NULL: not set */
	const char *database;
} KeyringPlace;

/* Keys in memory of their own. */
typedef struct KeyringText
{
	SecretMemory text;
	SecretMemory keys; /* count KeyfileKeys, ascending by id */
	int count;
	FileMark mark; /* of the file they came from */
} KeyringText;

/* place_define_settings defines the keyring's settings. */
extern void place_define_settings(void);

/* place_settings counts how often this process has seen a setting of the keyring change. */
extern uint64 place_settings(void);

/* place_get finds where the keyring is. On failure problem is filled and false returned. */
extern bool place_get(KeyringPlace *place, KeyringProblem *problem);

/*
 * place_read reads and parses a keyring; what a writer replaces meanwhile it reads again.
 * On failure *result holds nothing, problem is filled and false returned.
 */
extern bool place_read(const KeyringPlace *place, KeyringText *result, KeyringProblem *problem);

/* place_free wipes and frees what was read; does nothing to an empty one. */
extern void place_free(KeyringText *text);

/* place_parse parses result->text into result->keys; on failure keys holds nothing. */
extern bool place_parse(const KeyringPlace *place, KeyringText *result, KeyringProblem *problem);

/* place_mark looks at a file; place_mark_equal compares two looks. */
extern void place_mark(const char *path, FileMark *mark);
extern bool place_mark_equal(const FileMark *a, const FileMark *b);

/*
 * place_expand puts values into a command, for each "%" and letter the text of that letter; "%%" is
 * a percent sign. letters: as many as values, whose texts mean nothing to a shell; "d" is refused
 * when the database's name does. palloc'd; NULL with problem filled in.
 */
extern char *place_expand(const char *command, const char *letters, const char *const *values,
						  KeyringProblem *problem);

#endif

/*
 * place.c - finds and reads the keyring of this process's database.
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "keyring/place.h"

/* How often a file is read again that is replaced under the reader's eyes. */
#define READ_ATTEMPTS 20

#define NAME_HINT "Rename the database, or set a keyring without \"%d\"."
#define FORM_HINT                                                                                  \
	"Write a line \"id hex64\" for each key, ids from 1 upwards; \"openssl rand -hex 32\" "        \
	"makes a key."

static char *keyring_file = NULL;
static char *keyring_command = NULL;
static char *keyring_change_command = NULL;

static uint64 settings = 1;
static uint64 expanded_under = 0; /* settings when expanded was made */
static char *expanded = NULL;	  /* the setting in force, with the database's name in it */
static char database_name[NAMEDATALEN];

static void
setting_changed(const char *value, void *extra)
{
	settings++;
}

void
place_define_settings(void)
{
	DefineCustomStringVariable(
		"biometric_audit.keyring", "File that holds the keys.",
		"Lines \"id hex64\", \"#\" begins a comment; the highest id seals new images. \"%d\" "
		"is the database's name. Mode 0600, outside the data directory.",
		&keyring_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, setting_changed, NULL);
	DefineCustomStringVariable(
		"biometric_audit.keyring_command", "Shell command that prints the keys.",
		"Instead of biometric_audit.keyring; its output is as that file. "
		"\"%d\" is the database's name.",
		&keyring_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, setting_changed, NULL);
	DefineCustomStringVariable(
		"biometric_audit.keyring_change_command",
		"Shell command that makes or destroys a key where keyring_command gets them.",
		"\"%a\" is add or remove, \"%k\" the key's id, \"%s\" its scope, \"%d\" the database's "
		"name.",
		&keyring_change_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, setting_changed, NULL);
}

uint64
place_settings(void)
{
	return settings;
}

static bool
is_set(const char *setting)
{
	return setting != NULL && setting[0] != '\0';
}

/* A process without a database has no keys; one with a database keeps it, and its name. */
static bool
find_database(KeyringProblem *problem)
{
	char *name = NULL;

	if (database_name[0] != '\0')
		return true;
	if (OidIsValid(MyDatabaseId) && IsTransactionState())
		name = get_database_name(MyDatabaseId);
	else if (OidIsValid(MyDatabaseId) && MyProcPort != NULL)
		name = MyProcPort->database_name;
	if (name == NULL)
	{
		strlcpy(problem->message, "this process has no keyring", sizeof(problem->message));
		return keyring_refuse(problem, "Use the extension from a session.",
							  "Only a process that is connected to a database holds keys.");
	}
	strlcpy(database_name, name, sizeof(database_name));
	return true;
}

/* Whether a name means nothing but itself to a shell, no option to a program, and no folder. */
static bool
is_plain(const char *name)
{
	if (name[0] == '-' || name[0] == '.')
		return false;
	for (; *name != '\0'; name++)
		if (!IS_HIGHBIT_SET(*name) && !isalnum((unsigned char) *name) &&
			strchr("_-.", *name) == NULL)
			return false;
	return true;
}

static void
append_expanded(StringInfo line, const char *from, const char *letters, const char *const *values)
{
	for (; *from != '\0'; from++)
	{
		const char *letter = from[0] == '%' && from[1] != '\0' ? strchr(letters, from[1]) : NULL;

		if (letter != NULL)
			appendStringInfoString(line, values[letter - letters]);
		else
			appendStringInfoChar(line, *from);
		if (letter != NULL || (from[0] == '%' && from[1] == '%'))
			from++;
	}
}

char *
place_expand(const char *command, const char *letters, const char *const *values,
			 KeyringProblem *problem)
{
	StringInfoData line;

	if (strstr(command, "%d") != NULL && !is_plain(database_name))
	{
		keyring_refuse(
			problem, NAME_HINT,
			"The name of database \"%s\" is not put into a command: it has other "
			"characters than letters, digits, \"_\", \"-\" and \".\", or begins with \"-\" or "
			"\".\".",
			database_name);
		return NULL;
	}
	initStringInfo(&line);
	append_expanded(&line, command, letters, values);
	return line.data;
}

static bool
expand_file(StringInfo line, KeyringProblem *problem)
{
	const char *const values[] = {database_name};

	snprintf(problem->message, sizeof(problem->message), "keyring file \"%s\" cannot be used",
			 keyring_file);
	if (strstr(keyring_file, "%d") != NULL &&
		(database_name[0] == '.' || strchr(database_name, '/') != NULL))
		return keyring_refuse(problem, NAME_HINT,
							  "The name of database \"%s\" begins with \".\" or has a \"/\".",
							  database_name);
	append_expanded(line, keyring_file, "d", values);
	return true;
}

static bool
expand_command(StringInfo line, KeyringProblem *problem)
{
	const char *const values[] = {database_name};
	char *command;

	strlcpy(problem->message, "biometric_audit.keyring_command cannot be used",
			sizeof(problem->message));
	command = place_expand(keyring_command, "d", values, problem);
	if (command == NULL)
		return false;
	appendStringInfoString(line, command);
	pfree(command);
	return true;
}

/* Puts the database's name into the setting that is set. */
static bool
expand_setting(KeyringProblem *problem)
{
	StringInfoData line;

	if (expanded != NULL && expanded_under == settings)
		return true;
	initStringInfo(&line);
	if (!(is_set(keyring_file) ? expand_file : expand_command)(&line, problem))
	{
		pfree(line.data);
		return false;
	}
	if (expanded != NULL)
		pfree(expanded);
	expanded = NULL;
	expanded = MemoryContextStrdup(TopMemoryContext, line.data);
	expanded_under = settings;
	pfree(line.data);
	return true;
}

bool
place_get(KeyringPlace *place, KeyringProblem *problem)
{
	memset(place, 0, sizeof(*place));
	if (is_set(keyring_file) && is_set(keyring_command))
	{
		strlcpy(problem->message,
				"both biometric_audit.keyring and biometric_audit.keyring_command are set",
				sizeof(problem->message));
		return keyring_refuse(problem, "Reset one of them, then reload the configuration.",
							  "Keys must come from one place, so that it is certain which seals.");
	}
	if (!is_set(keyring_file) && !is_set(keyring_command))
	{
		strlcpy(problem->message, "no keyring is configured", sizeof(problem->message));
		return keyring_refuse(
			problem,
			"Make one with (umask 077; echo \"1 $(openssl rand -hex 32)\" > "
			"/etc/postgresql/biometric.keyring), as the server's user, set "
			"biometric_audit.keyring to its path, then reload the configuration.",
			"Neither biometric_audit.keyring nor biometric_audit.keyring_command is set.");
	}
	if (!find_database(problem) || !expand_setting(problem))
		return false;
	place->file = is_set(keyring_file) ? expanded : NULL;
	place->command = is_set(keyring_file) ? NULL : expanded;
	place->change = is_set(keyring_change_command) ? keyring_change_command : NULL;
	place->database = database_name;
	return true;
}

void
place_mark(const char *path, FileMark *mark)
{
	struct stat status;

	memset(mark, 0, sizeof(*mark));
	if (stat(path, &status) != 0)
		return;
	mark->exists = true;
	mark->device = status.st_dev;
	mark->inode = status.st_ino;
	mark->size = status.st_size;
	mark->modified = status.st_mtim;
	mark->changed = status.st_ctim;
}

bool
place_mark_equal(const FileMark *a, const FileMark *b)
{
	return a->exists == b->exists && a->device == b->device && a->inode == b->inode &&
		   a->size == b->size && a->modified.tv_sec == b->modified.tv_sec &&
		   a->modified.tv_nsec == b->modified.tv_nsec && a->changed.tv_sec == b->changed.tv_sec &&
		   a->changed.tv_nsec == b->changed.tv_nsec;
}

/* What was replaced while it was read may have been overwritten already, and is read again. */
static bool
read_file(const char *path, KeyringText *result, KeyringProblem *problem)
{
	for (int attempt = 0;; attempt++)
	{
		FileMark after;
		bool read_it;

		place_mark(path, &result->mark);
		read_it = keyring_read_file(path, &result->text, problem);
		place_mark(path, &after);
		if (place_mark_equal(&result->mark, &after))
			return read_it;
		secret_free(&result->text);
		if (attempt == READ_ATTEMPTS)
			return keyring_refuse(problem, "Leave the file alone for a moment, then try again.",
								  "It was changed each time that it was read.");
		pg_usleep(1000L);
	}
}

/* More lines than keys do no harm; more keys than lines cannot be. */
static int
text_capacity(const SecretMemory *text)
{
	const char *bytes = text->memory;
	int lines = 1;

	for (Size i = 0; i < text->used && lines < KEYFILE_MAX_KEYS; i++)
		lines += bytes[i] == '\n';
	return lines;
}

bool
place_parse(const KeyringPlace *place, KeyringText *result, KeyringProblem *problem)
{
	KeyfileError error = {0};
	int capacity = text_capacity(&result->text);

	if (place->file != NULL)
		snprintf(problem->message, sizeof(problem->message), "keyring file \"%s\" is malformed",
				 place->file);
	else
		strlcpy(problem->message, "output of biometric_audit.keyring_command is malformed",
				sizeof(problem->message));
	if (!secret_allocate(&result->keys, capacity * sizeof(KeyfileKey)))
		return keyring_refuse(problem, FORM_HINT, "There is no memory for its keys.");
	if (keyfile_parse(result->text.memory, result->text.used, result->keys.memory, capacity,
					  &result->count, &error) == CORE_OK)
		return true;
	secret_free(&result->keys);
	if (error.line > 0)
		return keyring_refuse(problem, FORM_HINT, "Line %d: %s.", error.line, error.problem);
	return keyring_refuse(problem, FORM_HINT, "The fault: %s.", error.problem);
}

bool
place_read(const KeyringPlace *place, KeyringText *result, KeyringProblem *problem)
{
	bool read_it;

	memset(result, 0, sizeof(*result));
	read_it = place->file != NULL
				  ? read_file(place->file, result, problem)
				  : keyring_read_command("biometric_audit.keyring_command", place->command, true,
										 &result->text, problem);
	read_it = read_it && place_parse(place, result, problem);
	if (!read_it)
		place_free(result);
	return read_it;
}

void
place_free(KeyringText *text)
{
	secret_free(&text->keys);
	secret_free(&text->text);
	text->count = 0;
}

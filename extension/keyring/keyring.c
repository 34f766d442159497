/*
 * keyring.c - the keys of this process: when they are read, found and wiped.
 *
 * States: not read yet, or outdated by a reload; held; failed. A failure is
 * remembered until the next reload, so that asking for a key costs nothing
 * then, except where a key is demanded: keyring_active tries again, for it can
 * say what is wrong to somebody who may just have put it right.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "core/keyfile.h"
#include "keyring/keyring.h"
#include "keyring/source.h"

typedef enum KeyringState
{
	KEYRING_UNREAD,
	KEYRING_HELD,
	KEYRING_FAILED
} KeyringState;

static char *keyring_file = NULL;
static char *keyring_command = NULL;

static KeyringState state = KEYRING_UNREAD;
static TimestampTz read_under = 0; /* PgReloadTime when state was reached */
static int read_by = 0;			   /* process that read, whom alone the memory belongs to */
static SecretMemory held = {0};	   /* key_count SealKeys, ascending by id */
static int key_count = 0;
static KeyringProblem problem = {0};

static void
keyring_setting_changed(const char *value, void *extra)
{
	state = KEYRING_UNREAD;
}

void
keyring_define_settings(void)
{
	DefineCustomStringVariable("biometric_audit.keyring", "File that holds the keys.",
							   "Lines \"id hex64\", \"#\" begins a comment; the highest id seals "
							   "new images. Mode 0600, outside the data directory.",
							   &keyring_file, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL,
							   keyring_setting_changed, NULL);
	DefineCustomStringVariable(
		"biometric_audit.keyring_command", "Shell command that prints the keys.",
		"Instead of biometric_audit.keyring; its output is as that file.", &keyring_command, "",
		PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, keyring_setting_changed, NULL);
}

static void
keyring_forget(void)
{
	secret_free(&held);
	key_count = 0;
}

static void
keyring_at_exit(int code, Datum arg)
{
	if (read_by == MyProcPid)
		keyring_forget();
}

static bool
source_read(SecretMemory *text)
{
	bool has_file = keyring_file != NULL && keyring_file[0] != '\0';
	bool has_command = keyring_command != NULL && keyring_command[0] != '\0';

	if (has_file && has_command)
	{
		strlcpy(problem.message,
				"both biometric_audit.keyring and biometric_audit.keyring_command are set",
				sizeof(problem.message));
		return keyring_refuse(&problem, "Reset one of them, then reload the configuration.",
							  "Keys must come from one place, so that it is certain which seals.");
	}
	if (has_command)
		return keyring_read_command(keyring_command, text, &problem);
	if (has_file)
		return keyring_read_file(keyring_file, text, &problem);
	strlcpy(problem.message, "no keyring is configured", sizeof(problem.message));
	return keyring_refuse(
		&problem,
		"Make one with (umask 077; echo \"1 $(openssl rand -hex 32)\" > "
		"/etc/postgresql/biometric.keyring), as the server's user, set "
		"biometric_audit.keyring to its path, then reload the configuration.",
		"Neither biometric_audit.keyring nor biometric_audit.keyring_command is set.");
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

static bool
text_parse(const SecretMemory *text)
{
	const char *hint = "Write a line \"id hex64\" for each key, ids from 1 upwards; \"openssl rand "
					   "-hex 32\" makes a key.";
	KeyfileError error = {0};
	int capacity = text_capacity(text);

	if (keyring_file != NULL && keyring_file[0] != '\0')
		snprintf(problem.message, sizeof(problem.message), "keyring file \"%s\" is malformed",
				 keyring_file);
	else
		strlcpy(problem.message, "output of biometric_audit.keyring_command is malformed",
				sizeof(problem.message));
	if (!secret_allocate(&held, capacity * sizeof(SealKey)))
		return keyring_refuse(&problem, hint, "There is no memory for its keys.");
	if (keyfile_parse(text->memory, text->used, held.memory, capacity, &key_count, &error) ==
			CORE_OK &&
		key_count > 0)
		return true;
	keyring_forget();
	if (error.problem == NULL)
		error.problem = "its keys cannot be derived";
	if (error.line > 0)
		return keyring_refuse(&problem, hint, "Line %d: %s.", error.line, error.problem);
	return keyring_refuse(&problem, hint, "The fault: %s.", error.problem);
}

/* What the postmaster holds, every process inherits. */
static bool
process_may_hold_keys(void)
{
	if (IsUnderPostmaster || !IsPostmasterEnvironment)
		return true;
	strlcpy(problem.message, "the postmaster does not read keys", sizeof(problem.message));
	return keyring_refuse(&problem, "Use the extension from a session.",
						  "Every process of the server would inherit them.");
}

/*
 * Reads the keyring anew. Whatever was held before is gone first: a keyring
 * that cannot be read any more must not go on opening images.
 */
static void
keyring_read(void)
{
	SecretMemory text = {0};
	bool read_it;

	if (read_by != MyProcPid)
	{
		memset(&held, 0, sizeof(held));
		read_by = MyProcPid;
		on_proc_exit(keyring_at_exit, (Datum) 0);
	}
	keyring_forget();
	memset(&problem, 0, sizeof(problem));
	read_under = PgReloadTime;
	state = KEYRING_FAILED;

	read_it = process_may_hold_keys() && source_read(&text) && text_parse(&text);
	secret_free(&text);
	if (read_it)
		state = KEYRING_HELD;
}

static bool
keyring_outdated(void)
{
	return state == KEYRING_UNREAD || read_under != PgReloadTime || read_by != MyProcPid;
}

/* Brings the state up to date with the last reload. True if there are keys. */
static bool
keyring_refresh(void)
{
	if (keyring_outdated())
		keyring_read();
	return state == KEYRING_HELD;
}

const SealKey *
keyring_active(void)
{
	if (keyring_outdated() || state == KEYRING_FAILED)
		keyring_read();
	if (state != KEYRING_HELD)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("%s", problem.message),
						errdetail("%s", problem.detail), errhint("%s", problem.hint)));
	return (const SealKey *) held.memory + (key_count - 1);
}

const SealKey *
keyring_find(uint32 id)
{
	const SealKey *keys;
	int low = 0;
	int high;

	if (!keyring_refresh())
		return NULL;
	keys = held.memory;
	high = key_count - 1;
	while (low <= high)
	{
		int middle = low + (high - low) / 2;

		if (keys[middle].id == id)
			return &keys[middle];
		if (keys[middle].id < id)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

const SealKey *
keyring_next(uint32 id)
{
	const SealKey *keys;

	if (!keyring_refresh())
		return NULL;
	keys = held.memory;
	for (int i = 0; i < key_count; i++)
		if (keys[i].id > id)
			return &keys[i];
	return NULL;
}

bool
keyring_usable(const char **reason)
{
	if (keyring_refresh())
		return true;
	if (reason != NULL)
		*reason = problem.message;
	return false;
}

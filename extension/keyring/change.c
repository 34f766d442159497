/*
 * change.c - lists, adds and removes keys, in a file or by a command.
 *
 * Within one server changes are made one after the other, under a lock that is waited for
 * interruptibly; with a file also among servers (replace.h). Each is read back from where keys
 * come from, and followed by a new wrapping key.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/resowner.h"

#include "keyring/keyring.h"
#include "keyring/place.h"
#include "keyring/replace.h"
#include "keyring/ring.h"

/* The third field of the advisory lock of our changes: none that SQL can take. */
#define CHANGE_LOCK_SORT 0xba

#define FULL_HINT "Shred keys that are not needed any more, or give periods more time."

/* One change. */
typedef struct Change
{
	bool add;
	uint32 above;	/* add: the id is higher */
	uint32 id;		/* of the key; add: found by the change */
	KeyScope scope; /* add */
	uint8 check[SEAL_CHECK_SIZE];
	bool was_there; /* remove */
	int left;		/* keys that the keyring has after it */
} Change;

static void
raise_problem(const KeyringProblem *problem)
{
	CHECK_FOR_INTERRUPTS();
	ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("%s", problem->message),
					errdetail("%s", problem->detail), errhint("%s", problem->hint)));
}

static void
change_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, InvalidOid, 0, 0, CHANGE_LOCK_SORT);
}

static const KeyfileKey *
text_find(const KeyringText *text, uint32 id)
{
	const KeyfileKey *keys = text->keys.memory;

	for (int i = 0; i < text->count; i++)
		if (keys[i].id == id)
			return &keys[i];
	return NULL;
}

/* ---- listing */

static int
list_keys(const KeyringText *text, KeyringEntry **entries, const char **problem)
{
	const KeyfileKey *keys = text->keys.memory;
	KeyringEntry *list = *entries;

	for (int i = 0; i < text->count; i++)
	{
		list[i].id = keys[i].id;
		list[i].scope = keys[i].scope;
		if (seal_key_check(keys[i].master, list[i].check) != CORE_OK)
		{
			*problem = "the check values of the keyring's keys cannot be derived";
			return -1;
		}
	}
	return text->count;
}

int
keyring_list(KeyringEntry **entries, const char **problem)
{
	KeyringProblem found = {0};
	KeyringPlace place;
	KeyringText text = {0};
	int count = -1;

	*problem = NULL;
	*entries = palloc0(KEYFILE_MAX_KEYS * sizeof(KeyringEntry));
	ring_hold_begin();
	if (place_get(&place, &found) && place_read(&place, &text, &found))
		count = list_keys(&text, entries, problem);
	place_free(&text);
	ring_hold_end();
	if (count < 0 && *problem == NULL)
		*problem = psprintf("%s: %s", found.message, found.detail);
	return count;
}

/* ---- what is to be */

/* Finds the new key's id; false when there is no room for it. */
static bool
choose_id(Change *change, const KeyringText *now, KeyringProblem *problem)
{
	const KeyfileKey *keys = now->keys.memory;
	uint32 highest = Max(change->above, now->count > 0 ? keys[now->count - 1].id : 0);

	if (now->count >= KEYFILE_MAX_KEYS)
		return keyring_refuse(problem, FULL_HINT, "It holds %d keys, and may hold no more.",
							  KEYFILE_MAX_KEYS);
	if (highest == PG_UINT32_MAX)
		return keyring_refuse(problem, FULL_HINT, "There is no id above %u.", highest);
	change->id = highest + 1;
	change->left = now->count + 1;
	return true;
}

/* Tells whether the key that is to be removed is there, and is the one that is meant. */
static bool
find_removed(Change *change, const KeyringText *now)
{
	const KeyfileKey *key = text_find(now, change->id);
	uint8 check[SEAL_CHECK_SIZE];

	change->left = now->count - 1;
	change->was_there = key != NULL && seal_key_check(key->master, check) == CORE_OK &&
						core_equal(check, change->check, sizeof(check));
	return change->was_there;
}

/* ---- in a file */

/* Writes a new key's line behind the text. */
static bool
add_line(Change *change, const KeyringText *now, SecretMemory *result, KeyringProblem *problem)
{
	const char *old = now->text.memory;
	KeyfileKey key = {.id = change->id, .scope = change->scope};
	char line[KEYFILE_LINE_SIZE];
	char *text;
	Size length = 0;

	if (core_random(key.master, sizeof(key.master)) == CORE_OK &&
		seal_key_check(key.master, change->check) == CORE_OK)
		length = keyfile_write_line(&key, line);
	core_wipe(&key, sizeof(key));
	if (length == 0)
		return keyring_refuse(problem, "Check the server's OpenSSL installation.",
							  "A key cannot be made, or its scope cannot be written.");
	if (now->text.used + length + 1 >= KEYRING_MAX_SIZE ||
		!secret_allocate(result, now->text.used + length + 1))
	{
		core_wipe(line, sizeof(line));
		return keyring_refuse(problem, FULL_HINT, "It would have %d bytes or more.",
							  KEYRING_MAX_SIZE);
	}
	text = result->memory;
	memcpy(text, old, now->text.used);
	result->used = now->text.used;
	if (result->used > 0 && old[result->used - 1] != '\n')
		text[result->used++] = '\n';
	memcpy(text + result->used, line, length);
	result->used += length;
	core_wipe(line, sizeof(line));
	return true;
}

/* Cuts a key's line out of the text. */
static bool
cut_line(const Change *change, const KeyringText *now, SecretMemory *result,
		 KeyringProblem *problem)
{
	const char *old = now->text.memory;
	char *text;
	size_t start;
	size_t end;

	if (!keyfile_find_line(old, now->text.used, change->id, &start, &end) ||
		!secret_allocate(result, now->text.used))
		return keyring_refuse(problem, "Free some memory, then try again.",
							  "There is no memory for it.");
	text = result->memory;
	memcpy(text, old, start);
	memcpy(text + start, old + end, now->text.used - end);
	result->used = now->text.used - (end - start);
	return true;
}

static bool
edit_file(void *context, const KeyringText *now, SecretMemory *result, KeyringProblem *problem)
{
	Change *change = context;

	if (change->add)
		return choose_id(change, now, problem) && add_line(change, now, result, problem);
	return !find_removed(change, now) || cut_line(change, now, result, problem);
}

/* ---- by a command */

static bool
run_command(const Change *change, const KeyringPlace *place, KeyringProblem *problem)
{
	char id[16];
	char scope[KEYFILE_SCOPE_SIZE];
	const char *const values[] = {change->add ? "add" : "remove", id, scope, place->database};
	SecretMemory output = {0};
	char *command;
	bool done;

	strlcpy(problem->message, "biometric_audit.keyring_change_command cannot be used",
			sizeof(problem->message));
	snprintf(id, sizeof(id), "%u", change->id);
	if (keyfile_write_scope(&change->scope, scope) == 0)
		return keyring_refuse(problem, "Give the key another period.",
							  "The key's scope cannot be written.");
	command = place_expand(place->change, "aksd", values, problem);
	if (command == NULL)
		return false;
	done = keyring_read_command("biometric_audit.keyring_change_command", command, false, &output,
								problem);
	secret_free(&output);
	pfree(command);
	return done;
}

static bool
change_by_command(Change *change, const KeyringPlace *place, KeyringProblem *problem)
{
	KeyringText now = {0};
	bool wanted;
	bool done = place_read(place, &now, problem);

	if (done && !change->add)
		wanted = find_removed(change, &now);
	else
		wanted = done = done && choose_id(change, &now, problem);
	if (wanted && !change->add)
		change->scope = text_find(&now, change->id)->scope;
	place_free(&now);
	if (wanted && place->change == NULL)
	{
		strlcpy(problem->message, "the keyring cannot be changed", sizeof(problem->message));
		return keyring_refuse(
			problem,
			"Set biometric_audit.keyring_change_command, or change the keys where "
			"they are kept.",
			"Its keys come from biometric_audit.keyring_command, and nothing "
			"says how they are made and destroyed.");
	}
	return done && (!wanted || run_command(change, place, problem));
}

/* ---- both */

/*
 * Reads the keyring once more: what was changed must be so. Without any key it cannot be read,
 * which is as it should be then.
 */
static bool
change_is_seen(Change *change, const KeyringPlace *place, KeyringProblem *problem)
{
	static const uint8 unknown[SEAL_CHECK_SIZE];
	KeyringText now = {0};
	const KeyfileKey *key;
	uint8 check[SEAL_CHECK_SIZE];
	bool seen;

	if (!place_read(place, &now, problem))
		return change->left == 0;
	key = text_find(&now, change->id);
	seen = change->add == (key != NULL) &&
		   (key == NULL || keyfile_scope_equal(&key->scope, &change->scope));
	if (seen && key != NULL && memcmp(change->check, unknown, sizeof(unknown)) != 0)
		seen = seal_key_check(key->master, check) == CORE_OK &&
			   core_equal(check, change->check, sizeof(check));
	place_free(&now);
	if (seen)
		return true;
	strlcpy(problem->message, "the keyring was not changed as it should have been",
			sizeof(problem->message));
	return keyring_refuse(problem,
						  "Look at what the keyring holds now; with keyring_command, at what "
						  "keyring_change_command does.",
						  "Key %u is %s.", change->id,
						  change->add ? "not there with the scope that it should have"
									  : "still there");
}

static void
change_make(Change *change)
{
	KeyringProblem problem = {0};
	KeyringPlace place;
	FileMark mark;
	LOCKTAG tag;
	const char *warning = NULL;
	bool done;

	if (!place_get(&place, &problem))
		raise_problem(&problem);
	change_tag(&tag);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	ring_hold_begin();
	done = place.file != NULL ? replace_file(&place, edit_file, change, &problem, &warning)
							  : change_by_command(change, &place, &problem);
	if (done && (change->add || change->was_there))
		done = change_is_seen(change, &place, &problem);
	ring_hold_end();
	place_mark(place.file != NULL ? place.file : "", &mark);
	if (change->add || change->was_there || !done)
		wrapping_replace(!change->add, &mark);
	LockRelease(&tag, ExclusiveLock, false);
	if (!done)
		raise_problem(&problem);
	if (warning != NULL)
		ereport(WARNING,
				(errmsg("%s", warning),
				 errhint("What the file system keeps of it must be destroyed otherwise.")));
}

uint32
keyring_add(const KeyScope *scope, uint32 above)
{
	Change change = {.add = true, .above = above};

	if (scope != NULL && scope->bound)
		change.scope = *scope;
	change_make(&change);
	return change.id;
}

bool
keyring_remove(uint32 id, const uint8 check[SEAL_CHECK_SIZE])
{
	Change change = {.id = id};

	memcpy(change.check, check, sizeof(change.check));
	change_make(&change);
	return change.was_there;
}

/* Raises unless there is something that could be changed, and a way to do it. */
void
keyring_check_writable(void)
{
	KeyringProblem problem = {0};
	KeyringPlace place;
	KeyringText text = {0};
	Change change = {.add = true};
	bool possible;

	ring_hold_begin();
	possible = place_get(&place, &problem) && place_read(&place, &text, &problem) &&
			   choose_id(&change, &text, &problem);
	place_free(&text);
	ring_hold_end();
	if (possible && place.file != NULL)
		possible = replace_possible(&place, &problem);
	else if (possible && place.change == NULL)
	{
		strlcpy(problem.message, "the keyring cannot be changed", sizeof(problem.message));
		possible = keyring_refuse(&problem, "Set biometric_audit.keyring_change_command.",
								  "Its keys come from biometric_audit.keyring_command.");
	}
	if (!possible)
		raise_problem(&problem);
}

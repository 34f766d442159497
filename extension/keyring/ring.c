/*
 * ring.c - the keys of this process: when they are read, decrypted and wiped.
 *
 * States: not read yet, or outdated by a reload, another generation or another file; held; failed.
 * A failure is remembered until then, or for a while, so that asking for a key costs nothing
 * meanwhile, except where a key is demanded: whoever needs one may just have put it right.
 *
 * A generation is entered (holder_enter) before a key of it is read or decrypted, and left when
 * nothing is decrypted any more. As long as it has not been entered, whoever replaces the wrapping
 * key does not wait for this process; so the wrapping key is asked for after that, and is worth
 * something only if the generation is still the same.
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "keyring/keyring.h"
#include "keyring/place.h"
#include "keyring/ring.h"

/* Stack that whoever uses a key may need below the function that asked for it. */
#define STACK_MARGIN 16384

/* How long a failure is remembered that nobody has done anything about: it may pass by itself. */
#define RETRY_MS 5000

/*
 * How long a file's times may stay the same although it is written again: longer than the system's
 * clock takes for a tick.
 */
#define YOUNG_MS 20

/*
 * How long a look counts that was taken while a statement was bound, whose execution is a message
 * of its own: only what comes at once is spared another.
 */
#define LOOK_LASTS_US 1000

typedef enum RingState
{
	RING_UNREAD,
	RING_HELD,
	RING_FAILED
} RingState;

static RingState state = RING_UNREAD;
static int read_by = 0;				   /* process that read, whom alone the memory belongs to */
static TimestampTz read_at_reload = 0; /* PgReloadTime then */
static uint64 read_at_settings = 0;	   /* place_settings() then */
static uint64 read_at_generation = 0;  /* under whose wrapping key everything is */
static TimestampTz looked_at = 0;	   /* start of the message that looked at the file last */
static TimestampTz looked_for = 0;	   /* start of the last message that this look counts for */
static bool look_lasts = false;		   /* no statement has ended since */
static TimestampTz read_at = 0;		   /* when it was read, or could not be */
static FileMark read_mark = {0};	   /* the file, when it was read */
static bool read_young = false;		   /* it had been written just before */
static KeyringProblem problem = {0};

static SecretMemory ring = {0};	  /* key_count RingKeys */
static SecretMemory opened = {0}; /* key_count SealKeys, zeroes where none is open */
static int key_count = 0;
static int first_open = -1;
static int holds = 0; /* ring_hold_begin without end */

static char *stack_low = NULL; /* how deep the stack was where keys were asked for */

static void
ring_drop(void)
{
	ring_release();
	secret_free(&opened);
	secret_free(&ring);
	key_count = 0;
}

static void
ring_at_exit(int code, Datum arg)
{
	if (read_by != MyProcPid)
		return;
	ring_drop();
	holder_leave();
}

/* What the postmaster holds, every process inherits. */
static bool
process_may_hold_keys(void)
{
	if (MyProc != NULL && OidIsValid(MyDatabaseId) &&
		(IsUnderPostmaster || !IsPostmasterEnvironment))
		return true;
	strlcpy(problem.message, "this process does not read keys", sizeof(problem.message));
	return keyring_refuse(&problem, "Use the extension from a session.",
						  "Only a process that is connected to a database holds keys.");
}

/* Notes how deep the stack is. */
static void
note_stack(void)
{
	char *here = __builtin_frame_address(0);

	if (stack_low == NULL || here < stack_low)
		stack_low = here;
}

/* From here on what is held is this process's, and is wiped and given up when it ends. */
static void
ring_own(void)
{
	if (read_by == MyProcPid)
		return;
	memset(&ring, 0, sizeof(ring));
	memset(&opened, 0, sizeof(opened));
	first_open = -1;
	key_count = 0;
	state = RING_UNREAD;
	read_by = MyProcPid;
	on_shmem_exit(ring_at_exit, (Datum) 0);
}

/* Enters the present generation, unless one was entered and not left, and copies its key. */
static void
ring_enter(WrappingKey *wrapping)
{
	uint64 generation;

	note_stack();
	do
	{
		generation = keyring_generation();
		if (first_open < 0 && holds == 0)
			holder_enter(generation);
		wrapping_copy(wrapping);
	} while (wrapping->generation != generation);
}

/* Overwrites the stack below: what was spilled there, or saved when a signal came. */
static pg_noinline void
wipe_stack(void)
{
	char *here = __builtin_frame_address(0);
	Size size = stack_low != NULL && stack_low < here ? here - stack_low : 0;

	stack_low = NULL;
	explicit_bzero(__builtin_alloca(size + STACK_MARGIN), size + STACK_MARGIN);
}

static void
ring_leave(void)
{
	if (first_open >= 0 || holds > 0)
		return;
	wipe_stack();
	holder_leave();
}

void
ring_hold_begin(void)
{
	ring_own();
	note_stack();
	if (first_open < 0 && holds == 0)
		holder_enter(keyring_generation());
	holds++;
}

void
ring_hold_reset(void)
{
	bool held = holds > 0;

	holds = 0;
	if (held)
		ring_leave();
	else if (first_open < 0)
		holder_leave();
}

void
ring_hold_end(void)
{
	holds--;
	ring_leave();
}

/* Takes the keys of a keyring that was read, each under the wrapping key. */
static bool
ring_take(const WrappingKey *wrapping, const KeyringText *text)
{
	const KeyfileKey *keys = text->keys.memory;

	strlcpy(problem.message, "the keys cannot be kept", sizeof(problem.message));
	if (!secret_allocate(&ring, text->count * sizeof(RingKey)) ||
		!secret_allocate(&opened, text->count * sizeof(SealKey)))
		return keyring_refuse(&problem, "Free some memory, then try again.",
							  "There is no memory for them.");
	for (int i = 0; i < text->count; i++)
	{
		RingKey *key = (RingKey *) ring.memory + i;

		key->id = keys[i].id;
		key->scope = keys[i].scope;
		if (!wrapping_seal(wrapping, key->id, keys[i].master, sizeof(keys[i].master),
						   &key->master_header, key->master))
			return keyring_refuse(&problem, "Check the server's OpenSSL installation.",
								  "They cannot be encrypted.");
	}
	key_count = text->count;
	return true;
}

/*
 * Whether a file that was begun to be read then had been written so lately that it may be again
 * without looking otherwise. One with times to come is another clock's.
 */
static bool
mark_is_young(const FileMark *mark, const struct timespec *then)
{
	int64 age_ms = (int64) (then->tv_sec - mark->changed.tv_sec) * 1000 +
				   (then->tv_nsec - mark->changed.tv_nsec) / 1000000;

	return mark->exists && age_ms > -1000 && age_ms < YOUNG_MS;
}

static void
ring_note_look(void)
{
	looked_at = looked_for = GetCurrentStatementStartTimestamp();
	look_lasts = true;
}

/*
 * Whether this statement has looked at the file already: in this message, or just before, when it
 * was bound. Not a statement before it: whatever it does not see was changed after it had begun.
 */
static bool
ring_has_looked(void)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();

	if (looked_for == now)
		return true;
	if (!look_lasts || now < looked_at || now - looked_at >= LOOK_LASTS_US)
		return false;
	looked_for = now;
	return true;
}

/*
 * Reads the keyring anew. Whatever was held before is gone first: a keyring that cannot be read
 * any more must not go on opening images.
 */
static void
ring_read(void)
{
	KeyringText text = {0};
	KeyringPlace place;
	WrappingKey wrapping;
	struct timespec begun;
	bool found;

	ring_own();
	ring_drop();
	memset(&problem, 0, sizeof(problem));
	state = RING_FAILED;
	read_at_reload = PgReloadTime;
	read_at_settings = place_settings();
	ring_note_look();

	/* which may raise, and so comes before there is something to wipe */
	found = place_get(&place, &problem);
	ring_enter(&wrapping);
	read_at_generation = wrapping.generation;
	memset(&read_mark, 0, sizeof(read_mark));
	clock_gettime(CLOCK_REALTIME, &begun);
	if (found && place_read(&place, &text, &problem))
	{
		read_mark = text.mark;
		if (ring_take(&wrapping, &text))
			state = RING_HELD;
	}
	else if (place.file != NULL)
		place_mark(place.file, &read_mark);
	if (state != RING_HELD)
		ring_drop();
	/* of who is cancelled nothing is known */
	if (state == RING_FAILED && (QueryCancelPending || ProcDiePending))
		state = RING_UNREAD;
	read_at = GetCurrentTimestamp();
	read_young = mark_is_young(&read_mark, &begun);
	place_free(&text);
	wrapping_wipe(&wrapping);
	ring_leave();
}

/*
 * Whether the file is another than the one that was read; then everybody is to read it. Of
 * a command nobody knows whether it would print something else now.
 */
static bool
ring_file_changed(void)
{
	KeyringPlace place;
	KeyringProblem ignored;
	FileMark mark;

	if (!place_get(&place, &ignored) || place.file == NULL)
		return false;
	place_mark(place.file, &mark);
	if (place_mark_equal(&mark, &read_mark))
		return read_young;
	wrapping_follow(&mark);
	return true;
}

static bool
ring_outdated(void)
{
	if (state == RING_UNREAD || read_by != MyProcPid || read_at_reload != PgReloadTime ||
		read_at_settings != place_settings() || read_at_generation != keyring_generation())
		return true;
	if (ring_has_looked())
		return false;
	ring_note_look();
	if (state == RING_FAILED && TimestampDifferenceExceeds(read_at, looked_at, RETRY_MS))
		return true;
	return ring_file_changed();
}

bool
ring_refresh(bool demand)
{
	note_stack();
	if (ring_outdated() || (demand && state == RING_FAILED))
	{
		if (process_may_hold_keys())
			ring_read();
		else
			return false;
	}
	return state == RING_HELD;
}

const KeyringProblem *
ring_problem(void)
{
	return &problem;
}

int
ring_count(void)
{
	return key_count;
}

RingKey *
ring_key(int place)
{
	return (RingKey *) ring.memory + place;
}

int
ring_place(uint32 id)
{
	int low = 0;
	int high = key_count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (ring_key(middle)->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Copies the wrapping key that the ring is under; false when it has been replaced. */
static bool
ring_enter_own(WrappingKey *wrapping)
{
	ring_enter(wrapping);
	if (wrapping->generation == read_at_generation)
		return true;
	wrapping_wipe(wrapping);
	ring_leave();
	return false;
}

bool
ring_know(RingKey *key)
{
	uint8 master[SEAL_MASTER_KEY_SIZE];
	WrappingKey wrapping;

	if (key->is_known)
		return true;
	if (!ring_enter_own(&wrapping))
		return false;
	key->is_known = wrapping_open(&wrapping, key->id, &key->master_header, key->master,
								  sizeof(master), master) &&
					seal_key_check(master, key->check) == CORE_OK;
	core_wipe(master, sizeof(master));
	wrapping_wipe(&wrapping);
	ring_leave();
	return key->is_known;
}

/* Derives a key from its master key, and keeps it for later. */
static bool
ring_derive(RingKey *key, const WrappingKey *wrapping, SealKey *derived)
{
	uint8 master[SEAL_MASTER_KEY_SIZE];
	bool done = wrapping_open(wrapping, key->id, &key->master_header, key->master, sizeof(master),
							  master) &&
				seal_key_init(derived, key->id, master) == CORE_OK;

	core_wipe(master, sizeof(master));
	if (!done)
		return false;
	key->is_derived = wrapping_seal(wrapping, key->id, derived, sizeof(*derived),
									&key->derived_header, key->derived);
	return true;
}

const SealKey *
ring_open(int place)
{
	RingKey *key = ring_key(place);
	SealKey *derived = (SealKey *) opened.memory + place;
	WrappingKey wrapping;
	bool done;

	if (key->is_open)
		return derived;
	if (!ring_enter_own(&wrapping))
		return NULL;
	done = key->is_derived ? wrapping_open(&wrapping, key->id, &key->derived_header, key->derived,
										   sizeof(*derived), derived)
						   : ring_derive(key, &wrapping, derived);
	wrapping_wipe(&wrapping);
	if (!done)
	{
		seal_key_wipe(derived);
		ring_leave();
		return NULL;
	}
	key->is_open = true;
	key->next_open = first_open;
	first_open = place;
	return derived;
}

void
ring_release(void)
{
	if (first_open < 0)
		return;
	while (first_open >= 0)
	{
		RingKey *key = ring_key(first_open);

		seal_key_wipe((SealKey *) opened.memory + first_open);
		key->is_open = false;
		first_open = key->next_open;
	}
	ring_leave();
}

void
ring_look_again(void)
{
	look_lasts = false;
}

void
ring_forget(void)
{
	state = RING_UNREAD;
}

uint64
ring_poll(void)
{
	static uint64 looks = 1;
	static uint64 generation = 0;
	static uint64 settings_then = 0;
	static TimestampTz reload = 0;
	static FileMark mark = {0};
	KeyringPlace place;
	KeyringProblem ignored;
	FileMark now = {0};

	if (place_get(&place, &ignored) && place.file != NULL)
		place_mark(place.file, &now);
	if (generation != 0 && !place_mark_equal(&now, &mark))
		wrapping_follow(&now);
	if (generation != keyring_generation() || settings_then != place_settings() ||
		reload != PgReloadTime)
		looks++;
	generation = keyring_generation();
	settings_then = place_settings();
	reload = PgReloadTime;
	mark = now;
	return looks;
}

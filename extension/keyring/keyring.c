/*
 * keyring.c - the keys that may be used.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"

#include "base/internal.h"
#include "keyring/keyring.h"
#include "keyring/pins.h"
#include "keyring/place.h"
#include "keyring/ring.h"

/* How often a look is begun again because the keyring changed meanwhile. */
#define ATTEMPTS 5

static KeyringPinWaiter pin_waiter = NULL;

void
keyring_define_settings(void)
{
	place_define_settings();
}

void
keyring_set_pin_waiter(KeyringPinWaiter waiter)
{
	pin_waiter = waiter;
}

/* Whoever has an error in a transaction block stays in it, but his statement is over. */
static void
keyring_end_of_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
							  void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	ring_hold_reset();
	keyring_done();
}

static void
keyring_end_of_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			return;
		default:
			ring_hold_reset();
			ring_release();
			ring_look_again();
	}
}

void
keyring_init(void)
{
	RegisterXactCallback(keyring_end_of_transaction, NULL);
	RegisterSubXactCallback(keyring_end_of_subtransaction, NULL);
}

void
keyring_release(void)
{
	ring_release();
}

void
keyring_done(void)
{
	if (internal_depth() == 0)
		ring_release();
}

void
keyring_statement_over(void)
{
	if (internal_depth() > 0)
		return;
	ring_release();
	ring_look_again();
}

uint64
keyring_poll(void)
{
	return ring_poll();
}

/*
 * What is not published may be, where the worker cannot see it yet: the extension's tables are
 * this transaction's own.
 */
static KeyVerdict
judge_unpublished(void)
{
	return IsTransactionState() && extension_created_here() ? KEY_ALLOWED : KEY_UNPINNED;
}

/* What a key may seal is what was written down when it was first seen, whatever its line says now. */
static KeyVerdict
judge_pin(RingKey *key)
{
	KeyPin pin;

	if (!pins_find(key->id, &pin))
		return KEY_UNPINNED;
	if (!core_equal(pin.check, key->check, sizeof(pin.check)))
		return KEY_OTHER;
	switch (pin.state)
	{
		case PIN_USABLE:
			key->scope = pin.scope;
			return KEY_ALLOWED;
		case PIN_SHREDDING:
		case PIN_SHREDDED:
		default:
			return KEY_GONE;
	}
}

/* False when the keyring changed meanwhile. */
static bool
judge(RingKey *key, KeyVerdict *verdict)
{
	uint64 generation = pins_generation();

	if (generation != 0 && key->judged_under == generation)
	{
		*verdict = key->verdict;
		return true;
	}
	if (!ring_know(key))
		return false;
	*verdict = generation == 0 ? judge_unpublished() : judge_pin(key);
	key->verdict = *verdict;
	key->judged_under = generation;
	return true;
}

/*
 * Finds the first key from place on that may be used, and opens it; at most last. NULL: none.
 * *again: the keyring changed meanwhile.
 */
static const SealKey *
open_first(int place, int last, bool *again)
{
	*again = false;
	for (; place <= last; place++)
	{
		KeyVerdict verdict;
		const SealKey *key;

		*again = !judge(ring_key(place), &verdict);
		if (*again)
			return NULL;
		/*
		 * as soon as it is pinned it is looked at anew; a database that is being restored is that
		 * new
		 */
		if (verdict == KEY_UNPINNED && pin_waiter != NULL && pin_waiter(ring_key(place)->id))
		{
			*again = true;
			return NULL;
		}
		if (verdict != KEY_ALLOWED)
			continue;
		key = ring_open(place);
		*again = key == NULL;
		return key;
	}
	return NULL;
}

/* Finds the key with the lowest id that is at least low and at most high. */
static const SealKey *
find_between(uint32 low, uint32 high)
{
	for (int attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		const SealKey *key;
		bool again;
		int place;
		int last;

		if (!ring_refresh(false))
		{
			/* which is why, maybe */
			CHECK_FOR_INTERRUPTS();
			return NULL;
		}
		place = ring_place(low);
		for (last = place - 1; last + 1 < ring_count() && ring_key(last + 1)->id <= high;)
			last++;
		key = open_first(place, last, &again);
		if (!again)
			return key;
		ring_forget();
	}
	return NULL;
}

const SealKey *
keyring_find(uint32 id)
{
	return find_between(id, id);
}

const SealKey *
keyring_next(uint32 id)
{
	return id < PG_UINT32_MAX ? find_between(id + 1, PG_UINT32_MAX) : NULL;
}

bool
keyring_usable(const char **reason)
{
	if (ring_refresh(false))
		return true;
	if (reason != NULL)
		*reason = ring_problem()->message;
	return false;
}

static void
refuse_keyring(void)
{
	const KeyringProblem *problem = ring_problem();

	CHECK_FOR_INTERRUPTS();
	ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("%s", problem->message),
					errdetail("%s", problem->detail), errhint("%s", problem->hint)));
}

static void
refuse_verdict(uint32 id, KeyVerdict verdict)
{
	if (verdict == KEY_OTHER)
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("key %u of the keyring is not the one that this database knows", id),
			 errdetail("Images that this database keeps were sealed under another key with that "
					   "id. Nothing is sealed under this one."),
			 errhint("Put the right key back; a new key needs an id of its own, higher than all "
					 "others.")));
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("key %u of the keyring is not known to this database yet", id),
		 errdetail("The ledger's worker writes down what key an id stands for before anything is "
				   "sealed under it, and has not done so in time."),
		 errhint("See in the server's log whether the worker runs, then try again.")));
}

static void
refuse_none(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("the keyring has no key that seals new images"),
			 errdetail("Each of its keys is bound to a column and a period, or was shredded."),
			 errhint("Make a new key with biometric.rotate_key().")));
}

/*
 * The general key with the highest id that is not gone; false when the keyring changed meanwhile.
 */
static bool
choose_active(int *place, KeyVerdict *verdict)
{
	for (*place = ring_count() - 1; *place >= 0; (*place)--)
	{
		if (ring_key(*place)->scope.bound)
			continue;
		if (!judge(ring_key(*place), verdict))
			return false;
		/* its line may have lost what it is bound to */
		if (*verdict != KEY_GONE && !ring_key(*place)->scope.bound)
			return true;
	}
	return true;
}

const SealKey *
keyring_active(void)
{
	bool waited = false;

	for (int attempt = 0; attempt < ATTEMPTS; attempt++)
	{
		KeyVerdict verdict = KEY_GONE;
		const SealKey *key;
		uint32 id;
		int place;

		if (!ring_refresh(true))
			refuse_keyring();
		if (!choose_active(&place, &verdict))
		{
			ring_forget();
			continue;
		}
		if (place < 0)
			refuse_none();
		id = ring_key(place)->id;
		if (verdict == KEY_UNPINNED && !waited && pin_waiter != NULL && pin_waiter(id))
		{
			waited = true;
			continue;
		}
		if (verdict != KEY_ALLOWED)
			refuse_verdict(id, verdict);
		key = ring_open(place);
		if (key != NULL)
			return key;
		ring_forget();
	}
	ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("the keyring keeps changing"),
					errdetail("It was replaced each time that a key was taken from it."),
					errhint("Try again when that is over.")));
}

uint32
keyring_bound(const KeyScope *scope)
{
	if (!ring_refresh(false))
		return 0;
	for (int place = ring_count() - 1; place >= 0; place--)
	{
		RingKey *key = ring_key(place);
		KeyVerdict verdict;

		if (key->scope.bound && !keyfile_scope_equal(&key->scope, scope))
			continue;
		if (judge(key, &verdict) && verdict == KEY_ALLOWED &&
			keyfile_scope_equal(&key->scope, scope))
			return key->id;
	}
	return 0;
}

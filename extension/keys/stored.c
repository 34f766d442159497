/*
 * stored.c - under which keys a transaction has stored images: none of them is to be gone by the
 * time that it commits.
 *
 * A client may seal an image, and leave its transaction open while keys are rotated, everything
 * that others can see is sealed anew, and the old key is shredded. Its image would be committed,
 * and lost. So a transaction looks at its keys once more when it commits, under a lock that it
 * keeps until it has: whoever shreds a key takes the same lock at his own commit, and has the key
 * published as shredded before he lets go of it. A transaction that is prepared keeps the lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "base/internal.h"
#include "keys/keys.h"
#include "keys/parts.h"

/* A key that images were stored under. */
typedef struct StoredKey
{
	SubTransactionId subtransaction;
	uint32 id;
} StoredKey;

/* In TopTransactionContext; gone with it. */
static List *stored_keys = NIL;

/* The last one, which is mostly the next one, too. */
static StoredKey last = {InvalidSubTransactionId, 0};

static bool
stored_has(SubTransactionId subtransaction, uint32 id)
{
	ListCell *cell;

	foreach(cell, stored_keys)
	{
		const StoredKey *key = lfirst(cell);

		if (key->id == id && key->subtransaction == subtransaction)
			return true;
	}
	return false;
}

void
keys_note_stored(uint32 id)
{
	StoredKey key = {GetCurrentSubTransactionId(), id};
	MemoryContext old;
	StoredKey *copy;

	if (key.id == last.id && key.subtransaction == last.subtransaction)
		return;
	if (!stored_has(key.subtransaction, id))
	{
		old = MemoryContextSwitchTo(TopTransactionContext);
		copy = palloc(sizeof(StoredKey));
		*copy = key;
		stored_keys = lappend(stored_keys, copy);
		MemoryContextSwitchTo(old);
	}
	last = key;
}

void
keys_lock(uint32 id, LOCKMODE mode)
{
	LockDatabaseObject(extension_relation("key_pin"), id, 0, mode);
}

bool
keys_lock_now(uint32 id, LOCKMODE mode)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, extension_relation("key_pin"), id, 0);
	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
keys_check_stored(void)
{
	ListCell *cell;

	if (!OidIsValid(extension_relation("key_pin")))
		return;
	foreach(cell, stored_keys)
	{
		uint32 id = ((const StoredKey *) lfirst(cell))->id;

		keys_lock(id, ShareLock);
		if (!keys_is_shredded(id) && !shred_pending(id))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("images of this transaction cannot be kept: key %u was shredded", id),
				 errdetail("They were sealed under it before that, and nothing could open "
						   "them any more."),
				 errhint("Run the transaction again: its images are sealed under another "
						 "key then.")));
	}
}

static void
stored_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			stored_keys = NIL;
			last.subtransaction = InvalidSubTransactionId;
			break;
		default:
			break;
	}
}

/* What a subtransaction stored is its parent's, or was never stored. */
static void
stored_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	ListCell *cell;

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	last.subtransaction = InvalidSubTransactionId;
	foreach(cell, stored_keys)
	{
		StoredKey *key = lfirst(cell);

		if (key->subtransaction != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB && !stored_has(parent, key->id))
			key->subtransaction = parent;
		else
			stored_keys = foreach_delete_current(stored_keys, cell);
	}
}

void
stored_init(void)
{
	RegisterXactCallback(stored_transaction, NULL);
	RegisterSubXactCallback(stored_subtransaction, NULL);
}

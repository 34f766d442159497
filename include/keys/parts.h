/*
 * parts.h - what the files of extension/keys share.
 */
#ifndef BIOMETRIC_KEYS_PARTS_H
#define BIOMETRIC_KEYS_PARTS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

#include "keyring/keyring.h"
#include "keyring/pins.h"

/* ---- pin.c: the worker's task */

/* pin_init registers task, poll and reset, and what sealing waits by; from keys_init. */
extern void pin_init(void);

/* pin_shmem_request and pin_shmem_init: what others want of the worker; as keys_shmem_*. */
extern void pin_shmem_request(void);
extern void pin_shmem_init(void);

/*
 * pin_put_offs tells how often the worker of this database could not take out a key at
 * once; another: this process is the worker, and there it is again.
 */
extern uint32 pin_put_offs(bool another);

/*
 * pin_await has the worker read the keyring anew, and waits until it has pinned a key (id 0: has
 * looked), at most as long as the ledger may. False when it has not. Interruptible.
 */
extern bool pin_await(uint32 id);

/* ---- table.c: biometric.key_pin */

/* One key that this database knows, by its own logs. */
typedef struct PinRow
{
	uint8 log_id[16];
	KeyPin pin;		/* its state as published: what any log says of the check value counts */
	bool shredding; /* what the row itself says */
	bool shredded;
	char *owed;	   /* action of the entry that is; NULL: none */
	char *problem; /* NULL: none */
} PinRow;

/*
 * table_read lists the keys that this database knows (PinRow), ascending by id. Needs SPI, in
 * whose memory context the result is.
 */
extern List *table_read(void);

/*
 * table_insert adds a key that was seen in the keyring for the first time, with an entry
 * owed; false when there is no log of this database's own to do it under. Needs SPI, as the rest.
 */
extern bool table_insert(const KeyPin *pin);

/*
 * table_settle says that nothing is owed any more, table_finish that a key is shredded and an
 * entry owed for it, table_follow that another database has shredded a key of its own and an entry
 * is owed for it here, too, table_problem what stands in the way of that (NULL: nothing). Of a row
 * that somebody else has locked they do nothing, and return false.
 */
extern bool table_settle(const PinRow *row);
extern bool table_finish(const PinRow *row);
extern bool table_follow(const PinRow *row);
extern bool table_problem(const PinRow *row, const char *problem);

/* ---- remove.c: how the worker takes a key out of the keyring */

/*
 * remove_plan takes over which keys are to go: those whose rows say shredding, and keys of the
 * keyring that shredded rows tell of. rows: as table_read; ring: what the keyring holds.
 */
extern void remove_plan(const List *rows, const KeyringEntry *ring, int count);

/* remove_work does the next step; true when there is more to do at once. A LedgerWorkerWork. */
extern bool remove_work(int slot);

/*
 * remove_is_due tells whether something that failed, or must wait, is to be tried again now; if
 * later, it lowers *wait_ms to the time until then.
 */
extern bool remove_is_due(TimestampTz now, long *wait_ms);

/*
 * remove_is_done tells whether a key has gone and nobody holds it any more, by its check value;
 * ended: how many processes were ended for it. remove_problem says what stands in the way,
 * NULL: nothing does; borrowed.
 */
extern bool remove_is_done(const uint8 *check, int *ended);
extern const char *remove_problem(const uint8 *check);

/* ---- keys.c */

/* keys_keyring_is_shared tells whether all databases of the server use one keyring. */
extern bool keys_keyring_is_shared(void);

/*
 * keys_above returns what a new key's id is to be above: the highest id that this database has
 * known, and those of others that use the same keyring, to whom it may stand for a shredded key.
 */
extern uint32 keys_above(uint32 known);

/* keys_list is keyring_list, but raises F0000 when the keyring cannot be read. */
extern int keys_list(KeyringEntry **entries);

/* keys_general_active returns the id of the key that seals new images, of such a list; 0: none. */
extern uint32 keys_general_active(const KeyringEntry *entries, int count);

/* keys_require_pinned is pin_await for a key that was just made: 55000 when it fails. */
extern void keys_require_pinned(uint32 id);

/* ---- shred.c */

/* shred_init registers the transaction callbacks; from keys_init. */
extern void shred_init(void);

/* shred_pending tells whether this transaction has asked for a key to be shredded. */
extern bool shred_pending(uint32 id);

/* ---- stored.c */

/* stored_init registers the transaction callbacks; from keys_init. */
extern void stored_init(void);

/*
 * keys_lock takes the lock of a key until the end of the transaction: ShareLock for who has stored
 * images under it, ExclusiveLock for who shreds it. keys_lock_now does so only if nobody is in the
 * way.
 */
extern void keys_lock(uint32 id, LOCKMODE mode);
extern bool keys_lock_now(uint32 id, LOCKMODE mode);

/* ---- period.c */

/* period_init registers the invalidation callback; from keys_init. */
extern void period_init(void);

#endif

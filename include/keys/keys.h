/*
 * keys.h - which keys a database knows: pins, periods, shredding.
 *
 * biometric.key_pin has a row a key that the worker has ever seen in the keyring, with its check
 * value: another key under that id is found before anything is sealed with it. Rows
 * stay when a key is shredded, and rows of other logs count as far as they say that a key with
 * their check value was shredded. biometric.key_binding has a row a column whose images are
 * sealed under keys of their own, one a period (key_period).
 */
#ifndef BIOMETRIC_KEYS_KEYS_H
#define BIOMETRIC_KEYS_KEYS_H

#include "postgres.h"

#include "core/envelope.h"

/* keys_init registers the transaction and invalidation callbacks; from _PG_init. */
extern void keys_init(void);

/*
 * keys_publish_init registers the worker's task, which pins and publishes, and carries out
 * shredding; from _PG_init, before policy_init: what is permitted would be refused as long as there
 * are no keys.
 */
extern void keys_publish_init(void);

/* keys_shmem_request and keys_shmem_init: what others want of the worker; from main.c. */
extern void keys_shmem_request(void);
extern void keys_shmem_init(void);

/*
 * keys_sync brings biometric.key_binding in line with the catalogs, as home_sync does
 * biometric.home; called with it.
 */
extern void keys_sync(void);

/*
 * keys_for_home returns the id of the key that an image is to be sealed under when it is stored
 * in a home: of the key bound to its period, which is made if there is none yet; 0 when the
 * home's column has no key_period, or the image may keep the key it has. home: ENVELOPE_HOME_SIZE
 * bytes, of a column of this database. at_ms: what the image's retention counts from, ms since
 * 1970-01-01 UTC. Cached; costs next to nothing for columns without. Errors: keyring_add's; 55000
 * when a new key was not pinned in time, or the key of a period that is over was shredded; 54000
 * when the keyring has too many keys of periods.
 */
extern uint32 keys_for_home(const uint8 *home, int64 at_ms);

/*
 * keys_request_shred marks a bound key for shredding, as shred_key() does, for retention that
 * expires so; in a transaction of the purger. Returns false when something holds it: detail then
 * says what, palloc'd.
 */
extern bool keys_request_shred(uint32 key_id, const char *reason, const char **detail);

/*
 * keys_note_stored notes that this transaction has stored an image under a key; cheap.
 * keys_check_stored locks those keys until the transaction has ended, and raises 40001 if one of
 * them was shredded meanwhile: the last thing before its changes are put on record.
 */
extern void keys_note_stored(uint32 id);
extern void keys_check_stored(void);

/*
 * keys_is_shredded tells whether a key is shredded, or being shredded: as it is published, and, of
 * keys that are gone for so long that they are not, as biometric.key_pin has it. Cheap if it is
 * published. Raises nothing but for want of memory.
 */
extern bool keys_is_shredded(uint32 id);

/*
 * keys_check_drop raises 55006 when biometric.key_pin is about to be dropped while a key of it is
 * shredded and nobody else would take it out of the keyring.
 */
extern void keys_check_drop(void);

/*
 * keys_check_drop_database does so for DROP DATABASE of another database, by what its worker has
 * published. The worker must have left, so that nothing is published any more.
 */
extern void keys_check_drop_database(Oid database);

#endif

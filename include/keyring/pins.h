/*
 * pins.h - what a database knows of the keys, in shared memory: which key an id
 * stands for, what it may seal, and which are gone for good.
 *
 * The worker publishes it from biometric.key_pin (keys/pin.c); every process of
 * the database looks it up by id. It holds no key: a pin is a key's check value,
 * derived from it for this alone (seal_key_check).
 */
#ifndef BIOMETRIC_KEYRING_PINS_H
#define BIOMETRIC_KEYRING_PINS_H

#include "postgres.h"

#include "core/keyfile.h"
#include "core/seal.h"

typedef enum PinState
{
	PIN_USABLE = 1,	   /* seals, if it is the newest of its sort, and opens */
	PIN_SHREDDING = 2, /* opens nothing any more, and is about to go */
	PIN_SHREDDED = 3   /* gone: opens nothing here, even if the keyring has it again */
} PinState;

typedef struct KeyPin
{
	uint32 id;
	PinState state;
	uint8 check[SEAL_CHECK_SIZE];
	KeyScope scope; /* as in the keyring when it was pinned */
	bool own;		/* bound, to a column of this database, or images under it are held here */
} KeyPin;

/* From keyring_shmem_request and _init. */
extern Size pins_shmem_size(int databases);
extern void pins_shmem_init(int databases);

/*
 * pins_publish replaces what is published for a database; by its worker only. pins:
 * ascending by id, at most KEYFILE_MAX_KEYS. pins_reset makes it unpublished again.
 * pins_publish returns false when there is no room for another database.
 */
extern bool pins_publish(Oid database, const KeyPin *pins, int count);
extern void pins_reset(Oid database);

/*
 * pins_set_reader: what lists the pins of this database where nobody publishes, on a standby:
 * palloc'd, ascending by id. Returns how many; -1 when the database knows of no keys. From _PG_init.
 */
typedef int (*PinsReader)(KeyPin **pins);
extern void pins_set_reader(PinsReader reader);

/*
 * pins_generation changes with each publication for this database; 0: nothing is published. On a
 * standby each process reads for itself, once a statement, what has been replayed of the primary's
 * table: in a transaction, and may raise what reading a table may.
 */
extern uint64 pins_generation(void);

/*
 * pins_find looks a key up in what is published for this database, or on a standby was read; false
 * when it is not there.
 */
extern bool pins_find(uint32 id, KeyPin *pin);

/*
 * pins_highest returns the highest id that any database of the server has published; 0: none. A
 * new key's id is higher, so that it is no database's shredded one.
 */
extern uint32 pins_highest(void);

/*
 * pins_elsewhere lists the other databases of the server that keep a key, known by its check
 * value, from leaving the keyring: in which it is published as usable. A key that is bound to a
 * column of this database is kept only by those that have this column, too, or hold images under
 * it. At most `most` are put into databases. Returns how many there are.
 */
extern int pins_elsewhere(const uint8 check[SEAL_CHECK_SIZE], Oid *databases, int most);

/*
 * pins_shredded_by_owner tells whether another database of the server, to a column of which a key is
 * bound, has published it as shredded or about to be.
 */
extern bool pins_shredded_by_owner(const uint8 check[SEAL_CHECK_SIZE]);

/*
 * pins_shredding returns the lowest id of a key that a database of the server is about to take out
 * of the keyring; 0: none. shared_keyring: not one that another database keeps, or has to take out
 * itself.
 */
extern uint32 pins_shredding(Oid database, bool shared_keyring);

#endif

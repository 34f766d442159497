/*
 * ring.h - what this process has of its database's keyring.
 *
 * For extension/keyring alone. A process has one ring: the keys as they were read last, each
 * encrypted under the wrapping key of the generation in which they were read, and those that are
 * open at the moment. Nothing here raises but for want of memory, and none of it needs a key to be
 * pinned.
 */
#ifndef BIOMETRIC_KEYRING_RING_H
#define BIOMETRIC_KEYRING_RING_H

#include "postgres.h"

#include "core/keyfile.h"
#include "core/seal.h"
#include "keyring/source.h"
#include "keyring/wrapping.h"

/* What the pins say of a key. */
typedef enum KeyVerdict
{
	KEY_ALLOWED = 1,
	KEY_UNPINNED, /* not known yet, or nothing is published */
	KEY_OTHER,	  /* known by this id is another key */
	KEY_GONE	  /* it is being shredded, or was */
} KeyVerdict;

/* A key between statements. */
typedef struct RingKey
{
	uint32 id;
	KeyScope scope;
	bool is_known; /* check is filled in */
	uint8 check[SEAL_CHECK_SIZE];
	uint64 judged_under; /* pins_generation of the verdict; 0: none */
	KeyVerdict verdict;
	bool is_derived; /* derived is filled in */
	bool is_open;	 /* and its SealKey decrypted */
	int next_open;	 /* index of the next that is open, or -1 */
	WrapHeader master_header;
	uint8 master[SEAL_MASTER_KEY_SIZE];
	WrapHeader derived_header;
	uint8 derived[sizeof(SealKey)];
} RingKey;

/*
 * ring_refresh brings the ring up to date, once a statement with the file. demand: a keyring that
 * could not be read is read again. False when there are no keys; ring_problem says why then.
 */
extern bool ring_refresh(bool demand);
extern const KeyringProblem *ring_problem(void);

/*
 * ring_count returns how many keys there are, ring_key one by its place, ascending by id; from
 * ring_refresh on.
 */
extern int ring_count(void);
extern RingKey *ring_key(int place);

/*
 * ring_place returns the place of the first key whose id is at least id; ring_count() when there is
 * none.
 */
extern int ring_place(uint32 id);

/*
 * ring_know fills in a key's check, ring_open decrypts a key until ring_release. False, or NULL,
 * when the wrapping key was replaced meanwhile: ring_refresh, then begin again.
 */
extern bool ring_know(RingKey *key);
extern const SealKey *ring_open(int place);

/* ring_release wipes what is open, and the stack below the caller as deep as keys were used. */
extern void ring_release(void);

/*
 * ring_hold_begin says that keys are about to be handled outside of the ring; ring_hold_end that
 * they are wiped.
 */
extern void ring_hold_begin(void);
extern void ring_hold_end(void);

/*
 * ring_hold_reset takes back what an error has left of ring_hold_begin; at the end of a
 * transaction or subtransaction.
 */
extern void ring_hold_reset(void);

/* ring_look_again says that a statement is over: the next one looks at the file itself. */
extern void ring_look_again(void);

/* ring_forget makes the next ring_refresh read the keyring; ring_poll is keyring_poll. */
extern void ring_forget(void);
extern uint64 ring_poll(void);

#endif

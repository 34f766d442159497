/*
 * keyring.h - where a process gets its keys from, and how long it has them.
 *
 * Keys come from the file biometric_audit.keyring or from the output of
 * biometric_audit.keyring_command; in both "%d" stands for the database's name, so that
 * databases can have keyrings of their own. They are read when first needed, and again when the
 * configuration was reloaded, the file has changed, or a key was added or removed
 * by any process of this server (keyring_generation).
 *
 * Between statements a process holds what it has read only encrypted, under a key in shared
 * memory that a change of the keyring replaces: what others hold is worth nothing from then
 * on. Decrypted keys exist while a statement runs that has asked for one, in a page that is
 * locked and excluded from core dumps; keyring_release wipes them. Which processes have some is
 * seen in shared memory (keyring_wait_holders).
 *
 * A key is found only if it is the one that the database knows by its id (pins.h), and that
 * has not been shredded.
 *
 * A file is refused unless it is a regular file outside the data directory,
 * owned by the server's user or root, with no permission for group or others.
 */
#ifndef BIOMETRIC_KEYRING_KEYRING_H
#define BIOMETRIC_KEYRING_KEYRING_H

#include "postgres.h"

#include "core/keyfile.h"
#include "core/seal.h"

/*
 * keyring_define_settings defines biometric_audit.keyring, .keyring_command and
 * .keyring_change_command; from _PG_init.
 */
extern void keyring_define_settings(void);

/*
 * Shared memory: generation, wrapping key, holders, pins. From main.c. databases: ledger_slots().
 */
extern void keyring_shmem_request(int databases);
extern void keyring_shmem_init(int databases);

/*
 * keyring_active returns the key that seals new images: of the general keys the one with the
 * highest id. Waits, at most as long as the ledger, until the worker has pinned it.
 * Borrowed: valid until the next call of a keyring function.
 * Errors: ERRCODE_CONFIG_FILE_ERROR when no keyring is configured, or it
 * cannot be read, is exposed, inside the data directory or malformed, holds another key under
 * an id that this database knows, or no general key; names the file (never its
 * contents), the rule, and what to do. 55000 when the key was not pinned in time.
 */
extern const SealKey *keyring_active(void);

/*
 * keyring_find returns the key with an id, or NULL when the keyring does not
 * hold it, holds another one under that id, or it was shredded. Never raises for a keyring that
 * cannot be used: that is NULL too, so that sealed values can be carried about on a machine
 * without keys. A key that is not pinned yet it waits for, as keyring_active does; interruptible
 * then. Borrowed as keyring_active's.
 */
extern const SealKey *keyring_find(uint32 id);

/*
 * keyring_next returns the key with the lowest id above an id (0: of all), or
 * NULL: so all are gone through. Otherwise as keyring_find.
 */
extern const SealKey *keyring_next(uint32 id);

/*
 * keyring_bound returns the id of the key that is bound to a home and a period, this very one; the
 * highest if there are several, as long as it is usable and pinned; 0: none.
 */
extern uint32 keyring_bound(const KeyScope *scope);

/*
 * keyring_usable tells whether there is a keyring with at least one key,
 * without raising. problem, if not NULL, gets a static or palloc'd phrase for
 * errdetail_log when false.
 */
extern bool keyring_usable(const char **problem);

/*
 * keyring_release wipes what keys this process holds decrypted. The hooks call it when a top-level
 * statement, planning or parsing is over, and at the end of each transaction. Never raises.
 */
extern void keyring_release(void);

/*
 * keyring_done does so if no statement is running: whoever got a key calls it when he has
 * used it, for values are sealed outside of statements, too, as when parameters are
 * bound, and the client may do nothing for long then.
 */
extern void keyring_done(void);

/*
 * keyring_statement_over does so, too, for the hooks, when a statement has run; the next one
 * looks at the keyring's file again. What is bound and then run at once looks once.
 */
extern void keyring_statement_over(void);

/* ---- what a keyring holds, for the room keys; no key's bytes leave by it */

typedef struct KeyringEntry
{
	uint32 id;
	uint8 check[SEAL_CHECK_SIZE];
	KeyScope scope;
} KeyringEntry;

/*
 * keyring_list reads the keyring anew and lists what it holds, ascending by id, palloc'd;
 * whatever is pinned. Returns the number; -1 when it cannot be used, and *problem says why.
 */
extern int keyring_list(KeyringEntry **entries, const char **problem);

/*
 * keyring_generation changes when keys may have: whoever caches what depends on them compares it.
 */
extern uint64 keyring_generation(void);

/*
 * keyring_poll returns a number, this process's own, that changes when the keyring may have: with
 * the generation, a reload, or the file, which it looks at (one system call). When the file has
 * changed, by hand or by another server, it makes what other processes hold worthless. For who
 * looks now and then, such as the worker. Never raises.
 */
extern uint64 keyring_poll(void);

/*
 * keyring_set_pin_waiter: what keyring_active calls when it meets a key that is not pinned: it
 * requests that the worker pins it, waits as long as the ledger may, and tells whether the worker
 * has done it. From _PG_init.
 */
typedef bool (*KeyringPinWaiter)(uint32 id);
extern void keyring_set_pin_waiter(KeyringPinWaiter waiter);

/* keyring_init registers what releases keys at the end of transactions; from _PG_init. */
extern void keyring_init(void);

/* ---- changes */

/*
 * keyring_add makes a key of 32 random bytes, puts it into the keyring and returns its id, one
 * higher than any id in the keyring and than above. A file is written anew beside itself, flushed,
 * and renamed, with its directory flushed, under a lock that other servers with the same file take,
 * too; with a command, biometric_audit.keyring_change_command is run. The keyring is read back. Not
 * undone by ROLLBACK.
 * scope: NULL or not bound: a general key.
 * Errors: ERRCODE_CONFIG_FILE_ERROR when the keyring cannot be read or changed (a directory that
 * the server's user may not write, no keyring_change_command, a keyring that is full); nothing was
 * changed then, or only the keyring is.
 */
extern uint32 keyring_add(const KeyScope *scope, uint32 above);

/*
 * keyring_remove takes a key out of the keyring, overwrites what held it as far as the file
 * system allows, and makes what other processes hold worthless. Returns false when it was not in
 * it. check: what the key must be; if it is another, it is left alone and false returned.
 * Errors: as keyring_add.
 */
extern bool keyring_remove(uint32 id, const uint8 check[SEAL_CHECK_SIZE]);

/*
 * keyring_check_writable raises what keyring_add would raise, as far as that can be known before.
 */
extern void keyring_check_writable(void);

/*
 * keyring_wait_holders waits until no other process of the server holds keys decrypted that it got
 * before the last change with which a key may have gone; after timeout_ms it ends those that do
 * (SIGTERM), and waits for their end as long again. Interruptible. Returns false when some are
 * left. ended: set to the number of processes ended.
 */
extern bool keyring_wait_holders(int timeout_ms, int *ended);

/*
 * keyring_holders counts the processes that keyring_wait_holders would wait for at this moment,
 * without waiting; with end it also has them ended (SIGTERM). For the worker, which must not stand still.
 */
extern int keyring_holders(bool end);

#endif

/*
 * kept.h - what the policy's file remembers across a restart of the server.
 *
 * File biometric_audit.policy in the data directory: whether any database of
 * the cluster has a ledger, which database serves replication connections
 * (serving.h), and a copy of its published policy. Written by the ledgers'
 * workers, by rename and with fsync; read at server start, before a worker
 * runs, into shared memory. A checksum finds damage, no more: whoever can
 * write into the data directory, as root and the server's own user, can
 * change the tables of the policy as well.
 *
 *   u32 magic  u32 CRC-32C of what follows
 *   u32 0: there are no ledgers, 1: there are, 2: that is not known
 *   64 bytes: name in biometric_audit.replication_database  u32 OID it is bound to
 *   u32 length, 0: no policy  bytes of the policy (blob.h)
 *
 * In host order. A file that is missing or damaged knows nothing. A standby
 * made by pg_basebackup has a copy, for the day when it is promoted.
 */
#ifndef BIOMETRIC_POLICY_KEPT_H
#define BIOMETRIC_POLICY_KEPT_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "storage/lwlock.h"

/* kept_shmem_size returns the bytes of shared memory that this needs. */
extern Size kept_shmem_size(void);

/*
 * kept_shmem_init sets the memory up, and reads the file then, or attaches to
 * it. lock: guards it from now on. The caller holds AddinShmemInitLock.
 */
extern void kept_shmem_init(LWLock *lock);

/*
 * kept_bind remembers that a name ("": none) in the setting means a database
 * (0: it does not exist), unless that name is bound to a database already.
 * kept_policy remembers the policy of the bound database, length 0 that there
 * is none, and does nothing for another; kept_ledgers whether there are
 * ledgers. All write the file when something changed; a failure is logged.
 */
extern void kept_bind(const char *name, Oid database);
extern void kept_policy(Oid database, const char *bytes, Size length);
extern void kept_ledgers(bool there);

/* kept_bound returns the database that a name in the setting is bound to, InvalidOid if to none. */
extern Oid kept_bound(const char *name);

/*
 * kept_have_ledgers tells whether any database had a ledger when that was last
 * seen; true as well while it is not known: the file could not tell, and the
 * launcher has not looked at every database yet.
 */
extern bool kept_have_ledgers(bool *known);

/* kept_read appends the policy of a database to out; false when none is remembered. */
extern bool kept_read(Oid database, StringInfo out);

#endif

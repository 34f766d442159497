/*
 * kept.h - what the policy's file remembers across a restart of the server.
 *
 * File biometric_audit.policy in the data directory: whether any database of
 * the cluster has a ledger, and a copy of the published policy of the
 * database that serves replication connections. Written by the ledgers'
 * workers, by rename and with fsync; read at server start, before a worker
 * runs, into shared memory. A checksum finds damage, no more: whoever can
 * write into the data directory, as root and the server's own user, can
 * change the tables of the policy as well.
 *
 *   u32 magic  u32 CRC-32C of what follows  u32 1: there are ledgers
 *   u32 database OID, 0: no policy  u32 length  bytes of the policy (blob.h)
 *
 * In host order. A standby made by pg_basebackup has a copy, for the day
 * when it is promoted.
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
 * kept_policy remembers the policy of a database that serves replication;
 * kept_ledgers whether there are ledgers. Both write the file when something
 * changed; a failure to write is logged.
 */
extern void kept_policy(Oid database, const char *bytes, Size length);
extern void kept_ledgers(bool there);

/* kept_have_ledgers tells whether any database had a ledger when that was last seen. */
extern bool kept_have_ledgers(void);

/* kept_read appends the policy of a database to out; false when none is remembered. */
extern bool kept_read(Oid database, StringInfo out);

#endif

/*
 * cutoff.h - who is connected, and ending the connections of a party.
 *
 * Each client, of a session or for replication, is entered into shared memory when
 * it has authenticated, before replication is decided on, and leaves when its process
 * ends. So whoever looks after a policy was published sees everybody who was let
 * in by the one before it.
 *
 * The lock guards all of it. A process leaves under it, exclusively: one that is still
 * entered while somebody holds it is alive, and its process id is nobody else's.
 */
#ifndef BIOMETRIC_POLICY_CUTOFF_H
#define BIOMETRIC_POLICY_CUTOFF_H

#include "postgres.h"

#include "storage/lwlock.h"

/* How many connections a party has. */
typedef struct CutoffCount
{
	int sessions;	 /* client sessions of this database */
	int replication; /* replication connections that this database's policy is about */
} CutoffCount;

/* cutoff_shmem_size returns the bytes of shared memory that this needs. */
extern Size cutoff_shmem_size(void);

/* cutoff_shmem_init sets it up or attaches to it. The caller holds AddinShmemInitLock. */
extern void cutoff_shmem_init(LWLock *lock);

/* cutoff_enter enters this client, if it was authenticated. From ClientAuthentication_hook. */
extern void cutoff_enter(int status);

/*
 * cutoff_admit says whose this replication connection is by the policy of a database, by which
 * it is about to be let in: it stays theirs when their networks are registered no more. To be
 * called before that policy is asked for the last time.
 */
extern void cutoff_admit(Oid database, const char *party);

/*
 * cutoff_count counts the connections whose client belongs to a party by the published
 * policy of this database, without this session: its sessions; all replication
 * connections where this database serves replication (serving.h), else those for logical
 * decoding of this database; and those which it admitted for the party. Nobody belongs to anybody
 * by networks while no policy is published.
 */
extern CutoffCount cutoff_count(const char *party);

/* What it takes to end a party's connections. */
typedef struct CutoffPlan CutoffPlan;

/* cutoff_prepare allocates all that cutoff_end needs, in the current memory context. */
extern CutoffPlan *cutoff_prepare(const char *party);

/*
 * cutoff_end ends those connections, as pg_terminate_backend does, and waits until they
 * have gone, at most 10 s; with a WARNING if some have not. For the time after a commit: allocates
 * nothing, never raises, and nothing can interrupt it there.
 */
extern void cutoff_end(CutoffPlan *plan);

#endif

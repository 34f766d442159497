/*
 * publish.h - the policy in shared memory.
 *
 * Each slot (database) has two buffers and a generation. The buffer of
 * generation g is g % 2; whoever publishes fills the other one and then
 * raises the generation. A reader takes no lock: it copies, and copies again
 * when the generation moved meanwhile, so that a publisher that was stopped
 * halfway keeps nobody waiting. Publishers (the worker, and whoever resets a
 * slot) exclude one another by the slot's LWLock.
 */
#ifndef BIOMETRIC_POLICY_PUBLISH_H
#define BIOMETRIC_POLICY_PUBLISH_H

#include "postgres.h"

#include "lib/stringinfo.h"

typedef enum PublishState
{
	PUBLISH_NOTHING = 0, /* no worker has published this database's policy yet */
	PUBLISH_POLICY = 1,
	PUBLISH_TOO_LARGE = 2, /* it does not fit into biometric_audit.policy_size */
} PublishState;

/* publish_init registers the worker's task; from policy_init. */
extern void publish_init(void);

/*
 * publish_read appends the published bytes (blob.h) of this database to out
 * and sets generation to theirs. out stays empty unless PUBLISH_POLICY.
 */
extern PublishState publish_read(StringInfo out, uint64 *generation);

/*
 * publish_read_database does so for any database, and out holds nothing else
 * then; PUBLISH_NOTHING also when it has no slot.
 */
extern PublishState publish_read_database(Oid database, StringInfo out);

/*
 * publish_fits tells whether a policy that grows by so many bytes over what
 * is published now would still fit.
 */
extern bool publish_fits(Size growth);

/*
 * publish_await waits until a policy is published for this database, at most
 * biometric_audit.ledger_timeout, once in that time: a worker that has just
 * been started needs a moment. Interruptible.
 */
extern void publish_await(void);

#endif

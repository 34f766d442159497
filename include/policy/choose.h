/*
 * choose.h - the rules of the policy, applied to a view of it.
 *
 * Pure: everything that a choice depends on is an argument.
 */
#ifndef BIOMETRIC_POLICY_CHOOSE_H
#define BIOMETRIC_POLICY_CHOOSE_H

#include "policy/snapshot.h"

typedef struct ChooseRequest
{
	ImageKind kind;
	List *relations;	 /* as DecideRequest's */
	const char *purpose; /* NULL: none declared */
	bool tls;
	bool observe; /* biometric_audit.enforcement is observe */
	TimestampTz now;
} ChooseRequest;

/*
 * policy_choose decides by network, party, permits, TLS and purpose. The
 * view's state must be PUBLISH_POLICY. The texts are the view's.
 *
 * Of the permits valid now for the kind and the relation only those of the
 * nearest level count: the relation itself, its ancestors from the nearest
 * on, any relation. Among these a permit that refuses wins; then the most
 * generous whose conditions hold (of those that release alike one without a quota,
 * then the oldest: quotas do not add up); else the condition that failed last in the
 * order TLS, purpose declared, purpose permitted. Released is with marks if any permit that
 * would release asks for them.
 */
extern Decision policy_choose(const PolicyView *view, const ChooseRequest *request);

/*
 * policy_decide_replication decides, by a view of any database, on a client
 * that wants all there is, sealed: the first refusal among all kinds and all
 * relations that its party has permits for, else what holds for the last kind.
 * A part of policy_decide's file, which alone says yes or no.
 */
extern Decision policy_decide_replication(const PolicyView *view);

#endif

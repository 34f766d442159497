/*
 * decide.c - the only code that says yes or no.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "keyring/keyring.h"
#include "ledger/append.h"
#include "policy/change.h"
#include "policy/choose.h"
#include "policy/policy.h"
#include "policy/publish.h"
#include "policy/quota.h"
#include "policy/settings.h"

void
policy_init(void)
{
	publish_init();
	change_init();
}

/*
 * A worker that was started a moment ago may not have published yet; the
 * first statements after a restart wait for it. A transaction that created
 * the extension would wait in vain: nobody else can see the tables yet.
 */
static const PolicyView *
decide_view(void)
{
	const PolicyView *view = policy_view();

	if (view->state == PUBLISH_NOTHING && !(IsTransactionState() && extension_created_here()))
	{
		publish_await();
		view = policy_view();
	}
	return view;
}

Decision
policy_decide(const DecideRequest *request)
{
	Decision decision = {.delivery = DELIVERY_REFUSE,
						 .reason = REASON_LEDGER_UNAVAILABLE,
						 .purpose = request->purpose};
	ChooseRequest choose = {0};
	const PolicyView *view;

	if (!ledger_usable(&decision.reason, NULL))
		return decision;
	if (!keyring_usable(NULL))
	{
		decision.reason = REASON_KEY_UNAVAILABLE;
		return decision;
	}
	decision.reason = REASON_LEDGER_UNAVAILABLE;
	if (!policy_client()->present)
	{
		decision.delivery = DELIVERY_SEALED;
		decision.reason = REASON_NO_CLIENT;
		return decision;
	}
	view = decide_view();
	if (view->state != PUBLISH_POLICY)
		return decision;

	choose.kind = request->kind;
	choose.relations = request->relations;
	choose.purpose = request->purpose;
	choose.tls = policy_client()->tls;
	choose.observe = policy_observes();
	choose.now = GetCurrentTimestamp();
	decision = policy_choose(view, &choose);
	decision.purpose = request->purpose;
	return decision;
}

Decision
quota_exceeded(const Decision *decision)
{
	Decision over = *decision;

	if (over.reason == REASON_PERMITTED)
		over.reason = REASON_QUOTA_EXCEEDED;
	if (over.delivery != DELIVERY_OBSERVE)
		over.delivery = policy_observes() ? DELIVERY_OBSERVE : DELIVERY_REFUSE;
	return over;
}

/* What holds for a kind and a relation, InvalidOid for one without permits of its own. */
static Decision
decide_replicated(const PolicyView *view, ImageKind kind, Oid relation)
{
	ChooseRequest choose = {.kind = kind,
							.relations = OidIsValid(relation) ? list_make1_oid(relation) : NIL,
							.tls = policy_client()->tls,
							.observe = policy_observes(),
							.now = GetCurrentTimestamp()};

	return policy_choose(view, &choose);
}

Decision
policy_decide_replication(const PolicyView *view)
{
	Decision decision = {.delivery = DELIVERY_REFUSE, .reason = REASON_LEDGER_UNAVAILABLE};

	if (!policy_client()->present || view->state != PUBLISH_POLICY)
		return decision;
	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
	{
		decision = decide_replicated(view, kind, InvalidOid);
		for (int i = 0; i < view->permits && decision.delivery != DELIVERY_REFUSE; i++)
			if (OidIsValid(view->permit[i].relation))
			{
				Decision named = decide_replicated(view, kind, view->permit[i].relation);

				if (named.delivery == DELIVERY_REFUSE)
					decision = named;
			}
		if (decision.delivery == DELIVERY_REFUSE)
			break;
	}
	/* nothing is opened by it, whatever permits there are */
	if (decision.reason == REASON_PURPOSE_MISSING)
		decision.reason = REASON_PERMITTED;
	return decision;
}

bool
policy_names_relation(Oid relation)
{
	const PolicyView *view = policy_view();

	for (int i = 0; i < view->permits; i++)
		if (view->permit[i].relation == relation)
			return true;
	return false;
}

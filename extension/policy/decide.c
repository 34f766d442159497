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

bool
policy_names_relation(Oid relation)
{
	const PolicyView *view = policy_view();

	for (int i = 0; i < view->permits; i++)
		if (view->permit[i].relation == relation)
			return true;
	return false;
}

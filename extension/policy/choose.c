/*
 * choose.c - the rules of the policy.
 */
#include "postgres.h"

#include "policy/choose.h"

static bool
permit_names_purpose(const PolicyPermit *permit, const char *purpose)
{
	if (permit->purposes < 0)
		return true;
	for (int i = 0; i < permit->purposes; i++)
		if (strcmp(permit->purpose[i], purpose) == 0)
			return true;
	return false;
}

/* REASON_PERMITTED, or why the purpose of the session does not satisfy a permit. */
static Reason
permit_judge_purpose(const PolicyPermit *permit, const char *purpose)
{
	if (purpose == NULL)
		return permit->delivery == DELIVERY_OBSERVE && permit->purposes < 0
				   ? REASON_PERMITTED
				   : REASON_PURPOSE_MISSING;
	return permit_names_purpose(permit, purpose) ? REASON_PERMITTED : REASON_PURPOSE_NOT_PERMITTED;
}

/*
 * What one permit gives on its own. To observe demands no purpose: it
 * releases whatever its purposes say, with the reason that would have stood
 * against it.
 */
static Decision
permit_judge(const PolicyPermit *permit, const ChooseRequest *request)
{
	Decision judged = {.permit = permit->id,
					   .named = OidIsValid(permit->relation),
					   .quota = permit->quota != 0,
					   .mark = permit->mark,
					   .counter = (int) permit->counter};

	if (permit->delivery != DELIVERY_REFUSE && permit->require_tls && !request->tls)
	{
		judged.delivery = DELIVERY_REFUSE;
		judged.reason = REASON_TLS_REQUIRED;
		return judged;
	}
	switch (permit->delivery)
	{
		case DELIVERY_OPEN:
			judged.reason = permit_judge_purpose(permit, request->purpose);
			if (judged.reason == REASON_PERMITTED)
				judged.delivery = DELIVERY_OPEN;
			else if (judged.reason == REASON_PURPOSE_MISSING)
				judged.delivery = DELIVERY_SEALED;
			else
				judged.delivery = DELIVERY_REFUSE;
			break;
		case DELIVERY_OBSERVE:
			judged.delivery = DELIVERY_OBSERVE;
			judged.reason = permit_judge_purpose(permit, request->purpose);
			break;
		case DELIVERY_SEALED:
			judged.delivery = DELIVERY_SEALED;
			judged.reason = REASON_PERMITTED;
			break;
		case DELIVERY_REFUSE:
		default:
			judged.delivery = DELIVERY_REFUSE;
			judged.reason = REASON_REFUSED_BY_PERMIT;
			break;
	}
	return judged;
}

/* The higher, the more a judgement counts among those of one level. */
static int
judgement_weight(const Decision *judged)
{
	if (judged->reason == REASON_REFUSED_BY_PERMIT)
		return 100;
	/* of two that release, the one without a quota is the more generous */
	if (judged->delivery == DELIVERY_OPEN || judged->delivery == DELIVERY_OBSERVE)
		return 50 + 2 * judged->delivery + (judged->quota ? 0 : 1);
	if (judged->reason == REASON_PERMITTED)
		return 40;
	switch (judged->reason)
	{
		case REASON_PURPOSE_NOT_PERMITTED:
			return 30;
		case REASON_PURPOSE_MISSING:
			return 20;
		case REASON_TLS_REQUIRED:
			return 10;
		default:
			return 0;
	}
}

/* Whether a permit is for one of the relations of a level; NIL stands for "any relation". */
static bool
permit_is_of_level(const PolicyPermit *permit, const List *level)
{
	return level == NIL ? !OidIsValid(permit->relation)
						: OidIsValid(permit->relation) && list_member_oid(level, permit->relation);
}

/* The judgement of the permits of one level; false when there is none. */
static bool
choose_at_level(const PolicyView *view, const ChooseRequest *request, const List *level,
				Decision *chosen)
{
	int best = -1;
	bool mark = false;

	for (int i = 0; i < view->permits; i++)
	{
		const PolicyPermit *permit = &view->permit[i];
		Decision judged;

		if (!permit_is_of_level(permit, level) ||
			(permit->kinds & ((uint32) 1 << request->kind)) == 0 ||
			!period_holds(&permit->valid, request->now))
			continue;
		judged = permit_judge(permit, request);
		/* another permit without marks takes none away */
		mark = mark || (judged.mark && judged.delivery >= DELIVERY_OBSERVE);
		if (judgement_weight(&judged) > best)
		{
			best = judgement_weight(&judged);
			*chosen = judged;
		}
	}
	chosen->mark = chosen->mark || mark;
	return best >= 0;
}

static Decision
choose_by_permits(const PolicyView *view, const ChooseRequest *request)
{
	Decision chosen = {.delivery = DELIVERY_REFUSE, .reason = REASON_NO_PERMIT};
	List *level = NIL;
	ListCell *cell;

	/* parents of one generation are one level: none of them is more specific than another */
	foreach(cell, request->relations)
	{
		bool last = lnext(request->relations, cell) == NULL;

		if (OidIsValid(lfirst_oid(cell)))
			level = lappend_oid(level, lfirst_oid(cell));
		if (level == NIL || (OidIsValid(lfirst_oid(cell)) && !last))
			continue;
		if (choose_at_level(view, request, level, &chosen))
			return chosen;
		list_free(level);
		level = NIL;
	}
	(void) choose_at_level(view, request, NIL, &chosen);
	return chosen;
}

static Decision
choose_enforced(const PolicyView *view, const ChooseRequest *request)
{
	Decision chosen = {.delivery = DELIVERY_REFUSE, .reason = REASON_NO_PERMIT};

	if (view->network == NULL || view->party == NULL)
		chosen.reason = REASON_UNREGISTERED_NETWORK;
	else if (!period_holds(&view->contract, request->now))
		chosen.reason = REASON_CONTRACT_EXPIRED;
	else if (view->quarantined)
		chosen.reason = REASON_QUARANTINED;
	else if (request->kind > IMAGE_KIND_NONE && request->kind <= IMAGE_KIND_LAST)
		chosen = choose_by_permits(view, request);
	chosen.party = view->party;
	chosen.network = view->network;
	return chosen;
}

Decision
policy_choose(const PolicyView *view, const ChooseRequest *request)
{
	Decision chosen = choose_enforced(view, request);

	/* to watch a roll-out is no reason to go on giving to whoever was cut off */
	if (request->observe && chosen.reason != REASON_PERMITTED &&
		chosen.reason != REASON_QUARANTINED)
		chosen.delivery = DELIVERY_OBSERVE;
	return chosen;
}

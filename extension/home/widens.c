/*
 * widens.c - whether some party gets more of images when their table gets other ancestors.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "home/named.h"
#include "policy/choose.h"
#include "policy/publish.h"

/* Images, where they are and where they go. */
typedef struct Move
{
	List *from;
	List *to;
	uint32 kinds;
	TimestampTz now;
} Move;

/* A decision as far as it opens images; to observe is to open. */
static Delivery
opened_by(const Decision *decision)
{
	return Min(decision->delivery, DELIVERY_OBSERVE);
}

static bool
decision_widens(const Decision *from, const Decision *to)
{
	/* nobody has said anything of them: who may write to a table decides what it holds */
	if (from->permit == 0)
		return false;
	if (opened_by(to) != opened_by(from))
		return opened_by(to) > opened_by(from);
	return opened_by(to) == DELIVERY_OBSERVE &&
		   ((from->quota && to->permit != from->permit) || (from->mark && !to->mark));
}

static bool
widens_for_purpose(const PolicyView *view, const Move *move, const char *purpose)
{
	ChooseRequest request = {.purpose = purpose, .now = move->now};

	for (int kind = IMAGE_KIND_NONE + 1; kind <= IMAGE_KIND_LAST; kind++)
		for (int tls = 0; tls <= 1 && (move->kinds & ((uint32) 1 << kind)) != 0; tls++)
		{
			Decision from;
			Decision to;

			request.kind = kind;
			request.tls = tls != 0;
			request.relations = move->from;
			from = policy_choose(view, &request);
			request.relations = move->to;
			to = policy_choose(view, &request);
			if (decision_widens(&from, &to))
				return true;
		}
	return false;
}

/* Asks with every purpose that a permit names, with another, and with none. */
static bool
widens_for_party(const PolicyView *view, const Move *move)
{
	if (widens_for_purpose(view, move, NULL) || widens_for_purpose(view, move, ""))
		return true;
	for (int i = 0; i < view->permits; i++)
		for (int j = 0; j < view->permit[i].purposes; j++)
			if (widens_for_purpose(view, move, view->permit[i].purpose[j]))
				return true;
	return false;
}

/* True as well when there is no policy, or none that can be read. */
static bool
widens_for_any(const Move *move)
{
	StringInfoData blob;
	PolicyView *view;
	uint64 generation;
	uint32 party = 0;

	publish_await();
	initStringInfo(&blob);
	if (publish_read(&blob, &generation) != PUBLISH_POLICY)
		return true;
	while ((view = policy_view_of_party(&blob, MyDatabaseId, party)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (widens_for_party(view, move))
			return true;
		party++;
	}
	return party == 0;
}

bool
home_lineage_widens(List *from, List *to, uint32 kinds)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric move", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Move move = {.from = from, .to = to, .kinds = kinds, .now = GetCurrentTimestamp()};
	bool widens = home_lineage_named(list_concat_copy(from, to)) && widens_for_any(&move);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return widens;
}

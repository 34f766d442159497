/*
 * snapshot.c - a backend's copy of what is published about its own client.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ledger/ring.h"
#include "policy/blob.h"
#include "policy/client.h"
#include "policy/snapshot.h"

/* The least bytes of a record of each sort. */
#define PARTY_MINIMUM (4 + 4 + 8 + 8 + 1)
#define NETWORK_MINIMUM (1 + 1 + 16 + 4 + 4)
#define PERMIT_MINIMUM (4 + 8 + 4 + 1 + 4 + 8 + 8 + 1 + 1 + 8 + 4 + 4)
#define TEXT_MINIMUM 4

#define NO_PARTY PG_UINT32_MAX

static const PolicyView nothing = {.state = PUBLISH_NOTHING};

static MemoryContext view_context = NULL;
static const PolicyView *view = NULL;
static uint64 view_generation = 0;

/* Each slot counts generations of its own, and a database may come to another slot. */
static int view_slot = -1;

bool
period_holds(const PolicyPeriod *period, TimestampTz now)
{
	return period->from <= now && now < period->until;
}

static PolicyPeriod
snapshot_get_period(BlobReader *reader)
{
	PolicyPeriod period;

	period.from = blob_get_i64(reader);
	period.until = blob_get_i64(reader);
	return period;
}

/*
 * Returns the number of the party whose network matches, the longest prefix first, or NO_PARTY.
 * place: NULL matches none.
 */
static uint32
snapshot_get_networks(BlobReader *reader, const ClientPlace *place, PolicyView *found)
{
	uint32 count = blob_get_count(reader, NETWORK_MINIMUM);
	uint32 party = NO_PARTY;

	for (uint32 i = 0; i < count; i++)
	{
		PolicyAddress network;
		uint32 owner;

		network.family = blob_get_u8(reader);
		network.bits = blob_get_u8(reader);
		blob_get_bytes(reader, network.bytes, sizeof(network.bytes));
		owner = blob_get_u32(reader);
		if (place != NULL && party == NO_PARTY && client_place_matches(place, &network))
		{
			party = owner;
			found->network = blob_get_text(reader);
		}
		else
			blob_skip_text(reader);
	}
	return party;
}

/*
 * A party's name: in the encoding of the policy's database, or, where this process has
 * none yet, as the entries have it.
 */
static char *
snapshot_get_name(BlobReader *reader)
{
	char *name = blob_get_text(reader);
	char *utf8 = blob_get_text(reader);

	return OidIsValid(MyDatabaseId) || utf8[0] == '\0' ? name : utf8;
}

/* Reads the parties again, from where they start, for the one that was found. */
static void
snapshot_get_party(BlobReader *reader, uint32 number, PolicyView *found)
{
	uint32 count = blob_get_count(reader, PARTY_MINIMUM);

	for (uint32 i = 0; i < count; i++)
	{
		bool wanted = i == number;

		if (wanted)
			found->party = snapshot_get_name(reader);
		else
		{
			blob_skip_text(reader);
			blob_skip_text(reader);
		}
		if (wanted)
			found->contract = snapshot_get_period(reader);
		else
			(void) snapshot_get_period(reader);
		if (wanted)
			found->quarantined = blob_get_u8(reader) != 0;
		else
			(void) blob_get_u8(reader);
	}
}

static void
snapshot_get_purposes(BlobReader *reader, PolicyPermit *permit)
{
	int32 count = (int32) blob_get_u32(reader);

	permit->purposes = -1;
	if (count == -1 || reader->broken)
		return;
	permit->purposes = 0;
	if (count < 0 || count > (reader->end - reader->at) / TEXT_MINIMUM)
	{
		reader->broken = true;
		return;
	}
	permit->purpose = palloc_array(char *, Max(count, 1));
	for (int32 i = 0; i < count; i++)
		permit->purpose[permit->purposes++] = blob_get_text(reader);
}

static void
snapshot_skip_purposes(BlobReader *reader)
{
	int32 count = (int32) blob_get_u32(reader);

	for (int32 i = 0; i < count && !reader->broken; i++)
		blob_skip_text(reader);
}

static void
snapshot_get_permits(BlobReader *reader, uint32 party, PolicyView *found)
{
	uint32 count = blob_get_count(reader, PERMIT_MINIMUM);
	int room = 0;

	for (uint32 i = 0; i < count && !reader->broken; i++)
	{
		PolicyPermit permit = {0};
		uint32 owner = blob_get_u32(reader);
		uint8 delivery;

		permit.id = blob_get_i64(reader);
		permit.kinds = blob_get_u32(reader);
		delivery = blob_get_u8(reader);
		permit.delivery = delivery <= DELIVERY_OPEN ? (Delivery) delivery : DELIVERY_REFUSE;
		permit.relation = blob_get_u32(reader);
		permit.valid = snapshot_get_period(reader);
		permit.require_tls = blob_get_u8(reader) != 0;
		permit.mark = blob_get_u8(reader) != 0;
		permit.quota = blob_get_i64(reader);
		permit.counter = blob_get_u32(reader);
		if (owner != party || party == NO_PARTY)
		{
			snapshot_skip_purposes(reader);
			continue;
		}
		snapshot_get_purposes(reader, &permit);
		if (found->permits == room)
		{
			room = Max(8, room * 2);
			found->permit = found->permit ? repalloc_array(found->permit, PolicyPermit, room)
										  : palloc_array(PolicyPermit, room);
		}
		found->permit[found->permits++] = permit;
	}
}

PolicyView *
policy_view_of(const StringInfoData *blob, Oid database, const ClientPlace *place)
{
	BlobReader reader = {blob->data, blob->data + blob->len, false};
	BlobReader parties;
	PolicyView *built = palloc0_object(PolicyView);
	uint32 magic = blob_get_u32(&reader);
	uint32 owner = blob_get_u32(&reader);
	uint32 number;
	PolicyView unused = {0};

	if (magic != BLOB_MAGIC || owner != database)
		return built;
	parties = reader;
	snapshot_get_party(&reader, NO_PARTY, &unused);
	number = snapshot_get_networks(&reader, place, built);
	if (number != NO_PARTY)
		snapshot_get_party(&parties, number, built);
	snapshot_get_permits(&reader, number, built);

	if (reader.broken || parties.broken || (built->network && !built->party))
	{
		memset(built, 0, sizeof(*built));
		return built;
	}
	built->state = PUBLISH_POLICY;
	return built;
}

PolicyView *
policy_view_of_party(const StringInfoData *blob, Oid database, uint32 party)
{
	BlobReader reader = {blob->data, blob->data + blob->len, false};
	PolicyView *built = palloc0_object(PolicyView);
	uint32 magic = blob_get_u32(&reader);
	uint32 owner = blob_get_u32(&reader);
	PolicyView unused = {0};

	if (magic != BLOB_MAGIC || owner != database)
		return NULL;
	snapshot_get_party(&reader, party, built);
	(void) snapshot_get_networks(&reader, NULL, &unused);
	snapshot_get_permits(&reader, party, built);
	if (reader.broken || built->party == NULL)
		return NULL;
	built->network = "";
	built->contract = (PolicyPeriod){DT_NOBEGIN, DT_NOEND};
	built->quarantined = false;
	built->state = PUBLISH_POLICY;
	return built;
}

/* Reads the parties, and returns the number of one of them, or NO_PARTY. */
static uint32
snapshot_find_party(BlobReader *reader, const char *party)
{
	uint32 count = blob_get_count(reader, PARTY_MINIMUM);
	uint32 number = NO_PARTY;

	for (uint32 i = 0; i < count; i++)
	{
		if (blob_text_is(reader, party))
			number = i;
		blob_skip_text(reader);
		(void) snapshot_get_period(reader);
		(void) blob_get_u8(reader);
	}
	return number;
}

bool
policy_place_belongs(const StringInfoData *blob, Oid database, const ClientPlace *place,
					 const char *party)
{
	BlobReader reader = {blob->data, blob->data + blob->len, false};
	uint32 magic = blob_get_u32(&reader);
	uint32 owner = blob_get_u32(&reader);
	uint32 number;
	uint32 count;

	if (magic != BLOB_MAGIC || owner != database)
		return false;
	number = snapshot_find_party(&reader, party);
	count = blob_get_count(&reader, NETWORK_MINIMUM);
	for (uint32 i = 0; i < count && number != NO_PARTY && !reader.broken; i++)
	{
		PolicyAddress network;
		uint32 its;

		network.family = blob_get_u8(&reader);
		network.bits = blob_get_u8(&reader);
		blob_get_bytes(&reader, network.bytes, sizeof(network.bytes));
		its = blob_get_u32(&reader);
		blob_skip_text(&reader);
		/* the narrowest one comes first, and it alone decides */
		if (!reader.broken && client_place_matches(place, &network))
			return its == number;
	}
	return false;
}

PolicyView *
policy_view_build(const StringInfoData *blob, Oid database)
{
	return policy_view_of(blob, database, policy_client_place());
}

/*
 * Lets go of the view. Decisions of the running transaction may still name
 * its texts, so it lasts as long as that.
 */
static void
snapshot_retire(void)
{
	if (view_context && IsTransactionState() && TopTransactionContext)
		MemoryContextSetParent(view_context, TopTransactionContext);
	else if (view_context)
		MemoryContextDelete(view_context);
	view_context = NULL;
	view = NULL;
}

/* An error in here leaves no view at all, which the next call makes good. */
static void
snapshot_refresh(void)
{
	int slot = ledger_my_slot();
	MemoryContext scratch;
	MemoryContext old;
	StringInfoData blob;
	PolicyView *built;
	PublishState state;
	uint64 generation;

	snapshot_retire();
	view_context =
		AllocSetContextCreate(TopMemoryContext, "biometric policy", ALLOCSET_SMALL_SIZES);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "biometric policy bytes",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	initStringInfo(&blob);
	state = publish_read(&blob, &generation);
	MemoryContextSwitchTo(view_context);
	if (state == PUBLISH_POLICY)
		built = policy_view_build(&blob, MyDatabaseId);
	else
	{
		built = palloc0_object(PolicyView);
		built->state = state;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	view_generation = generation;
	view_slot = slot;
	view = built;
}

const PolicyView *
policy_view(void)
{
	if (view == NULL || view_slot != ledger_my_slot() || view_generation != policy_generation())
		snapshot_refresh();
	return view ? view : &nothing;
}

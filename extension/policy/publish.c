/*
 * publish.c - carries the committed policy into shared memory.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/inet.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "ledger/encoding.h"
#include "ledger/ring.h"
#include "ledger/worker.h"
#include "policy/address.h"
#include "policy/blob.h"
#include "policy/counter.h"
#include "policy/cutoff.h"
#include "policy/kept.h"
#include "policy/policy.h"
#include "policy/policy_sql.h"
#include "policy/proposal.h"
#include "policy/publish.h"
#include "policy/quota.h"
#include "policy/serving.h"
#include "policy/settings.h"
#include "policy/two_person.h"

#define POLICY_TRANCHE "biometric_audit_policy"

/* How often a copy is tried again while policies are published one upon the other. */
#define READ_ATTEMPTS 100

typedef struct PublishSlot
{
	pg_atomic_uint64 generation;
	pg_atomic_uint64 publications; /* also of what was there already */
	uint32 state[2];			   /* PublishState of the buffer, guarded as the buffer is */
	uint32 length[2];			   /* bytes used of the buffer */
	char bytes[FLEXIBLE_ARRAY_MEMBER];
} PublishSlot;

static char *slots = NULL;
static LWLockPadded *slot_locks = NULL;

static Size
publish_slot_size(void)
{
	return CACHELINEALIGN(add_size(offsetof(PublishSlot, bytes), mul_size(2, policy_capacity())));
}

static PublishSlot *
publish_slot(int slot)
{
	if (slots == NULL || slot < 0 || slot >= ledger_slots())
		return NULL;
	return (PublishSlot *) (slots + slot * publish_slot_size());
}

Size
policy_shmem_size(void)
{
	return add_size(mul_size(ledger_slots(), publish_slot_size()),
					add_size(add_size(kept_shmem_size(), proposal_shmem_size()),
							 add_size(quota_shmem_size(), cutoff_shmem_size())));
}

/* A lock for each slot, one for what is kept, and one for who is connected. */
void
policy_shmem_request(void)
{
	RequestAddinShmemSpace(policy_shmem_size());
	RequestNamedLWLockTranche(POLICY_TRANCHE, ledger_slots() + 2);
}

void
policy_shmem_init(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots = ShmemInitStruct("biometric_audit policy", mul_size(ledger_slots(), publish_slot_size()),
							&found);
	slot_locks = GetNamedLWLockTranche(POLICY_TRANCHE);
	kept_shmem_init(&slot_locks[ledger_slots()].lock);
	cutoff_shmem_init(&slot_locks[ledger_slots() + 1].lock);
	quota_shmem_init();
	proposal_shmem_init();
	for (int i = 0; i < ledger_slots() && !found; i++)
	{
		PublishSlot *slot = publish_slot(i);

		memset(slot, 0, offsetof(PublishSlot, bytes));
		pg_atomic_init_u64(&slot->generation, 0);
		pg_atomic_init_u64(&slot->publications, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

uint64
policy_generation(void)
{
	PublishSlot *slot = publish_slot(ledger_my_slot());

	return slot ? pg_atomic_read_u64(&slot->generation) : 0;
}

uint64
policy_publications(void)
{
	PublishSlot *slot = publish_slot(ledger_my_slot());

	return slot ? pg_atomic_read_u64(&slot->publications) : 0;
}

/* Whether this is what a slot's valid buffer has; the lock is held. */
static bool
publish_is_valid(PublishSlot *slot, PublishState state, const char *bytes, Size length)
{
	int buffer = pg_atomic_read_u64(&slot->generation) % 2;

	return slot->state[buffer] == state && slot->length[buffer] == length &&
		   (length == 0 || memcmp(slot->bytes + buffer * policy_capacity(), bytes, length) == 0);
}

/*
 * Puts a policy, or that there is none, into a slot's spare buffer and makes it the valid one,
 * unless that has it already and nothing changed beside it: what was decided holds then.
 */
static void
publish_store(int number, PublishState state, const char *bytes, Size length, bool changed)
{
	PublishSlot *slot = publish_slot(number);
	uint64 generation;
	int buffer;

	if (slot == NULL || length > policy_capacity())
		return;
	LWLockAcquire(&slot_locks[number].lock, LW_EXCLUSIVE);
	if (changed || !publish_is_valid(slot, state, bytes, length))
	{
		generation = pg_atomic_read_u64(&slot->generation) + 1;
		buffer = generation % 2;
		slot->state[buffer] = state;
		slot->length[buffer] = length;
		if (length > 0)
			memcpy(slot->bytes + buffer * policy_capacity(), bytes, length);
		pg_write_barrier();
		pg_atomic_write_u64(&slot->generation, generation);
	}
	pg_atomic_fetch_add_u64(&slot->publications, 1);
	LWLockRelease(&slot_locks[number].lock);
}

static PublishState
publish_read_slot(int number, StringInfo out, uint64 *generation)
{
	PublishSlot *slot = publish_slot(number);

	*generation = 0;
	if (slot == NULL)
		return PUBLISH_NOTHING;
	for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++)
	{
		uint64 before = pg_atomic_read_u64(&slot->generation);
		int buffer = before % 2;
		PublishState state;
		Size length;

		pg_read_barrier();
		state = slot->state[buffer];
		length = Min(slot->length[buffer], policy_capacity());
		resetStringInfo(out);
		appendBinaryStringInfo(out, slot->bytes + buffer * policy_capacity(), length);
		pg_read_barrier();
		if (pg_atomic_read_u64(&slot->generation) == before)
		{
			*generation = before;
			return state;
		}
		CHECK_FOR_INTERRUPTS();
	}
	resetStringInfo(out);
	return PUBLISH_NOTHING;
}

PublishState
publish_read(StringInfo out, uint64 *generation)
{
	return publish_read_slot(ledger_my_slot(), out, generation);
}

PublishState
publish_read_database(Oid database, StringInfo out)
{
	for (int number = 0; slots && number < ledger_slots(); number++)
	{
		uint64 generation;
		PublishState state = publish_read_slot(number, out, &generation);
		BlobReader reader = {out->data, out->data + out->len, false};

		if (state == PUBLISH_POLICY && blob_get_u32(&reader) == BLOB_MAGIC &&
			blob_get_u32(&reader) == database)
			return state;
	}
	resetStringInfo(out);
	return PUBLISH_NOTHING;
}

/* Whether a policy is published for any slot. */
static bool
publish_any(void)
{
	for (int number = 0; slots && number < ledger_slots(); number++)
	{
		PublishSlot *slot = publish_slot(number);

		if (slot->state[pg_atomic_read_u64(&slot->generation) % 2] != PUBLISH_NOTHING)
			return true;
	}
	return false;
}

bool
publish_fits(Size growth)
{
	PublishSlot *slot = publish_slot(ledger_my_slot());
	int buffer;

	if (slot == NULL)
		return true;
	buffer = pg_atomic_read_u64(&slot->generation) % 2;
	if (slot->state[buffer] == PUBLISH_TOO_LARGE)
		return false;
	return slot->length[buffer] + growth <= policy_capacity();
}

void
publish_await(void)
{
	static TimestampTz given_up = 0;
	uint64 generation = policy_generation();
	TimestampTz start = GetCurrentTimestamp();
	uint64 request;

	if (ledger_my_slot() < 0 || !TimestampDifferenceExceeds(given_up, start, ledger_timeout_ms()))
		return;
	request = ledger_request_tasks();
	/* what is published may be that there is none, as before */
	while (policy_generation() == generation && !ledger_wait_tasks(request, 0))
	{
		CHECK_FOR_INTERRUPTS();
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ledger_timeout_ms()))
		{
			given_up = GetCurrentTimestamp();
			return;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/* One query of the task; the columns by number, as SPI counts them. */
static void
publish_query(const char *sql)
{
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "cannot read the policy of biometric_audit");
}

static Datum
publish_value(uint64 row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

static int64
publish_int64(uint64 row, int column)
{
	bool null;
	Datum value = publish_value(row, column, &null);

	return null ? 0 : DatumGetInt64(value);
}

static uint32
publish_int32(uint64 row, int column)
{
	bool null;
	Datum value = publish_value(row, column, &null);

	return null ? 0 : DatumGetInt32(value);
}

static bool
publish_bool(uint64 row, int column)
{
	bool null;
	Datum value = publish_value(row, column, &null);

	return !null && DatumGetBool(value);
}

static void
publish_put_text(StringInfo blob, uint64 row, int column)
{
	char *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	blob_put_text(blob, text ? text : "");
}

/* Writes a text once more as entries have it, for who has no database; empty where it is the same. */
static void
publish_put_utf8(StringInfo blob, uint64 row, int column)
{
	char *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
	EntryText own = {.bytes = text, .length = text ? strlen(text) : 0};
	EntryText utf8 = encoding_to_utf8(own, false);

	blob_put_text(blob, utf8.bytes == own.bytes ? "" : pnstrdup(utf8.bytes, utf8.length));
}

/*
 * Writes the range in two columns (lower, upper) and their inclusiveness in
 * the two that follow as a half-open period. An empty range has no bounds,
 * like an unbounded one: the fifth column tells.
 */
static void
publish_put_period(StringInfo blob, uint64 row, int column)
{
	bool no_from;
	bool no_until;
	int64 from = DatumGetInt64(publish_value(row, column, &no_from));
	int64 until = DatumGetInt64(publish_value(row, column + 1, &no_until));

	if (publish_bool(row, column + 4))
	{
		blob_put_i64(blob, 0);
		blob_put_i64(blob, 0);
		return;
	}
	if (no_from)
		from = DT_NOBEGIN;
	else if (!publish_bool(row, column + 2) && !TIMESTAMP_NOT_FINITE(from))
		from++;
	if (no_until)
		until = DT_NOEND;
	else if (publish_bool(row, column + 3) && !TIMESTAMP_NOT_FINITE(until))
		until++;
	blob_put_i64(blob, from);
	blob_put_i64(blob, until);
}

#define PERIOD_COLUMNS(range)                                                                      \
	"lower(" range "), upper(" range "), lower_inc(" range "), upper_inc(" range "), "             \
	"coalesce(isempty(" range "), false) "

#define NUMBERED_PARTIES                                                                           \
	"WITH numbered AS (SELECT name, (row_number() OVER (ORDER BY name COLLATE \"C\") - 1)::int4 "  \
	"AS number FROM biometric.party) "

static void
publish_put_parties(StringInfo blob)
{
	publish_query("SELECT name, quarantined_at IS NOT NULL, " PERIOD_COLUMNS(
		"contract") "FROM biometric.party ORDER BY name COLLATE \"C\"");
	blob_put_u32(blob, SPI_processed);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		publish_put_text(blob, row, 1);
		publish_put_utf8(blob, row, 1);
		publish_put_period(blob, row, 3);
		blob_put_u8(blob, publish_bool(row, 2));
	}
	SPI_freetuptable(SPI_tuptable);
}

static void
publish_put_networks(StringInfo blob)
{
	publish_query(NUMBERED_PARTIES
				  "SELECT n.network::inet, p.number, coalesce(n.network::text, 'local') "
				  "FROM biometric.network AS n JOIN numbered AS p ON p.name = n.party "
				  "WHERE n.unregistered_at IS NULL "
				  "ORDER BY masklen(n.network) DESC NULLS FIRST, n.network");
	blob_put_u32(blob, SPI_processed);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		PolicyAddress address = {0};
		bool local;
		Datum network = publish_value(row, 1, &local);

		if (!local)
			address_from_inet(DatumGetInetPP(network), &address);
		blob_put_u8(blob, address.family);
		blob_put_u8(blob, address.bits);
		appendBinaryStringInfo(blob, (const char *) address.bytes, sizeof(address.bytes));
		blob_put_u32(blob, publish_int32(row, 2));
		publish_put_text(blob, row, 3);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* A kind that is not known sets no bit; so a permit for nothing but such kinds permits nothing. */
static uint32
publish_kinds(Datum array)
{
	uint32 kinds = 0;
	Datum *names;
	bool *nulls;
	int count;

	policy_text_array(array, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		ImageKind kind = nulls[i] ? IMAGE_KIND_NONE : image_kind_from_name(policy_text(names[i]));

		if (kind != IMAGE_KIND_NONE)
			kinds |= (uint32) 1 << kind;
	}
	return kinds;
}

static void
publish_put_purposes(StringInfo blob, uint64 row, int column)
{
	bool any;
	Datum array = publish_value(row, column, &any);
	Datum *purposes;
	bool *nulls;
	int count;

	if (any)
	{
		blob_put_u32(blob, (uint32) -1);
		return;
	}
	policy_text_array(array, &purposes, &nulls, &count);
	blob_put_u32(blob, count);
	for (int i = 0; i < count; i++)
		blob_put_text(blob, nulls[i] ? "" : policy_text(purposes[i]));
}

/* The permits with a quota among those that the query at hand returned, as counter.h wants them. */
static List *
publish_quotas(int slot, QuotaPermit **of_row, bool *changed)
{
	List *permits = NIL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		QuotaPermit *permit;
		bool null;

		of_row[row] = NULL;
		(void) publish_value(row, 14, &null);
		if (null)
			continue;
		permit = palloc0_object(QuotaPermit);
		permit->id = publish_int64(row, 2);
		permit->quota = publish_int64(row, 14);
		permit->length = Max(publish_int64(row, 15), QUOTA_WINDOW_MIN);
		permit->party = policy_text(publish_value(row, 16, &null));
		permit->granted_at = publish_int64(row, 17);
		permit->counter = -1;
		permits = lappend(permits, permit);
		of_row[row] = permit;
	}
	*changed = counter_assign(slot, permits);
	return permits;
}

/*
 * A permit of a relation that is gone is left out: its OID may one day be
 * given to another. So are permits that can never be valid again. Returns those
 * with a quota, which are to be counted when all this is published. changed: whether anything of
 * the counters did, also what is not in the blob.
 */
static List *
publish_put_permits(int slot, StringInfo blob, bool *changed)
{
	QuotaPermit **quotas;
	List *counted;

	publish_query(
		NUMBERED_PARTIES
		"SELECT p.number, t.id, t.kinds, t.delivery, t.relation::oid::int8, t.require_tls, "
		"t.purposes, " PERIOD_COLUMNS(
			"t.valid") ", t.mark, t.quota, "
					   "(extract(epoch FROM t.quota_window) * 1000000)::int8, t.party, "
					   "t.granted_at "
					   "FROM biometric.permit AS t JOIN numbered AS p ON p.name = t.party "
					   "LEFT JOIN pg_class AS c ON c.oid = t.relation "
					   "WHERE t.revoked_at IS NULL AND (t.relation IS NULL OR c.oid IS NOT NULL) "
					   "AND (t.valid IS NULL OR upper_inf(t.valid) OR upper(t.valid) >= now()) "
					   "ORDER BY t.id");
	quotas = palloc_array(QuotaPermit *, SPI_processed + 1);
	counted = publish_quotas(slot, quotas, changed);
	blob_put_u32(blob, SPI_processed);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool null;

		blob_put_u32(blob, publish_int32(row, 1));
		blob_put_i64(blob, publish_int64(row, 2));
		blob_put_u32(blob, publish_kinds(publish_value(row, 3, &null)));
		blob_put_u8(blob, delivery_from_name(policy_text(publish_value(row, 4, &null))));
		blob_put_u32(blob, (uint32) publish_int64(row, 5));
		publish_put_period(blob, row, 8);
		blob_put_u8(blob, publish_bool(row, 6));
		blob_put_u8(blob, publish_bool(row, 13));
		blob_put_i64(blob, quotas[row] ? quotas[row]->quota : 0);
		blob_put_u32(blob, quotas[row] ? (uint32) quotas[row]->counter : 0);
		publish_put_purposes(blob, row, 7);
	}
	SPI_freetuptable(SPI_tuptable);
	return counted;
}

/* The worker's task. All queries see one snapshot, the transaction's active one. */
static void
publish_task(int slot)
{
	StringInfoData blob;
	List *quotas;
	int settings;
	bool serves;
	bool changed;

	if (!OidIsValid(extension_relation("party")) || !OidIsValid(extension_relation("network")) ||
		!OidIsValid(extension_relation("permit")))
	{
		publish_store(slot, PUBLISH_NOTHING, NULL, 0, false);
		return;
	}
	two_person_check();
	settings = policy_sql_settings();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	initStringInfo(&blob);
	blob_put_u32(&blob, BLOB_MAGIC);
	blob_put_u32(&blob, MyDatabaseId);
	publish_put_parties(&blob);
	publish_put_networks(&blob);
	quotas = publish_put_permits(slot, &blob, &changed);

	kept_ledgers(true);
	serves = serving_bind();
	if ((Size) blob.len <= policy_capacity())
	{
		publish_store(slot, PUBLISH_POLICY, blob.data, blob.len, changed);
		if (serves)
			kept_policy(MyDatabaseId, blob.data, blob.len);
	}
	else
	{
		publish_store(slot, PUBLISH_TOO_LARGE, NULL, 0, changed);
		if (serves)
			kept_policy(MyDatabaseId, NULL, 0);
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("the biometric_audit policy of this database does not fit into shared "
							 "memory, so everybody is refused"),
					  errdetail("It takes %d bytes; biometric_audit.policy_size allows %zu.",
								blob.len, policy_capacity()),
					  errhint("Increase biometric_audit.policy_size and restart the server.")));
	}
	quota_count(slot, quotas);
	SPI_finish();
	policy_sql_settings_end(settings);
}

/* A slot that is given away had nothing published; one whose extension is gone had. */
static void
publish_reset(int number)
{
	PublishSlot *slot = publish_slot(number);
	bool had = slot && slot->state[pg_atomic_read_u64(&slot->generation) % 2] != PUBLISH_NOTHING;

	publish_store(number, PUBLISH_NOTHING, NULL, 0, false);
	counter_reset(number);
	if (had && !publish_any())
		kept_ledgers(false);
}

void
publish_init(void)
{
	ledger_worker_add_task(publish_task, quota_count_some, publish_reset);
}

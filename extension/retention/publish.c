/*
 * publish.c - the rules of retention in shared memory, and what the gate asks them.
 *
 * Each slot (database) has two buffers and a generation. The buffer of generation g is g % 2;
 * whoever publishes fills the other one and then raises the generation. A reader takes no
 * lock: it copies, and copies again when the generation moved meanwhile. Publishers
 * exclude one another by the slot's LWLock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/relcache.h"
#include "home/home.h"
#include "ledger/ring.h"
#include "ledger/worker.h"
#include "retention/purge.h"
#include "retention/rules.h"

#define RETENTION_TRANCHE "biometric_audit_retention"

/* How often a copy is tried again while rules are published one upon the other. */
#define READ_ATTEMPTS 100

/* Beyond this many homes the cache is begun anew. */
#define CACHE_LIMIT 16384

typedef enum RulesState
{
	RULES_NOTHING = 0, /* no worker has published this database's rules yet */
	RULES_THERE = 1,
	RULES_TOO_MANY = 2 /* more than biometric_audit.max_retention_rules */
} RulesState;

typedef struct RulesBuffer
{
	RulesState state;
	int count;
} RulesBuffer;

typedef struct RulesSlot
{
	pg_atomic_uint64 generation;
	pg_atomic_uint32 past; /* 1: columns may be gone that had rules */
	RulesBuffer buffer[2];
	RetentionEntry entries[FLEXIBLE_ARRAY_MEMBER]; /* capacity of the one, then of the other */
} RulesSlot;

/* What is known of the images of a home. */
typedef struct HomeRule
{
	uint8 home[ENVELOPE_HOME_SIZE]; /* hash key */
	bool declared;					/* there is a rule, in force or not */
	bool in_force;
	bool timed;	  /* by a time column */
	Oid relation; /* whose rule it is, and of which column; InvalidOid: of one that is gone */
	AttrNumber attribute;
	Interval period;
	TimestampTz over;	  /* the period of what counts from this or before is over */
	TimestampTz not_over; /* of what counts from this or behind, it is not before next */
	TimestampTz next;
	int64 slack; /* how much earlier the period of a later time can be over */
} HomeRule;

static int max_rules = 256;
static char *slots = NULL;
static LWLockPadded *slot_locks = NULL;

/* This backend's copy of what is published, and what it has made of it. */
static RulesBuffer copied;
static uint64 copied_generation = 0;
static int copied_slot = -1;
static RetentionEntry *copied_entries = NULL;
static MemoryContext cache_context = NULL;
static HTAB *cache = NULL;
static bool cache_stale = false;

void
retention_define_settings(void)
{
	DefineCustomIntVariable("biometric_audit.max_retention_rules",
							"How many columns of a database can have a retention period.", NULL,
							&max_rules, 256, 1, 10000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	purge_define_settings();
}

int
retention_capacity(void)
{
	return max_rules;
}

static Size
slot_size(void)
{
	return CACHELINEALIGN(
		add_size(offsetof(RulesSlot, entries), mul_size(2 * sizeof(RetentionEntry), max_rules)));
}

static RulesSlot *
rules_slot(int slot)
{
	if (slots == NULL || slot < 0 || slot >= ledger_slots())
		return NULL;
	return (RulesSlot *) (slots + slot * slot_size());
}

static RetentionEntry *
slot_entries(RulesSlot *slot, int buffer)
{
	return &slot->entries[buffer * max_rules];
}

void
retention_shmem_request(void)
{
	RequestAddinShmemSpace(mul_size(ledger_slots(), slot_size()));
	RequestNamedLWLockTranche(RETENTION_TRANCHE, ledger_slots());
	purge_shmem_request();
}

void
retention_shmem_init(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	slots =
		ShmemInitStruct("biometric_audit retention", mul_size(ledger_slots(), slot_size()), &found);
	slot_locks = GetNamedLWLockTranche(RETENTION_TRANCHE);
	for (int i = 0; i < ledger_slots() && !found; i++)
	{
		memset(rules_slot(i), 0, slot_size());
		pg_atomic_init_u64(&rules_slot(i)->generation, 0);
		pg_atomic_init_u32(&rules_slot(i)->past, 0);
	}
	LWLockRelease(AddinShmemInitLock);
	purge_shmem_init();
}

/* ---- publishing ---- */

/* Whether this is what a slot's valid buffer has; the lock is held. */
static bool
is_published(RulesSlot *slot, const RulesBuffer *rules, const RetentionEntry *entries)
{
	int buffer = pg_atomic_read_u64(&slot->generation) % 2;
	const RulesBuffer *valid = &slot->buffer[buffer];

	return valid->state == rules->state && valid->count == rules->count &&
		   (rules->count == 0 || memcmp(slot_entries(slot, buffer), entries,
										rules->count * sizeof(RetentionEntry)) == 0);
}

static void
publish_store(int number, const RulesBuffer *rules, const RetentionEntry *entries)
{
	RulesSlot *slot = rules_slot(number);

	if (slot == NULL)
		return;
	LWLockAcquire(&slot_locks[number].lock, LW_EXCLUSIVE);
	if (!is_published(slot, rules, entries))
	{
		uint64 generation = pg_atomic_read_u64(&slot->generation) + 1;

		slot->buffer[generation % 2] = *rules;
		if (rules->count > 0)
			memcpy(slot_entries(slot, generation % 2), entries,
				   rules->count * sizeof(RetentionEntry));
		pg_write_barrier();
		pg_atomic_write_u64(&slot->generation, generation);
	}
	LWLockRelease(&slot_locks[number].lock);
}

void
rules_note_past(int number)
{
	RulesSlot *slot = rules_slot(number);

	if (slot != NULL)
		pg_atomic_write_u32(&slot->past, 1);
}

/* Whether columns may be gone that had rules. */
static bool
may_have_past(void)
{
	RulesSlot *slot = rules_slot(ledger_my_slot());

	return slot == NULL || pg_atomic_read_u32(&slot->past) != 0;
}

/* The worker's task. */
static void
publish_task(int slot)
{
	RulesBuffer rules = {.state = RULES_THERE};
	RetentionEntry *entries = NULL;

	if (!OidIsValid(rules_table()))
		rules.state = RULES_NOTHING;
	else
	{
		entries = rules_read(&rules.count);
		if (rules_any_past())
			rules_note_past(slot);
	}
	if (rules.count > max_rules)
	{
		ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("the retention periods of this database do not fit into shared "
							 "memory, so no image is opened"),
					  errdetail("There are %d; biometric_audit.max_retention_rules allows %d.",
								rules.count, max_rules),
					  errhint("Increase biometric_audit.max_retention_rules and restart the "
							  "server.")));
		rules = (RulesBuffer){.state = RULES_TOO_MANY};
	}
	publish_store(slot, &rules, entries);
}

static void
publish_reset(int number)
{
	const RulesBuffer nothing = {.state = RULES_NOTHING};
	RulesSlot *slot = rules_slot(number);

	publish_store(number, &nothing, NULL);
	if (slot != NULL)
		pg_atomic_write_u32(&slot->past, 0);
}

static void
relation_changed(Datum arg, Oid relation)
{
	cache_stale = true;
}

void
retention_publish_init(void)
{
	ledger_worker_add_task(publish_task, NULL, publish_reset);
	relcache_watch(relation_changed);
}

/* ---- asking ---- */

uint64
retention_generation(void)
{
	RulesSlot *slot = rules_slot(ledger_my_slot());

	return slot ? pg_atomic_read_u64(&slot->generation) : 0;
}

/* Copies a generation; false when it was overwritten meanwhile. */
static bool
copy_generation(RulesSlot *slot, uint64 generation)
{
	int buffer = generation % 2;

	pg_read_barrier();
	copied = slot->buffer[buffer];
	copied.count = Min(Max(copied.count, 0), max_rules);
	if (copied_entries == NULL)
		copied_entries = MemoryContextAlloc(TopMemoryContext, max_rules * sizeof(RetentionEntry));
	memcpy(copied_entries, slot_entries(slot, buffer), copied.count * sizeof(RetentionEntry));
	pg_read_barrier();
	return pg_atomic_read_u64(&slot->generation) == generation;
}

/* Brings the copy up to date; what cannot be copied was not published. */
static void
copy_rules(void)
{
	int number = ledger_my_slot();
	RulesSlot *slot = rules_slot(number);
	uint64 generation = slot ? pg_atomic_read_u64(&slot->generation) : 0;

	/* a database whose extension is created anew may get another slot, of the same generation */
	if (generation != 0 && generation == copied_generation && number == copied_slot)
		return;
	cache_stale = true;
	copied_generation = 0;
	copied_slot = number;
	for (int attempt = 0; slot && attempt < READ_ATTEMPTS; attempt++)
	{
		generation = pg_atomic_read_u64(&slot->generation);
		if (copy_generation(slot, generation))
		{
			copied_generation = generation;
			return;
		}
	}
	memset(&copied, 0, sizeof(copied));
}

static void
cache_prepare(void)
{
	HASHCTL info = {.keysize = ENVELOPE_HOME_SIZE, .entrysize = sizeof(HomeRule)};

	if (cache != NULL && !cache_stale && hash_get_num_entries(cache) < CACHE_LIMIT)
		return;
	cache = NULL;
	if (cache_context == NULL)
		cache_context =
			AllocSetContextCreate(CacheMemoryContext, "biometric retention", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(cache_context);
	info.hcxt = cache_context;
	cache = hash_create("biometric retention", 64, &info, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_stale = false;
}

/* Works out what holds for a home. */
static void
home_rule_read(HomeRule *rule)
{
	HomeColumn column;
	const RetentionEntry *entry = NULL;
	char *name;

	rule->over = DT_NOBEGIN;
	rule->not_over = DT_NOEND;
	if (!home_find(rule->home, &column) || column.attribute == InvalidAttrNumber)
	{
		rule->declared = rule->in_force =
			may_have_past() && rules_past(rule->home, &rule->period, &rule->timed);
		return;
	}
	name = get_attname(column.relation, column.attribute, true);
	if (name != NULL)
		entry = rules_choose(copied_entries, copied.count, relation_lineage(column.relation), name);
	rule->declared = entry != NULL;
	rule->in_force = entry != NULL && entry->in_force;
	if (entry == NULL)
		return;
	rule->timed = entry->time != InvalidAttrNumber;
	rule->relation = entry->relation;
	rule->attribute = entry->attribute;
	rule->period = entry->period;
}

/*
 * Months end on different days: a month from 30 January, 23:00, is over after one from 31 January,
 * 01:00. That is by the time of the day, so by less than a day.
 */
static int64
slack_of(const Interval *period)
{
	return period->month != 0 ? USECS_PER_DAY : 0;
}

static HomeRule *
home_rule(const uint8 *home)
{
	HomeRule read = {0};
	HomeRule *rule;

	cache_prepare();
	rule = hash_search(cache, home, HASH_FIND, NULL);
	if (rule != NULL)
		return rule;
	/* read first, entered then: an invalidation in between must not be lost */
	memcpy(read.home, home, ENVELOPE_HOME_SIZE);
	home_rule_read(&read);
	read.slack = slack_of(&read.period);
	if (cache_stale)
	{
		static HomeRule once;

		once = read;
		return &once;
	}
	rule = hash_search(cache, home, HASH_ENTER, NULL);
	*rule = read;
	return rule;
}

/*
 * Whether a home's period is over for an image. The sum of a time and a period hardly falls when
 * the time rises, so that most are told by those that were worked out before.
 */
static bool
home_rule_over(HomeRule *rule, const EnvelopeHeader *header, TimestampTz now)
{
	TimestampTz time;
	TimestampTz end;

	if (!rule->in_force)
		return false;
	if (!retention_time(header, &time))
		return true;
	if (time <= rule->over)
		return true;
	if (time > now || (time >= rule->not_over && rule->next > now))
		return false;
	end = rules_add(time, &rule->period);
	if (end <= now)
	{
		if (end + rule->slack <= now)
			rule->over = time;
		return true;
	}
	if (end - rule->slack > now)
	{
		rule->not_over = time;
		rule->next = end - rule->slack;
	}
	return false;
}

/* Whether there is nothing to ask: what is published is up to date, and there are no rules. */
static bool
no_rules(void)
{
	copy_rules();
	return copied.state == RULES_THERE && copied.count == 0 && !may_have_past();
}

/*
 * Whether the period of where an image came from is over for it. A copy has the time of its own
 * row, perhaps, which says nothing where images count from their sealing.
 */
static bool
origin_rule_over(HomeRule *rule, const EnvelopeHeader *header, TimestampTz now)
{
	EnvelopeHeader sealed;

	if (home_rule_over(rule, header, now))
		return true;
	if (!rule->in_force || rule->timed || header->counts_from_ms == 0)
		return false;
	sealed = *header;
	sealed.counts_from_ms = 0;
	return home_rule_over(rule, &sealed, now);
}

bool
retention_expired(const EnvelopeHeader *header)
{
	TimestampTz now;

	if (no_rules())
		return false;
	if (copied.state != RULES_THERE)
		return true;
	now = GetCurrentTimestamp();
	if (home_rule_over(home_rule(header->home), header, now))
		return true;
	return memcmp(header->origin, header->home, ENVELOPE_HOME_SIZE) != 0 &&
		   origin_rule_over(home_rule(header->origin), header, now);
}

/*
 * Whether a place that an image has been in, other than its column, has another rule: partitions
 * of one table have the same.
 */
static bool
has_rule_elsewhere(const uint8 *place, const uint8 *home)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];
	const HomeRule *own;
	HomeRule other;

	if (memcmp(place, none, ENVELOPE_HOME_SIZE) == 0 ||
		memcmp(place, home, ENVELOPE_HOME_SIZE) == 0)
		return false;
	if (copied.state != RULES_THERE)
		return true;
	other = *home_rule(place);
	if (!other.declared || !OidIsValid(other.relation))
		return other.declared;
	own = home_rule(home);
	return own->relation != other.relation || own->attribute != other.attribute;
}

int64
retention_stamp(const EnvelopeHeader *header, const uint8 *home, int64 counts_from)
{
	int64 present = (int64) header->counts_from_ms;
	int64 sealed = (int64) envelope_sealed_at_ms(header);

	if (no_rules() ||
		(!has_rule_elsewhere(header->origin, home) && !has_rule_elsewhere(header->home, home)))
		return counts_from;
	return (counts_from != 0 ? counts_from : sealed) <= (present != 0 ? present : sealed)
			   ? counts_from
			   : present;
}

/*
 * purge_shred.c - shreds the keys of periods that are over.
 *
 * Not before a pass has seen that all images under a key are over: one may have got another time
 * since it was sealed under it (by retain(), with another time column), or stand in a partition
 * with a longer period of its own. What came to such a partition when the pass had been there is
 * looked for once more, when nobody can commit images under the key any more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "home/home.h"
#include "keyring/pins.h"
#include "keys/keys.h"
#include "policy/change.h"
#include "retention/purger.h"

typedef struct BoundKey
{
	uint32 id;
	pg_uuid_t home;
	TimestampTz until;
} BoundKey;

/* Lists the keys that are bound to some column and not shredded. */
static BoundKey *
bound_keys(int *count)
{
	static const char select[] =
		"SELECT k.key_id, k.home, pg_catalog.upper(k.period) FROM ONLY biometric.key_pin AS k "
		"WHERE k.state OPERATOR(pg_catalog.=) 'usable' AND k.home IS NOT NULL "
		"AND k.log_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT l.log_id "
		"FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL)) ORDER BY 1";
	BoundKey *keys;

	if (SPI_execute(select, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "the keys could not be listed");
	keys = palloc_array(BoundKey, SPI_processed + 1);
	*count = (int) SPI_processed;
	for (int i = 0; i < *count; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		bool isnull;

		keys[i].id = (uint32) DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		keys[i].home = *DatumGetUUIDP(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
		keys[i].until = DatumGetTimestampTz(SPI_getbinval(row, SPI_tuptable->tupdesc, 3, &isnull));
		if (isnull)
			keys[i].until = DT_NOEND;
	}
	return keys;
}

/* What a pass knows of a key. */
typedef struct MetKey
{
	uint32 id;	 /* hash key */
	bool own;	 /* bound to a column that the rule is for, or to one of its heirs */
	bool living; /* an image under it is not over */
} MetKey;

/* Whether a key is bound to the rule's column, or to that of an heir: to no more than it is for. */
static bool
home_is_of_rule(const uint8 *home, const PurgeRule *rule)
{
	HomeColumn column;

	return home_find(home, &column) && column.attribute != InvalidAttrNumber &&
		   column.attribute == get_attnum(column.relation, rule->column) &&
		   list_member_oid(relation_lineage(column.relation), rule->entry.relation);
}

static bool
key_is_of_rule(uint32 id, const PurgeRule *rule)
{
	KeyPin pin;

	return pins_find(id, &pin) && pin.scope.bound && home_is_of_rule(pin.scope.home, rule);
}

HTAB *
purge_keys_begin(MemoryContext context)
{
	HASHCTL info = {.keysize = sizeof(uint32), .entrysize = sizeof(MetKey), .hcxt = context};

	return hash_create("biometric keys of a pass", 16, &info,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

bool
purge_key_meet(HTAB *keys, const PurgeRule *rule, uint32 id, bool living)
{
	bool found;
	MetKey *key = hash_search(keys, &id, HASH_ENTER, &found);

	if (!found)
	{
		key->living = true;
		key->own = false;
		/* may raise; then nothing is known of it but that it is to stay */
		key->own = key_is_of_rule(id, rule);
		key->living = false;
	}
	key->living = key->living || living;
	return key->own;
}

static bool
key_is_living(HTAB *keys, uint32 id)
{
	const MetKey *key = hash_search(keys, &id, HASH_FIND, NULL);

	return key != NULL && key->living;
}

/* ---- what came behind the pass's back */

/*
 * Reads a table that the pass has not read, or in which a rule of its own counts; false when it
 * cannot be read. What goes by the rule itself is over whenever the key's period is.
 */
static bool
table_meet_late(const PurgeRule *rule, const PurgePass *pass, Oid table, PurgeScan *scan)
{
	RetentionEntry chosen;
	PurgeTarget target;
	char *problem = NULL;

	if (!purge_target_open(table, rule, &target, &problem))
		return problem == NULL;
	scan->period = NULL;
	scan->own = false;
	if (purge_rule_of_table(rule, table, &chosen, &scan->own))
		scan->period = chosen.in_force && chosen.stamped ? &chosen.period : NULL;
	scan->target = &target;
	scan->block = 0;
	scan->ended = scan->own && list_member_oid(pass->tables, table);
	while (!scan->ended)
	{
		CHECK_FOR_INTERRUPTS();
		purge_scan(scan);
	}
	purge_target_close(&target);
	return scan->problem == NULL;
}

/* Whether an image under one of these keys has come meanwhile that is not over. */
static bool
came_late(const PurgeRule *rule, const PurgePass *pass, TimestampTz now, const List *ids)
{
	HTAB *met = purge_keys_begin(CurrentMemoryContext);
	PurgeScan scan = {.rule = rule, .keys = met, .now = now, .rows_wanted = 1};
	bool late = false;
	ListCell *cell;

	PushActiveSnapshot(GetLatestSnapshot());
	foreach(cell, purge_rule_tables(rule))
		late = late || !table_meet_late(rule, pass, lfirst_oid(cell), &scan);
	PopActiveSnapshot();
	foreach(cell, ids)
		late = late || key_is_living(met, lfirst_oid(cell));
	hash_destroy(met);
	return late;
}

/* ---- the keys */

/* Whether a key is due to be shredded; when it will be, goes to progress->next. */
static bool
key_is_due(const BoundKey *key, const PurgeRule *rule, TimestampTz now, PurgeProgress *progress)
{
	TimestampTz due;

	if (TIMESTAMP_NOT_FINITE(key->until) || !home_is_of_rule(key->home.data, rule))
		return false;
	due = key->until > now ? key->until : rules_add(key->until, &rule->entry.period);
	if (due > now)
		progress->next = Min(progress->next, due);
	return due <= now;
}

static void
key_stays(uint32 id, const char *why, PurgeProgress *progress)
{
	progress->problem =
		psprintf("key %u stays: %s", id, why != NULL ? why : "it could not be shredded");
}

/* Requests that keys are shredded; returns those for which that is so. */
static List *
keys_request(const PurgeRule *rule, HTAB *met, TimestampTz now, PurgeProgress *progress,
			 int *staying)
{
	const char *reason = psprintf("retention of %s", purge_rule_name(rule));
	List *requested = NIL;
	int count;
	BoundKey *keys = bound_keys(&count);

	for (int i = 0; i < count; i++)
	{
		const char *detail = "Images under it are not over.";

		if (!key_is_due(&keys[i], rule, now, progress))
			continue;
		if (!key_is_living(met, keys[i].id) && keys_request_shred(keys[i].id, reason, &detail))
		{
			requested = lappend_oid(requested, keys[i].id);
			continue;
		}
		(*staying)++;
		key_stays(keys[i].id, detail, progress);
	}
	return requested;
}

int
purge_keys(const PurgeRule *rule, const PurgePass *pass, TimestampTz now, PurgeProgress *progress)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	List *requested;
	int staying = 0;
	bool late;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	requested = keys_request(rule, pass->keys, now, progress, &staying);
	late = requested != NIL && came_late(rule, pass, now, requested);
	if (late)
		RollbackAndReleaseCurrentSubTransaction();
	else
		ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (!late)
		return staying;
	key_stays(linitial_oid(requested), "Images under it may have come meanwhile.", progress);
	return staying + list_length(requested);
}

/*
 * purge_shred.c - shreds the keys of periods that are over.
 *
 * Not before a pass has seen that all images under a key are over: one may have got another time
 * since it was sealed under it (by retain(), with another time column), or stand in a partition
 * with a longer period of its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"
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

int
purge_keys(const PurgeRule *rule, HTAB *met, TimestampTz now, PurgeProgress *progress)
{
	const char *reason = psprintf("retention of %s", purge_rule_name(rule));
	int count;
	int staying = 0;
	BoundKey *keys = bound_keys(&count);

	for (int i = 0; i < count; i++)
	{
		TimestampTz due;
		const char *detail = NULL;

		if (TIMESTAMP_NOT_FINITE(keys[i].until) || !home_is_of_rule(keys[i].home.data, rule))
			continue;
		due = keys[i].until > now ? keys[i].until : rules_add(keys[i].until, &rule->entry.period);
		if (due > now)
		{
			progress->next = Min(progress->next, due);
			continue;
		}
		if (key_is_living(met, keys[i].id))
			detail = "Images under it are not over.";
		else if (keys_request_shred(keys[i].id, reason, &detail))
			continue;
		staying++;
		progress->problem = psprintf("key %u stays: %s", keys[i].id,
									 detail != NULL ? detail : "it could not be shredded");
	}
	return staying;
}

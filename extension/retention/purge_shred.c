/*
 * purge_shred.c - shreds the keys of periods that are over.
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
#include "home/home.h"
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

/* Whether a key is for a column that the rule is for. */
static bool
key_is_of_rule(const BoundKey *key, const PurgeRule *rule, const List *tables)
{
	HomeColumn column;

	return home_find(key->home.data, &column) && list_member_oid(tables, column.relation) &&
		   column.attribute != InvalidAttrNumber &&
		   column.attribute == get_attnum(column.relation, rule->column);
}

void
purge_keys(const PurgeRule *rule, const List *tables, TimestampTz now, PurgeProgress *progress)
{
	const char *reason = psprintf("retention of %s", purge_rule_name(rule));
	int count;
	BoundKey *keys = bound_keys(&count);

	for (int i = 0; i < count; i++)
	{
		TimestampTz due;
		const char *detail = NULL;

		if (TIMESTAMP_NOT_FINITE(keys[i].until) || !key_is_of_rule(&keys[i], rule, tables))
			continue;
		due = keys[i].until > now ? keys[i].until : rules_add(keys[i].until, &rule->entry.period);
		if (due > now)
			progress->next = Min(progress->next, due);
		else if (!keys_request_shred(keys[i].id, reason, &detail))
			progress->problem = psprintf("key %u stays: %s", keys[i].id,
										 detail != NULL ? detail : "it could not be shredded");
	}
}

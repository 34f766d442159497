/*
 * past.c - columns that are gone, and whose images go by a retention period still.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "home/named.h"
#include "ledger/store.h"

/* The columns of the table's key, as sql/32_retention.sql declares them. */
enum
{
	PAST_COL_LOG_ID = 1,
	PAST_COL_HOME
};

/* Whether the table has a row of a home and one of this database's own logs. */
static bool
past_has(Relation table, const uint8 *home)
{
	List *indexes = RelationGetIndexList(table);
	/* it has but one, the primary key's */
	Oid index = list_length(indexes) == 1 ? linitial_oid(indexes) : InvalidOid;
	Snapshot snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	bool found = false;
	ListCell *cell;

	foreach(cell, store_logs(snapshot))
	{
		const LedgerLog *log = lfirst(cell);
		ScanKeyData key[2];
		SysScanDesc scan;

		ScanKeyInit(&key[0], PAST_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum((const pg_uuid_t *) log->log_id));
		ScanKeyInit(&key[1], PAST_COL_HOME, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum((const pg_uuid_t *) home));
		scan = systable_beginscan(table, index, OidIsValid(index), snapshot, 2, key);
		found |= HeapTupleIsValid(systable_getnext(scan));
		systable_endscan(scan);
	}
	UnregisterSnapshot(snapshot);
	return found;
}

bool
home_has_past(const uint8 *home)
{
	Oid oid = extension_relation("retention_past");
	Relation table = OidIsValid(oid) ? try_table_open(oid, AccessShareLock) : NULL;
	bool has;

	if (table == NULL)
		return false;
	has = RelationGetNumberOfBlocks(table) > 0 && past_has(table, home);
	table_close(table, AccessShareLock);
	return has;
}

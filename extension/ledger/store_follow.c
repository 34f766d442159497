/*
 * store_follow.c - tables of other rooms, whose rows are of a log and of something in the catalogs:
 * which of them count, and how they follow the catalogs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ledger/store.h"

int
store_rank(const List *own, const List *restored, const uint8 *log_id, bool *is_own)
{
	int rank = list_length(own);
	ListCell *cell;

	*is_own = false;
	foreach(cell, own)
	{
		rank--;
		*is_own = memcmp(((LedgerLog *) lfirst(cell))->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0;
		if (*is_own)
			return rank;
	}
	rank = list_length(own) + list_length(restored);
	foreach(cell, restored)
	{
		const LedgerLog *log = lfirst(cell);

		rank--;
		if (log->adopted && memcmp(log->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0)
			return rank;
	}
	return -1;
}

void
store_follow(Relation table, StoreFollow follow)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	List *own = store_logs(snapshot);
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	bool changed = false;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		changed |= follow(table, tuple, own, snapshot);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	if (!changed)
		return;
	CacheInvalidateRelcache(table);
	CommandCounterIncrement();
}

bool
store_follow_delete(Relation table, HeapTuple tuple, Snapshot snapshot)
{
	TM_FailureData failure;

	return table_tuple_delete(table, &tuple->t_self, GetCurrentCommandId(true), snapshot,
							  InvalidSnapshot, true, &failure, false) == TM_Ok;
}

bool
store_follow_rename(Relation table, HeapTuple tuple, int column, const char *name,
					Snapshot snapshot)
{
	bool isnull = false;
	NameData copy;
	Datum value;

	if (!store_follow_delete(table, tuple, snapshot))
		return false;
	namestrcpy(&copy, name);
	value = NameGetDatum(&copy);
	CatalogTupleInsert(table, heap_modify_tuple_by_cols(tuple, RelationGetDescr(table), 1, &column,
														&value, &isnull));
	return true;
}

/*
 * rules_past.c - columns that are gone, and the periods that copies of their images go by still.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "home/home.h"
#include "image/image.h"
#include "ledger/ring.h"
#include "ledger/store.h"
#include "retention/rules.h"

/* Attribute numbers, as sql/32_retention.sql declares the columns. */
enum
{
	PAST_COL_LOG_ID = 1,
	PAST_COL_HOME,
	PAST_COL_RELATION,
	PAST_COL_COLUMN_NAME,
	PAST_COL_PERIOD,
	PAST_COL_ENDED_AT,
	PAST_COL_TIME_COLUMN,
	PAST_COLUMNS = PAST_COL_TIME_COLUMN
};

static Relation
past_open(LOCKMODE mode)
{
	Oid oid = extension_relation("retention_past");
	Relation table = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (table != NULL && RelationGetDescr(table)->natts < PAST_COLUMNS)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"biometric.retention_past\" has not the columns that the "
							   "extension gave it"),
						errhint("Undo what ALTER TABLE did.")));
	return table;
}

/* Finds the row of a home under any of some logs. */
static bool
past_find(Relation table, const List *own, const uint8 *home, Interval *period, bool *timed)
{
	List *indexes = RelationGetIndexList(table);
	/* it has but one, the primary key's */
	Oid index = list_length(indexes) == 1 ? linitial_oid(indexes) : InvalidOid;
	ListCell *cell;
	bool found = false;

	foreach(cell, own)
	{
		const LedgerLog *log = lfirst(cell);
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;
		bool isnull;

		ScanKeyInit(&key[0], PAST_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum((const pg_uuid_t *) log->log_id));
		ScanKeyInit(&key[1], PAST_COL_HOME, BTEqualStrategyNumber, F_UUID_EQ,
					UUIDPGetDatum((const pg_uuid_t *) home));
		scan = systable_beginscan(table, index, OidIsValid(index), NULL, 2, key);
		tuple = systable_getnext(scan);
		if (HeapTupleIsValid(tuple))
		{
			*period = *DatumGetIntervalP(
				heap_getattr(tuple, PAST_COL_PERIOD, RelationGetDescr(table), &isnull));
			*timed = !heap_attisnull(tuple, PAST_COL_TIME_COLUMN, RelationGetDescr(table));
			found = true;
		}
		systable_endscan(scan);
	}
	return found;
}

bool
rules_past(const uint8 *home, Interval *period, bool *timed)
{
	static const uint8 none[ENVELOPE_HOME_SIZE];
	Relation table;
	Snapshot snapshot;
	bool found;

	if (memcmp(home, none, ENVELOPE_HOME_SIZE) == 0)
		return false;
	table = past_open(AccessShareLock);
	if (table == NULL)
		return false;
	snapshot = RegisterSnapshot(GetCatalogSnapshot(RelationGetRelid(table)));
	found = past_find(table, store_logs(snapshot), home, period, timed);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return found;
}

bool
rules_any_past(void)
{
	Relation table = past_open(AccessShareLock);
	SysScanDesc scan;
	bool any;

	if (table == NULL)
		return false;
	scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	any = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(table, AccessShareLock);
	return any;
}

/* ---- what is about to be dropped ---- */

/* Whether the transaction that is running has kept a rule. */
static bool kept_here = false;

/*
 * That there is something to look for is said in shared memory, which a crash between both phases
 * empties: the worker cannot see the row when it starts, and nobody tells it of the second phase.
 */
static void
past_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			if (kept_here)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot prepare a transaction that drops a column with a "
								"retention period"),
						 errdetail("Copies of its images go by the period still, from the moment "
								   "that the transaction is committed."),
						 errhint("Drop it in a transaction that is committed in one phase.")));
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			kept_here = false;
			break;
		default:
			break; /* nothing has ended */
	}
}

void
rules_past_init(void)
{
	RegisterXactCallback(past_transaction, NULL);
}

static void
past_insert(Relation table, const LedgerLog *log, Oid relation, const char *column,
			RetentionRule *rule)
{
	Datum values[PAST_COLUMNS] = {0};
	bool nulls[PAST_COLUMNS] = {0};
	uint8 home[ENVELOPE_HOME_SIZE];
	NameData name;
	Interval period;
	bool timed;

	home_of_column(relation, get_attnum(relation, column), home);
	if (past_find(table, list_make1((void *) log), home, &period, &timed))
		return;
	namestrcpy(&name, column);
	values[PAST_COL_LOG_ID - 1] = UUIDPGetDatum((const pg_uuid_t *) log->log_id);
	values[PAST_COL_HOME - 1] = UUIDPGetDatum((const pg_uuid_t *) home);
	values[PAST_COL_RELATION - 1] = CStringGetTextDatum(quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation)));
	values[PAST_COL_COLUMN_NAME - 1] = NameGetDatum(&name);
	values[PAST_COL_PERIOD - 1] = IntervalPGetDatum(&rule->period);
	values[PAST_COL_ENDED_AT - 1] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	values[PAST_COL_TIME_COLUMN - 1] = NameGetDatum(&rule->time_column);
	nulls[PAST_COL_TIME_COLUMN - 1] = NameStr(rule->time_column)[0] == '\0';
	CatalogTupleInsert(table, heap_form_tuple(RelationGetDescr(table), values, nulls));
	kept_here = true;
	CacheInvalidateRelcache(table);
	CommandCounterIncrement();
}

/* Keeps the rule of one column. */
static void
past_keep(Relation table, const LedgerLog *log, Oid relation, const char *column)
{
	RetentionRule rule;

	if (retention_rule_of(relation_lineage(relation), column, &rule) && rule.in_force)
		past_insert(table, log, relation, column, &rule);
}

static void
past_keep_columns(Relation table, Oid relation, AttrNumber attribute)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	LedgerLog *log = store_present_log(snapshot);
	char *name;

	UnregisterSnapshot(snapshot);
	for (AttrNumber i = 1; log != NULL && (name = get_attname(relation, i, true)) != NULL; i++)
	{
		Oid type = attribute == 0 || attribute == i ? get_atttype(relation, i) : InvalidOid;

		if (OidIsValid(type) && image_type_kind(type) != IMAGE_KIND_NONE)
			past_keep(table, log, relation, name);
	}
}

void
retention_note_dropping(Oid relation, AttrNumber attribute)
{
	Relation table;
	int count;

	if (get_rel_relkind(relation) != RELKIND_RELATION)
		return;
	(void) rules_read(&count);
	table = count > 0 ? past_open(RowExclusiveLock) : NULL;
	if (table == NULL)
		return;
	rules_note_past(ledger_my_slot());
	past_keep_columns(table, relation, attribute);
	table_close(table, NoLock);
}

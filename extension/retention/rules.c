/*
 * rules.c - the rules of retention in their table: read, chosen, kept up with the catalogs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/roles.h"
#include "guard/ddl.h"
#include "guard/objects.h"
#include "guard/refuse.h"
#include "image/image.h"
#include "ledger/store.h"
#include "policy/proposal.h"
#include "retention/rules.h"

/* Attribute numbers, as sql/32_retention.sql declares the columns. */
enum
{
	RULE_COL_LOG_ID = 1,
	RULE_COL_RELATION,
	RULE_COL_ATTNUM,
	RULE_COL_COLUMN_NAME,
	RULE_COL_PERIOD,
	RULE_COL_ON_EXPIRY,
	RULE_COL_TIME_ATTNUM,
	RULE_COL_TIME_COLUMN,
	RULE_COL_REASON,
	RULE_COL_DECLARED_AT,
	RULE_COL_DECLARED_BY,
	RULE_COL_IN_FORCE_AT,
	RULE_COL_STAMPED_AT,
	RULE_COL_PURGE_BLOCK,
	RULE_COL_PURGED,
	RULE_COL_LAST_RUN_AT,
	RULE_COL_LAST_PASS_AT,
	RULE_COL_PROBLEM,
	RULE_COL_PURGE_NEXT,
	RULE_COLUMNS = RULE_COL_PURGE_NEXT
};

Oid
retention_table(void)
{
	return extension_relation("retention");
}

Oid
rules_table(void)
{
	return retention_table();
}

/* Opens the table; NULL when it is not there. */
static Relation
rules_open(LOCKMODE mode)
{
	Oid oid = retention_table();
	Relation table = OidIsValid(oid) ? try_table_open(oid, mode) : NULL;

	if (table != NULL && RelationGetDescr(table)->natts < RULE_COLUMNS)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"biometric.retention\" has not the columns that the extension "
						"gave it"),
				 errhint("Undo what ALTER TABLE did.")));
	return table;
}

static bool
log_is_own(const List *own, const uint8 *log_id)
{
	ListCell *cell;

	foreach(cell, own)
		if (memcmp(((LedgerLog *) lfirst(cell))->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0)
			return true;
	return false;
}

/* A value of a row; false when it is NULL. */
static bool
rule_value(HeapTuple tuple, Relation table, int column, Datum *value)
{
	bool isnull;

	*value = heap_getattr(tuple, column, RelationGetDescr(table), &isnull);
	return !isnull;
}

static const uint8 *
log_of_rule(HeapTuple tuple, Relation table)
{
	Datum value;

	(void) rule_value(tuple, table, RULE_COL_LOG_ID, &value);
	return DatumGetUUIDP(value)->data;
}

/* What is not known to do less is taken for what deletes. */
static RetentionExpiry
expiry_from_name(const char *name)
{
	return strcmp(name, "erase") == 0	? EXPIRY_ERASE
		   : strcmp(name, "shred") == 0 ? EXPIRY_SHRED
										: EXPIRY_DELETE;
}

static void
read_entry(HeapTuple tuple, Relation table, RetentionEntry *entry)
{
	Datum value;

	memset(entry, 0, sizeof(*entry));
	(void) rule_value(tuple, table, RULE_COL_RELATION, &value);
	entry->relation = DatumGetObjectId(value);
	(void) rule_value(tuple, table, RULE_COL_ATTNUM, &value);
	entry->attribute = DatumGetInt16(value);
	(void) rule_value(tuple, table, RULE_COL_PERIOD, &value);
	entry->period = *DatumGetIntervalP(value);
	(void) rule_value(tuple, table, RULE_COL_ON_EXPIRY, &value);
	entry->on_expiry = expiry_from_name(TextDatumGetCString(value));
	if (rule_value(tuple, table, RULE_COL_TIME_ATTNUM, &value))
		entry->time = DatumGetInt16(value);
	entry->in_force = rule_value(tuple, table, RULE_COL_IN_FORCE_AT, &value);
	entry->stamped = rule_value(tuple, table, RULE_COL_STAMPED_AT, &value);
}

RetentionEntry *
rules_read(int *count)
{
	Relation table = rules_open(AccessShareLock);
	RetentionEntry *entries = palloc(sizeof(RetentionEntry));
	Snapshot snapshot;
	List *own;
	SysScanDesc scan;
	HeapTuple tuple;

	*count = 0;
	if (table == NULL)
		return entries;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	/* what the snapshot sees committed, the catalogs' caches must see, too */
	AcceptInvalidationMessages();
	own = store_logs(snapshot);
	scan = systable_beginscan(table, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (!log_is_own(own, log_of_rule(tuple, table)))
			continue;
		entries = repalloc(entries, (*count + 1) * sizeof(RetentionEntry));
		read_entry(tuple, table, &entries[(*count)++]);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return entries;
}

/* ---- choosing ---- */

/* The entry for a column of one relation itself; NULL: none. */
static const RetentionEntry *
entry_of(const RetentionEntry *entries, int count, Oid relation, const char *column)
{
	const RetentionEntry *found = NULL;
	AttrNumber attribute = InvalidAttrNumber;

	for (int i = 0; i < count; i++)
	{
		if (entries[i].relation != relation)
			continue;
		if (attribute == InvalidAttrNumber)
			attribute = get_attnum(relation, column);
		if (entries[i].attribute == attribute && attribute > 0)
			found = &entries[i];
	}
	return found;
}

static bool
period_is_shorter(const Interval *one, const Interval *other)
{
	return DatumGetInt32(DirectFunctionCall2(interval_cmp, IntervalPGetDatum(one),
											 IntervalPGetDatum(other))) < 0;
}

const RetentionEntry *
rules_choose(const RetentionEntry *entries, int count, const List *lineage, const char *column)
{
	const RetentionEntry *chosen = NULL;
	ListCell *cell;

	foreach(cell, lineage)
	{
		const RetentionEntry *entry;

		if (!OidIsValid(lfirst_oid(cell)))
		{
			/* a generation ends; what is nearer counts */
			if (chosen != NULL)
				break;
			continue;
		}
		entry = entry_of(entries, count, lfirst_oid(cell), column);
		if (entry != NULL && (chosen == NULL || period_is_shorter(&entry->period, &chosen->period)))
			chosen = entry;
	}
	return chosen;
}

/* The name that a column has now; NULL when it is gone. */
static char *
present_name(Oid relation, AttrNumber attribute)
{
	return OidIsValid(get_atttype(relation, attribute)) ? get_attname(relation, attribute, true)
														: NULL;
}

bool
retention_rule_of(const List *lineage, const char *column, RetentionRule *rule)
{
	int count;
	RetentionEntry *entries = rules_read(&count);
	const RetentionEntry *entry = rules_choose(entries, count, lineage, column);
	char *time = NULL;

	memset(rule, 0, sizeof(*rule));
	if (entry != NULL)
	{
		rule->relation = entry->relation;
		rule->attribute = entry->attribute;
		namestrcpy(&rule->column, column);
		rule->period = entry->period;
		rule->on_expiry = entry->on_expiry;
		rule->in_force = entry->in_force;
		rule->stamped = entry->stamped;
		if (entry->time != InvalidAttrNumber)
			time = present_name(entry->relation, entry->time);
		if (time != NULL)
			namestrcpy(&rule->time_column, time);
	}
	pfree(entries);
	return rule->attribute != InvalidAttrNumber;
}

/* ---- keeping up with the catalogs ---- */

bool
rules_type_is_time(Oid type)
{
	type = getBaseType(type);
	return type == DATEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/*
 * Deletes a row. One that another transaction has deleted meanwhile is that one's business; one
 * that it has changed, as purging does, is to be looked at again.
 */
static bool
sync_delete(Relation table, HeapTuple tuple, Snapshot snapshot, bool *again)
{
	TM_FailureData failure;
	TM_Result result = table_tuple_delete(table, &tuple->t_self, GetCurrentCommandId(true),
										  snapshot, InvalidSnapshot, true, &failure, false);

	*again = *again || result == TM_Updated;
	return result == TM_Ok;
}

/* What is to be changed of a row. */
typedef struct RuleChanges
{
	Datum values[RULE_COLUMNS];
	bool nulls[RULE_COLUMNS];
	bool replace[RULE_COLUMNS];
	bool any;
} RuleChanges;

static void
change_name(RuleChanges *changes, int column, const char *present, Datum old)
{
	Name name;

	if (strcmp(present, NameStr(*DatumGetName(old))) == 0)
		return;
	name = palloc0(sizeof(NameData));
	namestrcpy(name, present);
	changes->values[column - 1] = NameGetDatum(name);
	changes->replace[column - 1] = true;
	changes->any = true;
}

static void
change_to_null(RuleChanges *changes, int column)
{
	changes->nulls[column - 1] = true;
	changes->replace[column - 1] = true;
	changes->any = true;
}

/* Without its time column a rule goes on by what is stamped, and by the sealing time. */
static void
sync_time(HeapTuple tuple, Relation table, const RetentionEntry *entry, RuleChanges *changes)
{
	char *present;
	Datum old;
	Datum problem;

	if (entry->time == InvalidAttrNumber)
		return;
	if (!rule_value(tuple, table, RULE_COL_TIME_COLUMN, &old))
		return;
	present = present_name(entry->relation, entry->time);
	if (present != NULL && rules_type_is_time(get_atttype(entry->relation, entry->time)))
	{
		change_name(changes, RULE_COL_TIME_COLUMN, present, old);
		return;
	}
	problem = CStringGetTextDatum(psprintf("time column \"%s\" is gone, or holds no time any more: "
										   "images count from the sealing time, unless they were "
										   "stamped before",
										   NameStr(*DatumGetName(old))));
	change_to_null(changes, RULE_COL_TIME_ATTNUM);
	change_to_null(changes, RULE_COL_TIME_COLUMN);
	changes->values[RULE_COL_PROBLEM - 1] = problem;
	changes->replace[RULE_COL_PROBLEM - 1] = true;
}

/* Has purging begin anew, by stamping what it has not seen. */
static void
change_to_unstamped(RuleChanges *changes)
{
	change_to_null(changes, RULE_COL_STAMPED_AT);
	change_to_null(changes, RULE_COL_PURGE_NEXT);
	changes->values[RULE_COL_PURGE_BLOCK - 1] = Int64GetDatum(0);
	changes->replace[RULE_COL_PURGE_BLOCK - 1] = true;
}

static bool
entry_is_listed(const List *entries, const RetentionEntry *entry)
{
	ListCell *cell;

	foreach(cell, entries)
	{
		const RetentionEntry *listed = lfirst(cell);

		if (listed->relation == entry->relation && listed->attribute == entry->attribute)
			return true;
	}
	return false;
}

/* What all rows are brought in line with. */
typedef struct Sync
{
	Relation table;
	Snapshot snapshot;
	List *own;			 /* logs of this database */
	const List *unstamp; /* const RetentionEntry * */
	bool again;
} Sync;

/*
 * Whether an heir that keeps a column, of which the rule is gone, goes by one that is nearer still:
 * its own, or one that has come from the relation.
 */
static bool
has_nearer(Oid heir, const char *column, const List *heirs)
{
	RetentionRule rule;

	return retention_rule_of(relation_lineage(heir), column, &rule) &&
		   list_member_oid(heirs, rule.relation);
}

void
rules_check_custodian(Oid relation)
{
	bool custodian = role_is_custodian(GetUserId());

	if (!custodian || proposal_two_persons())
		guard_refuse_command(custodian ? GUARD_LINEAGE_TWO : GUARD_LINEAGE, guard_command_name(),
							 guard_describe(RelationRelationId, relation));
}

/*
 * Heirs keep a column that is dropped from the relation alone, or that they have from another
 * parent, too: they leave its retention period, as by NO INHERIT.
 */
static void
check_heirs(const RetentionEntry *entry, const char *column)
{
	List *heirs = find_all_inheritors(entry->relation, AccessShareLock, NULL);
	ListCell *cell;

	foreach(cell, heirs)
	{
		AttrNumber attribute = get_attnum(lfirst_oid(cell), column);

		if (attribute > 0 &&
			image_type_kind(get_atttype(lfirst_oid(cell), attribute)) != IMAGE_KIND_NONE &&
			!has_nearer(lfirst_oid(cell), column, heirs))
			rules_check_custodian(lfirst_oid(cell));
	}
}

/* Brings one row in line with the catalogs; tells whether it was changed. */
static bool
sync_row(Sync *sync, HeapTuple tuple)
{
	Relation table = sync->table;
	RuleChanges changes = {0};
	RetentionEntry entry;
	char *present;
	Datum name;

	read_entry(tuple, table, &entry);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(entry.relation)))
		return sync_delete(table, tuple, sync->snapshot, &sync->again);
	/* columns of restored rows had other numbers where they come from */
	if (!log_is_own(sync->own, log_of_rule(tuple, table)))
		return false;
	present = present_name(entry.relation, entry.attribute);
	(void) rule_value(tuple, table, RULE_COL_COLUMN_NAME, &name);
	if (present == NULL)
	{
		check_heirs(&entry, NameStr(*DatumGetName(name)));
		return sync_delete(table, tuple, sync->snapshot, &sync->again);
	}
	change_name(&changes, RULE_COL_COLUMN_NAME, present, name);
	sync_time(tuple, table, &entry, &changes);
	if (entry_is_listed(sync->unstamp, &entry))
		change_to_unstamped(&changes);
	if (!changes.any || !sync_delete(table, tuple, sync->snapshot, &sync->again))
		return false;
	/* by an insertion, as the old row may be being changed */
	CatalogTupleInsert(table, heap_modify_tuple(tuple, RelationGetDescr(table), changes.values,
												changes.nulls, changes.replace));
	return true;
}

/* Brings all rows in line. */
static void
sync_rows(Sync *sync)
{
	bool changed = false;
	SysScanDesc scan;
	HeapTuple tuple;

	sync->snapshot = RegisterSnapshot(GetLatestSnapshot());
	sync->own = store_logs(sync->snapshot);
	scan = systable_beginscan(sync->table, InvalidOid, false, sync->snapshot, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		changed |= sync_row(sync, tuple);
	systable_endscan(scan);
	UnregisterSnapshot(sync->snapshot);
	if (changed)
	{
		CacheInvalidateRelcache(sync->table);
		CommandCounterIncrement();
	}
}

static void
sync_table(const List *unstamp)
{
	Sync sync = {.table = rules_open(RowExclusiveLock), .unstamp = unstamp, .again = true};

	if (sync.table == NULL)
		return;
	while (sync.again)
	{
		CHECK_FOR_INTERRUPTS();
		sync.again = false;
		sync_rows(&sync);
	}
	table_close(sync.table, NoLock);
}

void
retention_sync(void)
{
	sync_table(NIL);
}

void
rules_unstamp(const List *entries)
{
	sync_table(entries);
}

/* ---- times ---- */

/* From 1970-01-01 to 2000-01-01, in ms. */
#define EPOCH_MS (INT64CONST(1000) * SECS_PER_DAY * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE))

/* 0 stands for no time. */
static int64
ms_or_next(int64 ms)
{
	return ms == 0 ? 1 : ms;
}

/* Rounded down, also before 2000: an image is never kept longer for the fraction. */
static int64
ms_of_timestamp(Timestamp time)
{
	int64 ms = time / 1000;

	if (time % 1000 < 0)
		ms--;
	return ms_or_next(ms + EPOCH_MS);
}

int64
retention_counts_from_value(Datum value, bool isnull, Oid type)
{
	int64 days;

	if (isnull)
		return 0;
	switch (type)
	{
		case DATEOID:
			if (DATE_NOT_FINITE(DatumGetDateADT(value)))
				return 0;
			/* dates go further than timestamps do */
			days = Min(DatumGetDateADT(value), TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE - 1);
			return ms_or_next(days * INT64CONST(1000) * SECS_PER_DAY + EPOCH_MS);
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			if (TIMESTAMP_NOT_FINITE(DatumGetTimestamp(value)))
				return 0;
			return ms_of_timestamp(DatumGetTimestamp(value));
		default:
			return 0;
	}
}

bool
retention_time(const EnvelopeHeader *header, TimestampTz *time)
{
	uint64 ms =
		header->counts_from_ms != 0 ? header->counts_from_ms : envelope_sealed_at_ms(header);
	int64 since_2000;

	return !pg_sub_s64_overflow((int64) ms, EPOCH_MS, &since_2000) &&
		   !pg_mul_s64_overflow(since_2000, 1000, time) && IS_VALID_TIMESTAMP(*time);
}

TimestampTz
rules_add(TimestampTz time, const Interval *period)
{
	if (period->month == 0)
		return time + period->day * USECS_PER_DAY + period->time;
	/* without a time zone: as timestamptz in UTC */
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(time),
												 IntervalPGetDatum(period)));
}

bool
retention_over(const EnvelopeHeader *header, const Interval *period, TimestampTz now)
{
	TimestampTz time;

	if (!retention_time(header, &time))
		return true;
	return time <= now && rules_add(time, period) <= now;
}

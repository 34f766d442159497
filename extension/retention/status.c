/*
 * status.c - what biometric.retention_status counts.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "base/roles.h"
#include "image/bind.h"
#include "image/image.h"
#include "keys/keys.h"
#include "retention/hold.h"
#include "retention/rules.h"

PG_FUNCTION_INFO_V1(biometric_retention_count);

typedef struct RetentionCount
{
	int64 images;
	int64 due;
	int64 held;
	int64 unstamped;
	TimestampTz oldest;
} RetentionCount;

/* One table, while it is counted. */
typedef struct CountedTable
{
	Relation relation;
	AttrNumber attribute;
	ImageKind kind;
	AttrNumber time; /* InvalidAttrNumber: none */
	Oid time_type;
	const Interval *period;
	bool shreds;
	TimestampTz now;
	RetentionCount *count;
} CountedTable;

/* Whether a header has not the time that its row says. */
static bool
is_unstamped(const CountedTable *table, TupleTableSlot *slot, const EnvelopeHeader *header)
{
	int64 counts_from;
	Datum value;
	bool isnull;

	if (table->time == InvalidAttrNumber)
		return false;
	value = slot_getattr(slot, table->time, &isnull);
	counts_from = retention_counts_from_value(value, isnull, table->time_type);
	return retention_stamp(header, header->home, counts_from) != (int64) header->counts_from_ms;
}

static void
count_row(const CountedTable *table, TupleTableSlot *slot)
{
	RetentionCount *count = table->count;
	EnvelopeHeader header;
	TimestampTz time;
	bool isnull;
	Datum value = slot_getattr(slot, table->attribute, &isnull);

	if (isnull)
		return;
	image_read_header(table->kind, value, &header);
	count->images++;
	/* what is shredded cannot be purged any further */
	if (retention_over(&header, table->period, table->now) &&
		!(table->shreds && keys_is_shredded(header.key_id)))
		count->due++;
	if (hold_any() && hold_of(header.image_id) != 0)
		count->held++;
	if (is_unstamped(table, slot, &header))
		count->unstamped++;
	if (retention_time(&header, &time) && time < count->oldest)
		count->oldest = time;
}

static void
count_rows(const CountedTable *table)
{
	MemoryContext row =
		AllocSetContextCreate(CurrentMemoryContext, "biometric retention", ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(table->relation, NULL);
	TableScanDesc scan = table_beginscan(table->relation, GetActiveSnapshot(), 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext old = MemoryContextSwitchTo(row);

		CHECK_FOR_INTERRUPTS();
		count_row(table, slot);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(row);
}

/* Counts a table if a rule is the one that it goes by. */
static void
count_table(Oid oid, const char *column, const RetentionRule *rule, RetentionCount *count)
{
	CountedTable table = {.period = &rule->period,
						  .shreds = rule->on_expiry == EXPIRY_SHRED,
						  .now = GetCurrentTimestamp(),
						  .count = count};
	RetentionRule own;

	table.attribute = get_attnum(oid, column);
	if (get_rel_relkind(oid) != RELKIND_RELATION || table.attribute <= 0 ||
		!retention_rule_of(relation_lineage(oid), column, &own) || own.relation != rule->relation ||
		own.attribute != rule->attribute)
		return;
	table.kind = image_type_kind(get_atttype(oid, table.attribute));
	if (table.kind == IMAGE_KIND_NONE)
		return;
	if (NameStr(rule->time_column)[0] != '\0')
		table.time = get_attnum(oid, NameStr(rule->time_column));
	if (table.time > 0)
		table.time_type = getBaseType(get_atttype(oid, table.time));
	else
		table.time = InvalidAttrNumber;
	table.relation = try_table_open(oid, AccessShareLock);
	if (table.relation == NULL)
		return;
	count_rows(&table);
	table_close(table.relation, AccessShareLock);
}

static void
check_caller(void)
{
	Oid caller = GetUserId();

	if (superuser_arg(caller) || role_is_trusted(caller))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("role \"%s\" may not count images", GetUserNameFromId(caller, false)),
					errdetail("Members of %s and %s may.", CUSTODIAN_ROLE, AUDITOR_ROLE),
					errhint("Ask a custodian or an auditor.")));
}

/* biometric_retention_count(relation regclass, attribute int2, OUT ...) */
PGDLLEXPORT Datum
biometric_retention_count(PG_FUNCTION_ARGS)
{
	Oid relation = PG_GETARG_OID(0);
	RetentionCount count = {.oldest = DT_NOEND};
	Datum values[5] = {0};
	bool nulls[5] = {true, true, true, true, true};
	TupleDesc descriptor;
	RetentionRule rule;
	char *column;
	ListCell *cell;

	check_caller();
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "retention_count() returns a record");
	column = get_attname(relation, PG_GETARG_INT16(1), true);
	if (column != NULL && retention_rule_of(list_make1_oid(relation), column, &rule))
	{
		foreach(cell, find_all_inheritors(relation, AccessShareLock, NULL))
			count_table(lfirst_oid(cell), column, &rule, &count);
		memset(nulls, false, sizeof(nulls));
		values[0] = Int64GetDatum(count.images);
		values[1] = Int64GetDatum(count.due);
		values[2] = Int64GetDatum(count.held);
		values[3] = Int64GetDatum(count.unstamped);
		values[4] = TimestampTzGetDatum(count.oldest);
		nulls[4] = count.oldest == DT_NOEND;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

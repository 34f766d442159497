/*
 * unusual_hours.c - what parties and logins got, hour by hour.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ledger/activity.h"
#include "ledger/derive.h"
#include "ledger/encoding.h"
#include "ledger/store.h"
#include "report/unusual.h"

/* One log that is being read. */
typedef struct HourScan
{
	const HourQuestion *question;
	LedgerReader reader;
	Resolver *resolver;
	int64 first; /* the entries before it were detached */
	int64 size;
	int64 vague; /* blocks that cannot be told apart any more */
	MemoryContext entry_context;
} HourScan;

/* A row of biometric.activity. */
typedef struct HourRow
{
	char *party;
	char *login;
	int64 block;
	int64 entries;
	int64 disclosures;
	TimestampTz first_at;
	TimestampTz last_at;
} HourRow;

int64
hour_of(TimestampTz at)
{
	int64 hour = at / USECS_PER_HOUR;

	return at % USECS_PER_HOUR < 0 ? hour - 1 : hour;
}

TimestampTz
hour_begin(int64 hour)
{
	return hour * USECS_PER_HOUR;
}

static bool
hour_is_wanted(const HourQuestion *question, const char *party, const char *login, int64 hour)
{
	return question->wanted == NULL || question->wanted(party, login, hour, question->context);
}

/* Counts an entry, if it is asked for. row: only those of its party and login;
 * NULL: of all. */
static void
hours_entry(HourScan *scan, const EntryFields *fields, const EntryFields *session,
			const HourRow *row)
{
	const HourQuestion *question = scan->question;
	HourCount count = {0};
	TimestampTz at = derive_at(fields);
	char *party = derive_name(session->party);
	char *login = derive_name(session->session_user_name);

	derive_key(party);
	derive_key(login);
	if (row != NULL ? strcmp(party, row->party) != 0 || strcmp(login, row->login) != 0
					: question->party != NULL && strcmp(party, question->party) != 0)
		return;
	if (question->seen)
		question->seen(party, login, at, question->context);
	if (at < question->from || at >= question->until)
		return;
	count.party = party;
	count.login = login;
	count.hour = hour_of(at);
	count.disclosures = fields->event == ENTRY_DISCLOSED || fields->event == ENTRY_OBSERVED;
	count.refusals = question->refusals && fields->event == ENTRY_REFUSED;
	count.process = (int) session->process;
	count.session_at = derive_at(session);
	if (count.disclosures + count.refusals > 0 &&
		hour_is_wanted(question, party, login, count.hour))
		question->count(&count, question->context);
}

/* Reads the entries from first up to end, which lie in one block. */
static void
hours_entries(HourScan *scan, int64 first, int64 end, const HourRow *row)
{
	bytea *entries[ACTIVITY_BLOCK];
	int count = store_entries(&scan->reader, first, (int) (end - first), entries);

	if (count < end - first)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("entry " INT64_FORMAT " of the ledger is missing", first + count),
						errhint("biometric.verify_ledger() says what else has changed.")));
	for (int i = 0; i < count; i++)
	{
		const uint8 *bytes = (const uint8 *) VARDATA_ANY(entries[i]);
		Size length = VARSIZE_ANY_EXHDR(entries[i]);
		EntryFields fields;
		Resolved resolved;
		MemoryContext old;

		if (entry_decode(bytes, length, &fields) != CORE_OK)
			continue;
		resolver_note(scan->resolver, first + i, &fields, bytes, length);
		if (fields.event == ENTRY_SESSION || fields.event == ENTRY_STATEMENT)
			continue;
		old = MemoryContextSwitchTo(scan->entry_context);
		resolver_find(scan->resolver, first + i, &fields, &resolved);
		if (resolved.session)
			hours_entry(scan, &fields, resolved.session, row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(scan->entry_context);
	}
	for (int i = 0; i < count; i++)
		pfree(entries[i]);
}

/* Counts a row as a whole, in the hour of its first entry. */
static void
hours_whole(const HourScan *scan, const HourRow *row)
{
	HourCount count = {0};

	count.party = row->party;
	count.login = row->login;
	count.hour = hour_of(row->first_at);
	count.disclosures = row->disclosures;
	if (hour_is_wanted(scan->question, row->party, row->login, count.hour))
		scan->question->count(&count, scan->question->context);
}

/*
 * Whether any of the hours that a row touches is asked for. A row may say that its
 * block took for ever, because a clock was wrong once: only hours of the question count.
 */
static bool
hours_row_is_wanted(const HourQuestion *question, const HourRow *row)
{
	int64 last;

	if (row->last_at < question->from || row->first_at >= question->until)
		return false;
	last = hour_of(Min(row->last_at, question->until - 1));
	for (int64 hour = hour_of(Max(row->first_at, question->from)); hour <= last; hour++)
	{
		CHECK_FOR_INTERRUPTS();
		if (hour_is_wanted(question, row->party, row->login, hour))
			return true;
	}
	return false;
}

static void
hours_row(HourScan *scan, const HourRow *row)
{
	const HourQuestion *question = scan->question;
	int64 first = row->block * ACTIVITY_BLOCK;
	bool apart = hour_of(row->first_at) != hour_of(row->last_at) ||
				 row->first_at < question->from || row->last_at >= question->until;
	bool refusals = question->refusals && row->entries != row->disclosures;

	CHECK_FOR_INTERRUPTS();
	/* rows that belong to nothing count for nothing */
	if (row->block < 0 || row->block >= scan->size / ACTIVITY_BLOCK)
		return;
	if (question->seen)
		question->seen(row->party, row->login, row->first_at, question->context);
	if (!hours_row_is_wanted(question, row))
		return;
	if (!apart && !refusals && !question->entries)
		hours_whole(scan, row);
	else if (first >= scan->first)
		hours_entries(scan, first, first + ACTIVITY_BLOCK, row);
	else
	{
		hours_whole(scan, row);
		scan->vague += apart || refusals;
	}
}

static Datum
row_value(HeapTuple tuple, TupleDesc descriptor, int column)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, descriptor, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("table biometric.activity contains NULL"),
				 errhint("biometric.verify_ledger() says what else is wrong.")));
	return value;
}

static void
row_read(HeapTuple tuple, TupleDesc descriptor, HourRow *row)
{
	row->party = TextDatumGetCString(row_value(tuple, descriptor, ACTIVITY_COL_PARTY));
	row->login = TextDatumGetCString(row_value(tuple, descriptor, ACTIVITY_COL_USER));
	row->block = DatumGetInt64(row_value(tuple, descriptor, ACTIVITY_COL_BLOCK));
	row->entries = DatumGetInt32(row_value(tuple, descriptor, ACTIVITY_COL_ENTRIES));
	row->disclosures = DatumGetInt32(row_value(tuple, descriptor, ACTIVITY_COL_DISCLOSURES));
	row->first_at = DatumGetTimestampTz(row_value(tuple, descriptor, ACTIVITY_COL_FIRST_AT));
	row->last_at = DatumGetTimestampTz(row_value(tuple, descriptor, ACTIVITY_COL_LAST_AT));
}

/* Goes through the rows of a log, by the primary key. */
static void
hours_rows(HourScan *scan)
{
	const char *party = scan->question->party;
	Relation table = store_open("activity", AccessShareLock);
	MemoryContext context;
	ScanKeyData keys[2];
	SysScanDesc rows;
	Relation index;
	HeapTuple tuple;

	if (table == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric_audit hour", ALLOCSET_DEFAULT_SIZES);
	index = store_open_key(table);
	ScanKeyInit(&keys[0], ACTIVITY_COL_LOG_ID, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum((pg_uuid_t *) scan->reader.log_id));
	if (party)
		ScanKeyInit(&keys[1], ACTIVITY_COL_PARTY, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(party));
	rows = systable_beginscan_ordered(table, index, scan->reader.snapshot, party ? 2 : 1, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(rows, ForwardScanDirection)))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		HourRow row;

		row_read(tuple, RelationGetDescr(table), &row);
		hours_row(scan, &row);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	systable_endscan_ordered(rows);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	MemoryContextDelete(context);
}

/* Entries behind the last full block have no row yet. */
static void
hours_tail(HourScan *scan)
{
	int64 first = scan->size - scan->size % ACTIVITY_BLOCK;

	if (first < scan->size && first >= scan->first)
		hours_entries(scan, first, scan->size, NULL);
}

/* Returns how many of a log's blocks cannot be told apart any more. */
static int64
hours_of_log(const HourQuestion *question, const LedgerLog *log, Snapshot snapshot)
{
	HourScan *scan = palloc0(sizeof(HourScan));
	int64 vague;

	scan->question = question;
	if (!store_reader_open(&scan->reader, log->log_id, snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	scan->resolver = resolver_make(scan->reader.segment_size, resolver_read, &scan->reader);
	scan->first = store_first(&scan->reader);
	scan->size = store_size(&scan->reader);
	scan->entry_context = AllocSetContextCreate(CurrentMemoryContext, "biometric_audit entry",
												ALLOCSET_DEFAULT_SIZES);
	hours_rows(scan);
	hours_tail(scan);
	vague = scan->vague;
	MemoryContextDelete(scan->entry_context);
	resolver_free(scan->resolver);
	store_reader_close(&scan->reader);
	pfree(scan);
	return vague;
}

int64
hours_read(const HourQuestion *question, Snapshot snapshot)
{
	HourQuestion asked = *question;
	int64 vague = 0;
	ListCell *cell;

	if (question->party)
	{
		char *party = encoding_recorded(question->party);

		derive_key(party);
		asked.party = party;
	}
	foreach(cell, activity_logs(snapshot))
		vague += hours_of_log(&asked, lfirst(cell), snapshot);
	return vague;
}

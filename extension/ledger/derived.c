/*
 * derived.c - biometric.activity and biometric.traced: rows in, rows out.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ledger/derived.h"

/* What this process, which writes a log, knows of it. Lives in a context of its own. */
typedef struct Deriving
{
	MemoryContext context;
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int64 segment_size;
	int64 next; /* number of the entry that comes next */
	Resolver *resolver;
	DerivedBlock *block;
} Deriving;

static Deriving *deriving = NULL;

void
derived_forget(void)
{
	MemoryContext context = deriving != NULL ? deriving->context : NULL;

	deriving = NULL;
	if (context != NULL)
		MemoryContextDelete(context);
}

static Relation
open_table(const char *name, LOCKMODE mode)
{
	Relation table = store_open(name, mode);

	if (table == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing"),
						errhint("Create the extension again, and restore a dump.")));
	return table;
}

/* ---- Rows in */

/* Reads entries of the log that is being written, also those of this very transaction. */
static int
read_back(Deriving *d, int64 first, int count, bytea **entries)
{
	LedgerReader reader;
	int found = 0;

	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	if (store_reader_open(&reader, d->log_id, GetActiveSnapshot()))
	{
		found = store_entries(&reader, first, count, entries);
		store_reader_close(&reader);
	}
	PopActiveSnapshot();
	return found;
}

static bytea *
read_one(int64 sequence, void *context)
{
	bytea *entry;

	return read_back(context, sequence, 1, &entry) == 1 ? entry : NULL;
}

static void
insert_activity(const Deriving *d)
{
	const DerivedBlock *block = d->block;
	Datum *values = palloc((Size) Max(block->rows, 1) * ACTIVITY_COLUMNS * sizeof(Datum));
	Relation table;

	for (int i = 0; i < block->rows; i++)
	{
		const DerivedActivity *row = &block->activity[i];
		Datum *to = values + (Size) i * ACTIVITY_COLUMNS;

		to[ACTIVITY_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) d->log_id);
		to[ACTIVITY_COL_PARTY - 1] = CStringGetTextDatum(row->party);
		to[ACTIVITY_COL_BLOCK - 1] = Int64GetDatum(block->block);
		to[ACTIVITY_COL_USER - 1] = CStringGetTextDatum(row->user);
		to[ACTIVITY_COL_ENTRIES - 1] = Int32GetDatum(row->entries);
		to[ACTIVITY_COL_DISCLOSURES - 1] = Int32GetDatum(row->disclosures);
		to[ACTIVITY_COL_FIRST_AT - 1] = TimestampTzGetDatum(row->first_at);
		to[ACTIVITY_COL_LAST_AT - 1] = TimestampTzGetDatum(row->last_at);
	}
	table = open_table("activity", RowExclusiveLock);
	if (block->rows > 0)
		store_insert_rows(table, values, ACTIVITY_COLUMNS, block->rows);
	table_close(table, NoLock);
}

static Datum
bytes_datum(const uint8 *bytes, int length)
{
	bytea *value = palloc(VARHDRSZ + length);

	SET_VARSIZE(value, VARHDRSZ + length);
	memcpy(VARDATA(value), bytes, length);
	return PointerGetDatum(value);
}

static void
insert_traced(const Deriving *d)
{
	const DerivedBlock *block = d->block;
	bool nulls[TRACED_COLUMNS] = {false};
	Datum values[TRACED_COLUMNS];
	Relation table = open_table("traced", RowExclusiveLock);

	if (block->stored_size > 0 || block->disclosed_size > 0)
	{
		values[TRACED_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) d->log_id);
		values[TRACED_COL_BLOCK - 1] = Int64GetDatum(block->block);
		values[TRACED_COL_STORED - 1] = bytes_datum(block->stored, block->stored_size);
		values[TRACED_COL_DISCLOSED - 1] = bytes_datum(block->disclosed, block->disclosed_size);
		store_insert(table, values, nulls, TRACED_COLUMNS);
	}
	table_close(table, NoLock);
}

static void
add_entry(Deriving *d, const bytea *bytes)
{
	const uint8 *data = (const uint8 *) VARDATA(bytes);
	Size length = VARSIZE(bytes) - VARHDRSZ;
	EntryFields fields;
	bool readable = entry_decode(data, length, &fields) == CORE_OK;

	if (d->next % ACTIVITY_BLOCK == 0)
		derive_begin(d->block, d->next / ACTIVITY_BLOCK);
	derive_add(d->block, d->resolver, readable ? &fields : NULL, data, length);
	d->next++;
}

/* Begins to derive for a log, of which entries up to a number are there already. */
static void
begin_deriving(const uint8 *log_id, int64 segment_size, int64 sequence)
{
	int64 first = sequence - sequence % ACTIVITY_BLOCK;
	bytea *earlier[ACTIVITY_BLOCK];
	MemoryContext context;
	MemoryContext old;
	Deriving *d;
	int found;

	derived_forget();
	context =
		AllocSetContextCreate(TopMemoryContext, "biometric derived rows", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	d = palloc0(sizeof(Deriving));
	d->context = context;
	memcpy(d->log_id, log_id, LEDGER_LOG_ID_SIZE);
	d->segment_size = segment_size;
	d->resolver = resolver_make(segment_size, read_one, d);
	d->block = derive_make();
	d->next = first;
	MemoryContextSwitchTo(old);
	deriving = d;
	if (first == sequence)
		return;
	found = read_back(d, first, (int) (sequence - first), earlier);
	for (int i = 0; i < found; i++)
	{
		add_entry(d, earlier[i]);
		pfree(earlier[i]);
	}
	if (found == 0)
		derive_begin(d->block, first / ACTIVITY_BLOCK);
	/* where one is missing the ledger goes on, and verification says so */
	for (; d->next < sequence; d->next++)
		derive_add(d->block, d->resolver, NULL, NULL, 0);
}

void
derived_add(const uint8 *log_id, int64 segment_size, int64 sequence, const StoreEntry *entries,
			int count)
{
	/* a transaction that was rolled back, or another log, leaves what does not fit */
	if (deriving == NULL || deriving->next != sequence ||
		memcmp(deriving->log_id, log_id, LEDGER_LOG_ID_SIZE) != 0)
		begin_deriving(log_id, segment_size, sequence);
	for (int i = 0; i < count; i++)
	{
		add_entry(deriving, entries[i].bytes);
		if (deriving->block->next == ACTIVITY_BLOCK)
		{
			insert_activity(deriving);
			insert_traced(deriving);
		}
	}
}

/* ---- Rows out */

static void
key_log_id(ScanKey key, const uint8 *log_id)
{
	ScanKeyInit(key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum((pg_uuid_t *) log_id));
}

/* A value of bytea, detoasted; an empty one for NULL. */
static bytea *
bytes_of(HeapTuple tuple, int column, TupleDesc desc)
{
	bool isnull;
	Datum value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? DatumGetByteaPP(bytes_datum((const uint8 *) "", 0)) : DatumGetByteaPP(value);
}

static void
look_at_traced(HeapTuple tuple, TupleDesc desc, bool want_stored, bool want_disclosed,
			   DerivedTracedLook look, void *context)
{
	bytea *stored = want_stored ? bytes_of(tuple, TRACED_COL_STORED, desc) : NULL;
	bytea *disclosed = want_disclosed ? bytes_of(tuple, TRACED_COL_DISCLOSED, desc) : NULL;
	bool isnull;
	int64 block = DatumGetInt64(heap_getattr(tuple, TRACED_COL_BLOCK, desc, &isnull));

	look(block, stored != NULL ? (const uint8 *) VARDATA_ANY(stored) : NULL,
		 stored != NULL ? VARSIZE_ANY_EXHDR(stored) : 0,
		 disclosed != NULL ? (const uint8 *) VARDATA_ANY(disclosed) : NULL,
		 disclosed != NULL ? VARSIZE_ANY_EXHDR(disclosed) : 0, context);
}

void
derived_traced(const LedgerReader *reader, bool want_stored, bool want_disclosed,
			   DerivedTracedLook look, void *context)
{
	Relation table = open_table("traced", AccessShareLock);
	Relation key = store_open_key(table);
	MemoryContext chunk =
		AllocSetContextCreate(CurrentMemoryContext, "biometric traced row", ALLOCSET_DEFAULT_SIZES);
	ScanKeyData scan_key;
	SysScanDesc scan;
	HeapTuple tuple;

	key_log_id(&scan_key, reader->log_id);
	scan = systable_beginscan_ordered(table, key, reader->snapshot, 1, &scan_key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		MemoryContext old = MemoryContextSwitchTo(chunk);

		CHECK_FOR_INTERRUPTS();
		look_at_traced(tuple, RelationGetDescr(table), want_stored, want_disclosed, look, context);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
	}
	systable_endscan_ordered(scan);
	MemoryContextDelete(chunk);
	index_close(key, AccessShareLock);
	table_close(table, AccessShareLock);
}

static void
look_at_activity(HeapTuple tuple, TupleDesc desc, DerivedActivityLook look, void *context)
{
	DerivedActivity row = {NULL};
	bool isnull[5];
	int64 block = DatumGetInt64(heap_getattr(tuple, ACTIVITY_COL_BLOCK, desc, &isnull[0]));

	row.entries = DatumGetInt32(heap_getattr(tuple, ACTIVITY_COL_ENTRIES, desc, &isnull[1]));
	row.disclosures =
		DatumGetInt32(heap_getattr(tuple, ACTIVITY_COL_DISCLOSURES, desc, &isnull[2]));
	row.first_at =
		DatumGetTimestampTz(heap_getattr(tuple, ACTIVITY_COL_FIRST_AT, desc, &isnull[3]));
	row.last_at = DatumGetTimestampTz(heap_getattr(tuple, ACTIVITY_COL_LAST_AT, desc, &isnull[4]));
	look(block, &row, context);
}

void
derived_activity(const LedgerReader *reader, const char *party, int64 first, int64 last,
				 DerivedActivityLook look, void *context)
{
	Relation table = open_table("activity", AccessShareLock);
	Relation key = store_open_key(table);
	ScanKeyData keys[4];
	SysScanDesc scan;
	HeapTuple tuple;
	int64 rows = 0;

	key_log_id(&keys[0], reader->log_id);
	if (party != NULL)
	{
		char *cut = pstrdup(party);

		derive_key(cut);
		ScanKeyInit(&keys[1], ACTIVITY_COL_PARTY, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(cut));
		ScanKeyInit(&keys[2], ACTIVITY_COL_BLOCK, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum(first));
		ScanKeyInit(&keys[3], ACTIVITY_COL_BLOCK, BTLessEqualStrategyNumber, F_INT8LE,
					Int64GetDatum(last));
	}
	scan = systable_beginscan_ordered(table, key, reader->snapshot, party != NULL ? 4 : 1, keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		if (rows++ % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
		look_at_activity(tuple, RelationGetDescr(table), look, context);
	}
	systable_endscan_ordered(scan);
	index_close(key, AccessShareLock);
	table_close(table, AccessShareLock);
}

/*
 * rows.c - the rows that trace() answers with.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/uuid.h"

#include "ledger/encoding.h"
#include "ledger/store.h"
#include "trace/rows.h"

/* The first column says in which order the rows go out; the others are the function's. */
enum
{
	COL_PLACE,
	COL_MATCH,
	COL_DISTANCE,
	COL_IMAGE_ID,
	COL_KIND,
	COL_LOG_ID,
	COL_STORED_SEQ,
	COL_RELATION,
	COL_ROW_KEY,
	COL_SEQ,
	COL_AT,
	COL_EVENT,
	COL_PARTY,
	COL_NETWORK,
	COL_CLIENT_ADDR,
	COL_SESSION_USER,
	COL_PURPOSE,
	COLUMNS
};

/* Rows of one image, at most. */
#define PLACES_OF_IMAGE (INT64CONST(1) << 40)

/* So many entries that stored an image are looked at for the row that was read. */
#define STORED_LOOKED_AT 100

struct TraceRows
{
	const Search *search;
	ReturnSetInfo *result;
	Tuplesortstate *sort;
	TupleTableSlot *slot;
	MemoryContext row; /* reset after each */
	int64 count;
};

static TupleDesc
sorted_descriptor(TupleDesc result)
{
	TupleDesc descriptor = CreateTemplateTupleDesc(COLUMNS);

	Assert(result->natts == COLUMNS - 1);
	TupleDescInitEntry(descriptor, COL_PLACE + 1, "place", INT8OID, -1, 0);
	for (int i = 1; i < COLUMNS; i++)
		TupleDescCopyEntry(descriptor, i + 1, result, i);
	return descriptor;
}

TraceRows *
trace_rows_begin(const Search *search, ReturnSetInfo *result)
{
	TraceRows *rows = palloc0(sizeof(TraceRows));
	TupleDesc descriptor = sorted_descriptor(result->setDesc);
	AttrNumber column = COL_PLACE + 1;
	Oid order = Int8LessOperator;
	Oid collation = InvalidOid;
	bool nulls_first = false;

	rows->search = search;
	rows->result = result;
	rows->sort = tuplesort_begin_heap(descriptor, 1, &column, &order, &collation, &nulls_first,
									  work_mem, NULL, TUPLESORT_NONE);
	rows->slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsMinimalTuple);
	rows->row =
		AllocSetContextCreate(CurrentMemoryContext, "biometric traced row", ALLOCSET_SMALL_SIZES);
	return rows;
}

/* ---- Values */

typedef struct Row
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS];
} Row;

static void
put(Row *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static void
put_text(Row *row, int column, EntryText text)
{
	if (text.bytes != NULL)
		put(row, column, CStringGetTextDatum(encoding_string(text, false)));
}

static void
put_name(Row *row, int column, const char *name)
{
	if (name != NULL)
		put(row, column, CStringGetTextDatum(name));
}

static void
put_uuid(Row *row, int column, const uint8 *bytes)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	memcpy(uuid->data, bytes, UUID_LEN);
	put(row, column, UUIDPGetDatum(uuid));
}

static void
put_json(Row *row, int column, EntryText text)
{
	if (text.bytes != NULL)
		put(row, column,
			DirectFunctionCall1(jsonb_in, CStringGetDatum(encoding_string(text, true))));
}

static EntryText
either(EntryText own, const EntryText *other)
{
	return own.bytes == NULL && other != NULL ? *other : own;
}

static const char *
match_name(TraceMatch match)
{
	switch (match)
	{
		case TRACE_MARK:
			return "mark";
		case TRACE_EXACT:
			return "exact";
		case TRACE_SIMILAR:
			return "similar";
		default:
			return NULL;
	}
}

static const uint8 *
log_id_of(const Search *search, int log)
{
	return ((const LedgerLog *) list_nth(search->logs, log))->log_id;
}

static void
begin_row(const TraceRows *rows, Row *row, const FoundImage *image, bool named)
{
	memset(row->nulls, true, sizeof(row->nulls));
	memset(row->values, 0, sizeof(row->values));
	put(row, COL_PLACE,
		Int64GetDatum((named ? 0 : (image - rows->search->images + 1) * PLACES_OF_IMAGE) +
					  rows->count));
	put_name(row, COL_MATCH, match_name(named ? TRACE_MARK : image->match));
	if (image->distance >= 0)
		put(row, COL_DISTANCE, Int32GetDatum(image->distance));
	put_uuid(row, COL_IMAGE_ID, image->id);
	put_name(row, COL_KIND, image->kind == IMAGE_KIND_NONE ? NULL : image_kind_name(image->kind));
}

static void
end_row(TraceRows *rows, Row *row)
{
	ExecClearTuple(rows->slot);
	ExecForceStoreMinimalTuple(
		form_minimal_tuple(rows->slot->tts_tupleDescriptor, row->values, row->nulls), rows->slot,
		false);
	tuplesort_puttupleslot(rows->sort, rows->slot);
	ExecClearTuple(rows->slot);
	rows->count++;
}

static void
put_stored(Row *row, const FoundStored *stored, int log)
{
	if (stored->log == log)
		put(row, COL_STORED_SEQ, Int64GetDatum(stored->sequence));
	put_text(row, COL_RELATION, stored->relation);
	put_json(row, COL_ROW_KEY, stored->row_key);
}

/* ---- Rows */

static bool
same_text(EntryText one, EntryText other)
{
	return one.bytes != NULL && other.bytes != NULL && one.length == other.length &&
		   memcmp(one.bytes, other.bytes, one.length) == 0;
}

/* How many of the entries that stored an image come before a place in the ledger. */
static int64
stored_before(const FoundImage *image, int log, int64 sequence)
{
	int64 low = 0;
	int64 high = image->stored_count;

	while (low < high)
	{
		int64 middle = low + (high - low) / 2;
		const FoundStored *stored = &image->stored[middle];

		if (stored->log < log || (stored->log == log && stored->sequence < sequence))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * The entry that an image came by into the row that it was released from: the latest before
 * the release, of the relation that was read if there is one.
 */
static const FoundStored *
stored_for(const FoundImage *image, int log, int64 sequence, EntryText relation)
{
	int64 before = stored_before(image, log, sequence);

	for (int64 i = before - 1; i >= 0 && i >= before - STORED_LOOKED_AT; i--)
		if (same_text(image->stored[i].relation, relation))
			return &image->stored[i];
	return before > 0 ? &image->stored[before - 1] : NULL;
}

void
trace_rows_disclosure(TraceRows *rows, const FoundImage *image, int log, const ActivityEntry *entry,
					  bool named)
{
	const EntryFields *session = entry->session;
	const EntryFields *statement = entry->statement;
	EntryText relation = search_relation(&entry->fields, statement);
	const FoundStored *stored = stored_for(image, log, entry->sequence, relation);
	MemoryContext old = MemoryContextSwitchTo(rows->row);
	Row row;

	begin_row(rows, &row, image, named);
	put_uuid(&row, COL_LOG_ID, log_id_of(rows->search, log));
	if (stored != NULL)
		put_stored(&row, stored, log);
	if (row.nulls[COL_RELATION])
		put_text(&row, COL_RELATION, relation);
	if (row.nulls[COL_KIND] && entry->fields.kind != IMAGE_KIND_NONE)
		put_name(&row, COL_KIND, image_kind_name(entry->fields.kind));
	put(&row, COL_SEQ, Int64GetDatum(entry->sequence));
	put(&row, COL_AT, TimestampTzGetDatum(entry->at));
	put_name(&row, COL_EVENT, entry_event_name(entry->fields.event));
	put_text(&row, COL_PARTY, either(entry->fields.party, session ? &session->party : NULL));
	put_text(&row, COL_NETWORK, either(entry->fields.network, session ? &session->network : NULL));
	put_text(&row, COL_CLIENT_ADDR,
			 either(entry->fields.client_addr, session ? &session->client_addr : NULL));
	put_text(&row, COL_SESSION_USER,
			 either(entry->fields.session_user_name, session ? &session->session_user_name : NULL));
	put_text(&row, COL_PURPOSE,
			 either(entry->fields.purpose, statement ? &statement->purpose : NULL));
	end_row(rows, &row);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rows->row);
}

void
trace_rows_image(TraceRows *rows, const FoundImage *image)
{
	const FoundStored *stored = &image->stored[image->stored_count - 1];
	MemoryContext old = MemoryContextSwitchTo(rows->row);
	Row row;

	begin_row(rows, &row, image, false);
	put_uuid(&row, COL_LOG_ID, log_id_of(rows->search, stored->log));
	put_stored(&row, stored, stored->log);
	end_row(rows, &row);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rows->row);
}

int64
trace_rows_end(TraceRows *rows)
{
	tuplesort_performsort(rows->sort);
	while (tuplesort_gettupleslot(rows->sort, true, false, rows->slot, NULL))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(rows->slot);
		tuplestore_putvalues(rows->result->setResult, rows->result->setDesc,
							 rows->slot->tts_values + 1, rows->slot->tts_isnull + 1);
	}
	ExecDropSingleTupleTableSlot(rows->slot);
	tuplesort_end(rows->sort);
	MemoryContextDelete(rows->row);
	return rows->count;
}

/*
 * outcome.c - transaction_state(): what became of the transaction of a change.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "ledger/follow.h"
#include "ledger/store.h"

#define OUTCOME_UNKNOWN_DETAIL "\"outcome\": \"unknown\""
#define ROWS_BETWEEN_INTERRUPTS 1024

PGDLLEXPORT Datum ledger_transaction_state(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ledger_transaction_state);

/* What an entry of event aborted says. */
typedef struct Aborted
{
	uint64 transaction; /* the key */
	bool known;			/* false: the server did not know either */
} Aborted;

/* The aborted entries of one log, read once a query, and only if it asks for old transactions. */
typedef struct AbortedCache
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	HTAB *table;
} AbortedCache;

static bool
contains(EntryText text, const char *part)
{
	Size length = strlen(part);

	for (Size at = 0; text.bytes != NULL && at + length <= text.length; at++)
		if (memcmp(text.bytes + at, part, length) == 0)
			return true;
	return false;
}

static void
cache_add(AbortedCache *cache, const EntryFields *fields)
{
	uint64 transaction = fields->transaction;
	Aborted *aborted = hash_search(cache->table, &transaction, HASH_ENTER, NULL);

	aborted->known = !contains(fields->detail, OUTCOME_UNKNOWN_DETAIL);
}

/* The aborted entry in a row, if it is one of the log's. */
static bool
aborted_of_row(TupleTableSlot *row, const uint8 *log_id, EntryFields *fields)
{
	bytea *bytes;

	slot_getallattrs(row);
	if (row->tts_isnull[ENTRY_COL_LOG_ID - 1] || row->tts_isnull[ENTRY_COL_BYTES - 1] ||
		memcmp(DatumGetUUIDP(row->tts_values[ENTRY_COL_LOG_ID - 1])->data, log_id,
			   LEDGER_LOG_ID_SIZE) != 0)
		return false;
	bytes = (bytea *) DatumGetPointer(row->tts_values[ENTRY_COL_BYTES - 1]);
	/* Entries of this event are short: the long ones need not be fetched. */
	if (VARATT_IS_EXTERNAL(bytes) || VARATT_IS_COMPRESSED(bytes) || VARSIZE_ANY_EXHDR(bytes) < 2 ||
		((const uint8 *) VARDATA_ANY(bytes))[1] != ENTRY_ABORTED)
		return false;
	return entry_decode((const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), fields) ==
			   CORE_OK &&
		   fields->transaction != 0;
}

static void
cache_fill_from(AbortedCache *cache, int slice)
{
	Relation relation = store_open_slice(slice, AccessShareLock);
	TableScanDesc scan;
	TupleTableSlot *row;
	int64 rows = 0;

	if (relation == NULL)
		return;
	scan = table_beginscan(relation, GetActiveSnapshot(), 0, NULL);
	row = table_slot_create(relation, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		EntryFields fields;

		if (rows++ % ROWS_BETWEEN_INTERRUPTS == 0)
			CHECK_FOR_INTERRUPTS();
		if (aborted_of_row(row, cache->log_id, &fields))
			cache_add(cache, &fields);
	}
	ExecDropSingleTupleTableSlot(row);
	table_endscan(scan);
	table_close(relation, AccessShareLock);
}

static void
cache_fill(AbortedCache *cache)
{
	for (int slice = 0; slice < LEDGER_SLICES; slice++)
		cache_fill_from(cache, slice);
}

static AbortedCache *
aborted_cache(FunctionCallInfo fcinfo, const uint8 *log_id)
{
	HASHCTL control = {.keysize = sizeof(uint64), .entrysize = sizeof(Aborted)};
	AbortedCache *cache = fcinfo->flinfo->fn_extra;

	if (cache != NULL && memcmp(cache->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0)
		return cache;
	if (cache != NULL)
	{
		hash_destroy(cache->table);
		pfree(cache);
		fcinfo->flinfo->fn_extra = NULL;
	}
	cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(AbortedCache));
	memcpy(cache->log_id, log_id, LEDGER_LOG_ID_SIZE);
	control.hcxt = fcinfo->flinfo->fn_mcxt;
	cache->table = hash_create("biometric aborted transactions", 64, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_fill(cache);
	fcinfo->flinfo->fn_extra = cache;
	return cache;
}

/*
 * The worker has followed every transaction before the server forgot it: one
 * without an aborted entry has committed.
 */
static const char *
recorded_state(FunctionCallInfo fcinfo, const uint8 *log_id, uint64 transaction)
{
	AbortedCache *cache = aborted_cache(fcinfo, log_id);
	const Aborted *aborted = hash_search(cache->table, &transaction, HASH_FIND, NULL);

	if (aborted == NULL)
		return "committed";
	return aborted->known ? "aborted" : "unknown";
}

Datum
ledger_transaction_state(PG_FUNCTION_ARGS)
{
	const uint8 *log_id = PG_GETARG_UUID_P(0)->data;
	FullTransactionId transaction = FullTransactionIdFromU64(PG_GETARG_INT64(1));
	const char *state = "unknown";

	switch (follow_outcome(U64FromFullTransactionId(transaction)))
	{
		case OUTCOME_RUNNING:
			state = "in progress";
			break;
		case OUTCOME_COMMITTED:
			state = "committed";
			break;
		case OUTCOME_ABORTED:
			state = "aborted";
			break;
		default:
			if (TransactionIdIsNormal(XidFromFullTransactionId(transaction)) &&
				FullTransactionIdPrecedes(transaction, ReadNextFullTransactionId()))
				state = recorded_state(fcinfo, log_id, U64FromFullTransactionId(transaction));
			break;
	}
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

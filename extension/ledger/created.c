/*
 * created.c - the first entries of a ledger, in the transaction that creates it.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/internal.h"
#include "ledger/append.h"
#include "ledger/derived.h"
#include "ledger/records.h"
#include "ledger/store.h"

/* As many entries are inserted at a time. */
#define CREATED_AT_ONCE 1000

/*
 * The ledger that this transaction has created, while it writes its first
 * entries itself. In TopTransactionContext.
 */
typedef struct CreatedLedger
{
	uint32 generation; /* no slot's: after the commit everything is introduced anew */
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int64 segment_size;
	MerkleFrontier frontier;
	Relation tile; /* while entries are being written */
	MemoryContextCallback reset;
} CreatedLedger;

static CreatedLedger *created = NULL;

/* Entries that are about to be inserted. */
typedef struct CreatedBatch
{
	MemoryContext context; /* of entries and their bytes; reset when they are in the table */
	StoreEntry *entries;
	int count;
	int64 first; /* number of the first */
} CreatedBatch;

static void
created_forget(void *arg)
{
	created = NULL;
	derived_forget();
}

static void
created_begin(void)
{
	CreatedLedger *ledger = MemoryContextAllocZero(TopTransactionContext, sizeof(CreatedLedger));
	LedgerLog *log;
	List *logs;

	if (!extension_created_here())
		elog(ERROR, "the ledger was not created by this transaction");
	PushActiveSnapshot(GetTransactionSnapshot());
	logs = store_logs(GetActiveSnapshot());
	PopActiveSnapshot();
	if (logs == NIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table biometric.log has lost its row"),
						errhint("Create the extension again.")));
	log = llast(logs);
	memcpy(ledger->log_id, log->log_id, LEDGER_LOG_ID_SIZE);
	ledger->segment_size = log->segment_size;
	ledger->generation = ledger_new_generation();
	merkle_frontier_init(&ledger->frontier);
	ledger->reset.func = created_forget;
	MemoryContextRegisterResetCallback(TopTransactionContext, &ledger->reset);
	created = ledger;
}

static void
created_insert_tile(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	CreatedLedger *ledger = context;

	if (level > 0)
		store_insert_tile(ledger->tile, ledger->log_id, level, index, hashes);
}

static void
created_flush(CreatedBatch *batch)
{
	store_insert_entries(created->log_id, created->segment_size, batch->first, batch->entries,
						 batch->count);
	batch->entries = NULL;
	batch->count = 0;
	MemoryContextReset(batch->context);
	CHECK_FOR_INTERRUPTS();
}

/* Takes a record for the tables. */
static void
created_put(Placement *placement, const char *record, Size length)
{
	CreatedBatch *batch = placement->context;
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	bytea *bytes = palloc(VARHDRSZ + length - sizeof(LedgerRecord));
	StoreEntry *entry;

	if (batch->entries == NULL)
	{
		batch->entries = palloc(CREATED_AT_ONCE * sizeof(StoreEntry));
		batch->first = placement->next;
	}
	entry = &batch->entries[batch->count++];
	SET_VARSIZE(bytes, VARHDRSZ + length - sizeof(LedgerRecord));
	memcpy(VARDATA(bytes), record + sizeof(LedgerRecord), length - sizeof(LedgerRecord));
	entry->bytes = bytes;
	merkle_leaf(VARDATA(bytes), length - sizeof(LedgerRecord), &entry->leaf);
	merkle_frontier_add(&created->frontier, &entry->leaf, created_insert_tile, created);
	if (batch->count == CREATED_AT_ONCE)
		created_flush(batch);
	MemoryContextSwitchTo(old);
}

/* Writes what was prepared into the tables. */
static void
created_write(Placement *placement, const LedgerStatement *statement)
{
	CreatedBatch batch = {NULL};

	batch.context = AllocSetContextCreate(CurrentMemoryContext, "biometric first entries",
										  ALLOCSET_DEFAULT_SIZES);
	created->tile = store_open("tile", RowExclusiveLock);
	if (created->tile == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	placement->context = &batch;
	placement->put = created_put;
	records_place(placement, statement, created->generation);
	if (batch.count > 0)
		created_flush(&batch);
	table_close(created->tile, NoLock);
	MemoryContextDelete(batch.context);
}

void
ledger_append_created(LedgerStatement *statement, EntryFields *entries, int count)
{
	Placement placement = {0};

	if (count <= 0)
		return;
	if (created == NULL)
		created_begin();
	records_prepare(statement, entries, count, created->generation);
	placement.next = (int64) created->frontier.size;
	placement.segment_size = created->segment_size;
	created_write(&placement, statement);
	records_remember(statement, &placement);
}

void
ledger_created_finish(void)
{
	if (created == NULL)
		return;
	store_insert_head(created->log_id, &created->frontier);
	created = NULL;
}

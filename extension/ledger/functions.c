/*
 * functions.c - leaf(), root() and ledger_status().
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ledger/anchor.h"
#include "ledger/fork.h"
#include "ledger/signer.h"

/* Columns of ledger_status(): those of the tree, of checkpoints, of their delivery. */
enum
{
	STATUS_CHECKPOINT = 9,
	STATUS_ANCHOR = 12,
	STATUS_COLUMNS = 16
};

PGDLLEXPORT Datum ledger_leaf(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_root(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_status(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ledger_leaf);
PG_FUNCTION_INFO_V1(ledger_root);
PG_FUNCTION_INFO_V1(ledger_status);

/* Opens the newest log for reading in the active snapshot. */
static void
open_newest(LedgerReader *reader)
{
	if (!store_reader_open(reader, fork_present_log()->log_id, GetActiveSnapshot()))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
}

Datum
ledger_leaf(PG_FUNCTION_ARGS)
{
	int64 sequence = PG_GETARG_INT64(0);
	LedgerReader reader;
	bytea *entry;

	open_newest(&reader);
	entry = store_entry(&reader, sequence);
	if (entry == NULL && sequence >= 0)
		store_require_entry(&reader, sequence);
	store_reader_close(&reader);
	if (entry == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the ledger has no entry " INT64_FORMAT, sequence)));
	PG_RETURN_BYTEA_P(entry);
}

/* A log, and its edge as far as it is known to be durable. */
typedef struct KnownTree
{
	LedgerReader reader;
	MerkleFrontier edge; /* empty when no worker writes this log here */
} KnownTree;

/*
 * How many of a log's entries are known to be durable: those of changes can be
 * seen before, and a root over them might be one that a crash takes back.
 */
static int64
read_edge(KnownTree *tree, int64 present)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	LedgerStatus *status = palloc(sizeof(LedgerStatus));

	merkle_frontier_init(&tree->edge);
	if (number < 0 || !ledger_status_read(number, status) || !status->loaded ||
		memcmp(status->log_id, tree->reader.log_id, LEDGER_LOG_ID_SIZE) != 0)
		return present;
	tree->edge = status->frontier;
	return Min(present, (int64) status->frontier.size);
}

/* A MerkleTileSource: what is in no full tile yet comes out of the edge, not out of its entries. */
static bool
tree_source(int level, uint64_t index, int count, MerkleHash *hashes, void *context)
{
	KnownTree *tree = context;

	return (level > 0 && merkle_frontier_hashes(&tree->edge, level, index, count, hashes)) ||
		   store_source(level, index, count, hashes, &tree->reader);
}

Datum
ledger_root(PG_FUNCTION_ARGS)
{
	KnownTree *tree = palloc(sizeof(KnownTree));
	MerkleHash root;
	int64 present;
	int64 durable;
	int64 size;
	bool known;

	open_newest(&tree->reader);
	present = store_size(&tree->reader);
	durable = read_edge(tree, present);
	size = PG_ARGISNULL(0) ? durable : PG_GETARG_INT64(0);
	if (size < 0 || size > present)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the ledger never had " INT64_FORMAT " entries", size),
						errdetail("It has " INT64_FORMAT ".", present)));
	known = merkle_range_root((uint64_t) size, tree_source, tree, &root);
	if (!known)
		store_require_size(&tree->reader, size);
	store_reader_close(&tree->reader);
	if (!known)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("entries or tiles of the ledger are missing"),
						errhint("biometric.verify_ledger() says which.")));
	PG_RETURN_BYTEA_P(store_hashes(&root, 1));
}

static const char *
state_name(int number)
{
	if (RecoveryInProgress())
		return "standby";
	if (number < 0)
		return "none";
	switch (pg_atomic_read_u32(&ledger_slot(number)->state))
	{
		case LEDGER_STARTING:
			return "starting";
		case LEDGER_READY:
			return "ready";
		case LEDGER_FOREIGN:
			return "foreign";
		case LEDGER_RETIRED:
			return "retired";
		default:
			return "broken";
	}
}

/* What the slot's worker has published of its tree. */
static void
status_of_tree(int number, Datum *values, bool *nulls)
{
	LedgerSlot *slot = ledger_slot(number);
	LedgerStatus *status = palloc(sizeof(LedgerStatus));
	uint64 next = pg_atomic_read_u64(&slot->next_sequence);
	uint64 durable = pg_atomic_read_u64(&slot->durable);
	uint64 tail = pg_atomic_read_u64(&slot->tail);
	MerkleHash root;

	if (!ledger_status_read(number, status))
		return;
	if (status->loaded)
	{
		merkle_frontier_root(&status->frontier, &root);
		values[2] = UUIDPGetDatum((pg_uuid_t *) status->log_id);
		values[3] = Int64GetDatum((int64) status->frontier.size);
		values[4] = PointerGetDatum(store_hashes(&root, 1));
		values[5] = Int64GetDatum(next > durable && slot->append_generation ==
														pg_atomic_read_u32(&slot->generation)
									  ? (int64) (next - durable)
									  : 0);
		values[6] = Int64GetDatum((int64) (pg_atomic_read_u64(&slot->head) - tail));
		nulls[2] = nulls[3] = nulls[4] = nulls[5] = nulls[6] = false;
	}
	nulls[8] = status->error[0] == '\0';
	if (!nulls[8])
		values[8] = CStringGetTextDatum(status->error);
}

static Datum
unix_time_datum(int64 at)
{
	return TimestampTzGetDatum(at - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
										SECS_PER_DAY * USECS_PER_SEC);
}

/* The newest checkpoint: size, time, and why none is signed any more. */
static void
status_of_checkpoint(int number, Datum *values, bool *nulls)
{
	LedgerSigned *newest = palloc(sizeof(LedgerSigned));
	bool known = signer_read(number, newest);

	values[0] = Int64GetDatum((int64) newest->size);
	values[1] = unix_time_datum(newest->at);
	nulls[0] = nulls[1] = !known;
	nulls[2] = newest->problem[0] == '\0';
	if (!nulls[2])
		values[2] = CStringGetTextDatum(newest->problem);
}

/* What was delivered outside last: size, time, failures since, and the last of them. */
static void
status_of_anchor(int number, Datum *values, bool *nulls)
{
	LedgerAnchor anchor;
	bool known = ledger_anchor_read(number, &anchor);

	values[0] = Int64GetDatum((int64) anchor.size);
	values[1] = unix_time_datum(anchor.at);
	nulls[0] = nulls[1] = !known || anchor.size == 0;
	values[2] = Int64GetDatum((int64) anchor.failures);
	nulls[2] = !known;
	nulls[3] = anchor.error[0] == '\0';
	if (!nulls[3])
		values[3] = CStringGetTextDatum(anchor.error);
}

Datum
ledger_status(PG_FUNCTION_ARGS)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	Datum values[STATUS_COLUMNS] = {0};
	bool nulls[STATUS_COLUMNS];
	TupleDesc desc;
	uint32 pid;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	memset(nulls, true, sizeof(nulls));
	values[0] = CStringGetTextDatum(state_name(number));
	values[7] = Int64GetDatum((int64) ledger_ring_size_bytes());
	nulls[0] = nulls[7] = false;
	if (number >= 0)
	{
		pid = pg_atomic_read_u32(&ledger_slot(number)->worker_pid);
		values[1] = Int32GetDatum((int32) pid);
		nulls[1] = pid == 0;
		status_of_tree(number, values, nulls);
		status_of_checkpoint(number, values + STATUS_CHECKPOINT, nulls + STATUS_CHECKPOINT);
		status_of_anchor(number, values + STATUS_ANCHOR, nulls + STATUS_ANCHOR);
		ledger_poke_worker(number);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * detach.c - detach_segment(): the ledger lets go of its oldest entries, which
 * somebody has in an archive, and keeps their root.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "audit/export.h"
#include "base/internal.h"
#include "base/roles.h"
#include "core/entry.h"
#include "ledger/append.h"
#include "ledger/follow.h"
#include "ledger/fork.h"
#include "ledger/session.h"
#include "ledger/store_checkpoint.h"

#define ENTRIES_AT_ONCE 256

/* As objsubid of the extension: one detaches at a time, until it is committed. */
#define DETACH_LOCK 4

PGDLLEXPORT Datum audit_detach_segment(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_detach_segment);

typedef struct Detach
{
	AuditLog log;
	int64 segment;
	int64 first; /* its entries: from here */
	int64 end;	 /* to before here */
	MerkleHash root;
	char *reason;
} Detach;

/* ---- Who may, and what */

static void
check_caller(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("segment, archive_root and reason must not be null"),
						errhint("biometric.segments lists the segments; biometric-verify segment "
								"computes the root of an archived one.")));
	if (!role_is_custodian(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a custodian may detach a segment of the ledger"),
				 errdetail("Superusers are no custodians unless they are members of role \"%s\".",
						   CUSTODIAN_ROLE),
				 errhint("Have \"%s\" granted to the current user.", CUSTODIAN_ROLE)));
	PreventCommandIfReadOnly("biometric.detach_segment()");
	PreventCommandDuringRecovery("biometric.detach_segment()");
	if (extension_created_here())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger was created by this very transaction"),
						errhint("Commit the transaction that created the extension first.")));
}

static void
read_arguments(FunctionCallInfo fcinfo, Detach *detach)
{
	bytea *root = PG_GETARG_BYTEA_PP(1);

	detach->segment = PG_GETARG_INT64(0);
	detach->reason = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (VARSIZE_ANY_EXHDR(root) != MERKLE_HASH_SIZE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("archive_root is not a hash of %d bytes", MERKLE_HASH_SIZE),
						errhint("biometric-verify segment computes it from the archive.")));
	memcpy(detach->root.bytes, VARDATA_ANY(root), MERKLE_HASH_SIZE);
	if (detach->reason[strspn(detach->reason, " \t\r\n")] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("detaching a segment needs a reason"),
						errhint("Say why; it becomes part of the ledger.")));
}

pg_noreturn static void
refuse_segment(const Detach *detach, const char *why, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("segment " INT64_FORMAT " of the ledger cannot be detached", detach->segment),
			 errdetail("%s", why), errhint("%s", hint)));
}

/* Segments go oldest first, full, and covered by what an outsider may hold. */
static void
check_segment(Detach *detach)
{
	int64 size = detach->log.log->segment_size;
	int64 oldest = detach->log.first / size;
	StoredCheckpoint covering;

	if (detach->segment < oldest)
		refuse_segment(detach,
					   detach->segment < 0 ? "There is no such segment."
										   : "It has been detached already.",
					   "See biometric.segments.");
	if (detach->segment > oldest)
		refuse_segment(detach,
					   psprintf("Segment " INT64_FORMAT " is older, and still attached.", oldest),
					   "Detach the oldest first.");
	detach->first = detach->segment * size;
	detach->end = detach->first + size;
	if (detach->end > detach->log.size)
		refuse_segment(detach,
					   psprintf("It is not full: the ledger has " INT64_FORMAT
								" durable entries, the segment ends at " INT64_FORMAT ".",
								detach->log.size, detach->end),
					   "Detach it when the ledger has grown beyond it.");
	if (!store_checkpoint_from(detach->log.log->log_id, detach->end, GetActiveSnapshot(),
							   &covering))
		refuse_segment(detach, "No signed checkpoint covers it.",
					   "Set biometric_audit.signing_key, and wait for the next checkpoint.");
}

/* ---- Whether its entries are what the archive has */

/*
 * Reads which transactions have not ended. The head names those that were open when it was
 * written, and is not written again before the ledger grows.
 */
static void
read_settled(const Detach *detach, LedgerSettled *settled)
{
	int open = 0;

	store_settled(detach->log.log->log_id, GetActiveSnapshot(), settled);
	for (int i = 0; i < settled->count; i++)
		if (follow_outcome(settled->open[i]) != OUTCOME_COMMITTED)
			settled->open[open++] = settled->open[i];
	settled->count = open;
}

/* Whether an entry is of a change whose transaction has not ended. */
static bool
is_unsettled(const EntryFields *fields, const LedgerSettled *settled)
{
	for (int i = 0; i < settled->count; i++)
		if (fields->transaction != 0 && fields->transaction == settled->open[i])
			return true;
	return false;
}

static void
check_entries(Detach *detach, int64 first, const LedgerSettled *settled, MerkleFrontier *frontier)
{
	bytea *entries[ENTRIES_AT_ONCE];

	audit_read_entries(&detach->log, first, ENTRIES_AT_ONCE, entries);
	for (int i = 0; i < ENTRIES_AT_ONCE; i++)
	{
		size_t length = VARSIZE(entries[i]) - VARHDRSZ;
		EntryFields fields;
		MerkleHash leaf;

		if (entry_decode((const uint8_t *) VARDATA(entries[i]), length, &fields) == CORE_OK &&
			is_unsettled(&fields, settled))
			refuse_segment(detach,
						   psprintf("Transaction " UINT64_FORMAT ", which entry " INT64_FORMAT
									" names, has not ended.",
									(uint64) fields.transaction, first + i),
						   "Have it committed or rolled back; a prepared one is in "
						   "pg_prepared_xacts.");
		merkle_leaf(VARDATA(entries[i]), length, &leaf);
		merkle_frontier_add(frontier, &leaf, NULL, NULL);
	}
}

/* The root over the segment alone, from its entries, must be the archive's. */
static void
check_contents(Detach *detach)
{
	MemoryContext chunk =
		AllocSetContextCreate(CurrentMemoryContext, "ledger segment", ALLOCSET_DEFAULT_SIZES);
	MerkleFrontier *frontier = palloc(sizeof(MerkleFrontier));
	LedgerSettled settled;
	MerkleHash root;

	read_settled(detach, &settled);
	if (settled.size < detach->end)
		refuse_segment(detach, "It is not known yet how all of its transactions ended.",
					   "Try again in a second.");
	merkle_frontier_init(frontier);
	for (int64 at = detach->first; at < detach->end; at += ENTRIES_AT_ONCE)
	{
		MemoryContext old = MemoryContextSwitchTo(chunk);

		check_entries(detach, at, &settled, frontier);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
	}
	MemoryContextDelete(chunk);
	merkle_frontier_root(frontier, &root);
	if (memcmp(&root, &detach->root, sizeof(root)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("archive_root is not the root of segment " INT64_FORMAT, detach->segment),
				 errdetail("What is archived is not what the ledger has."),
				 errhint("Export the ledger again, and let biometric-verify segment compute the "
						 "root from that. If it still differs, see biometric.verify_ledger().")));
}

/* ---- The entry */

static void
record_detach(const Detach *detach)
{
	EntryFields entry = {.event = ENTRY_POLICY_CHANGED, .reference = ENTRY_NO_REFERENCE};
	LedgerTicket ticket;

	entry.detail = session_text(fork_detach_detail(detach->segment, detach->end - detach->first,
												   &detach->root, detach->reason));
	entry.current_user_name = session_text(GetUserNameFromId(GetUserId(), false));
	/* before any lock is taken that the worker could wait for */
	ledger_append(NULL, &entry, 1, &ticket);
	ledger_wait(&ticket);
}

/* ---- What goes */

static Relation
require_table(Relation relation)
{
	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	return relation;
}

static void
key_log_id(ScanKey key, const uint8 *log_id)
{
	ScanKeyInit(key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum((pg_uuid_t *) log_id));
}

/* Deletes the rows that a scan of a table by its primary key, or of the whole table, finds. */
static void
delete_rows(Relation relation, Relation index, ScanKey keys, int count)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan;
	HeapTuple tuple;

	scan = index != NULL ? systable_beginscan_ordered(relation, index, snapshot, count, keys)
						 : systable_beginscan(relation, InvalidOid, false, snapshot, count, keys);
	while (HeapTupleIsValid(tuple = index != NULL
										? systable_getnext_ordered(scan, ForwardScanDirection)
										: systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		simple_heap_delete(relation, &tuple->t_self);
	}
	if (index != NULL)
		systable_endscan_ordered(scan);
	else
		systable_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/*
 * The tiles of a level that are within the segment. Hashes at a height that is
 * a multiple of eight stay computable, so that an export has all tiles of its
 * own width that reach beyond the segment.
 */
static void
delete_tiles(const Detach *detach)
{
	Relation relation = require_table(store_open("tile", RowExclusiveLock));
	Relation index = store_open_key(relation);
	int kept = store_kept_level(detach->end - detach->first);

	for (int level = 0; level < kept; level++)
	{
		int shift = (level + 1) * MERKLE_TILE_HEIGHT;
		ScanKeyData keys[4];

		key_log_id(&keys[0], detach->log.log->log_id);
		ScanKeyInit(&keys[1], TILE_COL_LEVEL, BTEqualStrategyNumber, F_INT2EQ,
					Int16GetDatum(level));
		ScanKeyInit(&keys[2], TILE_COL_INDEX, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum(detach->first >> shift));
		ScanKeyInit(&keys[3], TILE_COL_INDEX, BTLessStrategyNumber, F_INT8LT,
					Int64GetDatum(detach->end >> shift));
		delete_rows(relation, index, keys, lengthof(keys));
	}
	index_close(index, AccessShareLock);
	table_close(relation, NoLock);
}

/* What leads from images to the entries; the table has no index that begins with their numbers. */
static void
delete_image_entries(const Detach *detach)
{
	Relation relation = require_table(store_open("image_entry", RowExclusiveLock));
	ScanKeyData keys[2];

	key_log_id(&keys[0], detach->log.log->log_id);
	ScanKeyInit(&keys[1], IMAGE_COL_SEQ, BTLessStrategyNumber, F_INT8LT,
				Int64GetDatum(detach->end));
	delete_rows(relation, NULL, keys, lengthof(keys));
	table_close(relation, NoLock);
}

/*
 * Its entries. A table is never truncated, even when it holds nothing else: that would take the
 * rows from snapshots that are older, a dump's among them, and keep the worker out of the table
 * until this transaction has ended, which one that is prepared may not do for days.
 */
static void
delete_entries(const Detach *detach)
{
	int slice = store_slice(detach->log.log->segment_size, detach->first);
	Relation relation = require_table(store_open_slice(slice, RowExclusiveLock));
	Relation index = store_open_key(relation);
	ScanKeyData keys[3];

	key_log_id(&keys[0], detach->log.log->log_id);
	ScanKeyInit(&keys[1], ENTRY_COL_SEQ, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(detach->first));
	ScanKeyInit(&keys[2], ENTRY_COL_SEQ, BTLessStrategyNumber, F_INT8LT,
				Int64GetDatum(detach->end));
	delete_rows(relation, index, keys, lengthof(keys));
	index_close(index, AccessShareLock);
	table_close(relation, NoLock);
}

static void
insert_segment(const Detach *detach)
{
	Relation relation = require_table(store_open("segment", RowExclusiveLock));
	Datum values[SEGMENT_COLUMNS];
	bool nulls[SEGMENT_COLUMNS] = {false};

	values[SEGMENT_COL_LOG_ID - 1] = UUIDPGetDatum((pg_uuid_t *) detach->log.log->log_id);
	values[SEGMENT_COL_SEGMENT - 1] = Int64GetDatum(detach->segment);
	values[SEGMENT_COL_ROOT - 1] = PointerGetDatum(store_hashes(&detach->root, 1));
	values[SEGMENT_COL_DETACHED_AT - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[SEGMENT_COL_REASON - 1] = CStringGetTextDatum(detach->reason);
	store_insert(relation, values, nulls, SEGMENT_COLUMNS);
	table_close(relation, NoLock);
}

Datum
audit_detach_segment(PG_FUNCTION_ARGS)
{
	Detach *detach = palloc0(sizeof(Detach));

	check_caller(fcinfo);
	read_arguments(fcinfo, detach);
	LockDatabaseObject(ExtensionRelationId, extension_oid(), DETACH_LOCK, ExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	audit_log_open(&detach->log, NULL);
	check_segment(detach);
	check_contents(detach);
	audit_log_close(&detach->log);
	PopActiveSnapshot();
	record_detach(detach);
	insert_segment(detach);
	delete_tiles(detach);
	delete_image_entries(detach);
	delete_entries(detach);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

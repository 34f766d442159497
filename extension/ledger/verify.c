/*
 * verify.c - verify_ledger(): is every row what the worker wrote?
 *
 * What is compared with comes first (the edge that the worker has published),
 * the snapshot afterwards, so that the snapshot sees at least as much. Rows
 * beyond the edge are those that the worker committed in between: they must
 * become part of the published tree, or nobody but an intruder wrote them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "ledger/fork.h"
#include "ledger/verify.h"

/* Rows that may have been added between the edge and the snapshot. */
#define ROWS_BEYOND_EDGE ((int64) 1 << 22)
#define ROWS_BETWEEN_INTERRUPTS 1024

/* How long the worker may take from committing rows to publishing them. */
#define PUBLISH_PATIENCE_MS 2000

PGDLLEXPORT Datum ledger_verify(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_verify_restored(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ledger_verify);
PG_FUNCTION_INFO_V1(ledger_verify_restored);

typedef struct Verification
{
	LogCheck *checks; /* ascending by ordinal */
	int count;
	int slot; /* -1: no worker serves this database */
	LedgerState state;
	LedgerStatus *status; /* of the slot; NULL when there is none */
	Snapshot snapshot;
	char *stray; /* a row that belongs to nothing at all */
} Verification;

/* Waits for the worker to have taken up the ledger, and reads what it published. */
static void
read_published(Verification *v)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ledger_timeout_ms());

	v->slot = RecoveryInProgress() ? -1 : ledger_my_slot();
	v->state = LEDGER_STARTING;
	if (v->slot < 0)
		return;
	for (;;)
	{
		ledger_wait_announce(v->slot, LEDGER_WAIT_ANY);
		v->state = pg_atomic_read_u32(&ledger_slot(v->slot)->state);
		if (v->state != LEDGER_STARTING || GetCurrentTimestamp() >= deadline)
			break;
		ledger_poke_worker(v->slot);
		ledger_wait_sleep(100, true);
		v->slot = ledger_my_slot();
		if (v->slot < 0)
			return;
	}
	ledger_wait_announce(v->slot, 0);
	v->status = palloc(sizeof(LedgerStatus));
	if (!ledger_status_read(v->slot, v->status) || !v->status->loaded)
		v->status = NULL;
}

/* Sets size, root and edge of a log to what is known of them from elsewhere than its rows. */
static void
expect(Verification *v, LogCheck *check, List *logs)
{
	ListCell *cell;

	if (v->status != NULL && memcmp(v->status->log_id, check->log->log_id, LEDGER_LOG_ID_SIZE) == 0)
	{
		check->edge = &v->status->frontier;
		check->size = (int64) check->edge->size;
		merkle_frontier_root(check->edge, &check->root);
		check->root_known = true;
		return;
	}
	check->size = store_size(&check->reader);
	/* What the head row counts has been there, though its rows may have been removed. */
	if (check->has_head && check->head.size > check->size &&
		check->head.size - check->size < ROWS_BEYOND_EDGE)
		check->size = check->head.size;
	foreach(cell, logs)
	{
		const LedgerLog *child = lfirst(cell);

		if (child->has_parent && child->parent_size >= 0 &&
			memcmp(child->parent, check->log->log_id, LEDGER_LOG_ID_SIZE) == 0)
		{
			check->size = child->parent_size;
			check->root = child->parent_root;
			check->root_known = true;
		}
	}
}

/*
 * What a restored log must be: what was verified when it was adopted, else
 * what the log that was forked from it says, else what its own head row says.
 */
static void
expect_restored(LogCheck *check)
{
	const LedgerLog *log = check->log;
	int64 known = check->has_head ? Max(check->head.size, 0) : 0;

	if (log->adopted)
	{
		check->size = log->adopted_size;
		check->root = log->adopted_root;
		check->root_known = true;
	}
	/* one forged row must not make this count to the end of numbers */
	else if (check->size > known + ROWS_BEYOND_EDGE)
	{
		verify_problem(check, known, "entry " INT64_FORMAT ": far more are said to follow", known);
		check->size = known;
		check->root_known = false;
	}
}

/* Begins to check some logs. kin: all logs that may have been forked from them. */
static void
open_checks(Verification *v, List *logs, List *kin)
{
	v->count = list_length(logs);
	v->checks = palloc0(Max(v->count, 1) * sizeof(LogCheck));
	for (int i = 0; i < v->count; i++)
	{
		LogCheck *check = &v->checks[i];

		check->log = list_nth(logs, i);
		check->newest = i == v->count - 1 && !check->log->restored;
		check->highest = -1;
		check->tile_index = -1;
		if (!store_reader_open(&check->reader, check->log->log_id, v->snapshot))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
		check->has_head = store_head(check->log->log_id, v->snapshot, &check->head);
		expect(v, check, kin);
		if (check->log->restored)
			expect_restored(check);
		check->seen_limit = check->size + ROWS_BEYOND_EDGE;
		check->seen = palloc_extended((check->seen_limit / 64 + 1) * sizeof(uint64),
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}
}

static LogCheck *
check_of(Verification *v, const uint8 *log_id)
{
	for (int i = v->count - 1; i >= 0; i--)
		if (memcmp(v->checks[i].log->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0)
			return &v->checks[i];
	return NULL;
}

/*
 * Rows of other logs are somebody else's history: a dump may bring them, and
 * they count for nothing. But each row says whose it is.
 */
static void
stray_row(Verification *v, const char *table)
{
	if (v->stray == NULL)
		v->stray = psprintf("a row of biometric.%s belongs to no log", table);
}

/* Notes that an entry's row was found; false when it must not be there (again). */
static bool
note_entry(LogCheck *check, int64 sequence)
{
	uint64 bit;

	check->highest = Max(check->highest, sequence);
	if (sequence < 0 || sequence >= check->seen_limit ||
		(sequence >= check->size && check->edge == NULL && check->root_known))
	{
		/* The gap that such a row may have left says more. */
		verify_problem(check, sequence < 0 ? check->size : sequence,
					   "entry " INT64_FORMAT ": is not part of the ledger", sequence);
		return false;
	}
	bit = UINT64CONST(1) << (sequence % 64);
	if ((check->seen[sequence / 64] & bit) != 0)
	{
		verify_problem(check, sequence, "entry " INT64_FORMAT ": has more than one row", sequence);
		return false;
	}
	check->seen[sequence / 64] |= bit;
	return true;
}

/* Fetches an entry that is stored out of line; NULL, with a problem noted, when that fails. */
static bytea *
fetch_toasted(LogCheck *check, int64 sequence, Datum value)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bytea *volatile entry = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		entry = DatumGetByteaPP(value);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		/* A cancelled verification has verified nothing. */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
			ReThrowError(error);
		verify_problem(check, sequence, "entry " INT64_FORMAT ": cannot be read: %s", sequence,
					   error->message);
		entry = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return entry;
}

static void
check_entry(LogCheck *check, int64 sequence, Datum value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(value);
	bool extended = VARATT_IS_EXTERNAL(stored) || VARATT_IS_COMPRESSED(stored);
	bytea *entry = extended ? fetch_toasted(check, sequence, value) : stored;
	const MerkleHash *known;
	EntryFields fields;
	MerkleHash leaf;

	if (entry == NULL)
		return;
	known = verify_leaf(check, sequence);
	merkle_leaf(VARDATA_ANY(entry), VARSIZE_ANY_EXHDR(entry), &leaf);
	if (known != NULL && memcmp(known, &leaf, sizeof(leaf)) != 0 &&
		(check->problem == NULL || sequence < check->problem_at) &&
		verify_entry_is_wrong(check, sequence))
		verify_problem(check, sequence,
					   "entry " INT64_FORMAT ": its bytes are not those whose hash is in the tree",
					   sequence);
	if (entry_decode((const uint8_t *) VARDATA_ANY(entry), VARSIZE_ANY_EXHDR(entry), &fields) !=
		CORE_OK)
		verify_problem(check, sequence, "entry " INT64_FORMAT ": its bytes are not an entry",
					   sequence);
	if (extended)
		pfree(entry);
}

static void
check_entry_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;
	int64 sequence;

	slot_getallattrs(row);
	if (row->tts_isnull[ENTRY_COL_LOG_ID - 1] || row->tts_isnull[ENTRY_COL_SEQ - 1] ||
		row->tts_isnull[ENTRY_COL_BYTES - 1])
	{
		stray_row(v, "entry");
		return;
	}
	sequence = DatumGetInt64(row->tts_values[ENTRY_COL_SEQ - 1]);
	check = check_of(v, DatumGetUUIDP(row->tts_values[ENTRY_COL_LOG_ID - 1])->data);
	if (check != NULL && note_entry(check, sequence))
		check_entry(check, sequence, row->tts_values[ENTRY_COL_BYTES - 1]);
}

/* Runs through all rows of a table, in whatever order they are stored. */
static void
scan_rows(Verification *v, Relation relation, void (*check_row)(Verification *, TupleTableSlot *))
{
	/* Neither the index, which might hide rows, nor another scan's starting point. */
	TableScanDesc scan = table_beginscan_strat(relation, v->snapshot, 0, NULL, true, false);
	TupleTableSlot *row = table_slot_create(relation, NULL);
	int64 rows = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		if (rows++ % ROWS_BETWEEN_INTERRUPTS == 0)
			CHECK_FOR_INTERRUPTS();
		check_row(v, row);
	}
	ExecDropSingleTupleTableSlot(row);
	table_endscan(scan);
}

/* Tiles that are not looked for by key have no business in the table. */
static void
check_tile_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;
	int level;
	int64 index;
	int64 most;

	slot_getallattrs(row);
	for (int i = 0; i < TILE_COLUMNS; i++)
		if (row->tts_isnull[i])
		{
			stray_row(v, "tile");
			return;
		}
	level = DatumGetInt16(row->tts_values[TILE_COL_LEVEL - 1]);
	index = DatumGetInt64(row->tts_values[TILE_COL_INDEX - 1]);
	check = check_of(v, DatumGetUUIDP(row->tts_values[TILE_COL_LOG_ID - 1])->data);
	if (check == NULL)
		return;
	most = Max(check->size, check->highest + 1);
	if (level < 0 || level >= MERKLE_MAX_TILE_LEVELS || index < 0 ||
		index >= most >> ((level + 1) * MERKLE_TILE_HEIGHT))
		verify_problem(check, check->size, "tile %d/" INT64_FORMAT ": is not part of the tree",
					   level, index);
	else
		check->tiles[level]++;
}

static void
check_head_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;

	slot_getallattrs(row);
	check = row->tts_isnull[HEAD_COL_LOG_ID - 1]
				? NULL
				: check_of(v, DatumGetUUIDP(row->tts_values[HEAD_COL_LOG_ID - 1])->data);
	if (check != NULL && ++check->heads > 1)
		verify_problem(check, check->size, "the head row is there more than once");
}

/* Each full tile was found by its key; more rows than that are duplicates. */
static void
check_tile_counts(LogCheck *check)
{
	int64 most = Max(check->size, check->highest + 1);

	for (int level = 0; level < MERKLE_MAX_TILE_LEVELS; level++)
		if (check->tiles[level] > most >> ((level + 1) * MERKLE_TILE_HEIGHT))
			verify_problem(check, check->size, "a tile of level %d has more than one row", level);
}

/* The first entry below size that has no row. */
static void
check_missing(LogCheck *check, int64 size)
{
	for (int64 sequence = 0; sequence < size;)
	{
		uint64 word = check->seen[sequence / 64];

		if (word == PG_UINT64_MAX)
		{
			sequence += 64;
			continue;
		}
		while (sequence < size && (word & (UINT64CONST(1) << (sequence % 64))) != 0)
		{
			sequence++;
			if (sequence % 64 == 0)
				break;
		}
		if (sequence < size &&
			(check->seen[sequence / 64] & (UINT64CONST(1) << (sequence % 64))) == 0)
		{
			verify_problem(check, sequence, "entry " INT64_FORMAT ": is missing", sequence);
			return;
		}
	}
}

/* Rows beyond the edge must be the worker's, durable already or not. */
static void
check_beyond_edge(Verification *v, LogCheck *check)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PUBLISH_PATIENCE_MS);
	LedgerStatus *now = palloc(sizeof(LedgerStatus));
	int64 rows = check->highest + 1;

	if (check->edge == NULL || rows <= check->size || check->highest >= check->seen_limit)
		return;
	while (!(ledger_status_read(v->slot, now) && now->loaded &&
			 memcmp(now->log_id, check->log->log_id, LEDGER_LOG_ID_SIZE) == 0 &&
			 (int64) pg_atomic_read_u64(&ledger_slot(v->slot)->ordered) >= rows))
	{
		if (GetCurrentTimestamp() >= deadline)
		{
			verify_problem(check, check->size,
						   "entry " INT64_FORMAT ": was not written by the ledger's worker",
						   check->size);
			return;
		}
		ledger_wait_sleep(10, true);
	}
	check_missing(check, rows);
}

static void
run_checks(Verification *v)
{
	if (v->count == 0)
		return;
	for (int i = 0; i < v->count; i++)
		verify_tiles(&v->checks[i]);
	scan_rows(v, v->checks[0].reader.entry, check_entry_row);
	scan_rows(v, v->checks[0].reader.tile, check_tile_row);
	for (int i = 0; i < v->count; i++)
	{
		LogCheck *check = &v->checks[i];

		check_missing(check, check->size);
		check_beyond_edge(v, check);
		check_tile_counts(check);
		verify_head(check);
	}
}

static void
scan_heads(Verification *v)
{
	Relation head = store_open("head", AccessShareLock);

	if (head == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	scan_rows(v, head, check_head_row);
	table_close(head, AccessShareLock);
}

/* A database in which there are rows, but no log, or whose worker says no. */
static char *
general_problem(Verification *v)
{
	if (v->stray != NULL)
		return v->stray;
	if (v->count == 0)
		return pstrdup("this database's row of table biometric.log is missing");
	if (v->state == LEDGER_BROKEN || v->state == LEDGER_FOREIGN)
	{
		LedgerStatus *status = palloc(sizeof(LedgerStatus));

		if (ledger_status_read(v->slot, status) && status->error[0] != '\0')
			return pstrdup(status->error);
		return pstrdup("the ledger takes no entries");
	}
	if (v->status != NULL && check_of(v, v->status->log_id) == NULL)
		return pstrdup("the log that the ledger's worker writes has no row in biometric.log");
	return NULL;
}

/* The first problem of the newest log, else of the logs before it, else of the whole. */
static char *
first_problem(Verification *v)
{
	for (int i = v->count - 1; i >= 0; i--)
	{
		LogCheck *check = &v->checks[i];

		if (check->problem == NULL)
			continue;
		if (check->newest || check->log->restored)
			return check->problem;
		return psprintf("log %s, before it was forked: %s", fork_log_id_text(check->log->log_id),
						check->problem);
	}
	return general_problem(v);
}

static void
run_all(Verification *v)
{
	run_checks(v);
	scan_heads(v);
}

static void
close_checks(Verification *v)
{
	for (int i = 0; i < v->count; i++)
		store_reader_close(&v->checks[i].reader);
	UnregisterSnapshot(v->snapshot);
}

/* The row that both functions return. size -1: neither size nor root are known. */
static Datum
answer(FunctionCallInfo fcinfo, int64 size, const MerkleHash *root, const char *problem)
{
	bool known = size >= 0;
	Datum values[4] = {0};
	bool nulls[4] = {false, !known, !known, problem == NULL};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(problem == NULL);
	if (known)
	{
		values[1] = Int64GetDatum(size);
		values[2] = PointerGetDatum(store_hashes(root, 1));
	}
	if (problem != NULL)
		values[3] = CStringGetTextDatum(problem);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* What was computed of a log: its size, -1 when not even that could be. */
static int64
computed(const LogCheck *check, MerkleHash *root)
{
	if (check == NULL || !check->computed)
		return -1;
	merkle_frontier_root(&check->frontier, root);
	return check->size;
}

Datum
ledger_verify(PG_FUNCTION_ARGS)
{
	Verification v = {0};
	MerkleHash root;
	List *logs;
	int64 size;
	char *problem;

	read_published(&v);
	v.snapshot = RegisterSnapshot(GetLatestSnapshot());
	logs = store_logs(v.snapshot);
	open_checks(&v, logs, logs);
	run_all(&v);
	problem = first_problem(&v);
	size = computed(v.count == 0 ? NULL : &v.checks[v.count - 1], &root);
	close_checks(&v);
	PG_RETURN_DATUM(answer(fcinfo, size, &root, problem));
}

static LedgerLog *
find_log(List *logs, const uint8 *log_id)
{
	ListCell *cell;

	foreach(cell, logs)
		if (memcmp(((LedgerLog *) lfirst(cell))->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0)
			return lfirst(cell);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("no log %s was restored in this database", fork_log_id_text(log_id)),
					errhint("biometric.ledger_history shows those that were; the present log is "
							"verified by biometric.verify_ledger().")));
}

char *
verify_restored(const uint8 *log_id, int64 *size, MerkleHash *root)
{
	Verification v = {.slot = -1};
	List *logs;
	char *problem;

	v.snapshot = RegisterSnapshot(GetLatestSnapshot());
	logs = store_restored_logs(v.snapshot);
	open_checks(&v, list_make1(find_log(logs, log_id)), logs);
	run_all(&v);
	problem = first_problem(&v);
	*size = computed(&v.checks[0], root);
	if (*size < 0 && problem == NULL)
		problem = pstrdup("entries are missing");
	close_checks(&v);
	return problem;
}

Datum
ledger_verify_restored(PG_FUNCTION_ARGS)
{
	MerkleHash root;
	int64 size;
	char *problem = verify_restored(PG_GETARG_UUID_P(0)->data, &size, &root);

	PG_RETURN_DATUM(answer(fcinfo, size, &root, problem));
}

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
	LedgerStatus *status;	 /* of the slot; NULL when there is none */
	LedgerSigned *published; /* newest checkpoint of the slot; NULL when there is none */
	Snapshot snapshot;
	int slice;	 /* of the table of entries that is being read */
	char *stray; /* a row that belongs to nothing at all */
} Verification;

typedef void (*RowCheck)(Verification *v, TupleTableSlot *row);

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
	v->published = palloc(sizeof(LedgerSigned));
	if (!signer_read(v->slot, v->published))
		v->published = NULL;
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
		if (!store_reader_open(&check->reader, check->log->log_id, v->snapshot))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
		check->has_head = store_head(check->log->log_id, v->snapshot, &check->head);
		expect(v, check, kin);
		if (check->log->restored)
			expect_restored(check);
		check->seen_limit = check->size + ROWS_BEYOND_EDGE;
		if (!store_segment_size_is_valid(check->log->segment_size))
			verify_problem(check, 0,
						   "the log's row says that its segments have " INT64_FORMAT
						   " entries, which no log's have",
						   check->log->segment_size);
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

static void
check_entry_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;

	slot_getallattrs(row);
	for (int i = 0; i < ENTRY_COLUMNS; i++)
		if (row->tts_isnull[i])
		{
			stray_row(v, "entry");
			return;
		}
	check = check_of(v, DatumGetUUIDP(row->tts_values[ENTRY_COL_LOG_ID - 1])->data);
	if (check != NULL)
		verify_entry(check, v->slice, DatumGetInt64(row->tts_values[ENTRY_COL_SEQ - 1]),
					 DatumGetInt32(row->tts_values[ENTRY_COL_HINT - 1]),
					 row->tts_values[ENTRY_COL_BYTES - 1]);
}

/* Runs through all rows of a table, in whatever order they are stored. */
static void
scan_rows(Verification *v, Relation relation, RowCheck check_row)
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

/* How many tiles of a level a log has: all that are full, but for those of detached segments. */
static int64
tiles_of_level(const LogCheck *check, int level)
{
	int64 most = Max(check->size, check->highest + 1) >> ((level + 1) * MERKLE_TILE_HEIGHT);

	if (level < store_kept_level(check->reader.segment_size))
		most -= check->first >> ((level + 1) * MERKLE_TILE_HEIGHT);
	return level == 0 ? 0 : most;
}

/* Whether a log may have a tile. */
static bool
is_part_of_tree(const LogCheck *check, int level, int64 index)
{
	int64 first;

	if (level < 1 || level >= MERKLE_MAX_TILE_LEVELS)
		return false;
	first = level < store_kept_level(check->reader.segment_size)
				? check->first >> ((level + 1) * MERKLE_TILE_HEIGHT)
				: 0;
	return index >= first && index < first + tiles_of_level(check, level);
}

/* Tiles that are not looked for by key have no business in the table. */
static void
check_tile_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;
	int level;
	int64 index;

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
	if (!is_part_of_tree(check, level, index))
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
	for (int level = 1; level < MERKLE_MAX_TILE_LEVELS; level++)
		if (check->tiles[level] > tiles_of_level(check, level))
			verify_problem(check, check->size, "a tile of level %d has more than one row", level);
}

/* Whether the worker has published that a log's first rows are in order. */
static bool
are_ordered(const Verification *v, const LogCheck *check, int64 rows, LedgerStatus *now)
{
	return ledger_status_read(v->slot, now) && now->loaded &&
		   memcmp(now->log_id, check->log->log_id, LEDGER_LOG_ID_SIZE) == 0 &&
		   (int64) pg_atomic_read_u64(&ledger_slot(v->slot)->ordered) >= rows;
}

/* Whether a log that was forked from it since the snapshot was taken names these rows as its own. */
static bool
are_of_parent(const LogCheck *check, int64 rows)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool found = false;
	ListCell *cell;

	foreach(cell, store_logs(snapshot))
	{
		const LedgerLog *child = lfirst(cell);

		found = found || (child->has_parent && child->parent_size >= rows &&
						  memcmp(child->parent, check->log->log_id, LEDGER_LOG_ID_SIZE) == 0);
	}
	UnregisterSnapshot(snapshot);
	return found;
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
	while (!are_ordered(v, check, rows, now) && !are_of_parent(check, rows))
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
	verify_missing(check, rows);
}

/* What the worker has published of a log's checkpoints; NULL: nothing. */
static const LedgerSigned *
published_of(Verification *v, const LogCheck *check)
{
	if (v->published == NULL ||
		memcmp(v->published->log_id, check->log->log_id, LEDGER_LOG_ID_SIZE) != 0)
		return NULL;
	return v->published;
}

/* Runs through all rows of one of the tables, by name. */
static void
scan_table(Verification *v, const char *name, RowCheck check_row)
{
	Relation relation = store_open(name, AccessShareLock);

	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	scan_rows(v, relation, check_row);
	table_close(relation, AccessShareLock);
}

static void
check_image_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;

	slot_getallattrs(row);
	for (int i = 0; i < IMAGE_COLUMNS; i++)
		if (row->tts_isnull[i])
		{
			stray_row(v, "image_entry");
			return;
		}
	check = check_of(v, DatumGetUUIDP(row->tts_values[IMAGE_COL_LOG_ID - 1])->data);
	if (check != NULL)
		verify_image_row(check, DatumGetUUIDP(row->tts_values[IMAGE_COL_IMAGE_ID - 1])->data,
						 DatumGetInt64(row->tts_values[IMAGE_COL_SEQ - 1]));
}

static LogCheck *
check_of_row(Verification *v, TupleTableSlot *row, int columns, const char *table)
{
	slot_getallattrs(row);
	for (int i = 0; i < columns; i++)
		if (row->tts_isnull[i])
		{
			stray_row(v, table);
			return NULL;
		}
	/* in both, the log comes first */
	return check_of(v, DatumGetUUIDP(row->tts_values[0])->data);
}

static void
check_activity_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check = check_of_row(v, row, ACTIVITY_COLUMNS, "activity");

	if (check != NULL)
		verify_activity_row(check, row->tts_values);
}

static void
check_traced_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check = check_of_row(v, row, TRACED_COLUMNS, "traced");

	if (check != NULL)
		verify_traced_row(check, row->tts_values);
}

static void
scan_entries(Verification *v)
{
	for (v->slice = 0; v->slice < LEDGER_SLICES; v->slice++)
	{
		char name[16];

		snprintf(name, sizeof(name), "entry_%02d", v->slice);
		scan_table(v, name, check_entry_row);
	}
}

/* Counts the segments that were detached. */
static void
count_segment_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;

	slot_getallattrs(row);
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		if (row->tts_isnull[i])
		{
			stray_row(v, "segment");
			return;
		}
	check = check_of(v, DatumGetUUIDP(row->tts_values[SEGMENT_COL_LOG_ID - 1])->data);
	if (check != NULL)
		check->first += check->reader.segment_size;
}

/* Keeps the root of a segment that was detached: one root each, without gaps. */
static void
keep_segment_row(Verification *v, TupleTableSlot *row)
{
	LogCheck *check;
	int64 segment;
	bytea *root;

	slot_getallattrs(row);
	for (int i = 0; i < SEGMENT_COLUMNS; i++)
		if (row->tts_isnull[i])
			return;
	check = check_of(v, DatumGetUUIDP(row->tts_values[SEGMENT_COL_LOG_ID - 1])->data);
	if (check == NULL)
		return;
	segment = DatumGetInt64(row->tts_values[SEGMENT_COL_SEGMENT - 1]);
	root = DatumGetByteaPP(row->tts_values[SEGMENT_COL_ROOT - 1]);
	if (segment < 0 || segment >= check->first / check->reader.segment_size)
		verify_problem(check, 0,
					   "segment " INT64_FORMAT " is said to be detached, but not all before it",
					   segment);
	else if (VARSIZE_ANY_EXHDR(root) == MERKLE_HASH_SIZE)
	{
		memcpy(&check->segment_roots[segment], VARDATA_ANY(root), MERKLE_HASH_SIZE);
		verify_segment_row(check, segment, &check->segment_roots[segment],
						   TextDatumGetCString(row->tts_values[SEGMENT_COL_REASON - 1]));
	}
}

/* Finds out what was detached, and gets ready for the entries that were not. */
static void
begin_entries(Verification *v)
{
	scan_table(v, "segment", count_segment_row);
	for (int i = 0; i < v->count; i++)
	{
		LogCheck *check = &v->checks[i];

		check->segment_roots =
			palloc0((check->first / check->reader.segment_size + 1) * sizeof(MerkleHash));
		if (check->first > check->size)
		{
			verify_problem(check, check->size,
						   "more segments are said to be detached than there are");
			check->first = check->size - check->size % check->reader.segment_size;
		}
		verify_entries_begin(check);
	}
	scan_table(v, "segment", keep_segment_row);
}

static void
run_checks(Verification *v)
{
	if (v->count == 0)
		return;
	begin_entries(v);
	scan_entries(v);
	scan_table(v, "tile", check_tile_row);
	scan_table(v, "image_entry", check_image_row);
	scan_table(v, "activity", check_activity_row);
	scan_table(v, "traced", check_traced_row);
	for (int i = 0; i < v->count; i++)
	{
		LogCheck *check = &v->checks[i];

		verify_missing(check, check->size);
		check_beyond_edge(v, check);
		verify_tree(check);
		check_tile_counts(check);
		verify_head(check);
		verify_checkpoints(check, published_of(v, check));
		verify_log(check);
		verify_images(check);
		verify_derived(check);
	}
	scan_table(v, "head", check_head_row);
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
close_checks(Verification *v)
{
	for (int i = 0; i < v->count; i++)
		store_reader_close(&v->checks[i].reader);
	UnregisterSnapshot(v->snapshot);
}

Datum
verify_answer(FunctionCallInfo fcinfo, int64 size, const MerkleHash *root, const char *problem)
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

char *
verify_present(int64 *size, MerkleHash *root)
{
	Verification v = {0};
	List *logs;
	char *problem;

	read_published(&v);
	v.snapshot = RegisterSnapshot(GetLatestSnapshot());
	logs = store_logs(v.snapshot);
	open_checks(&v, logs, logs);
	run_checks(&v);
	verify_lineage(v.checks, v.count, store_restored_logs(v.snapshot));
	problem = first_problem(&v);
	*size = computed(v.count == 0 ? NULL : &v.checks[v.count - 1], root);
	close_checks(&v);
	return problem;
}

Datum
ledger_verify(PG_FUNCTION_ARGS)
{
	MerkleHash root;
	int64 size;
	char *problem = verify_present(&size, &root);

	PG_RETURN_DATUM(verify_answer(fcinfo, size, &root, problem));
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
	run_checks(&v);
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

	PG_RETURN_DATUM(verify_answer(fcinfo, size, &root, problem));
}

/*
 * tree.c - takes up a database's tree when a worker starts.
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ledger/batch.h"
#include "ledger/encoding.h"
#include "ledger/fork.h"
#include "ledger/identity.h"
#include "ledger/session.h"
#include "ledger/store.h"
#include "ledger/tree.h"

/* Whether the log that this process has loaded was retired, or takes no entries here. */
static bool loaded_retired = false;
static bool loaded_fenced = false;

static void tree_broken(LedgerTree *tree, const char *format, ...) pg_attribute_printf(2, 3);

static void
tree_broken(LedgerTree *tree, const char *format, ...)
{
	va_list args;

	tree->state = LEDGER_BROKEN;
	va_start(args, format);
	vsnprintf(tree->problem, sizeof(tree->problem), format, args);
	va_end(args);
}

/* Size and root of a log that was forked from; of one that is damaged, what its head says. */
static void
settle_parent(LedgerLog *log)
{
	LedgerReader reader;
	LedgerHead head;
	bool known = store_head(log->parent, GetActiveSnapshot(), &head);

	if (!store_reader_open(&reader, log->parent, GetActiveSnapshot()))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	log->parent_size = store_size(&reader);
	if (!store_root(&reader, log->parent_size, &log->parent_root))
	{
		log->parent_size = known ? head.size : 0;
		if (known)
			log->parent_root = head.root;
		else
			merkle_sha256("", 0, &log->parent_root);
	}
	store_reader_close(&reader);
	store_settle_fork(log);
}

/* Appends a `forked` entry by itself, before anybody else can append anything. */
static void
append_forked(LedgerTree *tree, const char *detail)
{
	EntryFields fields = {.event = ENTRY_FORKED, .reference = ENTRY_NO_REFERENCE};
	Relation tile = store_open("tile", RowExclusiveLock);
	bytea *bytes = palloc(VARHDRSZ + ENTRY_MAX_SIZE);
	StoreEntry entry = {.bytes = bytes};
	Batch *batch = palloc0(sizeof(Batch));
	size_t length;
	ListCell *cell;

	fields.at = session_unix_time();
	fields.process = (uint64_t) MyProcPid;
	fields.database = session_text(get_database_name(MyDatabaseId));
	fields.detail = session_text(detail);
	if (tile == NULL ||
		encoding_entry(&fields, (uint8_t *) VARDATA(bytes), ENTRY_MAX_SIZE, &length) != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("the ledger's fork could not be recorded")));
	SET_VARSIZE(bytes, VARHDRSZ + length);
	batch->entries = &entry;
	batch->count = 1;
	batch_hash(&tree->frontier, batch);
	store_insert_entries(tree->log_id, tree->segment_size, (int64) tree->frontier.size, &entry, 1);
	foreach(cell, batch->tiles)
	{
		FullTile *full = lfirst(cell);

		store_insert_tile(tile, tree->log_id, full->level, full->index, full->hashes);
	}
	tree->frontier = batch->frontier;
	table_close(tile, NoLock);
}

/* Settles a fork: the parent's edge, and the first entry, which names it. */
static void
take_up_fork(LedgerTree *tree, LedgerLog *log)
{
	settle_parent(log);
	append_forked(
		tree, fork_detail(log->parent, log->parent_size, &log->parent_root, log->reason, false));
}

/* The first entry whose hash is not the one that the head row holds; -1: none. */
static int64
first_unlike_tail(LedgerReader *reader, const LedgerHead *head)
{
	MerkleHash leaves[MERKLE_TILE_WIDTH];
	int count = (int) (head->size % MERKLE_TILE_WIDTH);
	int64 first = head->size - count;

	if (head->tail_count != count)
		return first;
	if (count == 0)
		return -1;
	if (!store_leaves(reader, first, count, leaves))
		return first;
	for (int i = 0; i < count; i++)
		if (memcmp(&leaves[i], &head->tail[i], sizeof(leaves[i])) != 0)
			return first + i;
	return -1;
}

/* Compares the tree with the head row, the last edge that was written down. */
static void
check_head(LedgerTree *tree, LedgerReader *reader)
{
	LedgerHead head;
	MerkleHash root;
	int64 size = (int64) tree->frontier.size;
	int64 unlike;

	if (!store_head(tree->log_id, reader->snapshot, &head))
	{
		if (size > 0)
			tree_broken(tree, "table biometric.head has lost its row");
	}
	else if (head.size > size)
		tree_broken(tree, "there are " INT64_FORMAT " entries where there were " INT64_FORMAT, size,
					head.size);
	else if (head.size >= 0 && (unlike = first_unlike_tail(reader, &head)) >= 0)
		tree_broken(tree, "entry " INT64_FORMAT " is not the one whose hash is in the head row",
					unlike);
	else if (head.size < 0 || !store_root(reader, head.size, &root) ||
			 memcmp(&root, &head.root, sizeof(root)) != 0)
		tree_broken(tree, "the root over the first " INT64_FORMAT " entries is not what it was",
					head.size);
}

/* Reads the frontier of a log that is our own. */
static void
load_frontier(LedgerTree *tree)
{
	LedgerReader reader;
	int64 size;

	if (!store_reader_open(&reader, tree->log_id, GetActiveSnapshot()))
	{
		tree_broken(tree, "a table of the ledger is missing");
		return;
	}
	size = store_size(&reader);
	if (size < 0 || !merkle_frontier_load(&tree->frontier, (uint64_t) size, store_source, &reader))
		tree_broken(tree, "entries or tiles are missing among the first " INT64_FORMAT " entries",
					size);
	else
		check_head(tree, &reader);
	store_reader_close(&reader);
}

/* Whether a log has neither entries nor a parent: nothing that could be continued. */
static bool
is_empty(const LedgerLog *log)
{
	LedgerReader reader;
	bool empty;

	if (log->has_parent || !store_reader_open(&reader, log->log_id, GetActiveSnapshot()))
		return false;
	empty = store_size(&reader) == 0;
	store_reader_close(&reader);
	return empty;
}

static void
take_new_identity(LedgerTree *tree, const LedgerLog *log)
{
	LedgerLog own;

	fork_own_identity(&own);
	store_renew_identity(log->log_id, &own);
	memcpy(tree->log_id, own.log_id, LEDGER_LOG_ID_SIZE);
}

/* Writes into a log's row that it is this system's from now on. */
static void
write_identity(LedgerLog *log, const Identity *own)
{
	Relation relation = store_open("log", RowExclusiveLock);

	if (relation == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	log->system_identifier = own->system_identifier;
	log->timeline = own->timeline;
	log->instance = pstrdup(own->instance);
	store_continue_log(relation, log);
	table_close(relation, NoLock);
}

/* Continues another system's log, with an entry that says so. */
static void
continue_log(LedgerTree *tree, LedgerLog *log, IdentityVerdict verdict, const Identity *own)
{
	append_forked(tree, identity_detail(log, verdict, own, &tree->frontier));
	write_identity(log, own);
	loaded_fenced = false;
}

static void
take_retired(LedgerTree *tree)
{
	tree->state = LEDGER_RETIRED;
	snprintf(tree->problem, sizeof(tree->problem),
			 "the ledger was retired; biometric.fork_ledger(reason) begins another");
}

/*
 * Adds to a frontier the ring's entries that are in the tables already.
 * False when the ring does not hold them all in order.
 */
static bool
add_from_ring(int number, MerkleFrontier *frontier, uint64 size)
{
	LedgerSlot *slot = ledger_slot(number);
	uint32 generation = pg_atomic_read_u32(&slot->generation);
	uint64 head = pg_atomic_read_u64(&slot->head);
	uint8 *bytes = palloc(ENTRY_MAX_SIZE);

	pg_read_barrier();
	for (uint64 at = pg_atomic_read_u64(&slot->tail); at < head && frontier->size < size;)
	{
		LedgerRecord record;
		MerkleHash leaf;

		ledger_ring_read(number, at, &record, sizeof(record));
		if (record.generation == generation && record.sequence >= (int64) frontier->size)
		{
			if (record.sequence > (int64) frontier->size || record.length > ENTRY_MAX_SIZE)
				break;
			ledger_ring_read(number, at + sizeof(record), bytes, record.length);
			merkle_leaf(bytes, record.length, &leaf);
			merkle_frontier_add(frontier, &leaf, NULL, NULL);
		}
		at += sizeof(record) + record.length;
	}
	pfree(bytes);
	return frontier->size == size;
}

/* Compares the tree with what a predecessor published, if it was the same log's. */
static void
check_shared_memory(int number, LedgerTree *tree)
{
	LedgerSlot *slot = ledger_slot(number);
	LedgerStatus *status = palloc(sizeof(LedgerStatus));
	uint64 size = tree->frontier.size;
	MerkleHash published;
	MerkleHash loaded;

	if (!ledger_status_read(number, status) || !status->loaded ||
		pg_atomic_read_u32(&slot->tile_relation) != tree->tile_relation ||
		memcmp(status->log_id, tree->log_id, LEDGER_LOG_ID_SIZE) != 0)
		return;
	if (size < status->frontier.size)
	{
		tree_broken(tree,
					"there are " UINT64_FORMAT " entries where " UINT64_FORMAT " were durable",
					size, (uint64) status->frontier.size);
		return;
	}
	if (!add_from_ring(number, &status->frontier, size))
	{
		tree_broken(tree, "entry " UINT64_FORMAT " was not written by the ledger's worker",
					(uint64) status->frontier.size);
		return;
	}
	merkle_frontier_root(&status->frontier, &published);
	merkle_frontier_root(&tree->frontier, &loaded);
	if (memcmp(&published, &loaded, sizeof(loaded)) != 0)
		tree_broken(tree, "the root over " UINT64_FORMAT " entries is not the one in shared memory",
					size);
}

/* Takes up a log that may be continued: whose last edge is known, or that has yet to begin. */
static void
take_log(int number, LedgerTree *tree, LedgerLog *log, IdentityVerdict verdict, const Identity *own)
{
	if (log->retired)
		take_retired(tree);
	else if (log->has_parent && log->parent_size < 0)
	{
		if (verdict != IDENTITY_OWN)
			write_identity(log, own);
		take_up_fork(tree, log);
	}
	else
	{
		load_frontier(tree);
		if (tree->state == LEDGER_READY)
			check_shared_memory(number, tree);
		if (tree->state == LEDGER_READY && verdict != IDENTITY_OWN)
			continue_log(tree, log, verdict, own);
		else if (tree->state == LEDGER_READY && identity_row_is_stale(log, own))
			write_identity(log, own);
	}
}

/* Reads the identity and then the frontier. */
static void
load_newest(int number, LedgerTree *tree)
{
	LedgerLog *log = store_present_log(GetActiveSnapshot());
	IdentityVerdict verdict;
	Identity own;

	merkle_frontier_init(&tree->frontier);
	if (log == NULL)
	{
		tree_broken(tree, "this database's row of table biometric.log is missing");
		return;
	}
	if (!store_segment_size_is_valid(log->segment_size))
	{
		tree_broken(tree, "no log has segments of " INT64_FORMAT " entries", log->segment_size);
		return;
	}
	tree->segment_size = log->segment_size;
	memcpy(tree->log_id, log->log_id, LEDGER_LOG_ID_SIZE);
	loaded_retired = log->retired;
	loaded_fenced = log->fenced;
	identity_own(&own);
	verdict = identity_judge(log, is_empty(log), &own);
	switch (verdict)
	{
		case IDENTITY_OWN:
		case IDENTITY_PROMOTED:
		case IDENTITY_HANDED_OVER:
			take_log(number, tree, log, verdict, &own);
			break;
		case IDENTITY_EMPTY:
			take_new_identity(tree, log);
			break;
		default:
			tree->state = LEDGER_FOREIGN;
			identity_problem(log, verdict, &own, tree->problem);
	}
}

bool
tree_load(int number, LedgerTree *tree)
{
	Relation tile;

	memset(tree, 0, sizeof(*tree));
	tree->state = LEDGER_READY;
	tile = store_open("tile", AccessShareLock);
	if (tile == NULL)
		return false;
	tree->tile_relation = RelationGetRelid(tile);
	load_newest(number, tree);
	if (tree->state == LEDGER_READY)
		store_write_head(tree->log_id, &tree->frontier);
	table_close(tile, NoLock);
	return true;
}

bool
tree_is_current(const uint8 *log_id)
{
	LedgerLog *log = store_present_log(GetActiveSnapshot());

	return log != NULL && log->retired == loaded_retired && log->fenced == loaded_fenced &&
		   memcmp(log->log_id, log_id, LEDGER_LOG_ID_SIZE) == 0;
}

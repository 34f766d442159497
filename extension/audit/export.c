/*
 * export.c - export_ledger(): a log as files, in the layout of
 * c2sp.org/tlog-tiles.
 *
 * What is in the directory decides where an export goes on: from the size of
 * its checkpoint, or, when the last export did not get that far, behind the
 * bundles that are there without a gap. The tree is built from the
 * directory's own tiles, so that the root at the end is the root of what is in
 * the directory. The checkpoint is replaced last.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "audit/export.h"

#define CHECKPOINT_FILE "checkpoint"
#define VERIFIER_FILE "verifier"
#define TILE_DIRECTORY "tile"
#define MINIMUM_FILE "minimum-index"
#define MINIMUM_LIMIT 32
#define TILE_BYTES (TLOG_TILE_WIDTH * MERKLE_HASH_SIZE)

PGDLLEXPORT Datum audit_export_ledger(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_export_ledger);

typedef struct Export
{
	AuditLog log;
	AuditCheckpoint newest;
	ExportDirectory directory;
	bool has_old; /* the directory has a checkpoint: */
	Checkpoint old;
	int64 minimum; /* the first entry that the directory has */
	bool resuming; /* tiles of level 0 are read from the directory, not made */
	TlogFrontier frontier;
	MemoryContext bundle; /* reset for each */
} Export;

/* ---- Whether the directory will do */

pg_noreturn static void
refuse_directory(const Export *export, const char *what, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("directory \"%s\" %s", export->directory.path, what),
					errdetail("%s", detail), errhint("Export into an empty directory.")));
}

/* Compares the directory's checkpoint with the log. */
static void
check_old(Export *export)
{
	const Checkpoint *newest = &export->newest.head;
	const Checkpoint *old = &export->old;
	MerkleHash root;

	if (strcmp(old->origin, newest->origin) != 0)
		refuse_directory(
			export, "holds another log",
			psprintf("It is that of \"%s\", not of \"%s\".", old->origin, newest->origin));
	if (old->size > newest->size)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("directory \"%s\" is ahead of this database", export->directory.path),
				 errdetail("It has " UINT64_FORMAT
						   " entries, the newest checkpoint here has " UINT64_FORMAT ".",
						   (uint64) old->size, (uint64) newest->size),
				 errhint("A standby may have to catch up first. A primary has lost "
						 "entries: keep "
						 "the directory, it is evidence.")));
	if ((int64) old->size < export->log.first && old->size < newest->size)
		refuse_directory(export, "ends before the first entry that is still attached",
						 psprintf("It has " UINT64_FORMAT " entries; those before " INT64_FORMAT
								  " were detached.",
								  (uint64) old->size, export->log.first));
	root = newest->root;
	if ((old->size < newest->size && !store_root(&export->log.reader, old->size, &root)) ||
		memcmp(&root, &old->root, sizeof(root)) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the ledger is not a continuation of what is in directory \"%s\"",
							   export->directory.path),
						errdetail("The directory's checkpoint of " UINT64_FORMAT
								  " entries has another root than the ledger has at that size.",
								  (uint64) old->size),
						errhint("Keep the directory, it is evidence. "
								"biometric.verify_ledger() says "
								"whether this ledger is in order.")));
}

/* Whose a directory is that has no checkpoint yet: the key file is written
 * first. */
static void
check_verifier(const Export *export)
{
	size_t length;
	char *text = export_read(&export->directory, VERIFIER_FILE, NOTE_MAX_SIZE, &length);
	char *end = text == NULL ? NULL : strchr(text, '\n');
	NoteKey key;

	if (text == NULL)
	{
		if (!export_is_empty(&export->directory))
			refuse_directory(export, "is not empty", "It holds no export of a ledger.");
		return;
	}
	if (end == NULL || note_key_parse(text, end - text, &key) != CORE_OK ||
		strcmp(key.name, export->newest.head.origin) != 0)
		refuse_directory(export, "holds another log", "Its verifier key is another's.");
}

/* Reads where the directory's entries begin; 0 when it does not say. */
static int64
read_minimum(const Export *export)
{
	size_t length;
	char *text = export_read(&export->directory, MINIMUM_FILE, MINIMUM_LIMIT, &length);
	char *end;
	int64 minimum;

	if (text == NULL)
		return 0;
	errno = 0;
	minimum = strtoi64(text, &end, 10);
	if (errno != 0 || end == text || strcmp(end, "\n") != 0 || minimum < 0 ||
		minimum % TLOG_TILE_WIDTH != 0 || minimum > (int64) export->newest.head.size)
		refuse_directory(export, "holds no export of a ledger",
						 "Its file \"" MINIMUM_FILE "\" is malformed.");
	return minimum;
}

static void
check_directory(Export *export)
{
	size_t length;
	char *text = export_read(&export->directory, CHECKPOINT_FILE, NOTE_MAX_SIZE, &length);
	Note note;

	if (text == NULL)
	{
		check_verifier(export);
		return;
	}
	if (note_parse(text, length, &note) != CORE_OK ||
		checkpoint_parse(note.text, note.text_length, &export->old) != CORE_OK)
		refuse_directory(export, "holds no export of a ledger",
						 "Its file \"" CHECKPOINT_FILE "\" is malformed.");
	export->has_old = true;
	check_old(export);
}

/* ---- Where it goes on */

/* The hash over the perfect subtree of a height above the leaves, from stored
 * tiles. */
static void
read_node(Export *export, int height, uint64 index, MerkleHash *out)
{
	MerkleHash tile[MERKLE_TILE_WIDTH];
	int level = height / MERKLE_TILE_HEIGHT;

	CHECK_FOR_INTERRUPTS();
	if (height % MERKLE_TILE_HEIGHT != 0)
	{
		MerkleHash right;

		read_node(export, height - 1, 2 * index, out);
		read_node(export, height - 1, 2 * index + 1, &right);
		merkle_node(out, &right, out);
	}
	else if (store_tile(&export->log.reader, level, index / MERKLE_TILE_WIDTH, tile))
		*out = tile[index % MERKLE_TILE_WIDTH];
	else if (store_tile(&export->log.reader, level - 1, index, tile))
		merkle_perfect(tile, MERKLE_TILE_WIDTH, out);
	else
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("tile " UINT64_FORMAT " of level %d of the ledger is missing", index,
							   level - 1),
						errhint("biometric.verify_ledger() says what else is.")));
}

/* The edge of the tree of the first entries, a multiple of a segment, that are
 * detached. */
static void
frontier_of_log(Export *export, int64 size)
{
	export->frontier.size = (uint64) size;
	for (int level = 1; level < TLOG_MAX_LEVELS; level++)
	{
		int count = tlog_partial_count((uint64) size, level);
		uint64 first = ((uint64) size >> (level * TLOG_TILE_HEIGHT)) - count;

		for (int i = 0; i < count; i++)
			read_node(export, level * TLOG_TILE_HEIGHT, first + i,
					  &export->frontier.partial[level][i]);
	}
}

/* The edge of the tree of the directory's full bundles, from its own tiles. */
static void
frontier_of_directory(Export *export)
{
	uint64 size = export->old.size / TLOG_TILE_WIDTH * TLOG_TILE_WIDTH;

	export->frontier.size = size;
	for (int level = 1; level < TLOG_MAX_LEVELS; level++)
	{
		int count = tlog_partial_count(size, level);
		uint64 index = size >> ((level + 1) * TLOG_TILE_HEIGHT);
		char path[TLOG_PATH_MAX];
		size_t length = 0;
		char *tile;

		if (count == 0)
			continue;
		tlog_path(level, index, count, path);
		tile = export_read(&export->directory, path, TILE_BYTES, &length);
		if (tile == NULL)
		{
			tlog_path(level, index, TLOG_TILE_WIDTH, path);
			tile = export_read(&export->directory, path, TILE_BYTES, &length);
		}
		if (tile == NULL || length < (size_t) count * MERKLE_HASH_SIZE)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("file \"%s/%s\" is missing or too short", export->directory.path, path),
					 errdetail("The directory's checkpoint says that it is there."),
					 errhint("Remove the file \"" CHECKPOINT_FILE "\" from the directory, "
							 "and what is missing is written again.")));
		memcpy(export->frontier.partial[level], tile, (size_t) count * MERKLE_HASH_SIZE);
	}
}

/* Writes a tile that got full, unless it is there; then it must be the same. */
static bool
write_tile(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	Export *export = context;
	char path[TLOG_PATH_MAX];
	size_t length;
	char *present;

	if (level == 0 && export->resuming)
		return true;
	tlog_path(level, index, TLOG_TILE_WIDTH, path);
	if (!export_has(&export->directory, path))
	{
		export_put(&export->directory, path, hashes, TILE_BYTES);
		return true;
	}
	present = export_read(&export->directory, path, TILE_BYTES, &length);
	if (length != TILE_BYTES || memcmp(present, hashes, TILE_BYTES) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("file \"%s/%s\" is not the tile that the ledger has there",
							   export->directory.path, path),
						errhint("Keep the directory if others may have changed it, and "
								"export into "
								"an empty one.")));
	pfree(present);
	return true;
}

static void
add_leaf(Export *export, const MerkleHash *leaf)
{
	if (!tlog_frontier_add(&export->frontier, leaf, write_tile, export))
		elog(ERROR, "a tile could not be written");
}

/* Passes over one bundle that is there already, by its tile; false when it is
 * not. */
static bool
take_present(Export *export)
{
	uint64 index = export->frontier.size / TLOG_TILE_WIDTH;
	char path[TLOG_PATH_MAX];
	MerkleHash leaf;
	size_t length;
	char *tile;

	tlog_path(TLOG_ENTRIES, index, TLOG_TILE_WIDTH, path);
	if (!export_has(&export->directory, path))
		return false;
	tlog_path(0, index, TLOG_TILE_WIDTH, path);
	tile = export_read(&export->directory, path, TILE_BYTES, &length);
	if (tile == NULL || length != TILE_BYTES)
		return false;
	for (int i = 0; i < TLOG_TILE_WIDTH; i++)
	{
		memcpy(&leaf, tile + (size_t) i * MERKLE_HASH_SIZE, sizeof(leaf));
		add_leaf(export, &leaf);
	}
	pfree(tile);
	return true;
}

/* Takes up what is there, from the directory's checkpoint on, or from its
 * beginning. */
static void
take_up(Export *export)
{
	uint64 size = export->newest.head.size;

	if (export->has_old && (int64) export->old.size >= export->minimum + TLOG_TILE_WIDTH)
		frontier_of_directory(export);
	else
		frontier_of_log(export, export->minimum);
	export->resuming = true;
	while (export->frontier.size + TLOG_TILE_WIDTH <= size && take_present(export))
		CHECK_FOR_INTERRUPTS();
	export->resuming = false;
	if ((int64) export->frontier.size < export->log.first)
		refuse_directory(export, "ends before the first entry that is still attached",
						 psprintf("It has bundles up to entry " UINT64_FORMAT
								  "; those before " INT64_FORMAT " were detached.",
								  (uint64) export->frontier.size, export->log.first));
}

/* ---- What is written */

/* Writes the bundle of the next count entries, and adds them to the tree. */
static void
write_bundle(Export *export, int count)
{
	MemoryContext old = MemoryContextSwitchTo(export->bundle);
	uint64 first = export->frontier.size;
	bytea *entries[TLOG_TILE_WIDTH];
	char path[TLOG_PATH_MAX];
	size_t capacity = 0;
	size_t length = 0;
	uint8_t *bundle;

	audit_read_entries(&export->log, (int64) first, count, entries);
	for (int i = 0; i < count; i++)
		capacity += 2 + VARSIZE(entries[i]) - VARHDRSZ;
	bundle = palloc(capacity);
	for (int i = 0; i < count; i++)
		if (tlog_bundle_add(bundle, capacity, &length, VARDATA(entries[i]),
							VARSIZE(entries[i]) - VARHDRSZ) != CORE_OK)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("entry " UINT64_FORMAT " of the ledger is too long",
								   (uint64) first + i),
							errhint("biometric.verify_ledger() says what else is wrong.")));
	tlog_path(TLOG_ENTRIES, first / TLOG_TILE_WIDTH, count, path);
	export_put(&export->directory, path, bundle, length);
	for (int i = 0; i < count; i++)
	{
		MerkleHash leaf;

		merkle_leaf(VARDATA(entries[i]), VARSIZE(entries[i]) - VARHDRSZ, &leaf);
		add_leaf(export, &leaf);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(export->bundle);
}

/* Writes the tiles that are not full. */
static void
write_partial_tiles(Export *export)
{
	uint64 size = export->frontier.size;

	for (int level = 0; level < TLOG_MAX_LEVELS; level++)
	{
		int count = tlog_partial_count(size, level);
		char path[TLOG_PATH_MAX];

		if (count == 0)
			continue;
		tlog_path(level, size >> ((level + 1) * TLOG_TILE_HEIGHT), count, path);
		export_put(&export->directory, path, export->frontier.partial[level],
				   (size_t) count * MERKLE_HASH_SIZE);
	}
}

/* Removes what only the tree of the last checkpoint needed. */
static void
remove_old_partial(const Export *export)
{
	uint64 old = export->old.size;
	uint64 size = export->newest.head.size;

	for (int level = TLOG_ENTRIES; export->has_old && level < TLOG_MAX_LEVELS; level++)
	{
		int height = Max(level, 0) * TLOG_TILE_HEIGHT;
		int count = tlog_partial_count(old, Max(level, 0));
		char path[TLOG_PATH_MAX];

		if (count == 0 || old >> height == size >> height)
			continue;
		tlog_path(level, old >> (height + TLOG_TILE_HEIGHT), count, path);
		export_remove(&export->directory, path);
	}
}

/* Writes a text, unless the file has it already. */
static void
write_text(Export *export, const char *name, const char *text, size_t length)
{
	size_t present_length;
	char *present = export_read(&export->directory, name, NOTE_MAX_SIZE, &present_length);

	if (present == NULL || present_length != length || memcmp(present, text, length) != 0)
		export_put(&export->directory, name, text, length);
}

/* Says, before anything else is there, whose export this is, and where it
 * begins. */
static void
write_beginning(Export *export)
{
	char *keys = audit_verifiers(&export->log);

	write_text(export, VERIFIER_FILE, keys, strlen(keys));
	export_flush(&export->directory);
	if (export->has_old || export_has(&export->directory, TILE_DIRECTORY))
	{
		export->minimum = read_minimum(export);
		return;
	}
	export->minimum = export->log.first;
	if (export->minimum > 0)
	{
		char *text = psprintf(INT64_FORMAT "\n", export->minimum);

		write_text(export, MINIMUM_FILE, text, strlen(text));
		export_flush(&export->directory);
	}
}

static void
write_entries(Export *export)
{
	uint64 size = export->newest.head.size;
	MerkleHash root;

	take_up(export);
	while (export->frontier.size + TLOG_TILE_WIDTH <= size)
		write_bundle(export, TLOG_TILE_WIDTH);
	if (export->frontier.size < size)
		write_bundle(export, (int) (size - export->frontier.size));
	write_partial_tiles(export);
	export_flush(&export->directory);
	tlog_frontier_root(&export->frontier, &root);
	if (memcmp(&root, &export->newest.head.root, sizeof(root)) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("what was exported has not the root that was signed"),
						errdetail("The checkpoint of " UINT64_FORMAT " entries was not written.",
								  (uint64) size),
						errhint("Export into an empty directory. If that fails too, "
								"biometric.verify_ledger() says what is wrong with the ledger.")));
}

/* Reads the log as it is now: the checkpoint may be newer than the statement's
 * snapshot. */
static void
export_log(Export *export, const char *path, const pg_uuid_t *log_id)
{
	audit_log_open(&export->log, log_id);
	audit_newest_checkpoint(&export->log, &export->newest);
	audit_log_close(&export->log);
	PushActiveSnapshot(GetLatestSnapshot());
	audit_log_open(&export->log, log_id);
	if ((int64) export->newest.head.size > export->log.size)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the newest checkpoint covers more entries than the ledger has"),
						errdetail("It covers " UINT64_FORMAT ", there are " INT64_FORMAT ".",
								  (uint64) export->newest.head.size, export->log.size),
						errhint("biometric.verify_ledger() says what is missing.")));
	export_open(path, &export->directory);
	check_directory(export);
	write_beginning(export);
	if (!export->has_old || export->old.size < export->newest.head.size)
		write_entries(export);
	write_text(export, CHECKPOINT_FILE, export->newest.note, export->newest.length);
	export_flush(&export->directory);
	remove_old_partial(export);
	export_close(&export->directory);
	audit_log_close(&export->log);
	PopActiveSnapshot();
}

static void
require_file_access(void)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_WRITE_SERVER_FILES))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied to export the ledger to a file of the server"),
						errdetail("Only roles with privileges of \"pg_write_server_files\" may."),
						errhint("Use the program biometric-verify fetch, which writes on the "
								"client's "
								"side.")));
}

Datum
audit_export_ledger(PG_FUNCTION_ARGS)
{
	Export *export = palloc0(sizeof(Export));
	Datum values[3];
	bool nulls[3] = {false, false, false};
	TupleDesc desc;

	require_file_access();
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an export needs a directory"),
				 errhint("Name one by its absolute path.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	export->bundle =
		AllocSetContextCreate(CurrentMemoryContext, "ledger export", ALLOCSET_DEFAULT_SIZES);
	export_log(export, text_to_cstring(PG_GETARG_TEXT_PP(0)),
			   PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1));
	values[0] = Int64GetDatum((int64) export->newest.head.size);
	values[1] = PointerGetDatum(store_hashes(&export->newest.head.root, 1));
	values[2] = Int64GetDatum(export->directory.written);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * verify.c - a whole archive.
 */
#define _GNU_SOURCE

#include "tool/commands.h"
#include "tool/keys.h"
#include "tool/walk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The archive's checkpoint and those that were kept outside. */
typedef struct Heads
{
	int count;
	Head heads[OPTIONS_LIST_MAX + 1];
	const Head *archive; /* the one whose size the archive has */
} Heads;

/* Two checkpoints that cannot both be of one log's one history. */
static ToolExit
compare_heads(const Head *a, const Head *b)
{
	if (strcmp(a->checkpoint.origin, b->checkpoint.origin) != 0)
		return report_problem(TOOL_FAILED, "checkpoint %s is of log \"%s\", and %s of log \"%s\"",
							  a->source, a->checkpoint.origin, b->source, b->checkpoint.origin);
	if (a->checkpoint.size == b->checkpoint.size &&
		memcmp(&a->checkpoint.root, &b->checkpoint.root, sizeof(MerkleHash)) != 0)
		return report_problem(TOOL_FAILED,
							  "checkpoints %s and %s are of the same size and have different "
							  "roots: the log has two histories. Keep both files",
							  a->source, b->source);
	return TOOL_VERIFIED;
}

/* Reads all checkpoints; the archive's own may be missing when there is another. */
static ToolExit
read_heads(const Options *options, Archive *archive, const Keys *keys, Heads *heads)
{
	ToolExit code = TOOL_VERIFIED;

	if (options->checkpoints.count == 0 || file_exists(archive->fd, "checkpoint", 0))
	{
		heads->archive = &heads->heads[0];
		code = keys_read_head(keys, archive->fd, "checkpoint", &heads->heads[heads->count++]);
	}
	for (int i = 0; i < options->checkpoints.count && code == TOOL_VERIFIED; i++)
		code = keys_read_head(keys, AT_FDCWD, options->checkpoints.texts[i],
							  &heads->heads[heads->count++]);
	for (int i = 1; i < heads->count && code == TOOL_VERIFIED; i++)
		code = compare_heads(&heads->heads[0], &heads->heads[i]);
	for (int i = 0; heads->archive == NULL && i < heads->count; i++)
	{
		if (heads->archive == NULL ||
			heads->heads[i].checkpoint.size > heads->archive->checkpoint.size)
			heads->archive = &heads->heads[i];
	}
	if (code != TOOL_VERIFIED)
		return code;
	for (int i = 0; i < heads->count; i++)
	{
		if (heads->heads[i].checkpoint.size > heads->archive->checkpoint.size)
			return report_problem(TOOL_FAILED,
								  "the archive ends at %" PRIu64
								  " entries; checkpoint %s is of %" PRIu64,
								  heads->archive->checkpoint.size, heads->heads[i].source,
								  heads->heads[i].checkpoint.size);
	}
	return keys_enough_witnesses(keys, heads->archive);
}

/*
 * Where to begin: at the first entry, unless the user says otherwise. That the
 * archive says that it begins later excuses nothing: anybody can write that.
 */
static ToolExit
choose_start(const Options *options, Archive *archive, uint64_t size, Walk *walk)
{
	uint64_t from = options->has_from ? options->from : options->pruned ? archive->minimum : 0;

	if (from > size)
		return report_problem(TOOL_INPUT,
							  "the archive has %" PRIu64 " entries, and is to be verified from "
							  "entry %" PRIu64 " on",
							  size, from);
	if (from < archive->minimum && !archive_has_bundle(archive, size, from))
		return report_problem(TOOL_FAILED,
							  "entry %" PRIu64 " is missing: the archive says that it begins at "
							  "entry %" PRIu64 ". If you know that those before are kept "
							  "elsewhere, --pruned, or --from %" PRIu64 ", verifies what is here",
							  from, archive->minimum, archive->minimum);
	walk->from = from / TLOG_TILE_WIDTH * TLOG_TILE_WIDTH;
	return TOOL_VERIFIED;
}

/* Puts what is before the first entry to read into the peaks. */
static ToolExit
take_prefix(Archive *archive, Walk *walk)
{
	if (walk->from == 0)
		return TOOL_VERIFIED;
	return tree_prefix(archive, walk->from, walk->size, &walk->peaks, NULL);
}

/* Compares the root at one checkpoint with what the entries, or tiles, give. */
static ToolExit
check_head(Walk *walk, const Head *head, const WalkMark *mark)
{
	MerkleHash root = mark->root;
	Peaks peaks;

	if (!mark->reached)
	{
		ToolExit code = tree_prefix(walk->archive, head->checkpoint.size, walk->size, &peaks, NULL);

		if (code != TOOL_VERIFIED)
			return code;
		peaks_root(&peaks, &root);
	}
	if (memcmp(&root, &head->checkpoint.root, sizeof(root)) == 0)
		return TOOL_VERIFIED;
	return report_problem(TOOL_FAILED,
						  "the first %" PRIu64 " entries have another root than checkpoint %s says",
						  head->checkpoint.size, head->source);
}

/* Adds what was read to the report. */
static void
report_walk(const Walk *walk)
{
	report_number("size", walk->size);
	report_hash("root", walk->root);
	report_number("from", walk->from);
	report_number("entries", walk->size - walk->from);
	report_number("bytes", walk->bytes);
	if (walk->size > walk->from)
	{
		report_time("first_at", walk->first_at);
		report_time("last_at", walk->last_at);
	}
	report_flag("complete", walk->from == 0);
	if (walk->from == 0)
		return;
	report_limit("from entry %" PRIu64 " on", walk->from);
	report_warning("entries before %" PRIu64 " were not read: their hashes are part of the root",
				   walk->from);
}

/* Reads the archive and compares it with all checkpoints. */
static ToolExit
verify_entries(const Options *options, Archive *archive, const Heads *heads, Walk *walk)
{
	WalkMark marks[OPTIONS_LIST_MAX + 1] = {0};
	ToolExit code;

	walk->archive = archive;
	walk->size = walk->to = heads->archive->checkpoint.size;
	walk->root = &heads->archive->checkpoint.root;
	walk->marks = marks;
	walk->mark_count = heads->count;
	for (int i = 0; i < heads->count; i++)
		marks[i].size = heads->heads[i].checkpoint.size;
	code = choose_start(options, archive, walk->size, walk);
	if (code == TOOL_VERIFIED)
		code = take_prefix(archive, walk);
	if (code != TOOL_VERIFIED)
		return code;
	code = walk_prepare(walk);
	if (code == TOOL_VERIFIED)
		code = walk_run(walk);
	for (int i = 0; i < heads->count && code == TOOL_VERIFIED; i++)
		code = check_head(walk, &heads->heads[i], &marks[i]);
	if (code == TOOL_VERIFIED)
		report_walk(walk);
	return code;
}

ToolExit
command_verify(const Options *options)
{
	static Heads heads;
	static Keys keys;
	static Walk walk;
	Archive archive;
	ToolExit code = archive_open(&archive, options->arguments[0]);

	if (code != TOOL_VERIFIED)
		return code;
	report_text("archive", archive.path);
	code = keys_load(options, &archive, NULL, &keys);
	if (code == TOOL_VERIFIED)
		code = read_heads(options, &archive, &keys, &heads);
	if (code == TOOL_VERIFIED)
	{
		report_text("origin", heads.archive->checkpoint.origin);
		code = verify_entries(options, &archive, &heads, &walk);
	}
	walk_free(&walk);
	archive_close(&archive);
	return code;
}

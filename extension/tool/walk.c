/*
 * walk.c - entries, hashed again.
 */
#include "tool/walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ToolExit
walk_prepare(Walk *walk)
{
	for (int level = 1; level < TLOG_MAX_LEVELS; level++)
	{
		uint64_t index = archive_edge_index(walk->from, level);
		int width = archive_width(walk->size, level, index);
		FileResult result;

		if (tlog_partial_count(walk->from, level) == 0)
			continue;
		result = archive_read_tile(walk->archive, level, index, width, walk->levels[level]);
		if (result != FILE_OK)
			return archive_file_problem(level, index, width, result);
	}
	return TOOL_VERIFIED;
}

/*
 * Tells whether what was computed for a tile leads to the root that was signed:
 * through the tiles above a full one, or, at the edge, by all that was read.
 */
static bool
computed_is_right(Walk *walk, int level, uint64_t index, int width, const MerkleHash *computed)
{
	Peaks peaks = walk->peaks;
	MerkleHash root;

	if (width == TLOG_TILE_WIDTH)
	{
		tree_tile_root(computed, &root);
		return tree_holds(walk->archive, walk->size, level + 1, index, &root, walk->root);
	}
	for (int i = 0; level == 0 && i < width; i++)
		peaks_add(&peaks, 0, &computed[i]);
	peaks_root(&peaks, &root);
	return peaks.size == walk->size && memcmp(&root, walk->root, sizeof(root)) == 0;
}

/*
 * Says that a hash of a tile is not what the entries below it give. Whoever of
 * the two agrees with the checkpoint is right. computed: all hashes of the
 * tile; NULL: they are not known.
 */
static ToolExit
report_mismatch(Walk *walk, int level, uint64_t index, int position, const MerkleHash *computed)
{
	uint64_t each = UINT64_C(1) << level * TLOG_TILE_HEIGHT;
	uint64_t first = (index * TLOG_TILE_WIDTH + (uint64_t) position) * each;
	int width = archive_width(walk->size, level, index);
	char path[TLOG_PATH_MAX];
	char what[2 * TLOG_PATH_MAX];
	MerkleHash stored = walk->tile[position];

	tlog_path(level, index, width, path);
	if (level == 0)
		snprintf(what, sizeof(what), "entry %" PRIu64, first);
	else
		snprintf(what, sizeof(what), "entries %" PRIu64 " to %" PRIu64 " and their tiles", first,
				 first + each - 1);
	if (tree_holds(walk->archive, walk->size, level, first / each, &stored, walk->root))
		return report_problem(TOOL_FAILED,
							  "%s: not what was logged; %s, which the checkpoint confirms, has "
							  "another hash",
							  what, path);
	if (computed != NULL && computed_is_right(walk, level, index, width, computed))
		return report_problem(TOOL_FAILED,
							  "%s: hash %d is not that of the entries, which the checkpoint "
							  "confirms",
							  path, position);
	return report_problem(TOOL_FAILED, "%s: %s has another hash, and neither leads to the root",
						  what, path);
}

/* Compares the first count hashes of a tile with those that were computed. */
static ToolExit
compare_tile(Walk *walk, int level, uint64_t index, int count)
{
	const MerkleHash *hashes = walk->levels[level];
	int width = archive_width(walk->size, level, index);
	FileResult result = archive_read_tile(walk->archive, level, index, width, walk->tile);

	if (result != FILE_OK)
		return archive_file_problem(level, index, width, result);
	for (int i = 0; i < count; i++)
	{
		if (memcmp(&hashes[i], &walk->tile[i], sizeof(MerkleHash)) != 0)
			return report_mismatch(walk, level, index, i, count == width ? hashes : NULL);
	}
	return TOOL_VERIFIED;
}

/* Puts the hash over a full tile into the level above, and compares what gets full by it. */
static ToolExit
add_to_level(Walk *walk, int level, uint64_t index, const MerkleHash *hash)
{
	MerkleHash carried = *hash;

	for (; level < TLOG_MAX_LEVELS; level++)
	{
		int position = (int) (index & (TLOG_TILE_WIDTH - 1));
		ToolExit code;

		walk->levels[level][position] = carried;
		if (position < TLOG_TILE_WIDTH - 1)
			return TOOL_VERIFIED;
		index >>= TLOG_TILE_HEIGHT;
		code = compare_tile(walk, level, index, TLOG_TILE_WIDTH);
		if (code != TOOL_VERIFIED)
			return code;
		tree_tile_root(walk->levels[level], &carried);
	}
	return TOOL_VERIFIED;
}

/* Sets the marks that lie in the bundle that begins at the peaks. */
static void
set_marks(Walk *walk, const MerkleHash *leaves, int width)
{
	uint64_t base = walk->peaks.size;

	for (int i = 0; i < walk->mark_count; i++)
	{
		WalkMark *mark = &walk->marks[i];
		Peaks peaks;

		if (mark->size < base || mark->size > base + (uint64_t) width || mark->reached)
			continue;
		peaks = walk->peaks;
		for (uint64_t leaf = 0; leaf < mark->size - base; leaf++)
			peaks_add(&peaks, 0, &leaves[leaf]);
		peaks_root(&peaks, &mark->root);
		mark->reached = true;
	}
}

/* Notes what there is to say of an entry, and hands it on. */
static ToolExit
take_entry(Walk *walk, uint64_t sequence, const uint8_t *entry, size_t length)
{
	EntryFields fields;
	CoreStatus status = entry_decode(entry, length, &fields);

	if (status != CORE_OK)
		return report_problem(TOOL_FAILED, "entry %" PRIu64 " was logged, and is no entry: %s",
							  sequence, core_status_text(status));
	if (sequence == walk->from)
		walk->first_at = fields.at;
	walk->last_at = fields.at;
	walk->bytes += length;
	if (walk->sink == NULL)
		return TOOL_VERIFIED;
	return walk->sink(walk->context, sequence, &fields, entry, length);
}

/* Hashes the entries of a bundle, and compares them with their tile. */
static ToolExit
hash_bundle(Walk *walk, uint64_t index, int width, int found)
{
	MerkleHash *leaves = walk->levels[0];
	int wrong = -1;
	size_t at = 0;
	ToolExit code;

	for (int i = 0; i < width; i++)
	{
		uint64_t sequence = index * TLOG_TILE_WIDTH + (uint64_t) i;
		const uint8_t *entry;
		size_t length;
		CoreStatus status =
			tlog_bundle_next(walk->bundle.bytes, walk->bundle.length, &at, &entry, &length);

		if ((status != CORE_OK || entry == NULL) && wrong >= 0)
			return report_mismatch(walk, 0, index, wrong, NULL);
		if (status != CORE_OK || entry == NULL)
			return report_problem(TOOL_FAILED, "entry %" PRIu64 ": its bundle ends before it does",
								  sequence);
		merkle_leaf(entry, length, &leaves[i]);
		if (wrong < 0 && memcmp(&leaves[i], &walk->tile[i], sizeof(MerkleHash)) != 0)
			wrong = i;
		code = wrong < 0 ? take_entry(walk, sequence, entry, length) : TOOL_VERIFIED;
		if (code != TOOL_VERIFIED)
			return code;
	}
	if (wrong >= 0)
		return report_mismatch(walk, 0, index, wrong, leaves);
	if (found == width && at != walk->bundle.length)
		return report_problem(TOOL_FAILED,
							  "there is more than %d entries in the bundle that begins with entry "
							  "%" PRIu64,
							  width, index * TLOG_TILE_WIDTH);
	return TOOL_VERIFIED;
}

/* Reads one bundle, and what the tree says of it. */
static ToolExit
walk_bundle(Walk *walk, uint64_t index)
{
	int width = archive_width(walk->size, 0, index);
	int found;
	MerkleHash root;
	ToolExit code;
	FileResult result = archive_read_bundle(walk->archive, index, width, &walk->bundle, &found);

	if (result != FILE_OK)
		return archive_file_problem(TLOG_ENTRIES, index, width, result);
	result = archive_read_tile(walk->archive, 0, index, width, walk->tile);
	if (result != FILE_OK)
		return archive_file_problem(0, index, width, result);
	code = hash_bundle(walk, index, width, found);
	if (code != TOOL_VERIFIED)
		return code;
	set_marks(walk, walk->levels[0], width);
	if (width < TLOG_TILE_WIDTH)
	{
		for (int i = 0; i < width; i++)
			peaks_add(&walk->peaks, 0, &walk->levels[0][i]);
		return TOOL_VERIFIED;
	}
	tree_tile_root(walk->levels[0], &root);
	peaks_add(&walk->peaks, TLOG_TILE_HEIGHT, &root);
	return add_to_level(walk, 1, index, &root);
}

ToolExit
walk_run(Walk *walk)
{
	uint64_t bundles = (walk->to + TLOG_TILE_WIDTH - 1) / TLOG_TILE_WIDTH;
	ToolExit code = TOOL_VERIFIED;

	set_marks(walk, NULL, 0);
	for (uint64_t index = walk->from / TLOG_TILE_WIDTH; index < bundles; index++)
	{
		code = walk_bundle(walk, index);
		if (code != TOOL_VERIFIED)
			return code;
		if (index % 64 == 0)
			report_progress(index * TLOG_TILE_WIDTH - walk->from, walk->to - walk->from);
	}
	for (int level = 1; level < TLOG_MAX_LEVELS && code == TOOL_VERIFIED; level++)
	{
		int count = tlog_partial_count(walk->to, level);

		if (count > 0)
			code = compare_tile(walk, level, archive_edge_index(walk->to, level), count);
	}
	return code;
}

void
walk_free(Walk *walk)
{
	free(walk->bundle.bytes);
	walk->bundle = (Buffer){0};
}

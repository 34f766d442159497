/*
 * segment.c - the entries of one segment, whose root shows that somebody has them.
 */
#include "tool/commands.h"
#include "tool/keys.h"
#include "tool/walk.h"

#include <inttypes.h>
#include <string.h>

/* Checks that the segment is full and in the archive. */
static ToolExit
choose_segment(const Options *options, Archive *archive, const Head *head, Walk *walk)
{
	const char *text = options->arguments[1];
	uint64_t segment;

	if (!options_number(text, strlen(text), &segment))
		return report_problem(TOOL_USAGE, "\"%s\" is not the number of a segment", text);
	if (segment >= head->checkpoint.size / options->segment_size)
		return report_problem(TOOL_INPUT,
							  "segment %" PRIu64 " is not full: the archive has %" PRIu64
							  " full segments of %" PRIu64 " entries",
							  segment, head->checkpoint.size / options->segment_size,
							  options->segment_size);
	walk->from = segment * options->segment_size;
	walk->to = walk->from + options->segment_size;
	if (walk->from < archive->minimum && !archive_has_bundle(archive, walk->size, walk->from))
		return report_problem(TOOL_INPUT, "the archive begins at entry %" PRIu64, archive->minimum);
	report_number("segment", segment);
	report_number("first", walk->from);
	report_number("last", walk->to - 1);
	return TOOL_VERIFIED;
}

/*
 * Whether the tiles that lead to the signed root have this hash for the
 * segment. Each step of the walk compares; this is what it comes to.
 */
static bool
is_in_tree(Archive *archive, const Walk *walk, const MerkleHash *root)
{
	int height = 63 - __builtin_clzll(walk->to - walk->from);
	int level = height / TLOG_TILE_HEIGHT;
	uint64_t first = walk->from >> level * TLOG_TILE_HEIGHT;
	uint64_t index = first / TLOG_TILE_WIDTH;
	int position = (int) (first % TLOG_TILE_WIDTH);
	MerkleHash tile[TLOG_TILE_WIDTH];
	Peaks peaks = {0};
	MerkleHash found;

	if (archive_read_tile(archive, level, index, archive_width(walk->size, level, index), tile) !=
		FILE_OK)
		return false;
	for (int i = 0; i < 1 << height % TLOG_TILE_HEIGHT; i++)
		peaks_add(&peaks, level * TLOG_TILE_HEIGHT, &tile[position + i]);
	peaks_root(&peaks, &found);
	return memcmp(&found, root, sizeof(found)) == 0 &&
		   tree_holds(archive, walk->size, level, first, &tile[position], walk->root);
}

/* Reads the segment, and checks that it is part of the tree that was signed. */
static ToolExit
verify_segment(Archive *archive, const Head *head, Walk *walk)
{
	MerkleHash root;
	Peaks peaks;
	ToolExit code = tree_prefix(archive, walk->to, walk->size, &peaks, &root);

	if (code != TOOL_VERIFIED)
		return code;
	if (memcmp(&root, &head->checkpoint.root, sizeof(root)) != 0)
		return report_problem(TOOL_FAILED,
							  "the tiles have another root than the archive's checkpoint says");
	code = walk_prepare(walk);
	if (code == TOOL_VERIFIED)
		code = walk_run(walk);
	if (code != TOOL_VERIFIED)
		return code;
	peaks_root(&walk->peaks, &root);
	if (!is_in_tree(archive, walk, &root))
		return report_problem(TOOL_FAILED, "the tiles that lead to the checkpoint's root do not "
										   "have the segment's hash");
	report_hash("root", &root);
	return TOOL_VERIFIED;
}

ToolExit
command_segment(const Options *options)
{
	static Keys keys;
	static Walk walk;
	Archive archive;
	Head head;
	ToolExit code = archive_open(&archive, options->arguments[0]);

	if (code != TOOL_VERIFIED)
		return code;
	report_text("archive", archive.path);
	code = keys_load(options, &archive, NULL, &keys);
	if (code == TOOL_VERIFIED)
		code = keys_read_head(&keys, archive.fd, "checkpoint", &head);
	if (code == TOOL_VERIFIED)
	{
		walk.archive = &archive;
		walk.size = head.checkpoint.size;
		walk.root = &head.checkpoint.root;
		code = choose_segment(options, &archive, &head, &walk);
	}
	if (code == TOOL_VERIFIED)
		code = verify_segment(&archive, &head, &walk);
	walk_free(&walk);
	archive_close(&archive);
	return code;
}

/*
 * writer.c - puts an archive's files in place.
 */
#define _GNU_SOURCE

#include "tool/writer.h"

#include "tool/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ToolExit
write_problem(Writer *writer, const char *path)
{
	writer->failed = true;
	return report_problem(TOOL_INPUT, "%s/%s cannot be written: %s", writer->archive->path, path,
						  strerror(errno));
}

/* Fetches the hashes of a level that are in no full tile. */
static ToolExit
load_level(Writer *writer, int level, uint64_t size)
{
	uint64_t index = archive_edge_index(size, level);
	int width = archive_width(size, level, index);
	FileResult result;

	if (width == 0)
		return TOOL_VERIFIED;
	result =
		archive_read_tile(writer->archive, level, index, width, writer->frontier.partial[level]);
	return result == FILE_OK ? TOOL_VERIFIED : archive_file_problem(level, index, width, result);
}

ToolExit
writer_start(Writer *writer, Archive *archive, uint64_t size)
{
	ToolExit code = TOOL_VERIFIED;

	writer->archive = archive;
	writer->bundle_length = 0;
	writer->failed = false;
	if (writer->bundle == NULL)
		writer->bundle = malloc(TLOG_BUNDLE_MAX);
	if (writer->bundle == NULL)
		return report_problem(TOOL_INPUT, "out of memory");
	memset(&writer->frontier, 0, sizeof(writer->frontier));
	for (int level = 1; level < TLOG_MAX_LEVELS && code == TOOL_VERIFIED; level++)
		code = load_level(writer, level, size);
	writer->frontier.size = size / TLOG_TILE_WIDTH * TLOG_TILE_WIDTH;
	return code;
}

/* Puts a tile in place, unless it is there. */
static bool
put_tile(Writer *writer, int level, uint64_t index, int width, const MerkleHash *hashes)
{
	size_t length = (size_t) width * MERKLE_HASH_SIZE;
	Buffer *present = &writer->archive->scratch;
	char path[TLOG_PATH_MAX];

	tlog_path(level, index, width, path);
	if (file_read(writer->archive->fd, path, length, present) == FILE_OK &&
		present->length == length && memcmp(present->bytes, hashes, length) == 0)
		return true;
	if (file_write(writer->archive->fd, path, hashes, length, false))
		return true;
	(void) write_problem(writer, path);
	return false;
}

static bool
put_full_tile(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	return put_tile(context, level, index, TLOG_TILE_WIDTH, hashes);
}

/* Puts the bundle in place, which has width entries. */
static ToolExit
put_bundle(Writer *writer, uint64_t index, int width)
{
	char path[TLOG_PATH_MAX];

	tlog_path(TLOG_ENTRIES, index, width, path);
	if (!file_write(writer->archive->fd, path, writer->bundle, writer->bundle_length, false))
		return write_problem(writer, path);
	return TOOL_VERIFIED;
}

ToolExit
writer_add(Writer *writer, const void *entry, size_t length)
{
	uint64_t index = writer->frontier.size / TLOG_TILE_WIDTH;
	MerkleHash leaf;
	ToolExit code = TOOL_VERIFIED;

	if (tlog_bundle_add(writer->bundle, TLOG_BUNDLE_MAX, &writer->bundle_length, entry, length) !=
		CORE_OK)
		return report_problem(TOOL_INPUT, "an entry is longer than an entry can be");
	merkle_leaf(entry, length, &leaf);
	if (!tlog_frontier_add(&writer->frontier, &leaf, put_full_tile, writer))
		return report_code();
	if (writer->frontier.size % TLOG_TILE_WIDTH == 0)
	{
		code = put_bundle(writer, index, TLOG_TILE_WIDTH);
		writer->bundle_length = 0;
	}
	return code;
}

ToolExit
writer_finish(Writer *writer)
{
	uint64_t size = writer->frontier.size;
	ToolExit code = TOOL_VERIFIED;

	for (int level = 0; level < TLOG_MAX_LEVELS; level++)
	{
		int count = tlog_partial_count(size, level);

		if (count > 0 && !put_tile(writer, level, archive_edge_index(size, level), count,
								   writer->frontier.partial[level]))
			return report_code();
	}
	if (tlog_partial_count(size, 0) > 0)
		code = put_bundle(writer, archive_edge_index(size, 0), tlog_partial_count(size, 0));
	if (code == TOOL_VERIFIED && syncfs(writer->archive->fd) != 0)
		code = write_problem(writer, ".");
	return code;
}

/*
 * Removes the partial files of a tile that is full by now. What cannot be removed
 * only takes space.
 */
static void
remove_partial(Writer *writer, int level, uint64_t index)
{
	char path[TLOG_PATH_MAX];

	tlog_path(level, index, 1, path);
	*strrchr(path, '/') = '\0';
	file_remove_directory(writer->archive->fd, path);
}

ToolExit
writer_publish(Writer *writer, const void *note, size_t length, uint64_t old_size)
{
	if (!file_write(writer->archive->fd, "checkpoint", note, length, true))
		return write_problem(writer, "checkpoint");
	for (int level = TLOG_ENTRIES; level < TLOG_MAX_LEVELS; level++)
	{
		int of = level == TLOG_ENTRIES ? 0 : level;
		uint64_t index = archive_edge_index(old_size, of);

		if (index < archive_edge_index(writer->frontier.size, of))
			remove_partial(writer, level, index);
	}
	return TOOL_VERIFIED;
}

void
writer_free(Writer *writer)
{
	free(writer->bundle);
	writer->bundle = NULL;
}

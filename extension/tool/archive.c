/*
 * archive.c - the files of a ledger.
 */
#define _GNU_SOURCE

#include "tool/archive.h"

#include "tool/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NUMBER_FILE_MAX 64

/* Reads minimum-index: a decimal number, and a newline. */
static ToolExit
read_minimum(Archive *archive)
{
	Buffer *buffer = &archive->scratch;
	FileResult result = file_read(archive->fd, "minimum-index", NUMBER_FILE_MAX, buffer);
	size_t length = buffer->length;

	archive->minimum = 0;
	if (result == FILE_MISSING)
		return TOOL_VERIFIED;
	if (result != FILE_OK)
		return report_problem(TOOL_INPUT, "%s/minimum-index %s", archive->path,
							  file_result_text(result));
	if (length > 0 && buffer->bytes[length - 1] == '\n')
		length--;
	if (!options_number((const char *) buffer->bytes, length, &archive->minimum))
		return report_problem(TOOL_INPUT, "%s/minimum-index is not a decimal number",
							  archive->path);
	return TOOL_VERIFIED;
}

void
archive_close(Archive *archive)
{
	if (archive->fd >= 0)
		close(archive->fd);
	archive->fd = -1;
	free(archive->scratch.bytes);
	archive->scratch = (Buffer){0};
}

ToolExit
archive_open(Archive *archive, const char *path)
{
	memset(archive, 0, sizeof(*archive));
	archive->path = path;
	archive->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (archive->fd < 0)
		return report_problem(TOOL_INPUT, "directory %s cannot be opened: %s", path,
							  strerror(errno));
	if (read_minimum(archive) != TOOL_VERIFIED)
		archive_close(archive);
	return report_code();
}

int
archive_width(uint64_t size, int level, uint64_t index)
{
	uint64_t hashes = size >> (level * TLOG_TILE_HEIGHT);
	uint64_t tiles = hashes >> TLOG_TILE_HEIGHT;

	if (index < tiles)
		return TLOG_TILE_WIDTH;
	return index == tiles ? (int) (hashes & (TLOG_TILE_WIDTH - 1)) : 0;
}

uint64_t
archive_edge_index(uint64_t size, int level)
{
	return size >> level * TLOG_TILE_HEIGHT >> TLOG_TILE_HEIGHT;
}

/* Reads a file of the given width, or else the full one; found says which. */
static FileResult
read_either(Archive *archive, int level, uint64_t index, int width, Buffer *buffer, int *found)
{
	size_t limit =
		level == TLOG_ENTRIES ? TLOG_BUNDLE_MAX : (size_t) TLOG_TILE_WIDTH * MERKLE_HASH_SIZE;
	char path[TLOG_PATH_MAX];
	FileResult result;

	*found = width;
	tlog_path(level, index, width, path);
	result = file_read(archive->fd, path, limit, buffer);
	if (result != FILE_MISSING || width == TLOG_TILE_WIDTH)
		return result;
	*found = TLOG_TILE_WIDTH;
	tlog_path(level, index, TLOG_TILE_WIDTH, path);
	return file_read(archive->fd, path, limit, buffer);
}

FileResult
archive_read_tile(Archive *archive, int level, uint64_t index, int width, MerkleHash *hashes)
{
	int found;
	FileResult result = read_either(archive, level, index, width, &archive->scratch, &found);

	if (result != FILE_OK)
		return result;
	if (archive->scratch.length != (size_t) found * MERKLE_HASH_SIZE)
		return FILE_WRONG_LENGTH;
	memcpy(hashes, archive->scratch.bytes, (size_t) width * MERKLE_HASH_SIZE);
	return FILE_OK;
}

FileResult
archive_read_bundle(Archive *archive, uint64_t index, int width, Buffer *buffer, int *found)
{
	return read_either(archive, TLOG_ENTRIES, index, width, buffer, found);
}

bool
archive_has_bundle(Archive *archive, uint64_t size, uint64_t sequence)
{
	uint64_t index = sequence / TLOG_TILE_WIDTH;
	int width = archive_width(size, 0, index);
	int found;

	return width == 0 ||
		   archive_read_bundle(archive, index, width, &archive->scratch, &found) != FILE_MISSING;
}

ToolExit
archive_file_problem(int level, uint64_t index, int width, FileResult result)
{
	char path[TLOG_PATH_MAX];
	const char *text = file_result_text(result);
	bool unreadable = result == FILE_UNREADABLE;

	tlog_path(level, index, width, path);
	return report_problem(unreadable ? TOOL_INPUT : TOOL_FAILED, "%s %s", path, text);
}

/*
 * tree.c - roots from tiles.
 */
#include "tool/tree.h"

#include <string.h>

void
peaks_add(Peaks *peaks, int height, const MerkleHash *hash)
{
	MerkleHash merged = *hash;
	int at = height;

	while ((peaks->size >> at & 1) != 0)
	{
		merkle_node(&peaks->peaks[at], &merged, &merged);
		at++;
	}
	peaks->peaks[at] = merged;
	peaks->size += UINT64_C(1) << height;
}

void
peaks_root(const Peaks *peaks, MerkleHash *root)
{
	bool any = false;

	for (int height = 0; height <= PEAKS_MAX; height++)
	{
		if ((peaks->size >> height & 1) == 0)
			continue;
		if (any)
			merkle_node(&peaks->peaks[height], root, root);
		else
			*root = peaks->peaks[height];
		any = true;
	}
	if (!any)
		merkle_sha256("", 0, root);
}

void
tree_tile_root(const MerkleHash hashes[TLOG_TILE_WIDTH], MerkleHash *root)
{
	MerkleHash row[TLOG_TILE_WIDTH / MERKLE_TILE_WIDTH];

	for (int i = 0; i < TLOG_TILE_WIDTH / MERKLE_TILE_WIDTH; i++)
		merkle_perfect(hashes + (ptrdiff_t) i * MERKLE_TILE_WIDTH, MERKLE_TILE_WIDTH, &row[i]);
	merkle_perfect(row, TLOG_TILE_WIDTH / MERKLE_TILE_WIDTH, root);
}

/* The hashes that the tiles at the right edge of a tree have, and whose root they make. */
typedef struct Edge
{
	int count[TLOG_MAX_LEVELS];
	MerkleHash hashes[TLOG_MAX_LEVELS][TLOG_TILE_WIDTH];
} Edge;

static void
edge_peaks(const Edge *edge, Peaks *peaks)
{
	memset(peaks, 0, sizeof(*peaks));
	for (int level = TLOG_MAX_LEVELS - 1; level >= 0; level--)
	{
		for (int i = 0; i < edge->count[level]; i++)
			peaks_add(peaks, level * TLOG_TILE_HEIGHT, &edge->hashes[level][i]);
	}
}

/*
 * Reads what is at the right edge of the first `at` entries, out of the tiles
 * of the tree of size entries.
 */
static FileResult
edge_read(Archive *archive, uint64_t at, uint64_t size, Edge *edge, int *failed_level)
{
	for (int level = 0; level < TLOG_MAX_LEVELS; level++)
	{
		uint64_t index = archive_edge_index(at, level);
		FileResult result = FILE_OK;

		edge->count[level] = tlog_partial_count(at, level);
		*failed_level = level;
		if (edge->count[level] > 0)
			result = archive_read_tile(archive, level, index, archive_width(size, level, index),
									   edge->hashes[level]);
		if (result != FILE_OK)
			return result;
	}
	return FILE_OK;
}

/* Reads the edge, and says what is wrong with it. */
static ToolExit
edge_require(Archive *archive, uint64_t at, uint64_t size, Edge *edge)
{
	int level;
	FileResult result = edge_read(archive, at, size, edge, &level);
	uint64_t index;

	if (result == FILE_OK)
		return TOOL_VERIFIED;
	index = archive_edge_index(at, level);
	return archive_file_problem(level, index, archive_width(size, level, index), result);
}

/* Climbs from a hash at (level, index) to the edge of the tree, as long as tiles are full. */
static bool
climb(Archive *archive, uint64_t size, int level, uint64_t index, const MerkleHash *hash)
{
	MerkleHash tile[TLOG_TILE_WIDTH];
	MerkleHash carried = *hash;

	for (; level < TLOG_MAX_LEVELS; level++, index >>= TLOG_TILE_HEIGHT)
	{
		int width = archive_width(size, level, index >> TLOG_TILE_HEIGHT);
		int position = (int) (index & (TLOG_TILE_WIDTH - 1));

		if (position >= width ||
			archive_read_tile(archive, level, index >> TLOG_TILE_HEIGHT, width, tile) != FILE_OK ||
			memcmp(&tile[position], &carried, sizeof(carried)) != 0)
			return false;
		if (width < TLOG_TILE_WIDTH)
			return true;
		tree_tile_root(tile, &carried);
	}
	return false;
}

/*
 * Checks that the tiles that a prefix ends in are part of the larger tree:
 * each that is full there has its hash in the tile above.
 */
static ToolExit
bind_prefix(Archive *archive, uint64_t at, uint64_t size, const Edge *edge)
{
	for (int level = 0; level < TLOG_MAX_LEVELS; level++)
	{
		uint64_t index = archive_edge_index(at, level);
		char path[TLOG_PATH_MAX];
		MerkleHash root;

		if (edge->count[level] == 0 || archive_width(size, level, index) < TLOG_TILE_WIDTH)
			continue;
		tree_tile_root(edge->hashes[level], &root);
		if (climb(archive, size, level + 1, index, &root))
			continue;
		tlog_path(level, index, TLOG_TILE_WIDTH, path);
		return report_problem(TOOL_FAILED, "%s does not agree with the tiles above it", path);
	}
	return TOOL_VERIFIED;
}

ToolExit
tree_prefix(Archive *archive, uint64_t at, uint64_t size, Peaks *peaks, MerkleHash *root)
{
	static Edge edge;
	Peaks all;
	ToolExit code;

	if (root != NULL)
	{
		code = edge_require(archive, size, size, &edge);
		if (code != TOOL_VERIFIED)
			return code;
		edge_peaks(&edge, &all);
		peaks_root(&all, root);
	}
	if (peaks == NULL)
		return TOOL_VERIFIED;
	code = edge_require(archive, at, size, &edge);
	if (code != TOOL_VERIFIED)
		return code;
	edge_peaks(&edge, peaks);
	return bind_prefix(archive, at, size, &edge);
}

bool
tree_holds(Archive *archive, uint64_t size, int level, uint64_t index, const MerkleHash *hash,
		   const MerkleHash *root)
{
	static Edge edge;
	Peaks peaks;
	MerkleHash found;
	int failed;

	if (edge_read(archive, size, size, &edge, &failed) != FILE_OK)
		return false;
	edge_peaks(&edge, &peaks);
	peaks_root(&peaks, &found);
	return memcmp(&found, root, sizeof(found)) == 0 && climb(archive, size, level, index, hash);
}

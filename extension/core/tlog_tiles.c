/*
 * tlog_tiles.c - names and contents of a tiled log's files.
 */
#include "core/tlog_tiles.h"

#include <stdio.h>
#include <string.h>

#define TILE_MASK ((uint64_t) TLOG_TILE_WIDTH - 1)
/* Groups of three digits that the largest index takes. */
#define PATH_GROUPS 7
#define ENTRY_MAX 65535

void
tlog_path(int level, uint64_t index, int width, char out[TLOG_PATH_MAX])
{
	int groups = 1;
	int at;
	uint64_t left = index;

	if (level == TLOG_ENTRIES)
		at = snprintf(out, TLOG_PATH_MAX, "tile/entries/");
	else
		at = snprintf(out, TLOG_PATH_MAX, "tile/%d/", level);
	while (groups < PATH_GROUPS && (left /= 1000) > 0)
		groups++;
	for (int i = groups - 1; i >= 0; i--)
	{
		uint64_t group = index;

		for (int below = 0; below < i; below++)
			group /= 1000;
		at += snprintf(out + at, (size_t) (TLOG_PATH_MAX - at), i > 0 ? "x%03d/" : "%03d",
					   (int) (group % 1000));
	}
	if (width < TLOG_TILE_WIDTH)
		snprintf(out + at, (size_t) (TLOG_PATH_MAX - at), ".p/%d", width);
}

CoreStatus
tlog_bundle_next(const uint8_t *bundle, size_t length, size_t *at, const uint8_t **entry,
				 size_t *entry_length)
{
	size_t left = *at <= length ? length - *at : 0;
	size_t size;

	*entry = NULL;
	*entry_length = 0;
	if (left == 0)
		return *at <= length ? CORE_OK : CORE_TRUNCATED;
	if (left < 2)
		return CORE_TRUNCATED;
	size = (size_t) bundle[*at] << 8 | bundle[*at + 1];
	if (left - 2 < size)
		return CORE_TRUNCATED;
	*entry = bundle + *at + 2;
	*entry_length = size;
	*at += 2 + size;
	return CORE_OK;
}

CoreStatus
tlog_bundle_add(uint8_t *bundle, size_t capacity, size_t *at, const void *entry, size_t length)
{
	if (length > ENTRY_MAX || *at > capacity || capacity - *at < 2 + length)
		return CORE_TOO_SMALL;
	bundle[*at] = (uint8_t) (length >> 8);
	bundle[*at + 1] = (uint8_t) length;
	if (length > 0)
		memcpy(bundle + *at + 2, entry, length);
	*at += 2 + length;
	return CORE_OK;
}

/* The root over count hashes, a power of two up to TLOG_TILE_WIDTH. */
static void
tile_root(const MerkleHash *hashes, int count, MerkleHash *out)
{
	MerkleHash row[TLOG_TILE_WIDTH / MERKLE_TILE_WIDTH];

	if (count <= MERKLE_TILE_WIDTH)
	{
		merkle_perfect(hashes, count, out);
		return;
	}
	for (int i = 0; i < count / MERKLE_TILE_WIDTH; i++)
		merkle_perfect(hashes + (ptrdiff_t) i * MERKLE_TILE_WIDTH, MERKLE_TILE_WIDTH, &row[i]);
	merkle_perfect(row, count / MERKLE_TILE_WIDTH, out);
}

bool
tlog_frontier_add(TlogFrontier *frontier, const MerkleHash *leaf, TlogTileSink sink, void *context)
{
	uint64_t index = frontier->size;
	MerkleHash hash = *leaf;

	for (int level = 0; level < TLOG_MAX_LEVELS; level++)
	{
		MerkleHash *tile = frontier->partial[level];

		tile[index & TILE_MASK] = hash;
		if ((index & TILE_MASK) != TILE_MASK)
			break;
		index >>= TLOG_TILE_HEIGHT;
		if (sink != NULL && !sink(level, index, tile, context))
			return false;
		tile_root(tile, TLOG_TILE_WIDTH, &hash);
	}
	frontier->size++;
	return true;
}

int
tlog_partial_count(uint64_t size, int level)
{
	if (level < 0 || level >= TLOG_MAX_LEVELS)
		return 0;
	return (int) (size >> (level * TLOG_TILE_HEIGHT) & TILE_MASK);
}

void
tlog_frontier_root(const TlogFrontier *frontier, MerkleHash *out)
{
	bool any = false;

	for (int level = 0; level < TLOG_MAX_LEVELS; level++)
	{
		int count = tlog_partial_count(frontier->size, level);

		/* Perfect subtrees, the smallest and rightmost first. */
		for (int width = 1; width <= count; width *= 2)
		{
			MerkleHash subtree;

			if ((count & width) == 0)
				continue;
			tile_root(frontier->partial[level] + (count & ~(2 * width - 1)), width, &subtree);
			if (any)
				merkle_node(&subtree, out, out);
			else
				*out = subtree;
			any = true;
		}
	}
	if (!any)
		merkle_sha256("", 0, out);
}

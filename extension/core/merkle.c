/*
 * merkle.c - the tree of RFC 9162 section 2.1, in tiles.
 */
#include "core/merkle.h"

#include <string.h>

/* Bits of a size that choose a hash within a tile. */
#define TILE_MASK ((uint64_t) MERKLE_TILE_WIDTH - 1)

/* Sizes whose hashes need more than MERKLE_MAX_TILE_LEVELS tile levels are refused. */
#define MERKLE_MAX_SIZE ((uint64_t) 1 << (MERKLE_MAX_TILE_LEVELS * MERKLE_TILE_HEIGHT))

/* The number of hashes of a tile level that are in no full tile, in a tree of size leaves. */
static int
partial_count(uint64_t size, int level)
{
	return (int) (size >> (level * MERKLE_TILE_HEIGHT) & TILE_MASK);
}

void
merkle_perfect(const MerkleHash *hashes, int count, MerkleHash *out)
{
	MerkleHash row[MERKLE_TILE_WIDTH / 2];

	if (count == 1)
	{
		*out = hashes[0];
		return;
	}
	for (int i = 0; i < count / 2; i++)
		merkle_node(&hashes[2 * i], &hashes[2 * i + 1], &row[i]);
	for (int width = count / 4; width > 0; width /= 2)
	{
		for (int i = 0; i < width; i++)
			merkle_node(&row[2 * i], &row[2 * i + 1], &row[i]);
	}
	*out = row[0];
}

void
merkle_frontier_init(MerkleFrontier *frontier)
{
	memset(frontier, 0, sizeof(*frontier));
}

void
merkle_frontier_add_subtree(MerkleFrontier *frontier, int level, const MerkleHash *root,
							MerkleTileSink sink, void *context)
{
	uint64_t leaves = (uint64_t) 1 << (level * MERKLE_TILE_HEIGHT);
	uint64_t index = frontier->size >> (level * MERKLE_TILE_HEIGHT);
	MerkleHash hash = *root;

	for (; level < MERKLE_MAX_TILE_LEVELS; level++)
	{
		MerkleHash *tile = frontier->partial[level];

		tile[index & TILE_MASK] = hash;
		if ((index & TILE_MASK) != TILE_MASK)
			break;
		index >>= MERKLE_TILE_HEIGHT;
		if (sink != NULL)
			sink(level, index, tile, context);
		merkle_perfect(tile, MERKLE_TILE_WIDTH, &hash);
	}
	frontier->size += leaves;
}

void
merkle_frontier_add(MerkleFrontier *frontier, const MerkleHash *leaf, MerkleTileSink sink,
					void *context)
{
	merkle_frontier_add_subtree(frontier, 0, leaf, sink, context);
}

bool
merkle_frontier_hashes(const MerkleFrontier *frontier, int level, uint64_t index, int count,
					   MerkleHash *hashes)
{
	if (level < 0 || level >= MERKLE_MAX_TILE_LEVELS || count < 1 ||
		index != frontier->size >> (level * MERKLE_TILE_HEIGHT) >> MERKLE_TILE_HEIGHT ||
		count > partial_count(frontier->size, level))
		return false;
	memcpy(hashes, frontier->partial[level], (size_t) count * sizeof(*hashes));
	return true;
}

/*
 * Puts the hashes of an incomplete tile before what has been gathered of the
 * tree to its right: perfect subtrees, the smallest and rightmost first.
 */
static void
fold_partial(const MerkleHash *hashes, int count, MerkleHash *gathered, bool *any)
{
	for (int width = 1; width <= count; width *= 2)
	{
		MerkleHash subtree;

		if ((count & width) == 0)
			continue;
		merkle_perfect(hashes + (count & ~(2 * width - 1)), width, &subtree);
		if (*any)
			merkle_node(&subtree, gathered, gathered);
		else
			*gathered = subtree;
		*any = true;
	}
}

void
merkle_frontier_root(const MerkleFrontier *frontier, MerkleHash *out)
{
	MerkleHash gathered;
	bool any = false;

	for (int level = 0; level < MERKLE_MAX_TILE_LEVELS; level++)
		fold_partial(frontier->partial[level], partial_count(frontier->size, level), &gathered,
					 &any);
	if (any)
		*out = gathered;
	else
		merkle_sha256("", 0, out);
}

/*
 * Fetches the hashes of a tile level that are in no full tile. Above level 0
 * such a tile is stored only if the source has grown beyond size, but each of
 * its hashes is the root of a full one.
 */
static bool
fetch_partial(uint64_t size, int level, bool grown, MerkleTileSource source, void *context,
			  MerkleHash *out)
{
	int count = partial_count(size, level);
	uint64_t tile = size >> (level * MERKLE_TILE_HEIGHT) >> MERKLE_TILE_HEIGHT;
	MerkleHash child[MERKLE_TILE_WIDTH];

	if (count == 0 || (grown && level > 0 && source(level, tile, count, out, context)))
		return true;
	if (level == 0)
		return source(0, tile, count, out, context);
	for (int i = 0; i < count; i++)
	{
		uint64_t index = (tile << MERKLE_TILE_HEIGHT) + (uint64_t) i;

		if (!source(level - 1, index, MERKLE_TILE_WIDTH, child, context))
			return false;
		merkle_perfect(child, MERKLE_TILE_WIDTH, &out[i]);
	}
	return true;
}

bool
merkle_frontier_load(MerkleFrontier *frontier, uint64_t size, MerkleTileSource source,
					 void *context)
{
	merkle_frontier_init(frontier);
	for (int level = 0; level < MERKLE_MAX_TILE_LEVELS; level++)
	{
		if (size >= MERKLE_MAX_SIZE ||
			!fetch_partial(size, level, false, source, context, frontier->partial[level]))
		{
			merkle_frontier_init(frontier);
			return false;
		}
	}
	frontier->size = size;
	return true;
}

bool
merkle_range_root(uint64_t size, MerkleTileSource source, void *context, MerkleHash *out)
{
	MerkleHash gathered;
	bool any = false;

	memset(out, 0, sizeof(*out));
	if (size >= MERKLE_MAX_SIZE)
		return false;
	for (int level = 0; level < MERKLE_MAX_TILE_LEVELS; level++)
	{
		MerkleHash hashes[MERKLE_TILE_WIDTH];

		if (!fetch_partial(size, level, true, source, context, hashes))
			return false;
		fold_partial(hashes, partial_count(size, level), &gathered, &any);
	}
	if (any)
		*out = gathered;
	else
		merkle_sha256("", 0, out);
	return true;
}

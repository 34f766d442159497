/*
 * merkle.h - the Merkle tree of RFC 9162 section 2.1 over ledger entries.
 *
 * Leaf: SHA-256(0x00 || entry). Node: SHA-256(0x01 || left || right). The
 * tree is kept in tiles of MERKLE_TILE_HEIGHT levels: tile (level, index)
 * holds the MERKLE_TILE_WIDTH hashes of tree level level*MERKLE_TILE_HEIGHT
 * from index*MERKLE_TILE_WIDTH on. Only full tiles are stored; what is not
 * yet full is the frontier.
 */
#ifndef BIOMETRIC_CORE_MERKLE_H
#define BIOMETRIC_CORE_MERKLE_H

#include "core/status.h"

#define MERKLE_HASH_SIZE 32
#define MERKLE_TILE_HEIGHT 5
#define MERKLE_TILE_WIDTH (1 << MERKLE_TILE_HEIGHT)
#define MERKLE_TILE_SIZE (MERKLE_TILE_WIDTH * MERKLE_HASH_SIZE)
/* Enough tile levels for 2^60 entries. */
#define MERKLE_MAX_TILE_LEVELS 12

typedef struct MerkleHash
{
	uint8_t bytes[MERKLE_HASH_SIZE];
} MerkleHash;

/*
 * The right edge of a growing tree. Plain data: may be copied, and may live
 * in shared memory. partial[l] holds the hashes of tile level l that are in
 * no full tile yet; their number is (size >> (l * MERKLE_TILE_HEIGHT)) % width.
 */
typedef struct MerkleFrontier
{
	uint64_t size; /* entries */
	MerkleHash partial[MERKLE_MAX_TILE_LEVELS][MERKLE_TILE_WIDTH];
} MerkleFrontier;

/* Called for each tile as it gets full, lower levels first. */
typedef void (*MerkleTileSink)(int level, uint64_t index, const MerkleHash *hashes, void *context);

/*
 * Fetches hashes for merkle_frontier_load, merkle_range_root and proofs. Fills
 * hashes[0 .. count-1] with the first hashes of tile (level, index); false
 * when it cannot. It is asked for tiles that are full in a tree of the size in
 * question (count is MERKLE_TILE_WIDTH), at any level, and for the first count
 * leaves of the level-0 tile at that tree's right edge; the latter may be full
 * in the source. merkle_range_root, and a proof, ask for the first count
 * hashes of incomplete tiles of higher levels, too, which a source has that has
 * grown; false is fine then: they are computed from the full tiles below.
 */
typedef bool (*MerkleTileSource)(int level, uint64_t index, int count, MerkleHash *hashes,
								 void *context);

/* merkle_leaf computes the leaf hash of an entry of length bytes. Cannot fail. */
extern void merkle_leaf(const void *entry, size_t length, MerkleHash *out);

/* merkle_node computes an inner node; out may be one of the arguments. Cannot fail. */
extern void merkle_node(const MerkleHash *left, const MerkleHash *right, MerkleHash *out);

/* merkle_perfect computes the root over count hashes, a power of two up to MERKLE_TILE_WIDTH. */
extern void merkle_perfect(const MerkleHash *hashes, int count, MerkleHash *out);

/* merkle_frontier_init makes the frontier of the empty tree. */
extern void merkle_frontier_init(MerkleFrontier *frontier);

/* merkle_frontier_add appends one leaf; sink (may be NULL) gets the tiles that it fills. */
extern void merkle_frontier_add(MerkleFrontier *frontier, const MerkleHash *leaf,
								MerkleTileSink sink, void *context);

/*
 * merkle_frontier_add_subtree appends the root of a full tile of the level
 * below, and with it 2^(level * MERKLE_TILE_HEIGHT) leaves, to a tree whose
 * size is a multiple of that. level: 0 (a leaf) to MERKLE_MAX_TILE_LEVELS - 1.
 * sink gets the tiles that are filled from this level on.
 */
extern void merkle_frontier_add_subtree(MerkleFrontier *frontier, int level, const MerkleHash *root,
										MerkleTileSink sink, void *context);

/*
 * merkle_frontier_hashes gives the first count hashes of tile (level, index),
 * if it is the frontier's incomplete tile of that level and has as many; else
 * false, and nothing is written.
 */
extern bool merkle_frontier_hashes(const MerkleFrontier *frontier, int level, uint64_t index,
								   int count, MerkleHash *hashes);

/* merkle_frontier_root computes the root; of the empty tree it is SHA-256 of nothing. */
extern void merkle_frontier_root(const MerkleFrontier *frontier, MerkleHash *out);

/*
 * merkle_frontier_load rebuilds the frontier of a tree of a given size from
 * its tiles and last leaves. Returns false, with the frontier reset to empty,
 * when the source fails. Checks nothing: compare the root.
 */
extern bool merkle_frontier_load(MerkleFrontier *frontier, uint64_t size, MerkleTileSource source,
								 void *context);

/*
 * merkle_range_root computes the root of the tree's first size leaves, for
 * any size up to what the source has, from at most 32 tiles a tile level.
 * False, with out zeroed, when the source fails.
 */
extern bool merkle_range_root(uint64_t size, MerkleTileSource source, void *context,
							  MerkleHash *out);

/* merkle_sha256 hashes length bytes. Cannot fail. */
extern void merkle_sha256(const void *data, size_t length, MerkleHash *out);

#endif

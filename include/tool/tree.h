/*
 * tree.h - what an archive's tiles say about its tree, without its entries.
 */
#ifndef BIOMETRIC_TOOL_TREE_H
#define BIOMETRIC_TOOL_TREE_H

#include "tool/archive.h"

/* Bits of the largest number of entries. */
#define PEAKS_MAX 60

/*
 * The perfect subtrees that leaves fill from the left, each as large as
 * possible: all that is needed to append, and for the root.
 */
typedef struct Peaks
{
	uint64_t size;
	MerkleHash peaks[PEAKS_MAX + 1]; /* of height h, if bit h of size is set */
} Peaks;

/* peaks_add appends a perfect subtree of 2^height leaves; size must be a multiple of that. */
extern void peaks_add(Peaks *peaks, int height, const MerkleHash *hash);

/* peaks_root computes the root over what was appended. */
extern void peaks_root(const Peaks *peaks, MerkleHash *root);

/* tree_tile_root computes the hash over a full tile. */
extern void tree_tile_root(const MerkleHash hashes[TLOG_TILE_WIDTH], MerkleHash *root);

/*
 * tree_prefix computes, from tiles, the roots of the first `at` and of all
 * `size` entries, and checks that the tiles it took for the one are part of the other.
 * Reports a problem and returns its code when a tile is missing or they disagree.
 * peaks: of the first `at` entries; may be NULL. root: of all; may be NULL.
 */
extern ToolExit tree_prefix(Archive *archive, uint64_t at, uint64_t size, Peaks *peaks,
							MerkleHash *root);

/*
 * tree_holds tells whether the tree of size entries, as its tiles have it, has
 * a hash at (level, index), and root as its root. Reports nothing.
 */
extern bool tree_holds(Archive *archive, uint64_t size, int level, uint64_t index,
					   const MerkleHash *hash, const MerkleHash *root);

#endif

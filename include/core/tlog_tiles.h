/*
 * tlog_tiles.h - names and contents of a tiled log's files (c2sp.org/tlog-tiles):
 * tiles of 256 hashes, bundles of 256 entries.
 */
#ifndef BIOMETRIC_CORE_TLOG_TILES_H
#define BIOMETRIC_CORE_TLOG_TILES_H

#include "core/merkle.h"

#define TLOG_TILE_HEIGHT 8
#define TLOG_TILE_WIDTH 256
#define TLOG_MAX_LEVELS 8
/* Bytes of any path, with its NUL. */
#define TLOG_PATH_MAX 64
/* Bytes of any bundle: 256 entries of at most 65535 bytes with their lengths. */
#define TLOG_BUNDLE_MAX ((size_t) TLOG_TILE_WIDTH * (2 + 65535))

/* As level: the bundle of entries, not of hashes. */
#define TLOG_ENTRIES (-1)

/*
 * tlog_path writes the path of a tile relative to the log's directory:
 * "tile/0/x001/234", "tile/entries/000.p/17". level: 0 to 7 or TLOG_ENTRIES; width: 1 to 256.
 */
extern void tlog_path(int level, uint64_t index, int width, char out[TLOG_PATH_MAX]);

/*
 * tlog_bundle_next takes the next entry off a bundle: *at counts bytes from 0.
 * Returns CORE_OK, or CORE_TRUNCATED when the bundle ends in mid-entry; at its
 * end *entry is NULL.
 */
extern CORE_MUST_CHECK CoreStatus tlog_bundle_next(const uint8_t *bundle, size_t length, size_t *at,
												   const uint8_t **entry, size_t *entry_length);

/*
 * tlog_bundle_add appends an entry of at most 65535 bytes at *at. Returns
 * CORE_OK, or CORE_TOO_SMALL, with nothing written, when it does not fit.
 */
extern CORE_MUST_CHECK CoreStatus tlog_bundle_add(uint8_t *bundle, size_t capacity, size_t *at,
												  const void *entry, size_t length);

/*
 * The right edge of a tree in tiles of this width; all zero: of the empty
 * tree. partial[l] holds the tlog_partial_count hashes that are in no full tile.
 */
typedef struct TlogFrontier
{
	uint64_t size;
	MerkleHash partial[TLOG_MAX_LEVELS][TLOG_TILE_WIDTH];
} TlogFrontier;

/* Called for each tile as it gets full, lower levels first; false stops. */
typedef bool (*TlogTileSink)(int level, uint64_t index, const MerkleHash *hashes, void *context);

/*
 * tlog_frontier_add appends a leaf; false when the sink (may be NULL) said so.
 * Then the tree has not grown, and the same leaf may be added again.
 */
extern CORE_MUST_CHECK bool tlog_frontier_add(TlogFrontier *frontier, const MerkleHash *leaf,
											  TlogTileSink sink, void *context);

/* tlog_partial_count returns how many hashes of a level, 0 to 7, are in no full tile of a tree. */
extern int tlog_partial_count(uint64_t size, int level);

/* tlog_frontier_root computes the root; of the empty tree it is SHA-256 of nothing. */
extern void tlog_frontier_root(const TlogFrontier *frontier, MerkleHash *out);

#endif

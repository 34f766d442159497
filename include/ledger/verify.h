/*
 * verify.h - what verify_ledger() knows of one log while it checks it.
 *
 * Private to the ledger. Three passes: the tiles, bottom up, against one
 * another and the known edge (verify_tree.c); the heap of entries, in
 * whatever order, each against its tile; the heaps of tiles and heads, for
 * rows that belong to nothing (verify.c). The first problem, by the entry it
 * touches first, is what is reported.
 */
#ifndef BIOMETRIC_LEDGER_VERIFY_H
#define BIOMETRIC_LEDGER_VERIFY_H

#include "postgres.h"

#include "ledger/store.h"

typedef struct LogCheck
{
	const LedgerLog *log;
	bool newest;
	LedgerReader reader;

	/* What the log must be. */
	int64 size;
	bool root_known;
	MerkleHash root;			/* if root_known */
	const MerkleFrontier *edge; /* of size entries; NULL: not known */
	bool has_head;
	LedgerHead head;

	/* What it is. */
	bool computed;						 /* all leaves were there: frontier is complete */
	MerkleFrontier frontier;			 /* computed from tiles of level 0 and the last leaves */
	uint64 *seen;						 /* a bit an entry: its row was found */
	int64 seen_limit;					 /* bits */
	int64 highest;						 /* highest sequence number found, -1 for none */
	int64 tiles[MERKLE_MAX_TILE_LEVELS]; /* rows of each level */
	int heads;							 /* head rows */
	int64 tile_index;					 /* tile of level 0 that is in leaves; -1: none */
	int leaf_count;						 /* how many of leaves are known */
	MerkleHash leaves[MERKLE_TILE_WIDTH];

	/* The first problem: of the entry with the lowest sequence number. */
	int64 problem_at;
	char *problem; /* NULL: none so far */
} LogCheck;

/*
 * verify_restored verifies a log that came from a dump. Returns NULL, or what
 * is wrong; size (-1 when not known) and root: what its entries make up.
 * Error 22023 when no such log was restored.
 */
extern char *verify_restored(const uint8 *log_id, int64 *size, MerkleHash *root);

/* verify_problem keeps a problem if it concerns an earlier entry than the one that is known. */
extern void verify_problem(LogCheck *check, int64 at, const char *format, ...)
	pg_attribute_printf(3, 4);

/* verify_tiles checks the tiles of a log and computes its frontier. */
extern void verify_tiles(LogCheck *check);

/*
 * verify_leaf returns the leaf hash that the tree has for an entry, or NULL
 * when it has none. Fast for neighbours.
 */
extern const MerkleHash *verify_leaf(LogCheck *check, int64 sequence);

/*
 * verify_entry_is_wrong tells, for an entry whose hash is not the one in its
 * tile, whether the entry is to blame (true) or the tile is.
 */
extern bool verify_entry_is_wrong(LogCheck *check, int64 sequence);

/* verify_head checks a log's head row against its entries and tiles. */
extern void verify_head(LogCheck *check);

#endif

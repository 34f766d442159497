/*
 * batch.h - entries on their way from the ring to the tables.
 *
 * Private to the ledger's worker. Everything is allocated in the present
 * memory context.
 */
#ifndef BIOMETRIC_LEDGER_BATCH_H
#define BIOMETRIC_LEDGER_BATCH_H

#include "nodes/pg_list.h"

#include "ledger/store.h"

/* A tile above level 0 that the batch at hand has filled. */
typedef struct FullTile
{
	int level;
	uint64 index;
	MerkleHash hashes[MERKLE_TILE_WIDTH];
} FullTile;

typedef struct Batch
{
	StoreEntry *entries;
	int count;
	uint64 end;				 /* ring position behind the last record that was looked at */
	bool urgent;			 /* somebody waits for it to be durable, not for its order */
	List *tiles;			 /* of FullTile, lower levels first, from level 1 on */
	MerkleFrontier frontier; /* as it will be */
} Batch;

/*
 * batch_collect copies what is in a slot's ring from a position on, at most a
 * few MB. Records of another generation than the worker's are passed over, as
 * are those numbered below next, which a predecessor committed. Error XX000
 * when the numbers have a gap.
 */
extern void batch_collect(int number, uint32 generation, uint64 position, uint64 next,
						  Batch *batch);

/* batch_hash computes the entries' leaf hashes, and the tiles and the frontier that they make. */
extern void batch_hash(const MerkleFrontier *frontier, Batch *batch);

/* batch_look_at sees what the entries say: of transactions, and of how soon to be durable. */
extern void batch_look_at(Batch *batch);

#endif

/*
 * walk.h - reads entries of an archive one after another, hashes them again and
 * compares every tile on the way.
 */
#ifndef BIOMETRIC_TOOL_WALK_H
#define BIOMETRIC_TOOL_WALK_H

#include "core/entry.h"
#include "tool/tree.h"

/* A size at which the root is wanted. */
typedef struct WalkMark
{
	uint64_t size;
	MerkleHash root; /* set when reached is */
	bool reached;
} WalkMark;

/*
 * Called for each entry, in order, once its hash is known to be that of its tile. That
 * the tile is right is known only when the root has been compared: keep nothing
 * of a walk that failed. Anything but TOOL_VERIFIED, which it has reported, ends the walk.
 */
typedef ToolExit (*WalkSink)(void *context, uint64_t sequence, const EntryFields *fields,
							 const uint8_t *entry, size_t length);

typedef struct Walk
{
	Archive *archive;
	uint64_t size;			/* entries of the tree that the archive has */
	const MerkleHash *root; /* of that tree, as it was signed */
	uint64_t from;			/* the first entry to read, a multiple of 256 */
	uint64_t to;			/* behind the last, a multiple of 256 or size */
	Peaks peaks;			/* of what has been read, behind what the caller put there */
	MerkleHash levels[TLOG_MAX_LEVELS][TLOG_TILE_WIDTH]; /* hashes that are in no full tile yet */
	WalkMark *marks;									 /* in ascending order */
	int mark_count;
	WalkSink sink;	  /* NULL: nobody wants to see the entries */
	void *context;	  /* the sink's */
	uint64_t bytes;	  /* of the entries read */
	int64_t first_at; /* time of the first and the last of them, microseconds since 1970 */
	int64_t last_at;
	Buffer bundle;
	MerkleHash tile[TLOG_TILE_WIDTH];
} Walk;

/*
 * walk_prepare takes what is to the left of `from` out of the tiles that go on
 * behind it. They are not known to be right before the tree over them is: see
 * tree_prefix. Reports a tile that cannot be read, and returns the code. The
 * peaks are the caller's to fill.
 */
extern ToolExit walk_prepare(Walk *walk);

/*
 * walk_run reads the entries. Reports the first that is wrong, or the first
 * tile, and returns the code.
 */
extern ToolExit walk_run(Walk *walk);

/* walk_free gives its memory back. */
extern void walk_free(Walk *walk);

#endif

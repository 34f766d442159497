/*
 * verify_tree.c - checks the tiles of a log, and finds out which row of
 * several that contradict one another is the wrong one.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "ledger/verify.h"

#define TILES_BETWEEN_INTERRUPTS 1024

void
verify_problem(LogCheck *check, int64 at, const char *format, ...)
{
	char text[512];
	va_list args;

	if (check->problem != NULL && check->problem_at <= at)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (check->problem != NULL)
		pfree(check->problem);
	check->problem = pstrdup(text);
	check->problem_at = at;
}

static bool
same_hash(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* The first entry below hash number index of a tile level. */
static int64
first_entry(int level, uint64 index)
{
	return (int64) (index << (level * MERKLE_TILE_HEIGHT));
}

/* Keeps a problem of a tile, with the entries it covers. */
static void
tile_problem(LogCheck *check, int level, uint64 index, int64 at, const char *what)
{
	verify_problem(
		check, at, "tile %d/" UINT64_FORMAT " (entries " INT64_FORMAT " to " INT64_FORMAT "): %s",
		level, index, first_entry(level + 1, index), first_entry(level + 1, index + 1) - 1, what);
}

/*
 * The hash that the next level has for a tile of level 0: from the tile above,
 * or from the edge where that tile is not full yet. False when unknown.
 */
static bool
parent_hash(LogCheck *check, uint64 index, MerkleHash *hash)
{
	MerkleHash above[MERKLE_TILE_WIDTH];
	uint64 parent = index / MERKLE_TILE_WIDTH;

	if (first_entry(2, parent + 1) <= check->size)
	{
		if (!store_tile(&check->reader, 1, parent, above))
			return false;
		*hash = above[index % MERKLE_TILE_WIDTH];
		return true;
	}
	if (check->edge == NULL)
		return false;
	*hash = check->edge->partial[1][index % MERKLE_TILE_WIDTH];
	return true;
}

/* Whether the rows of the 32 entries below a tile of level 0 make up a hash. */
static bool
entries_make(LogCheck *check, uint64 index, const MerkleHash *hash)
{
	MerkleHash leaves[MERKLE_TILE_WIDTH];
	MerkleHash root;

	if (!store_leaves(&check->reader, first_entry(1, index), MERKLE_TILE_WIDTH, leaves))
		return false;
	merkle_perfect(leaves, MERKLE_TILE_WIDTH, &root);
	return same_hash(&root, hash);
}

bool
verify_entry_is_wrong(LogCheck *check, int64 sequence)
{
	uint64 index = (uint64) sequence / MERKLE_TILE_WIDTH;
	MerkleHash tile[MERKLE_TILE_WIDTH];
	MerkleHash root;
	MerkleHash parent;

	if (!store_tile(&check->reader, 0, index, tile) || !parent_hash(check, index, &parent))
		return true;
	merkle_perfect(tile, MERKLE_TILE_WIDTH, &root);
	return same_hash(&root, &parent) || !entries_make(check, index, &parent);
}

/* Whether a problem is known among the entries below a hash, which then explains that hash too. */
static bool
is_explained(LogCheck *check, int level, uint64 index)
{
	return check->problem != NULL && check->problem_at >= first_entry(level, index) &&
		   check->problem_at < first_entry(level, index + 1);
}

/* Finds out what is wrong where a stored tile has not the hashes computed from below. */
static void
blame(LogCheck *check, int level, uint64 index, const MerkleHash *stored,
	  const MerkleHash *computed)
{
	int i = 0;
	uint64 child;

	while (same_hash(&stored[i], &computed[i]))
		i++;
	child = index * MERKLE_TILE_WIDTH + (uint64) i;
	if (level == 1 && entries_make(check, child, &stored[i]))
		tile_problem(check, 0, child, first_entry(1, child),
					 "its hashes are not those of its entries");
	else if (!is_explained(check, level, child))
		tile_problem(check, level, index, first_entry(level, child),
					 "its hashes are not those of the tiles below");
}

/* Called for each tile above level 0 that the leaves fill. */
static void
compare_tile(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	LogCheck *check = context;
	MerkleHash stored[MERKLE_TILE_WIDTH];

	if (level == 0)
		return;
	if (!store_tile(&check->reader, level, index, stored))
		tile_problem(check, level, index, first_entry(level + 1, index), "is missing or damaged");
	else if (memcmp(stored, hashes, sizeof(stored)) != 0)
		blame(check, level, index, stored, hashes);
}

/* The leaves of a tile of level 0: as stored, or where that cannot be, from the entries. */
static bool
fetch_leaves(LogCheck *check, uint64 index, int count, MerkleHash *leaves)
{
	if (count == MERKLE_TILE_WIDTH)
	{
		if (store_tile(&check->reader, 0, index, leaves))
			return true;
		tile_problem(check, 0, index, first_entry(1, index), "is missing or damaged");
	}
	else if (check->edge != NULL)
	{
		memcpy(leaves, check->edge->partial[0], count * sizeof(MerkleHash));
		return true;
	}
	return store_leaves(&check->reader, first_entry(1, index), count, leaves);
}

/* Compares the computed edge with the known one, hash by hash. */
static void
compare_edges(LogCheck *check)
{
	uint64 size = (uint64) check->size;

	for (int level = 1; level < MERKLE_MAX_TILE_LEVELS; level++)
	{
		uint64 first = size >> (level * MERKLE_TILE_HEIGHT) & ~(uint64) (MERKLE_TILE_WIDTH - 1);
		uint64 end = size >> (level * MERKLE_TILE_HEIGHT);

		for (uint64 index = first; index < end; index++)
		{
			const MerkleHash *known = &check->edge->partial[level][index - first];

			if (same_hash(known, &check->frontier.partial[level][index - first]))
				continue;
			if (level == 1 && entries_make(check, index, known))
				tile_problem(check, 0, index, first_entry(1, index),
							 "its hashes are not those of its entries");
			else if (!is_explained(check, level, index))
				verify_problem(check, first_entry(level, index),
							   "entries " INT64_FORMAT " to " INT64_FORMAT
							   ": together they are not what the ledger's worker wrote",
							   first_entry(level, index), first_entry(level, index + 1) - 1);
		}
	}
}

static void
compare_root(LogCheck *check)
{
	MerkleHash root;

	if (check->edge != NULL)
		compare_edges(check);
	merkle_frontier_root(&check->frontier, &root);
	if (check->root_known && !same_hash(&root, &check->root))
		verify_problem(check, check->size,
					   "the root over all " INT64_FORMAT " entries is not the one that is known",
					   check->size);
}

void
verify_tiles(LogCheck *check)
{
	uint64 tiles = ((uint64) check->size + MERKLE_TILE_WIDTH - 1) / MERKLE_TILE_WIDTH;

	merkle_frontier_init(&check->frontier);
	for (uint64 index = 0; index < tiles; index++)
	{
		MerkleHash leaves[MERKLE_TILE_WIDTH];
		int64 left = check->size - first_entry(1, index);
		int count = (int) Min(left, MERKLE_TILE_WIDTH);

		if (index % TILES_BETWEEN_INTERRUPTS == 0)
			CHECK_FOR_INTERRUPTS();
		/* Without leaves there is no frontier; the scan of the entries says what is missing. */
		if (!fetch_leaves(check, index, count, leaves))
			return;
		for (int i = 0; i < count; i++)
			merkle_frontier_add(&check->frontier, &leaves[i], compare_tile, check);
	}
	check->computed = true;
	compare_root(check);
}

const MerkleHash *
verify_leaf(LogCheck *check, int64 sequence)
{
	int64 index = sequence / MERKLE_TILE_WIDTH;
	int64 last = check->size / MERKLE_TILE_WIDTH;
	int place = (int) (sequence % MERKLE_TILE_WIDTH);

	if (index != check->tile_index)
	{
		check->tile_index = index;
		check->leaf_count = 0;
		if (index < last && store_tile(&check->reader, 0, (uint64) index, check->leaves))
			check->leaf_count = MERKLE_TILE_WIDTH;
		else if (index == last && check->edge != NULL)
		{
			check->leaf_count = (int) (check->size % MERKLE_TILE_WIDTH);
			memcpy(check->leaves, check->edge->partial[0], check->leaf_count * sizeof(MerkleHash));
		}
	}
	return place < check->leaf_count ? &check->leaves[place] : NULL;
}

/* Whether the tree, as far as it is known without the head row, has this hash for an entry. */
static bool
tree_has_leaf(LogCheck *check, int64 sequence, const MerkleHash *leaf)
{
	const MerkleHash *known = verify_leaf(check, sequence);

	return known != NULL && same_hash(known, leaf);
}

/* Compares the last entries, those in no full tile, with their hashes in the head row. */
static void
verify_head_tail(LogCheck *check)
{
	const LedgerHead *head = &check->head;
	MerkleHash leaves[MERKLE_TILE_WIDTH];
	int count = (int) (head->size % MERKLE_TILE_WIDTH);
	int64 first = head->size - count;

	if (head->tail_count != count)
		verify_problem(check, first, "the head row has hashes of %d entries, not of %d",
					   head->tail_count, count);
	else if (count > 0 && store_leaves(&check->reader, first, count, leaves))
		for (int i = 0; i < count; i++)
			if (!same_hash(&leaves[i], &head->tail[i]))
				verify_problem(check, first + i,
							   tree_has_leaf(check, first + i, &leaves[i])
								   ? "entry " INT64_FORMAT ": the head row has another hash of it"
								   : "entry " INT64_FORMAT ": its bytes are not those whose hash "
									 "is in the head row",
							   first + i);
}

void
verify_head(LogCheck *check)
{
	LedgerHead *head = &check->head;
	MerkleHash root;

	if (!check->has_head)
	{
		if (check->size > 0)
			verify_problem(check, check->size, "the head row is missing");
		return;
	}
	if (head->size < 0 || head->size > check->size)
	{
		verify_problem(check, check->size,
					   "the head row says " INT64_FORMAT " entries, the ledger has " INT64_FORMAT,
					   head->size, check->size);
		return;
	}
	verify_head_tail(check);
	if (!store_root(&check->reader, head->size, &root) || !same_hash(&root, &head->root))
		verify_problem(check, head->size,
					   "the head row's root over " INT64_FORMAT " entries is not theirs",
					   head->size);
}

/*
 * verify_tree.c - checks the tree above a log's entries, and finds out which
 * row of several that contradict one another is the wrong one.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "ledger/verify.h"

#define GROUPS_BETWEEN_INTERRUPTS 4096

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
 * The hash that is on record for a hash of tile level 1 or more: in its tile,
 * or in the edge where that tile is not full yet. False when unknown.
 */
static bool
recorded_hash(LogCheck *check, int level, uint64 index, MerkleHash *hash)
{
	MerkleHash tile[MERKLE_TILE_WIDTH];
	uint64 parent = index / MERKLE_TILE_WIDTH;

	if (level < MERKLE_MAX_TILE_LEVELS && first_entry(level + 1, parent + 1) <= check->size)
	{
		if (!store_tile(&check->reader, level, parent, tile))
			return false;
		*hash = tile[index % MERKLE_TILE_WIDTH];
		return true;
	}
	if (check->edge == NULL || level >= MERKLE_MAX_TILE_LEVELS)
		return false;
	*hash = check->edge->partial[level][index % MERKLE_TILE_WIDTH];
	return true;
}

/* Whether a problem is known among the entries below a hash, which then explains that hash too. */
static bool
is_explained(LogCheck *check, int level, uint64 index)
{
	return check->problem != NULL && check->problem_at >= first_entry(level, index) &&
		   check->problem_at < first_entry(level, index + 1);
}

static void
entries_problem(LogCheck *check, int level, uint64 index)
{
	verify_problem(check, first_entry(level, index),
				   "entries " INT64_FORMAT " to " INT64_FORMAT
				   ": together they are not what the ledger's worker wrote",
				   first_entry(level, index), first_entry(level, index + 1) - 1);
}

/* Finds out what is wrong where a stored tile has not the hashes computed from below. */
static void
blame(LogCheck *check, int level, uint64 index, const MerkleHash *stored,
	  const MerkleHash *computed)
{
	int i = 0;
	uint64 child;
	MerkleHash root;
	MerkleHash above;

	while (same_hash(&stored[i], &computed[i]))
		i++;
	child = index * MERKLE_TILE_WIDTH + (uint64) i;
	if (is_explained(check, level, child))
		return;
	merkle_perfect(stored, MERKLE_TILE_WIDTH, &root);
	/* a tile that the tree above agrees with was not changed: then the entries were */
	if (recorded_hash(check, level + 1, index, &above) && same_hash(&root, &above))
		entries_problem(check, level, child);
	else
		tile_problem(check, level, index, first_entry(level, child),
					 level == 1 ? "its hashes are not those of its entries"
								: "its hashes are not those of the tiles below");
}

/* Called for each tile that is filled from below; there are none of level 0. */
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

/* The leaf hash that is on record for one of the last entries, those in no full group. */
static const MerkleHash *
recorded_leaf(const LogCheck *check, int64 sequence)
{
	int place = (int) (sequence % MERKLE_TILE_WIDTH);
	int64 index = sequence / MERKLE_TILE_WIDTH;

	if (index != check->size / MERKLE_TILE_WIDTH)
		return NULL;
	if (check->edge != NULL)
		return &check->edge->partial[0][place];
	if (check->has_head && check->head.size / MERKLE_TILE_WIDTH == index &&
		place < check->head.tail_count)
		return &check->head.tail[place];
	return NULL;
}

/* One entry whose leaf_hint is not that of its bytes: which of them was changed? */
static void
judge_entry(LogCheck *check, int64 sequence)
{
	int64 index = sequence / MERKLE_TILE_WIDTH;
	const VerifyGroup *last = verify_leaves(check, index);
	const MerkleHash *leaf = recorded_leaf(check, sequence);
	const MerkleHash *group =
		index < check->size / MERKLE_TILE_WIDTH ? verify_group(check, index) : NULL;
	MerkleHash recorded;
	bool as_recorded = false;

	if (leaf != NULL && last != NULL)
		as_recorded = same_hash(leaf, &last->leaves[sequence % MERKLE_TILE_WIDTH]);
	else if (group != NULL && recorded_hash(check, 1, (uint64) index, &recorded))
		as_recorded = same_hash(group, &recorded);
	verify_problem(check, sequence,
				   as_recorded ? "entry " INT64_FORMAT ": its leaf_hint is not that of its bytes"
							   : "entry " INT64_FORMAT
								 ": its bytes are not those whose hash is in the tree",
				   sequence);
}

/* The first entry of each group that is in doubt. */
static void
judge_entries(LogCheck *check)
{
	HASH_SEQ_STATUS scan;
	VerifyDoubt *doubted;

	if (check->doubted == NULL)
		return;
	hash_seq_init(&scan, check->doubted);
	while ((doubted = hash_seq_search(&scan)) != NULL)
		if (check->problem == NULL || doubted->index * MERKLE_TILE_WIDTH < check->problem_at)
			judge_entry(check, doubted->index * MERKLE_TILE_WIDTH +
								   pg_rightmost_one_pos32(doubted->entries));
}

/* Compares the computed edge with the known one, hash by hash. */
static void
compare_edges(LogCheck *check)
{
	uint64 size = (uint64) check->size;

	for (int level = 0; level < MERKLE_MAX_TILE_LEVELS; level++)
	{
		uint64 end = size >> (level * MERKLE_TILE_HEIGHT);
		uint64 first = end & ~(uint64) (MERKLE_TILE_WIDTH - 1);

		for (uint64 index = first; index < end; index++)
		{
			if (same_hash(&check->edge->partial[level][index - first],
						  &check->frontier.partial[level][index - first]))
				continue;
			if (level == 0)
				verify_problem(check, (int64) index,
							   "entry " INT64_FORMAT
							   ": its bytes are not those whose hash is in the tree",
							   (int64) index);
			else if (!is_explained(check, level, index))
				entries_problem(check, level, index);
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

/* Adds one tile of a segment that was detached. */
static bool
add_kept(LogCheck *check, int level, uint64 index)
{
	MerkleHash tile[MERKLE_TILE_WIDTH];

	if (!store_tile(&check->reader, level, index, tile))
	{
		tile_problem(check, level, index, first_entry(level + 1, index), "is missing or damaged");
		return false;
	}
	for (int i = 0; i < MERKLE_TILE_WIDTH; i++)
		merkle_frontier_add_subtree(&check->frontier, level, &tile[i], compare_tile, check);
	return true;
}

/* Adds a segment that was detached: its topmost tile must have the root that was kept. */
static bool
add_detached(LogCheck *check, int64 segment)
{
	int kept = store_kept_level(check->reader.segment_size);
	int top = store_top_level(check->reader.segment_size);
	int64 tiles = check->reader.segment_size >> ((kept + 1) * MERKLE_TILE_HEIGHT);
	MerkleHash tile[MERKLE_TILE_WIDTH];
	MerkleHash root;

	for (int64 index = segment * tiles; index < (segment + 1) * tiles; index++)
		if (!add_kept(check, kept, (uint64) index))
			return false;
	/* if it is missing, that is known by now */
	if (!store_tile(&check->reader, top, (uint64) segment, tile))
		return true;
	merkle_perfect(tile, MERKLE_TILE_WIDTH, &root);
	if (!same_hash(&root, &check->segment_roots[segment]))
		tile_problem(check, top, (uint64) segment, segment * check->reader.segment_size,
					 "its root is not the one that was kept of this detached segment");
	return true;
}

/* Adds the last entries, those in no full group; from elsewhere where one is missing. */
static bool
add_last_leaves(LogCheck *check)
{
	int64 first = check->size - check->size % MERKLE_TILE_WIDTH;
	const VerifyGroup *group = verify_leaves(check, first / MERKLE_TILE_WIDTH);

	for (int64 sequence = first; sequence < check->size; sequence++)
	{
		int place = (int) (sequence - first);
		const MerkleHash *leaf = group != NULL && (group->found >> place & 1) != 0
									 ? &group->leaves[place]
									 : recorded_leaf(check, sequence);

		if (leaf == NULL)
			return false;
		merkle_frontier_add(&check->frontier, leaf, compare_tile, check);
	}
	return true;
}

/* Computes the frontier; where entries are missing, with the hash on record. False: not possible. */
static bool
compute_frontier(LogCheck *check)
{
	int64 groups = check->size / MERKLE_TILE_WIDTH;

	merkle_frontier_init(&check->frontier);
	for (int64 segment = 0; segment < check->first / check->reader.segment_size; segment++)
		if (!add_detached(check, segment))
			return false;
	for (int64 index = check->first / MERKLE_TILE_WIDTH; index < groups; index++)
	{
		const MerkleHash *group = verify_group(check, index);
		MerkleHash recorded;

		if (index % GROUPS_BETWEEN_INTERRUPTS == 0)
			CHECK_FOR_INTERRUPTS();
		if (group == NULL && !recorded_hash(check, 1, (uint64) index, &recorded))
			return false;
		merkle_frontier_add_subtree(&check->frontier, 1, group == NULL ? &recorded : group,
									compare_tile, check);
	}
	return add_last_leaves(check);
}

void
verify_tree(LogCheck *check)
{
	judge_entries(check);
	check->computed = compute_frontier(check);
	if (check->computed)
		compare_root(check);
}

/* Whether the tree, as far as it is known without the head row, has the bytes of an entry. */
static bool
tree_has_entry(LogCheck *check, int64 sequence, const MerkleHash *leaf)
{
	int64 index = sequence / MERKLE_TILE_WIDTH;
	const MerkleHash *group;
	MerkleHash recorded;

	if (index == check->size / MERKLE_TILE_WIDTH)
		return check->edge != NULL &&
			   same_hash(&check->edge->partial[0][sequence % MERKLE_TILE_WIDTH], leaf);
	group = verify_group(check, index);
	return group != NULL && recorded_hash(check, 1, (uint64) index, &recorded) &&
		   same_hash(group, &recorded);
}

/* Compares the last entries, those in no full group, with their hashes in the head row. */
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
							   tree_has_entry(check, first + i, &leaves[i])
								   ? "entry " INT64_FORMAT ": the head row has another hash of it"
								   : "entry " INT64_FORMAT ": its bytes are not those whose hash "
									 "is in the head row",
							   first + i);
}

/* Of entries that are not there nobody can know how their transactions ended. */
static void
verify_settled(LogCheck *check)
{
	int64 entries = Max(check->size, check->highest + 1);
	LedgerSettled settled;

	store_settled(check->log->log_id, check->reader.snapshot, &settled);
	if (settled.size < 0 || settled.size > entries)
		verify_problem(check, entries,
					   "the head row says that " INT64_FORMAT " entries are settled, the ledger "
					   "has " INT64_FORMAT,
					   settled.size, entries);
}

void
verify_head(LogCheck *check)
{
	LedgerHead *head = &check->head;
	/* the worker may have written entries, and the head row with them, since the edge was read */
	int64 entries = check->edge == NULL ? check->size : Max(check->size, check->highest + 1);
	MerkleHash root;

	if (!check->has_head)
	{
		if (check->size > 0)
			verify_problem(check, check->size, "the head row is missing");
		return;
	}
	if (head->size < check->first || head->size > entries)
	{
		verify_problem(check, check->size,
					   "the head row says " INT64_FORMAT " entries, the ledger has " INT64_FORMAT,
					   head->size, check->size);
		return;
	}
	verify_settled(check);
	verify_head_tail(check);
	if (!store_root(&check->reader, head->size, &root) || !same_hash(&root, &head->root))
		verify_problem(check, head->size,
					   "the head row's root over " INT64_FORMAT " entries is not theirs",
					   head->size);
}

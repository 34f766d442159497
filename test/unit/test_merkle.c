/*
 * test_merkle.c - the tree against published roots and against the recursion
 * of RFC 9162 section 2.1.1 written down as it stands there.
 */
#include "core/merkle.h"
#include "tap.h"

#define LARGEST 1100

static MerkleHash leaves[LARGEST];

/* Tiles as a sink got them. Level 0 needs 35 of them, level 1 one. */
typedef struct Store
{
	MerkleHash tiles[3][40][MERKLE_TILE_WIDTH];
	uint64_t full[3];
	uint64_t size;
	long wrong;
	int fail_after;	  /* fetches that still succeed; negative: all */
	bool whole_only;  /* no beginning of a higher tile may be asked for */
	int pruned_level; /* tiles below this level are gone, */
	uint64_t pruned;  /* so many of level 0, counted from the first */
} Store;

static Store store;

static void
store_sink(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	Store *s = context;

	if (level > 2 || index != s->full[level] || index >= 40)
	{
		s->wrong++;
		return;
	}
	memcpy(s->tiles[level][index], hashes, sizeof(s->tiles[level][index]));
	s->full[level]++;
}

/*
 * Serves full tiles, and leaves, and the beginnings of tiles that are full by
 * now; counts whatever is malformed as wrong.
 */
static bool
store_source(int level, uint64_t index, int count, MerkleHash *hashes, void *context)
{
	Store *s = context;

	if (s->fail_after == 0)
		return false;
	s->fail_after--;
	if (count < 1 || count > MERKLE_TILE_WIDTH || level < 0 || level > 2 || index >= 40 ||
		(level > 0 && count == MERKLE_TILE_WIDTH && index >= s->full[level]) ||
		(level > 0 && s->whole_only && count != MERKLE_TILE_WIDTH) ||
		(level < s->pruned_level && index < s->pruned >> (level * MERKLE_TILE_HEIGHT)))
	{
		s->wrong++;
		return false;
	}
	if (level > 0 && index >= s->full[level])
		return false;
	if (level == 0)
		memcpy(hashes, leaves + index * MERKLE_TILE_WIDTH, (size_t) count * sizeof(*hashes));
	else
		memcpy(hashes, s->tiles[level][index], (size_t) count * sizeof(*hashes));
	return true;
}

/* MTH of RFC 9162 section 2.1.1 over leaf hashes. */
static void
reference_root(const MerkleHash *from, size_t count, MerkleHash *out)
{
	size_t split = 1;
	uint8_t bytes[1 + 2 * MERKLE_HASH_SIZE] = {1};
	MerkleHash child;

	if (count == 0)
	{
		merkle_sha256(NULL, 0, out);
		return;
	}
	if (count == 1)
	{
		*out = *from;
		return;
	}
	while (2 * split < count)
		split *= 2;
	reference_root(from, split, &child);
	memcpy(bytes + 1, child.bytes, MERKLE_HASH_SIZE);
	reference_root(from + split, count - split, &child);
	memcpy(bytes + 1 + MERKLE_HASH_SIZE, child.bytes, MERKLE_HASH_SIZE);
	merkle_sha256(bytes, sizeof(bytes), out);
}

static bool
same(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* The test tree of Certificate Transparency: eight leaves and the root after each. */
static void
check_published(void)
{
	static const char *const inputs[] = {
		"",
		"00",
		"10",
		"2021",
		"3031",
		"40414243",
		"5051525354555657",
		"606162636465666768696a6b6c6d6e6f",
	};
	static const char *const roots[] = {
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
		"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
		"aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
		"d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
		"4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
		"76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
		"ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
		"5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
	};
	MerkleFrontier frontier;
	MerkleHash hash;
	uint8_t bytes[16];

	merkle_frontier_init(&frontier);
	merkle_frontier_root(&frontier, &hash);
	tap_hex(hash.bytes, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"the root of the empty tree is SHA-256 of nothing");
	for (size_t i = 0; i < 8; i++)
	{
		merkle_leaf(bytes, tap_unhex(inputs[i], bytes), &hash);
		merkle_frontier_add(&frontier, &hash, NULL, NULL);
		merkle_frontier_root(&frontier, &hash);
		tap_hex(hash.bytes, 32, roots[i], "the published root of the test tree");
	}
}

static void
check_perfect(void)
{
	for (int count = 1; count <= MERKLE_TILE_WIDTH; count *= 2)
	{
		MerkleHash found;
		MerkleHash expected;

		merkle_perfect(leaves, count, &found);
		reference_root(leaves, (size_t) count, &expected);
		tap_ok(same(&found, &expected), "the root over %d hashes is the recursion's", count);
	}
}

/* Adds leaf by leaf; at every size the edge, the edge loaded anew and the range root agree. */
static void
check_growth(void)
{
	static MerkleFrontier frontier;
	static MerkleFrontier loaded;
	long failed = 0;
	long first = -1;

	merkle_frontier_init(&frontier);
	for (size_t size = 0; size <= LARGEST; size++)
	{
		MerkleHash expected;
		MerkleHash grown;
		MerkleHash again;
		MerkleHash ranged;
		bool fine;

		reference_root(leaves, size, &expected);
		merkle_frontier_root(&frontier, &grown);
		fine = frontier.size == size && same(&grown, &expected);
		store.whole_only = true;
		fine = fine && merkle_frontier_load(&loaded, size, store_source, &store);
		store.whole_only = false;
		merkle_frontier_root(&loaded, &again);
		fine = fine && loaded.size == size && same(&again, &expected);
		fine = fine && merkle_range_root(size, store_source, &store, &ranged);
		fine = fine && same(&ranged, &expected);
		if (!fine && failed++ == 0)
			first = (long) size;
		if (size < LARGEST)
			merkle_frontier_add(&frontier, &leaves[size], store_sink, &store);
		store.size = size + 1;
	}
	tap_all(failed, LARGEST + 1, first, "edge, loaded edge and range root are the recursion's");
	tap_number(store.wrong, 0, "tiles come in order, and only what is stored is asked for");
	tap_number((long long) store.full[0], LARGEST / 32, "all full tiles of leaves were given out");
	tap_number((long long) store.full[1], LARGEST / 1024, "and of the level above");
}

/* The roots of all smaller trees, from the tiles of the grown one. */
static void
check_subsizes(void)
{
	long failed = 0;
	long first = -1;

	for (size_t size = 0; size <= LARGEST; size++)
	{
		MerkleHash expected;
		MerkleHash ranged;

		reference_root(leaves, size, &expected);
		if ((!merkle_range_root(size, store_source, &store, &ranged) ||
			 !same(&ranged, &expected)) &&
			failed++ == 0)
			first = (long) size;
	}
	tap_all(failed, LARGEST + 1, first, "roots of earlier sizes come out of the later tiles");
}

/* An edge loaded at one size grows into the same tree as one that was never interrupted. */
static void
check_resumption(void)
{
	static const size_t stops[] = {1, 31, 32, 33, 63, 64, 1023, 1024, 1025};
	static MerkleFrontier frontier;
	MerkleHash expected;
	long failed = 0;

	reference_root(leaves, LARGEST, &expected);
	for (size_t i = 0; i < sizeof(stops) / sizeof(stops[0]); i++)
	{
		MerkleHash root;

		if (!merkle_frontier_load(&frontier, stops[i], store_source, &store))
			failed++;
		for (size_t at = stops[i]; at < LARGEST; at++)
			merkle_frontier_add(&frontier, &leaves[at], NULL, NULL);
		merkle_frontier_root(&frontier, &root);
		failed += !same(&root, &expected);
	}
	tap_all(failed, 9, -1, "a loaded edge grows into the same tree");
}

/* With the first 1024 leaves gone, but for the tile that covers them, the rest can be had. */
static void
check_pruned(void)
{
	static MerkleFrontier frontier;
	long failed = 0;
	long first = -1;
	MerkleHash expected;
	MerkleHash root;

	store.pruned_level = 1;
	store.pruned = 32;
	store.wrong = 0;
	for (size_t size = 1024; size <= LARGEST; size++)
	{
		reference_root(leaves, size, &expected);
		if ((!merkle_range_root(size, store_source, &store, &root) || !same(&root, &expected) ||
			 !merkle_frontier_load(&frontier, size, store_source, &store)) &&
			failed++ == 0)
			first = (long) size;
		merkle_frontier_root(&frontier, &root);
		failed += !same(&root, &expected);
	}
	tap_all(failed, LARGEST - 1023, first, "roots and edges beyond what was pruned");
	tap_number(store.wrong, 0, "need nothing of it but its topmost tile");
	tap_ok(!merkle_range_root(1000, store_source, &store, &root), "a size within it has no root");
	store.pruned_level = 0;
	store.wrong = 0;
}

/* Whole subtrees are added as their leaves would be. */
static void
check_subtrees(void)
{
	static MerkleFrontier frontier;
	MerkleHash expected;
	MerkleHash root;

	merkle_frontier_init(&frontier);
	for (int i = 0; i < MERKLE_TILE_WIDTH; i++)
		merkle_frontier_add_subtree(&frontier, 1, &store.tiles[1][0][i], NULL, NULL);
	tap_number((long long) frontier.size, 1024, "32 subtrees of 32 leaves");
	merkle_perfect(store.tiles[0][32], MERKLE_TILE_WIDTH, &root);
	merkle_frontier_add_subtree(&frontier, 1, &root, NULL, NULL);
	for (size_t i = 1056; i < LARGEST; i++)
		merkle_frontier_add(&frontier, &leaves[i], NULL, NULL);
	merkle_frontier_root(&frontier, &root);
	reference_root(leaves, LARGEST, &expected);
	tap_ok(same(&root, &expected), "and leaves behind them make up the same tree");
}

/* What is in no full tile is in the edge, and nothing else. */
static void
check_edge(void)
{
	static MerkleFrontier frontier;
	MerkleHash hashes[MERKLE_TILE_WIDTH];
	static const MerkleHash zero;

	/* 1100 leaves: 12 of the last tile, 2 hashes of level 1, 1 of level 2. */
	for (size_t i = 0; i < LARGEST; i++)
		merkle_frontier_add(&frontier, &leaves[i], NULL, NULL);
	tap_ok(merkle_frontier_hashes(&frontier, 0, 34, 12, hashes) &&
			   memcmp(hashes, leaves + 1088, sizeof(hashes[0]) * 12) == 0,
		   "the edge gives the last leaves");
	tap_ok(merkle_frontier_hashes(&frontier, 1, 1, 2, hashes) &&
			   memcmp(hashes, frontier.partial[1], sizeof(hashes[0]) * 2) == 0,
		   "and hashes of higher levels");
	tap_ok(merkle_frontier_hashes(&frontier, 2, 0, 1, hashes) &&
			   same(hashes, &frontier.partial[2][0]),
		   "up to the highest");
	hashes[0] = zero;
	tap_ok(!merkle_frontier_hashes(&frontier, 0, 34, 13, hashes) &&
			   !merkle_frontier_hashes(&frontier, 0, 33, 12, hashes) &&
			   !merkle_frontier_hashes(&frontier, 1, 0, 2, hashes) &&
			   !merkle_frontier_hashes(&frontier, 3, 0, 1, hashes) &&
			   !merkle_frontier_hashes(&frontier, -1, 0, 1, hashes) &&
			   !merkle_frontier_hashes(&frontier, MERKLE_MAX_TILE_LEVELS, 0, 1, hashes) &&
			   !merkle_frontier_hashes(&frontier, 0, 34, 0, hashes) && same(hashes, &zero),
		   "no more than it has, and of no other tile");
}

static void
check_failures(void)
{
	static MerkleFrontier frontier;
	static const MerkleFrontier empty;
	static const MerkleHash zero;
	MerkleHash root;
	long failed = 0;
	long total = 0;

	/* 1100 leaves: 12 of the last tile, 2 tiles of the second level, 32 under the third. */
	for (int fetches = 0; fetches < 4; fetches++)
	{
		total++;
		store.fail_after = fetches;
		memset(&frontier, 0xee, sizeof(frontier));
		failed += merkle_frontier_load(&frontier, LARGEST, store_source, &store);
		failed += memcmp(&frontier, &empty, sizeof(empty)) != 0;
		store.fail_after = fetches;
		memset(&root, 0xee, sizeof(root));
		failed += merkle_range_root(LARGEST, store_source, &store, &root);
		failed += !same(&root, &zero);
	}
	store.fail_after = -1;
	tap_all(failed, total, -1, "when the source fails, nothing is left behind");
	tap_ok(!merkle_range_root((uint64_t) 1 << 60, store_source, &store, &root),
		   "a tree of 2^60 leaves is refused");
	tap_ok(!merkle_frontier_load(&frontier, (uint64_t) 1 << 60, store_source, &store),
		   "and its edge");
}

int
main(void)
{
	store.fail_after = -1;
	for (size_t i = 0; i < LARGEST; i++)
		merkle_leaf(&i, sizeof(i), &leaves[i]);
	check_published();
	check_perfect();
	check_growth();
	check_subsizes();
	check_resumption();
	check_pruned();
	check_subtrees();
	check_edge();
	check_failures();
	return tap_done();
}

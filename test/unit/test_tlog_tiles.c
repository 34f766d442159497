/*
 * test_tlog_tiles.c - paths, bundles and 256-wide tiles of c2sp.org/tlog-tiles.
 */
#include "core/tlog_tiles.h"
#include "tap.h"

#define LARGEST 70000

static MerkleHash leaves[LARGEST];
static TlogFrontier edge;

/* Tiles as a sink got them: 273 of level 0, one of level 1. */
typedef struct Store
{
	MerkleHash tiles[2][300][TLOG_TILE_WIDTH];
	uint64_t full[2];
	long wrong;
	bool broken;
} Store;

static Store store;

static bool
store_sink(int level, uint64_t index, const MerkleHash *hashes, void *context)
{
	Store *s = context;

	if (s->broken)
		return false;
	if (level > 1 || index != s->full[level] || index >= 300)
	{
		s->wrong++;
		return false;
	}
	memcpy(s->tiles[level][index], hashes, sizeof(s->tiles[level][index]));
	s->full[level]++;
	return true;
}

static bool
same(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void
check_path(int level, uint64_t index, int width, const char *expected)
{
	char path[TLOG_PATH_MAX];

	memset(path, 'z', sizeof(path));
	tlog_path(level, index, width, path);
	if (!tap_ok(strcmp(path, expected) == 0, "%s", expected))
		printf("# found %.64s\n", path);
}

static void
check_paths(void)
{
	check_path(0, 0, 256, "tile/0/000");
	check_path(0, 999, 256, "tile/0/999");
	check_path(0, 1000, 256, "tile/0/x001/000");
	check_path(0, 1234067, 256, "tile/0/x001/x234/067");
	check_path(1, 1000000, 17, "tile/1/x001/x000/000.p/17");
	check_path(7, 5, 1, "tile/7/005.p/1");
	check_path(TLOG_ENTRIES, 273, 112, "tile/entries/273.p/112");
	check_path(TLOG_ENTRIES, 1234, 256, "tile/entries/x001/234");
	check_path(TLOG_ENTRIES, UINT64_MAX, 255,
			   "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255");
}

static void
check_bundles(void)
{
	static uint8_t largest[65536];
	static uint8_t bundle[3 * 65536];
	size_t at = 0;
	size_t length;
	const uint8_t *entry;

	memset(largest, 7, sizeof(largest));
	tap_number(tlog_bundle_add(bundle, sizeof(bundle), &at, "abc", 3), CORE_OK,
			   "an entry goes into a bundle");
	tap_hex(bundle, at, "0003616263", "after its length, big-endian");
	tap_number(tlog_bundle_add(bundle, sizeof(bundle), &at, NULL, 0), CORE_OK, "an empty entry");
	tap_number(tlog_bundle_add(bundle, sizeof(bundle), &at, largest, 65535), CORE_OK,
			   "and the largest one");
	tap_number((long long) at, 5 + 2 + 65537, "each with its two bytes");
	tap_number(tlog_bundle_add(bundle, sizeof(bundle), &at, largest, 65536), CORE_TOO_SMALL,
			   "larger than 65535 bytes does not go in");
	tap_number(tlog_bundle_add(bundle, at + 4, &at, "abc", 3), CORE_TOO_SMALL,
			   "nor more than there is room for");
	tap_number(tlog_bundle_add(bundle, at + 1, &at, "", 0), CORE_TOO_SMALL,
			   "not even half a length");
	tap_number(tlog_bundle_add(bundle, at - 1, &at, "", 0), CORE_TOO_SMALL,
			   "nothing goes behind the end");
	tap_number((long long) at, 5 + 2 + 65537, "and nothing is written then");

	length = at;
	at = 0;
	tap_ok(tlog_bundle_next(bundle, 5 + 2 + 65537, &at, &entry, &length) == CORE_OK &&
			   length == 3 && memcmp(entry, "abc", 3) == 0,
		   "the entry comes out again");
	tap_ok(tlog_bundle_next(bundle, 5 + 2 + 65537, &at, &entry, &length) == CORE_OK &&
			   length == 0 && entry != NULL,
		   "an empty entry is not the end");
	tap_ok(tlog_bundle_next(bundle, 5 + 2 + 65537, &at, &entry, &length) == CORE_OK &&
			   length == 65535 && memcmp(entry, largest, length) == 0,
		   "the largest one");
	tap_ok(tlog_bundle_next(bundle, 5 + 2 + 65537, &at, &entry, &length) == CORE_OK &&
			   entry == NULL && length == 0,
		   "and then the end");
	at = 5 + 2 + 65538;
	tap_number(tlog_bundle_next(bundle, 5 + 2 + 65537, &at, &entry, &length), CORE_TRUNCATED,
			   "nothing is read behind the end");
}

/* Cut anywhere but between entries, a bundle says so, and is not read beyond its end. */
static void
check_cut_bundles(void)
{
	static const uint8_t whole[] = {0, 1, 'a', 0, 0, 0, 3, 'b', 'c', 'd'};
	long failed = 0;

	for (size_t length = 0; length <= sizeof(whole); length++)
	{
		uint8_t *copy = tap_copy(whole, length);
		bool between = length == 0 || length == 3 || length == 5 || length == 10;
		size_t at = 0;
		const uint8_t *entry;
		size_t entry_length;
		CoreStatus status;

		do
			status = tlog_bundle_next(copy, length, &at, &entry, &entry_length);
		while (status == CORE_OK && entry != NULL);
		failed +=
			status != (between ? CORE_OK : CORE_TRUNCATED) || entry != NULL || entry_length != 0;
		free(copy);
	}
	tap_all(failed, sizeof(whole) + 1, -1, "a bundle that is cut short is noticed");
}

/* The example of the specification: a tree of 70,000. */
static void
check_growth(void)
{
	static MerkleFrontier other;
	long failed = 0;
	long first = -1;

	for (size_t size = 0; size < LARGEST; size++)
	{
		MerkleHash root;
		MerkleHash expected;

		merkle_frontier_root(&other, &expected);
		tlog_frontier_root(&edge, &root);
		if ((!same(&root, &expected) || edge.size != size) && failed++ == 0)
			first = (long) size;
		merkle_frontier_add(&other, &leaves[size], NULL, NULL);
		failed += !tlog_frontier_add(&edge, &leaves[size], store_sink, &store);
	}
	tap_all(failed, LARGEST, first, "roots are those of the narrower tiles, at every size");
	tap_number(store.wrong, 0, "tiles come in order");
	tap_number((long long) store.full[0], 273, "a tree of 70,000 has 273 full tiles of leaves");
	tap_number(tlog_partial_count(LARGEST, 0), 112, "one partial tile, of width 112");
	tap_number((long long) store.full[1], 1, "one full tile of level 1");
	tap_number(tlog_partial_count(LARGEST, 1), 17, "one partial, of width 17");
	tap_number(tlog_partial_count(LARGEST, 2), 1, "and one partial tile of level 2, of width 1");
	tap_number(tlog_partial_count(LARGEST, 3), 0, "that is all");
	tap_number(tlog_partial_count(256, 0), 0, "256 entries leave nothing at level 0");
	tap_number(tlog_partial_count(256, 1), 1, "and one hash at level 1");
	tap_number(tlog_partial_count(UINT64_MAX, 7), 255, "the largest tree has eight levels");
	tap_number(tlog_partial_count(UINT64_MAX, 8), 0, "and no ninth");
	tap_number(tlog_partial_count(UINT64_MAX, -1), 0, "and none below its leaves");
}

/* Each hash of a tile is what the specification says it is. */
static void
check_contents(void)
{
	long failed = 0;

	for (size_t tile = 0; tile < store.full[0]; tile++)
		failed += memcmp(store.tiles[0][tile], leaves + tile * TLOG_TILE_WIDTH,
						 sizeof(store.tiles[0][tile])) != 0;
	tap_all(failed, (long) store.full[0], -1, "tiles of level 0 hold the leaf hashes");
	failed = 0;
	for (size_t i = 0; i < TLOG_TILE_WIDTH; i++)
	{
		static MerkleFrontier part;
		MerkleHash root;

		merkle_frontier_init(&part);
		for (size_t j = 0; j < TLOG_TILE_WIDTH; j++)
			merkle_frontier_add(&part, &leaves[i * TLOG_TILE_WIDTH + j], NULL, NULL);
		merkle_frontier_root(&part, &root);
		failed += !same(&root, &store.tiles[1][0][i]);
	}
	tap_all(failed, TLOG_TILE_WIDTH, -1, "tiles of level 1 hold the roots of full tiles below");
}

static void
check_sink_failure(void)
{
	static TlogFrontier frontier;
	static MerkleFrontier other;
	MerkleHash root;
	MerkleHash expected;
	bool grown = true;

	store.full[0] = store.full[1] = 0;
	for (size_t i = 0; i < 256; i++)
		merkle_frontier_add(&other, &leaves[i], NULL, NULL);
	for (size_t i = 0; i < 255; i++)
		grown = grown && tlog_frontier_add(&frontier, &leaves[i], store_sink, &store);
	tap_ok(grown && store.full[0] == 0, "no tile is full before its 256th hash");
	store.broken = true;
	tap_ok(!tlog_frontier_add(&frontier, &leaves[255], store_sink, &store) && frontier.size == 255,
		   "the tree does not grow when its tile cannot be kept");
	store.broken = false;
	tap_ok(tlog_frontier_add(&frontier, &leaves[255], store_sink, &store) && store.full[0] == 1,
		   "the same leaf can be added again");
	merkle_frontier_root(&other, &expected);
	tlog_frontier_root(&frontier, &root);
	tap_ok(same(&root, &expected), "and the tree is what it should be");
}

int
main(void)
{
	for (size_t i = 0; i < LARGEST; i++)
		merkle_leaf(&i, sizeof(i), &leaves[i]);
	check_paths();
	check_bundles();
	check_cut_bundles();
	check_growth();
	check_contents();
	check_sink_failure();
	return tap_done();
}

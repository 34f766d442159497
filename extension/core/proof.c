/*
 * proof.c - proofs of RFC 9162, sections 2.1.3 and 2.1.4.
 *
 * Both kinds are made by one descent from the root towards a leaf, noting the
 * subtree that is left aside at each fork. What is left aside is either a
 * perfect subtree, whose hash comes out of the one tile that it lies in, or
 * the tree's right edge, which is made of perfect subtrees in tiles that are
 * not full. Where the source has no more than full tiles, each hash of such a
 * tile is computed from the full tile below it: 31 fetches instead of one.
 */
#include "core/proof.h"

#include <string.h>

#define TILE_MASK ((uint64_t) MERKLE_TILE_WIDTH - 1)
#define PROOF_MAX_SIZE ((uint64_t) 1 << (MERKLE_MAX_TILE_LEVELS * MERKLE_TILE_HEIGHT))

/*
 * Hashes of one tile level that were fetched or computed for a proof, so that
 * nothing is fetched twice: the full tile on the way to the leaf, and those
 * hashes of the tile that is not full that were needed.
 */
typedef struct ProofLevel
{
	bool have_path;
	bool asked_edge;	/* whether the source was asked for all of edge */
	uint32_t have_edge; /* a bit for each hash of edge */
	MerkleHash path[MERKLE_TILE_WIDTH];
	MerkleHash edge[MERKLE_TILE_WIDTH];
} ProofLevel;

typedef struct ProofMaker
{
	uint64_t size;
	uint64_t target; /* the leaf that the descent goes to */
	MerkleTileSource source;
	void *context;
	ProofLevel levels[MERKLE_MAX_TILE_LEVELS];
} ProofMaker;

static void
maker_init(ProofMaker *maker, uint64_t size, uint64_t target, MerkleTileSource source,
		   void *context)
{
	maker->size = size;
	maker->target = target;
	maker->source = source;
	maker->context = context;
	for (int level = 0; level < MERKLE_MAX_TILE_LEVELS; level++)
	{
		maker->levels[level].have_path = false;
		maker->levels[level].asked_edge = false;
		maker->levels[level].have_edge = 0;
	}
}

/* Tells whether a tile is full in the tree. */
static bool
is_full(const ProofMaker *maker, int level, uint64_t index)
{
	return index < maker->size >> (level * MERKLE_TILE_HEIGHT) >> MERKLE_TILE_HEIGHT;
}

/* Gives a full tile: that on the way to the leaf is kept, another one goes to scratch. */
static const MerkleHash *
full_tile(ProofMaker *maker, int level, uint64_t index, MerkleHash *scratch)
{
	ProofLevel *l = &maker->levels[level];
	bool on_path = index == maker->target >> (level * MERKLE_TILE_HEIGHT) >> MERKLE_TILE_HEIGHT;
	MerkleHash *into = on_path ? l->path : scratch;

	if (on_path && l->have_path)
		return into;
	if (!maker->source(level, index, MERKLE_TILE_WIDTH, into, maker->context))
		return NULL;
	l->have_path |= on_path;
	return into;
}

/* Asks the source for a level's edge, once. */
static void
ask_for_edge(ProofMaker *maker, int level)
{
	ProofLevel *l = &maker->levels[level];
	uint64_t hashes = maker->size >> (level * MERKLE_TILE_HEIGHT);

	if (l->asked_edge)
		return;
	l->asked_edge = true;
	if (maker->source(level, hashes >> MERKLE_TILE_HEIGHT, (int) (hashes & TILE_MASK), l->edge,
					  maker->context))
		l->have_edge = UINT32_MAX;
}

/* Sees to it that count hashes from first on are in a level's edge. */
static bool
fill_edge(ProofMaker *maker, int level, int first, int count)
{
	ProofLevel *l = &maker->levels[level];
	uint64_t tile = maker->size >> (level * MERKLE_TILE_HEIGHT) >> MERKLE_TILE_HEIGHT;

	ask_for_edge(maker, level);
	for (int i = first; i < first + count; i++)
	{
		MerkleHash scratch[MERKLE_TILE_WIDTH];
		const MerkleHash *child;

		if (l->have_edge >> i & 1)
			continue;
		/* Without the last leaves there is no proof: nothing is below them. */
		if (level == 0)
			return false;
		child = full_tile(maker, level - 1, (tile << MERKLE_TILE_HEIGHT) + (uint64_t) i, scratch);
		if (child == NULL)
			return false;
		merkle_perfect(child, MERKLE_TILE_WIDTH, &l->edge[i]);
		l->have_edge |= (uint32_t) 1 << i;
	}
	return true;
}

/* The root of perfect subtree number index of 2^height leaves. */
static bool
perfect_root(ProofMaker *maker, int height, uint64_t index, MerkleHash *out)
{
	int level = height / MERKLE_TILE_HEIGHT;
	int count = 1 << height % MERKLE_TILE_HEIGHT;
	uint64_t tile = index * (uint64_t) count >> MERKLE_TILE_HEIGHT;
	int first = (int) (index * (uint64_t) count & TILE_MASK);
	const MerkleHash *hashes;
	MerkleHash scratch[MERKLE_TILE_WIDTH];

	if (is_full(maker, level, tile))
		hashes = full_tile(maker, level, tile, scratch);
	else
		hashes = fill_edge(maker, level, first, count) ? maker->levels[level].edge : NULL;
	if (hashes == NULL)
		return false;
	merkle_perfect(hashes + first, count, out);
	return true;
}

/* The number of leaves of the larger part of a tree, the left one, as height: 2^height < count. */
static int
split_height(uint64_t count)
{
	return 63 - __builtin_clzll(count - 1);
}

/*
 * The root of leaves begin to end - 1: one perfect subtree, or the tree's
 * right edge, whose perfect subtrees are gathered from the right, the smallest.
 */
static bool
range_root(ProofMaker *maker, uint64_t begin, uint64_t end, MerkleHash *out)
{
	bool any = false;

	while (end > begin)
	{
		int fits = 63 - __builtin_clzll(end - begin);
		int aligned = __builtin_ctzll(end);
		int height = aligned < fits ? aligned : fits;
		MerkleHash subtree;

		if (!perfect_root(maker, height, (end >> height) - 1, &subtree))
			return false;
		if (any)
			merkle_node(&subtree, out, out);
		else
			*out = subtree;
		any = true;
		end -= (uint64_t) 1 << height;
	}
	return any;
}

/*
 * Descends towards the target as long as the subtree reaches beyond stop, and
 * notes what is left aside: the highest first, so the proof is its reverse. A
 * stop beyond the target's leaf is where a smaller tree ends; then the subtree
 * that was arrived at is a part of the proof too, unless it is all of that tree.
 */
static bool
descend(ProofMaker *maker, uint64_t stop, bool with_last, Proof *proof)
{
	uint64_t begin = 0;
	uint64_t end = maker->size;

	while (end > stop || (!with_last && end - begin > 1))
	{
		uint64_t middle = begin + ((uint64_t) 1 << split_height(end - begin));
		bool left = maker->target < middle;

		if (!range_root(maker, left ? middle : begin, left ? end : middle,
						&proof->hashes[proof->count]))
			return false;
		proof->count++;
		if (left)
			end = middle;
		else
			begin = middle;
	}
	if (with_last && begin > 0)
		return range_root(maker, begin, end, &proof->hashes[proof->count++]);
	return true;
}

static void
reverse(Proof *proof)
{
	for (int low = 0, high = proof->count - 1; low < high; low++, high--)
	{
		MerkleHash kept = proof->hashes[low];

		proof->hashes[low] = proof->hashes[high];
		proof->hashes[high] = kept;
	}
}

/* Makes a proof, or leaves an empty one. */
static bool
make_proof(ProofMaker *maker, uint64_t stop, bool with_last, Proof *proof)
{
	if (!descend(maker, stop, with_last, proof))
	{
		memset(proof, 0, sizeof(*proof));
		return false;
	}
	reverse(proof);
	return true;
}

bool
proof_inclusion(uint64_t index, uint64_t size, MerkleTileSource source, void *context, Proof *proof)
{
	ProofMaker maker;

	memset(proof, 0, sizeof(*proof));
	if (index >= size || size >= PROOF_MAX_SIZE)
		return false;
	maker_init(&maker, size, index, source, context);
	return make_proof(&maker, index + 1, false, proof);
}

bool
proof_consistency(uint64_t old_size, uint64_t size, MerkleTileSource source, void *context,
				  Proof *proof)
{
	ProofMaker maker;

	memset(proof, 0, sizeof(*proof));
	if (old_size > size || size >= PROOF_MAX_SIZE)
		return false;
	if (old_size == 0 || old_size == size)
		return true;
	maker_init(&maker, size, old_size - 1, source, context);
	return make_proof(&maker, old_size, true, proof);
}

static bool
same_hash(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a->bytes, b->bytes, MERKLE_HASH_SIZE) == 0;
}

/* Goes up from a node that is its parent's right child, or the last, to where it is one no more. */
static void
climb(uint64_t *node, uint64_t *last)
{
	while ((*node & 1) == 0 && *node != 0)
	{
		*node >>= 1;
		*last >>= 1;
	}
}

CoreStatus
proof_verify_inclusion(const MerkleHash *leaf, uint64_t index, uint64_t size,
					   const MerkleHash *hashes, int count, const MerkleHash *root)
{
	uint64_t node = index;
	uint64_t last = size - 1;
	MerkleHash hash = *leaf;

	if (index >= size || count < 0)
		return CORE_MALFORMED;
	for (int i = 0; i < count; i++)
	{
		if (last == 0)
			return CORE_NOT_AUTHENTIC;
		if ((node & 1) != 0 || node == last)
		{
			merkle_node(&hashes[i], &hash, &hash);
			climb(&node, &last);
		}
		else
			merkle_node(&hash, &hashes[i], &hash);
		node >>= 1;
		last >>= 1;
	}
	return last == 0 && same_hash(&hash, root) ? CORE_OK : CORE_NOT_AUTHENTIC;
}

/* What needs no path: equal sizes, or a beginning of nothing, whose root is known. */
static CoreStatus
verify_without_path(uint64_t old_size, uint64_t size, int count, const MerkleHash *old_root,
					const MerkleHash *root)
{
	MerkleHash nothing;

	merkle_sha256("", 0, &nothing);
	if (count != 0 || (old_size == 0 && !same_hash(old_root, &nothing)) ||
		(old_size == size && !same_hash(old_root, root)))
		return CORE_NOT_AUTHENTIC;
	return CORE_OK;
}

CoreStatus
proof_verify_consistency(uint64_t old_size, uint64_t size, const MerkleHash *hashes, int count,
						 const MerkleHash *old_root, const MerkleHash *root)
{
	uint64_t node = old_size - 1;
	uint64_t last = size - 1;
	bool whole = (old_size & (old_size - 1)) == 0; /* then its root is where the path begins */
	MerkleHash old_hash;
	MerkleHash hash;

	if (old_size > size || count < 0)
		return CORE_MALFORMED;
	if (old_size == 0 || old_size == size)
		return verify_without_path(old_size, size, count, old_root, root);
	if (count == 0)
		return CORE_NOT_AUTHENTIC;
	while ((node & 1) != 0)
	{
		node >>= 1;
		last >>= 1;
	}
	old_hash = hash = whole ? *old_root : hashes[0];
	for (int i = whole ? 0 : 1; i < count; i++)
	{
		if (last == 0)
			return CORE_NOT_AUTHENTIC;
		if ((node & 1) != 0 || node == last)
		{
			merkle_node(&hashes[i], &old_hash, &old_hash);
			merkle_node(&hashes[i], &hash, &hash);
			climb(&node, &last);
		}
		else
			merkle_node(&hash, &hashes[i], &hash);
		node >>= 1;
		last >>= 1;
	}
	return last == 0 && same_hash(&old_hash, old_root) && same_hash(&hash, root)
			   ? CORE_OK
			   : CORE_NOT_AUTHENTIC;
}

/*
 * test_proof.c - proofs against the recursions of RFC 9162, sections 2.1.3.1
 * and 2.1.4.1, written down as they stand there; how few tiles they take; and
 * that nothing else verifies.
 */
#include "core/proof.h"
#include "tap.h"

/* Beyond 32^4, so that tiles of level 3 get full. */
#define LARGEST 1100000
#define SMALL 300
#define HEIGHTS 21

/* heights[h][i] is the root of the i-th 2^h leaves. */
static MerkleHash *heights[HEIGHTS];

/*
 * A log of size leaves, of which segments of 2^segment_height leaves before
 * minimum are detached: of them only the topmost tiles are left.
 */
typedef struct Log
{
	uint64_t size;
	uint64_t minimum;
	int segment_height;
	bool has_edge;	/* whether it gives incomplete tiles of higher levels */
	int fail_after; /* fetches that still succeed; negative: all */
	long fetches;
	long most;	/* fetches of one proof */
	long wrong; /* asked for what is not there */
	long twice; /* asked for the same again */
	int count;
	uint64_t seen[1000];
} Log;

static Log whole = {LARGEST, 0, 10, false, -1, 0, 0, 0, 0, 0, {0}};

static bool
log_source(int level, uint64_t index, int count, MerkleHash *hashes, void *context)
{
	Log *log = context;
	uint64_t last = level < 0 || level > 4 ? 0 : (index + 1) << (5 * (level + 1));
	uint64_t name = index * 16 + (uint64_t) level;

	for (int i = 0; i < log->count; i++)
		log->twice += log->seen[i] == name;
	if (log->count < 1000)
		log->seen[log->count++] = name;
	log->fetches++;
	if (log->fail_after == 0)
		return false;
	log->fail_after--;
	if (level < 0 || level > 4 || count < 1 || count > MERKLE_TILE_WIDTH ||
		((index * MERKLE_TILE_WIDTH + (uint64_t) count) << (5 * level)) > log->size)
	{
		log->wrong++;
		return false;
	}
	if (level > 0 && count < MERKLE_TILE_WIDTH && !log->has_edge)
		return false;
	if (last <= log->minimum && level < log->segment_height / 5 - 1)
		return false;
	memcpy(hashes, heights[5 * level] + index * MERKLE_TILE_WIDTH,
		   (size_t) count * sizeof(*hashes));
	return true;
}

static bool
make_inclusion(uint64_t index, uint64_t size, Log *log, Proof *proof)
{
	long before = log->fetches;
	bool made;

	log->size = size;
	log->count = 0;
	made = proof_inclusion(index, size, log_source, log, proof);
	if (log->fetches - before > log->most)
		log->most = log->fetches - before;
	return made;
}

static bool
make_consistency(uint64_t old_size, uint64_t size, Log *log, Proof *proof)
{
	long before = log->fetches;
	bool made;

	log->size = size;
	log->count = 0;
	made = proof_consistency(old_size, size, log_source, log, proof);
	if (log->fetches - before > log->most)
		log->most = log->fetches - before;
	return made;
}

static bool
same(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static uint64_t
split(uint64_t count)
{
	uint64_t k = 1;

	while (2 * k < count)
		k *= 2;
	return k;
}

/* Section 2.1.1, the hash over D[begin:end]; what is perfect was computed before. */
static void
mth(uint64_t begin, uint64_t end, MerkleHash *out)
{
	uint64_t count = end - begin;
	uint64_t k;
	MerkleHash right;

	if (count == 0)
	{
		merkle_sha256("", 0, out);
		return;
	}
	if ((count & (count - 1)) == 0 && begin % count == 0)
	{
		int height = __builtin_ctzll(count);

		*out = heights[height][begin >> height];
		return;
	}
	k = split(count);
	mth(begin, begin + k, out);
	mth(begin + k, end, &right);
	merkle_node(out, &right, out);
}

/* Section 2.1.3.1, its path of leaf m among D[begin:end]. */
static void
path(uint64_t m, uint64_t begin, uint64_t end, Proof *proof)
{
	uint64_t k;

	if (end - begin == 1)
		return;
	k = split(end - begin);
	if (m < k)
	{
		path(m, begin, begin + k, proof);
		mth(begin + k, end, &proof->hashes[proof->count++]);
	}
	else
	{
		path(m - k, begin + k, end, proof);
		mth(begin, begin + k, &proof->hashes[proof->count++]);
	}
}

/* Section 2.1.4.1, its subproof of m leaves among D[begin:end]; b: whether they are all of a tree. */
static void
subproof(uint64_t m, uint64_t begin, uint64_t end, bool b, Proof *proof)
{
	uint64_t k;

	if (m == end - begin)
	{
		if (!b)
			mth(begin, end, &proof->hashes[proof->count++]);
		return;
	}
	k = split(end - begin);
	if (m <= k)
	{
		subproof(m, begin, begin + k, b, proof);
		mth(begin + k, end, &proof->hashes[proof->count++]);
	}
	else
	{
		subproof(m - k, begin + k, end, false, proof);
		mth(begin, begin + k, &proof->hashes[proof->count++]);
	}
}

static bool
same_proof(const Proof *a, const Proof *b)
{
	return a->count == b->count &&
		   memcmp(a->hashes, b->hashes, (size_t) a->count * sizeof(a->hashes[0])) == 0;
}

/* Makes, compares and verifies one inclusion proof. */
static bool
inclusion_holds(uint64_t index, uint64_t size, Log *log)
{
	static Proof made;
	static Proof expected;
	MerkleHash root;

	expected.count = 0;
	path(index, 0, size, &expected);
	mth(0, size, &root);
	return make_inclusion(index, size, log, &made) && same_proof(&made, &expected) &&
		   proof_verify_inclusion(&heights[0][index], index, size, made.hashes, made.count,
								  &root) == CORE_OK;
}

static bool
consistency_holds(uint64_t old_size, uint64_t size, Log *log)
{
	static Proof made;
	static Proof expected;
	MerkleHash old_root;
	MerkleHash root;

	expected.count = 0;
	if (old_size > 0 && old_size < size)
		subproof(old_size, 0, size, true, &expected);
	mth(0, old_size, &old_root);
	mth(0, size, &root);
	return make_consistency(old_size, size, log, &made) && same_proof(&made, &expected) &&
		   proof_verify_consistency(old_size, size, made.hashes, made.count, &old_root, &root) ==
			   CORE_OK;
}

/* The examples of section 2.1.5: which nodes of its drawing prove what. */
static void
check_published(void)
{
	static const struct
	{
		bool inclusion;
		uint64_t of;
		int count;
		int nodes[4][2]; /* begin and end of each node's leaves */
		const char *name;
	} examples[] = {
		{true, 0, 3, {{1, 2}, {2, 4}, {4, 7}}, "the inclusion proof for d0 is [b, h, l]"},
		{true, 3, 3, {{2, 3}, {0, 2}, {4, 7}}, "the inclusion proof for d3 is [c, g, l]"},
		{true, 4, 3, {{5, 6}, {6, 7}, {0, 4}}, "the inclusion proof for d4 is [f, j, k]"},
		{true, 6, 2, {{4, 6}, {0, 4}}, "the inclusion proof for d6 is [i, k]"},
		{false, 3, 4, {{2, 3}, {3, 4}, {0, 2}, {4, 7}}, "of hash0 it is [c, d, g, l]"},
		{false, 4, 1, {{4, 7}}, "the consistency proof of hash1 is [l]"},
		{false, 6, 3, {{4, 6}, {6, 7}, {0, 4}}, "of hash2 it is [i, j, k]"},
	};

	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
	{
		static Proof proof;
		bool fine = examples[i].inclusion ? make_inclusion(examples[i].of, 7, &whole, &proof)
										  : make_consistency(examples[i].of, 7, &whole, &proof);

		fine = fine && proof.count == examples[i].count;
		for (int j = 0; fine && j < proof.count; j++)
		{
			MerkleHash node;

			mth((uint64_t) examples[i].nodes[j][0], (uint64_t) examples[i].nodes[j][1], &node);
			fine = same(&node, &proof.hashes[j]);
		}
		tap_ok(fine, "%s", examples[i].name);
	}
}

static void
check_small(void)
{
	long inclusions = 0;
	long consistencies = 0;
	long failed[2] = {0, 0};
	long first[2] = {-1, -1};

	for (uint64_t size = 0; size <= SMALL; size++)
	{
		for (uint64_t index = 0; index < size; index++)
		{
			inclusions++;
			if (!inclusion_holds(index, size, &whole) && failed[0]++ == 0)
				first[0] = (long) size;
		}
		for (uint64_t old_size = 0; old_size <= size; old_size++)
		{
			consistencies++;
			if (!consistency_holds(old_size, size, &whole) && failed[1]++ == 0)
				first[1] = (long) size;
		}
	}
	tap_all(failed[0], inclusions, first[0], "every entry of every small tree");
	tap_all(failed[1], consistencies, first[1], "every pair of small trees");
}

/* Sizes where tiles of some level have just got full, or are about to. */
static uint64_t
some_size(void)
{
	uint64_t size = tap_random() % LARGEST + 1;

	if (tap_random() % 4 == 0)
		size = ((uint64_t) 1 << (tap_random() % 20 + 1)) + tap_random() % 3 - 1;
	if (tap_random() % 4 == 0)
		size = (size >> 10 << 10) + tap_random() % 3;
	return size > 0 && size <= LARGEST ? size : LARGEST;
}

/* most: fetches that a proof may take. */
static void
check_large(bool has_edge, long most)
{
	Log log = whole;
	long failed = 0;

	log.has_edge = has_edge;
	log.most = 0;
	for (int i = 0; i < 1000; i++)
	{
		uint64_t size = some_size();

		failed += !inclusion_holds(tap_random() % size, size, &log);
		failed += !inclusion_holds(size - 1, size, &log);
		failed += !consistency_holds(some_size() % (size + 1), size, &log);
	}
	tap_all(failed, 3000, -1, "entries and beginnings of trees of any size");
	tap_number(whole.wrong + log.wrong, 0, "only what the tree has is asked for");
	tap_number(whole.twice + log.twice, 0, "no proof asks for a tile twice");
	tap_ok(log.most <= most, "no proof takes more than %ld fetches", most);
}

/* Every proof that is about what is left, and false for what is not. */
static void
check_detached(int segment_height, uint64_t segments, uint64_t size)
{
	uint64_t width = (uint64_t) 1 << segment_height;
	uint64_t minimum = segments * width;
	Log log = {size, minimum, segment_height, false, -1, 0, 0, 0, 0, 0, {0}};
	static Proof proof;
	static const Proof none;
	long failed = 0;
	long total = 0;

	for (int i = 0; i < 300; i++)
	{
		uint64_t within = minimum + tap_random() % (size - minimum);
		uint64_t at = within + 1 + tap_random() % (size - within);

		total += 5;
		failed += !inclusion_holds(within, at, &log);
		failed += !consistency_holds(within, at, &log);
		failed += !consistency_holds(minimum, at, &log);
		/* The border between two detached segments is the edge of a tile that is left. */
		failed += !consistency_holds(tap_random() % segments * width, at, &log);
		memset(&proof, 0xee, sizeof(proof));
		failed += make_inclusion(tap_random() % minimum, at, &log, &proof) ||
				  memcmp(&proof, &none, sizeof(none)) != 0;
	}
	tap_all(failed, total, -1, "with detached segments, all that is left can be proved");
	tap_number(log.wrong + log.twice, 0, "and what is left is asked for as ever");
}

/* Tries a proof that was tampered with; true when it is refused. */
static bool
refused(bool inclusion, uint64_t of, uint64_t size, const Proof *proof, const MerkleHash *small,
		const MerkleHash *root)
{
	CoreStatus status =
		inclusion ? proof_verify_inclusion(small, of, size, proof->hashes, proof->count, root)
				  : proof_verify_consistency(of, size, proof->hashes, proof->count, small, root);

	return status == CORE_NOT_AUTHENTIC;
}

static void
flip(MerkleHash *hash)
{
	hash->bytes[tap_random() % MERKLE_HASH_SIZE] ^= (uint8_t) (1 << tap_random() % 8);
}

/* Every single change to a proof, or to what it proves, that should be noticed. */
static long
count_accepted(bool inclusion, uint64_t of, uint64_t size, long *total)
{
	static Proof proof;
	static Proof bad;
	MerkleHash small;
	MerkleHash root;
	MerkleHash other;
	long accepted = 0;

	proof.count = 0;
	mth(0, size, &root);
	if (inclusion)
	{
		path(of, 0, size, &proof);
		small = heights[0][of];
	}
	else
	{
		subproof(of, 0, size, true, &proof);
		mth(0, of, &small);
	}
	for (int i = 0; i < proof.count; i++)
	{
		bad = proof;
		flip(&bad.hashes[i]);
		accepted += !refused(inclusion, of, size, &bad, &small, &root);
		bad = proof;
		bad.count--;
		memmove(&bad.hashes[i], &bad.hashes[i + 1],
				(size_t) (proof.count - i - 1) * sizeof(bad.hashes[0]));
		accepted += !refused(inclusion, of, size, &bad, &small, &root);
		bad = proof;
		bad.count++;
		memmove(&bad.hashes[i + 1], &bad.hashes[i],
				(size_t) (proof.count - i) * sizeof(bad.hashes[0]));
		accepted += !refused(inclusion, of, size, &bad, &small, &root);
		*total += 3;
	}
	bad = proof;
	bad.hashes[bad.count++] = root;
	accepted += !refused(inclusion, of, size, &bad, &small, &root);
	other = small;
	flip(&other);
	accepted += !refused(inclusion, of, size, &proof, &other, &root);
	other = root;
	flip(&other);
	accepted += !refused(inclusion, of, size, &proof, &small, &other);
	*total += 3;
	return accepted;
}

static void
check_tampered(void)
{
	long accepted = 0;
	long total = 0;
	long moved = 0;
	long moves = 0;

	for (uint64_t size = 1; size <= 50; size++)
	{
		for (uint64_t of = 0; of < size; of++)
		{
			static Proof proof;
			MerkleHash root;

			accepted += count_accepted(true, of, size, &total);
			if (of > 0)
				accepted += count_accepted(false, of, size, &total);
			proof.count = 0;
			path(of, 0, size, &proof);
			mth(0, size, &root);
			for (uint64_t at = 0; at < size; at++)
			{
				if (at == of)
					continue;
				moves++;
				moved += proof_verify_inclusion(&heights[0][of], at, size, proof.hashes,
												proof.count, &root) == CORE_OK;
			}
		}
	}
	tap_all(accepted, total, -1, "a bit flipped, a hash missing, doubled or added: refused");
	tap_all(moved, moves, -1, "an entry's proof is no proof of it at another place");
}

static void
check_edges(void)
{
	static Proof proof;
	static const Proof none;
	MerkleHash nothing;
	MerkleHash one = heights[0][0];
	MerkleHash two = heights[1][0];

	merkle_sha256("", 0, &nothing);
	tap_ok(!make_inclusion(5, 5, &whole, &proof), "there is no proof of an entry beyond the tree");
	tap_ok(!make_inclusion(0, 0, &whole, &proof), "nor in the empty tree");
	tap_ok(!make_inclusion(0, (uint64_t) 1 << 60, &whole, &proof), "nor in one of 2^60 leaves");
	tap_ok(!make_consistency(6, 5, &whole, &proof), "a tree does not shrink");
	memset(&proof, 0xee, sizeof(proof));
	tap_ok(make_consistency(0, 5, &whole, &proof) && memcmp(&proof, &none, sizeof(none)) == 0,
		   "the proof that a tree began empty is empty");
	memset(&proof, 0xee, sizeof(proof));
	tap_ok(make_consistency(5, 5, &whole, &proof) && memcmp(&proof, &none, sizeof(none)) == 0,
		   "that a tree is itself, too");

	tap_number(proof_verify_inclusion(&one, 1, 1, NULL, 0, &one), CORE_MALFORMED,
			   "an index beyond the size is malformed");
	tap_number(proof_verify_inclusion(&one, 0, 0, NULL, 0, &one), CORE_MALFORMED,
			   "as is any index of the empty tree");
	tap_number(proof_verify_inclusion(&one, 0, 1, &two, -1, &one), CORE_MALFORMED,
			   "and a negative number of hashes");
	tap_number(proof_verify_inclusion(&one, 0, 1, NULL, 0, &one), CORE_OK,
			   "a tree of one entry is its leaf");
	tap_number(proof_verify_inclusion(&one, UINT64_MAX - 1, UINT64_MAX, NULL, 0, &one),
			   CORE_NOT_AUTHENTIC, "no hashes prove nothing of a large tree");

	tap_number(proof_verify_consistency(2, 1, NULL, 0, &two, &one), CORE_MALFORMED,
			   "a smaller tree after a larger one is malformed");
	tap_number(proof_verify_consistency(1, 2, &two, -1, &one, &two), CORE_MALFORMED,
			   "and a negative number of hashes, here too");
	tap_number(proof_verify_consistency(1, 2, NULL, 0, &one, &two), CORE_NOT_AUTHENTIC,
			   "growth needs a proof");
	tap_number(proof_verify_consistency(2, 2, NULL, 0, &two, &two), CORE_OK,
			   "equal trees are consistent");
	tap_number(proof_verify_consistency(2, 2, NULL, 0, &one, &two), CORE_NOT_AUTHENTIC,
			   "two roots of one size are not");
	tap_number(proof_verify_consistency(2, 2, &one, 1, &two, &two), CORE_NOT_AUTHENTIC,
			   "a proof where none is due is refused");
	tap_number(proof_verify_consistency(0, 2, NULL, 0, &nothing, &two), CORE_OK,
			   "every tree began empty");
	tap_number(proof_verify_consistency(0, 2, &one, 1, &nothing, &two), CORE_NOT_AUTHENTIC,
			   "which takes no proof");
	tap_number(proof_verify_consistency(0, 2, NULL, 0, &one, &two), CORE_NOT_AUTHENTIC,
			   "but the root of the empty tree");
	tap_number(proof_verify_consistency(0, 0, NULL, 0, &nothing, &nothing), CORE_OK,
			   "the empty tree is itself");
	tap_number(proof_verify_consistency(0, 0, NULL, 0, &one, &one), CORE_NOT_AUTHENTIC,
			   "and has one root only");
}

/* Wherever the source fails, the proof is empty and the caller told. */
static void
check_failures(void)
{
	static Proof proof;
	static const Proof none;
	Log log = whole;
	long failed = 0;
	long total = 0;
	bool made = false;

	for (int fetches = 0; !made; fetches++)
	{
		log.fail_after = fetches;
		memset(&proof, 0xee, sizeof(proof));
		made = make_inclusion(700000, LARGEST, &log, &proof);
		failed += !made && memcmp(&proof, &none, sizeof(none)) != 0;
		total++;
	}
	made = false;
	for (int fetches = 0; !made; fetches++)
	{
		log.fail_after = fetches;
		memset(&proof, 0xee, sizeof(proof));
		made = make_consistency(700000, LARGEST, &log, &proof);
		failed += !made && memcmp(&proof, &none, sizeof(none)) != 0;
		total++;
	}
	tap_all(failed, total, -1, "when the source fails, no half of a proof is left");
}

static void
grow(void)
{
	for (int height = 0; height < HEIGHTS; height++)
	{
		size_t count = (size_t) LARGEST >> height;

		heights[height] = malloc(count * sizeof(MerkleHash));
		for (size_t i = 0; i < count; i++)
		{
			if (height == 0)
				merkle_leaf(&i, sizeof(i), &heights[0][i]);
			else
				merkle_node(&heights[height - 1][2 * i], &heights[height - 1][2 * i + 1],
							&heights[height][i]);
		}
	}
}

int
main(void)
{
	grow();
	check_published();
	check_small();
	check_large(false, 4 * (MERKLE_TILE_WIDTH + 1));
	check_large(true, 5 * 2);
	check_detached(10, 3, 5000);
	check_detached(10, 40, 70000);
	check_detached(15, 2, 200000);
	check_detached(20, 1, LARGEST);
	check_tampered();
	check_edges();
	check_failures();
	for (int height = 0; height < HEIGHTS; height++)
		free(heights[height]);
	return tap_done();
}

/*
 * proof.h - proofs of RFC 9162, sections 2.1.3 and 2.1.4: that an entry is in
 * a tree, and that a tree is the beginning of a larger one.
 *
 * Made from tiles in O(log n), by the source that merkle_range_root takes,
 * which for these is asked for full tiles of the larger tree at any level and
 * for the first leaves of its last tile, for no tile twice, and for none that
 * the proof has no need of: the root of a perfect subtree comes out of the
 * highest full tile that holds it, whatever became of those below.
 *
 * A source that has the first count hashes of the last, incomplete tile of a
 * higher level, as it has when the log has grown on, saves up to 31 fetches a
 * level; one that answers false is asked for the tiles below instead.
 */
#ifndef BIOMETRIC_CORE_PROOF_H
#define BIOMETRIC_CORE_PROOF_H

#include "core/merkle.h"

/* Hashes that no proof exceeds, for trees below 2^60. */
#define PROOF_MAX 124

typedef struct Proof
{
	int count;
	MerkleHash hashes[PROOF_MAX];
} Proof;

/*
 * proof_inclusion proves that leaf number index is in the tree of the first
 * size leaves. False, with an empty proof, when index >= size or the source fails.
 */
extern bool proof_inclusion(uint64_t index, uint64_t size, MerkleTileSource source, void *context,
							Proof *proof);

/*
 * proof_consistency proves that a tree of size grew from one of old_size: an
 * empty proof when they are equal or old_size is 0. False, with an empty
 * proof, when old_size > size or the source fails.
 */
extern bool proof_consistency(uint64_t old_size, uint64_t size, MerkleTileSource source,
							  void *context, Proof *proof);

/*
 * proof_verify_inclusion recomputes the root from a leaf hash (RFC 9162 section
 * 2.1.3.2). Returns CORE_OK, CORE_MALFORMED (index >= size, or a negative
 * count) or CORE_NOT_AUTHENTIC, also when hashes are missing or left over.
 */
extern CORE_MUST_CHECK CoreStatus proof_verify_inclusion(const MerkleHash *leaf, uint64_t index,
														 uint64_t size, const MerkleHash *hashes,
														 int count, const MerkleHash *root);

/*
 * proof_verify_consistency recomputes both roots (RFC 9162 section 2.1.4.2).
 * Of equal sizes the roots must be equal, and a tree of no leaves must have
 * the root of one; in both cases the proof must be empty. Results as
 * proof_verify_inclusion's; CORE_MALFORMED when old_size > size.
 */
extern CORE_MUST_CHECK CoreStatus proof_verify_consistency(uint64_t old_size, uint64_t size,
														   const MerkleHash *hashes, int count,
														   const MerkleHash *old_root,
														   const MerkleHash *root);

#endif

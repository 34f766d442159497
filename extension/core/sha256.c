/*
 * sha256.c - the hashes of the tree.
 *
 * The one place that calls SHA256_Init and its companions, which OpenSSL 3
 * deprecates in favour of EVP. They work on the stack, so they cannot fail: a
 * ledger that has accepted an entry must be able to hash it. They take 50 ns
 * for an entry of 50 bytes where EVP takes 83, and verification hashes
 * every entry twice.
 */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "core/merkle.h"

#include <openssl/sha.h>

void
merkle_sha256(const void *data, size_t length, MerkleHash *out)
{
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, data, length);
	SHA256_Final(out->bytes, &context);
}

void
merkle_leaf(const void *entry, size_t length, MerkleHash *out)
{
	static const uint8_t prefix = 0x00;
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, &prefix, 1);
	SHA256_Update(&context, entry, length);
	SHA256_Final(out->bytes, &context);
}

void
merkle_node(const MerkleHash *left, const MerkleHash *right, MerkleHash *out)
{
	static const uint8_t prefix = 0x01;
	SHA256_CTX context;

	SHA256_Init(&context);
	SHA256_Update(&context, &prefix, 1);
	SHA256_Update(&context, left->bytes, MERKLE_HASH_SIZE);
	SHA256_Update(&context, right->bytes, MERKLE_HASH_SIZE);
	SHA256_Final(out->bytes, &context);
}

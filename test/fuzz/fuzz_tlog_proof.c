/*
 * fuzz_tlog_proof.c - tlog_proof_parse: a file that is read is the only way to
 * write what it says; and what it says is verified without trusting it.
 */
#include "core/tlog_proof.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const TlogProof none;
	static const MerkleHash zero;
	static const MerkleHash one = {{1}};
	static TlogProof proof;
	char *again;

	if (tlog_proof_parse((const char *) data, size, &proof) != CORE_OK)
	{
		if (memcmp(&proof, &none, sizeof(none)) != 0)
			abort();
		return 0;
	}
	if (tlog_proof_length(&proof) != size)
		abort();
	again = malloc(size + 1);
	tlog_proof_format(&proof, again);
	if (memcmp(again, data, size) != 0 || again[size] != '\0')
		abort();
	free(again);
	/* The checkpoint's length stands for a size: with these roots, none can be right. */
	if (proof_verify_inclusion(&zero, proof.index, proof.checkpoint_length, proof.proof.hashes,
							   proof.proof.count, &one) == CORE_OK ||
		proof_verify_consistency(proof.index, proof.checkpoint_length, proof.proof.hashes,
								 proof.proof.count, &zero, &one) == CORE_OK)
		abort();
	return 0;
}

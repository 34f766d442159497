/*
 * tlog_proof.h - the file that proves one entry (c2sp.org/tlog-proof): index,
 * inclusion proof and checkpoint; the extra data is the entry itself here, so
 * that one file says and proves everything.
 */
#ifndef BIOMETRIC_CORE_TLOG_PROOF_H
#define BIOMETRIC_CORE_TLOG_PROOF_H

#include "core/checkpoint.h"
#include "core/proof.h"

typedef struct TlogProof
{
	const char *extra; /* base64, borrowed; NULL: none */
	size_t extra_length;
	uint64_t index;
	Proof proof;
	const char *checkpoint; /* the note, borrowed */
	size_t checkpoint_length;
} TlogProof;

/*
 * tlog_proof_parse takes a file apart; pointers go into its bytes. Extra data
 * is known to be base64 then, the checkpoint is not looked at: see
 * checkpoint_open. Returns CORE_OK, CORE_TRUNCATED, CORE_BAD_VERSION or
 * CORE_MALFORMED; if not CORE_OK, *proof is zeroed.
 */
extern CORE_MUST_CHECK CoreStatus tlog_proof_parse(const char *bytes, size_t length,
												   TlogProof *proof);

/* tlog_proof_length returns the bytes that tlog_proof_format writes, without the NUL. */
extern size_t tlog_proof_length(const TlogProof *proof);

/* tlog_proof_format writes the file and a NUL; out has room for tlog_proof_length + 1. */
extern void tlog_proof_format(const TlogProof *proof, char *out);

#endif

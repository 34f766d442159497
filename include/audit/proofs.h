/*
 * proofs.h - proofs over the tables.
 *
 * Private to the audit room; needs a transaction.
 */
#ifndef BIOMETRIC_AUDIT_PROOFS_H
#define BIOMETRIC_AUDIT_PROOFS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "core/proof.h"

/*
 * proofs_consistency proves that a log's first size entries begin with its
 * first old_size ones. Errors: 22023 for numbers that cannot be, XX001 when
 * rows are missing.
 */
extern void proofs_consistency(const uint8 *log_id, int64 old_size, int64 size, Proof *proof);

/* proofs_append_hash appends a hash in base64, and a newline. */
extern void proofs_append_hash(StringInfo text, const MerkleHash *hash);

#endif

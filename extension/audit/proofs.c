/*
 * proofs.c - inclusion_proof(), consistency_proof() and tlog_proof().
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "audit/checkpoint.h"
#include "audit/proofs.h"
#include "core/base64.h"
#include "core/tlog_proof.h"

PGDLLEXPORT Datum audit_inclusion_proof(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_consistency_proof(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_tlog_proof(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_tlog_proof_file(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_inclusion_proof);
PG_FUNCTION_INFO_V1(audit_consistency_proof);
PG_FUNCTION_INFO_V1(audit_tlog_proof);
PG_FUNCTION_INFO_V1(audit_tlog_proof_file);

/* A log that proofs are made of. */
typedef struct ProofSource
{
	LedgerReader reader;
	Snapshot snapshot;
	int64 present;		 /* entries that can be seen */
	int64 durable;		 /* those of them that are */
	MerkleFrontier edge; /* of what is durable; empty when nobody writes this log here */
} ProofSource;

/*
 * Entries of changes can be seen before they are durable; nobody outside may
 * get hold of what a crash could take back.
 */
static void
read_edge(ProofSource *source)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	LedgerStatus *status = palloc(sizeof(LedgerStatus));

	merkle_frontier_init(&source->edge);
	if (number >= 0 && ledger_status_read(number, status) && status->loaded &&
		memcmp(status->log_id, source->reader.log_id, LEDGER_LOG_ID_SIZE) == 0)
	{
		source->edge = status->frontier;
		source->present = store_size_near(&source->reader, (int64) status->frontier.size);
		source->durable = Min(source->present, (int64) status->frontier.size);
	}
	else
	{
		source->present = store_size(&source->reader);
		source->durable = source->present;
	}
	pfree(status);
}

static void
source_open(ProofSource *source, const uint8 *log_id)
{
	source->snapshot = audit_snapshot();
	if (!store_reader_open(&source->reader, log_id, source->snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	read_edge(source);
}

/*
 * A MerkleTileSource that also has the tiles of the present tree that are not
 * full: they are in its edge.
 */
static bool
source_hashes(int level, uint64_t index, int count, MerkleHash *hashes, void *context)
{
	ProofSource *source = context;

	return merkle_frontier_hashes(&source->edge, level, index, count, hashes) ||
		   store_source(level, index, count, hashes, &source->reader);
}

static void
source_close(ProofSource *source)
{
	store_reader_close(&source->reader);
	UnregisterSnapshot(source->snapshot);
}

pg_noreturn static void
refuse_size(int64 size, int64 present)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("the ledger never had " INT64_FORMAT " entries", size),
					errdetail("It has " INT64_FORMAT ".", present)));
}

pg_noreturn static void
refuse_entry(int64 sequence, int64 size)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("entry " INT64_FORMAT " is not among the ledger's first " INT64_FORMAT
						   " entries",
						   sequence, size),
					errdetail("Entries are numbered from 0.")));
}

pg_noreturn static void
refuse_incomplete(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("entries or tiles of the ledger are missing"),
			 errhint("biometric.verify_ledger() says which. What was detached is proven by "
					 "its archive, with biometric-verify.")));
}

static Datum
proof_datum(const Proof *proof)
{
	Datum hashes[PROOF_MAX];

	for (int i = 0; i < proof->count; i++)
		hashes[i] = PointerGetDatum(store_hashes(&proof->hashes[i], 1));
	return PointerGetDatum(
		construct_array(hashes, proof->count, BYTEAOID, -1, false, TYPALIGN_INT));
}

Datum
audit_inclusion_proof(PG_FUNCTION_ARGS)
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	ProofSource source;
	int64 sequence;
	int64 size;
	Proof proof;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("an inclusion proof is of one entry"),
						errhint("Give its sequence number.")));
	audit_present_log(log_id);
	source_open(&source, log_id);
	sequence = PG_GETARG_INT64(0);
	size = PG_ARGISNULL(1) ? source.durable : PG_GETARG_INT64(1);
	if (size < 0 || size > source.durable)
		refuse_size(size, source.durable);
	if (sequence < 0 || sequence >= size)
		refuse_entry(sequence, size);
	store_require_entry(&source.reader, sequence);
	if (!proof_inclusion((uint64) sequence, (uint64) size, source_hashes, &source, &proof))
		refuse_incomplete();
	source_close(&source);
	PG_RETURN_DATUM(proof_datum(&proof));
}

void
proofs_consistency(const uint8 *log_id, int64 old_size, int64 size, Proof *proof)
{
	ProofSource source;

	source_open(&source, log_id);
	if (size < 0 || size > source.durable)
		refuse_size(size, source.durable);
	if (old_size < 0 || old_size > size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no ledger of " INT64_FORMAT " entries grew from one of " INT64_FORMAT,
						size, old_size),
				 errdetail("The old size is at least 0 and at most the new one.")));
	store_require_size(&source.reader, old_size);
	if (!proof_consistency((uint64) old_size, (uint64) size, source_hashes, &source, proof))
		refuse_incomplete();
	source_close(&source);
}

Datum
audit_consistency_proof(PG_FUNCTION_ARGS)
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	Proof proof;

	audit_present_log(log_id);
	proofs_consistency(log_id, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &proof);
	PG_RETURN_DATUM(proof_datum(&proof));
}

void
proofs_append_hash(StringInfo text, const MerkleHash *hash)
{
	char base64[BASE64_LENGTH(MERKLE_HASH_SIZE) + 1];

	base64_encode(hash->bytes, MERKLE_HASH_SIZE, base64);
	appendStringInfo(text, "%s\n", base64);
}

/* The checkpoint that a proof leads to. size -1: the newest. */
static void
choose_checkpoint(int64 sequence, int64 size, CosignedCheckpoint *checkpoint)
{
	if (size < 0)
		cosigned_newest(sequence + 1, checkpoint);
	else if (!cosigned_stored(size, checkpoint))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("no stored checkpoint covers " INT64_FORMAT " entries", size),
						errhint("See biometric.checkpoints.")));
	if (sequence >= checkpoint->size)
		refuse_entry(sequence, checkpoint->size);
}

/* Refuses an entry that there is not, before anything is waited for. */
static void
require_entry(int64 sequence)
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	ProofSource source;

	audit_present_log(log_id);
	source_open(&source, log_id);
	if (sequence < 0 || sequence >= source.present)
		refuse_entry(sequence, source.present);
	store_require_entry(&source.reader, sequence);
	source_close(&source);
}

/* Puts everything that proves an entry into one file, in UTF-8. */
static char *
format_proof(int64 sequence, const CosignedCheckpoint *checkpoint)
{
	TlogProof *file = palloc0(sizeof(TlogProof));
	ProofSource source;
	bytea *entry;
	Size length;
	char *extra;
	char *out;

	source_open(&source, checkpoint->log_id);
	entry = store_entry(&source.reader, sequence);
	if (entry == NULL || !proof_inclusion((uint64) sequence, (uint64) checkpoint->size,
										  source_hashes, &source, &file->proof))
		refuse_incomplete();
	source_close(&source);
	length = VARSIZE(entry) - VARHDRSZ;
	extra = palloc(BASE64_LENGTH(length) + 1);
	base64_encode((const uint8_t *) VARDATA(entry), length, extra);
	file->extra = extra;
	file->extra_length = BASE64_LENGTH(length);
	file->index = (uint64) sequence;
	file->checkpoint = checkpoint->note;
	file->checkpoint_length = checkpoint->length;
	out = palloc(tlog_proof_length(file) + 1);
	tlog_proof_format(file, out);
	return out;
}

/* What tlog_proof() and tlog_proof_file() return, of their arguments. */
static char *
proof_asked_for(FunctionCallInfo fcinfo)
{
	CosignedCheckpoint checkpoint;
	int64 sequence;
	int64 size;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a proof is of one entry"),
						errhint("Give its sequence number.")));
	sequence = PG_GETARG_INT64(0);
	size = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT64(1);
	if (!PG_ARGISNULL(1) && size < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a checkpoint cannot cover " INT64_FORMAT " entries", size)));
	require_entry(sequence);
	choose_checkpoint(sequence, size, &checkpoint);
	return format_proof(sequence, &checkpoint);
}

Datum
audit_tlog_proof(PG_FUNCTION_ARGS)
{
	char *file = proof_asked_for(fcinfo);

	PG_RETURN_TEXT_P(audit_text(file, strlen(file)));
}

Datum
audit_tlog_proof_file(PG_FUNCTION_ARGS)
{
	char *file = proof_asked_for(fcinfo);

	PG_RETURN_BYTEA_P(audit_bytes(file, strlen(file)));
}

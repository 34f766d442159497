/*
 * checkpoint.c - checkpoint(), verifier_key() and add_checkpoint_request().
 *
 * A signed note has characters that not every encoding has, so each is also
 * handed out as the bytes that were signed.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "audit/checkpoint.h"
#include "audit/proofs.h"
#include "base/internal.h"
#include "ledger/signer.h"
#include "ledger/store_checkpoint.h"

PGDLLEXPORT Datum audit_checkpoint(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_checkpoint_from(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_checkpoint_note(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_verifier_key(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_add_checkpoint_request(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_add_checkpoint_body(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_checkpoint);
PG_FUNCTION_INFO_V1(audit_checkpoint_from);
PG_FUNCTION_INFO_V1(audit_checkpoint_note);
PG_FUNCTION_INFO_V1(audit_verifier_key);
PG_FUNCTION_INFO_V1(audit_add_checkpoint_request);
PG_FUNCTION_INFO_V1(audit_add_checkpoint_body);

Snapshot
audit_snapshot(void)
{
	/* what was signed a moment ago is to be proven, in whatever transaction */
	return RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
}

void
audit_present_log(uint8 *log_id)
{
	Snapshot snapshot = audit_snapshot();
	LedgerLog *log = store_present_log(snapshot);

	UnregisterSnapshot(snapshot);
	if (log == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this database has no ledger"),
						errdetail("Table biometric.log has no row of its own."),
						errhint("See biometric.ledger_status().")));
	memcpy(log_id, log->log_id, LEDGER_LOG_ID_SIZE);
}

pg_noreturn static void
refuse_encoding(void)
{
	ereport(ERROR, (errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
					errmsg("the encoding of this database, %s, cannot show signed notes as text",
						   GetDatabaseEncodingName()),
					errdetail("It does not have all of their characters: each signature line "
							  "begins with an em dash."),
					errhint("Use biometric.checkpoint_note(), biometric.tlog_proof_file() or "
							"biometric.add_checkpoint_body(), which return the same in bytea.")));
}

text *
audit_text(const char *utf8, Size length)
{
	int encoding = GetDatabaseEncoding();
	int room = (int) length * MAX_CONVERSION_GROWTH + 1;
	char *server;
	Oid conversion;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return cstring_to_text(pg_any_to_server(utf8, (int) length, PG_UTF8));
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	server = palloc(room);
	if (!OidIsValid(conversion) ||
		pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, (unsigned char *) utf8,
									  (int) length, (unsigned char *) server, room,
									  true) != (int) length)
		refuse_encoding();
	return cstring_to_text(server);
}

bytea *
audit_bytes(const char *bytes, Size length)
{
	bytea *result = palloc(VARHDRSZ + length);

	SET_VARSIZE(result, VARHDRSZ + length);
	memcpy(VARDATA(result), bytes, length);
	return result;
}

/* Puts a note and what witnesses have signed of it together. */
static void
with_cosignatures(CosignedCheckpoint *checkpoint, const char *note, Size length, Snapshot snapshot)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	appendBinaryStringInfo(&text, note, (int) length);
	foreach(cell, store_cosignatures(checkpoint->log_id, checkpoint->size, snapshot))
	{
		const StoredCosignature *cosignature = lfirst(cell);

		appendBinaryStringInfo(&text, cosignature->line, (int) cosignature->length);
	}
	checkpoint->note = text.data;
	checkpoint->length = text.len;
}

/* Whether this server has a worker that signs, or could have one. */
static bool
is_signed_here(void)
{
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();

	if (number < 0)
		return false;
	switch (pg_atomic_read_u32(&ledger_slot(number)->state))
	{
		case LEDGER_STARTING:
		case LEDGER_READY:
			return true;
		default:
			return false;
	}
}

pg_noreturn static void
refuse_none(int64 size)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					size > 0 ? errmsg("no checkpoint covers " INT64_FORMAT " entries", size)
							 : errmsg("the ledger has no checkpoint"),
					errdetail("Here, only checkpoints that are stored already are handed out."),
					errhint("Ask the primary server, or see biometric.ledger_status().")));
}

/* The newest that is stored. */
static void
read_newest(int64 size, CosignedCheckpoint *newest)
{
	Snapshot snapshot = audit_snapshot();
	StoredCheckpoint row;

	audit_present_log(newest->log_id);
	if (store_newest_checkpoints(newest->log_id, snapshot, &row, 1) == 0 || row.size < size)
		refuse_none(size);
	newest->size = row.size;
	with_cosignatures(newest, row.note, row.length, snapshot);
	UnregisterSnapshot(snapshot);
}

static void
refuse_created_here(void)
{
	if (extension_created_here())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the ledger was created by this very transaction"),
						errhint("Commit the transaction that created the extension first.")));
}

static void
refuse_empty(void)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("the ledger has no checkpoint"),
					errdetail("It has no entries yet, and nothing is signed before the first."),
					errhint("Ask again when the ledger has an entry.")));
}

void
cosigned_newest(int64 size, CosignedCheckpoint *newest)
{
	LedgerSigned *published = palloc(sizeof(LedgerSigned));
	Snapshot snapshot;
	uint64 wanted;

	refuse_created_here();
	wanted = !is_signed_here() ? 0 : size < 0 ? signer_durable() : (uint64) size;
	/* the state is known now */
	if (!is_signed_here())
	{
		read_newest(Max(size, 0), newest);
		return;
	}
	if (wanted == 0)
		refuse_empty();
	signer_wait(wanted, published);
	memcpy(newest->log_id, published->log_id, LEDGER_LOG_ID_SIZE);
	newest->size = (int64) published->size;
	snapshot = audit_snapshot();
	with_cosignatures(newest, published->note, published->length, snapshot);
	UnregisterSnapshot(snapshot);
}

bool
cosigned_stored(int64 size, CosignedCheckpoint *stored)
{
	Snapshot snapshot = audit_snapshot();
	StoredCheckpoint row;
	bool found;

	audit_present_log(stored->log_id);
	found = store_checkpoint_from(stored->log_id, size, snapshot, &row);
	if (found)
	{
		stored->size = row.size;
		with_cosignatures(stored, row.note, row.length, snapshot);
	}
	UnregisterSnapshot(snapshot);
	return found;
}

Datum
audit_checkpoint(PG_FUNCTION_ARGS)
{
	CosignedCheckpoint newest;

	cosigned_newest(-1, &newest);
	PG_RETURN_TEXT_P(audit_text(newest.note, newest.length));
}

/* The stored one that somebody asks for by its size; false: none. */
static bool
stored_from(int64 size, CosignedCheckpoint *stored)
{
	if (size < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a checkpoint cannot cover " INT64_FORMAT " entries", size)));
	return cosigned_stored(size, stored);
}

Datum
audit_checkpoint_from(PG_FUNCTION_ARGS)
{
	CosignedCheckpoint stored;

	if (!stored_from(PG_GETARG_INT64(0), &stored))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(audit_text(stored.note, stored.length));
}

Datum
audit_checkpoint_note(PG_FUNCTION_ARGS)
{
	CosignedCheckpoint found;

	if (PG_ARGISNULL(0))
		cosigned_newest(-1, &found);
	else if (!stored_from(PG_GETARG_INT64(0), &found))
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(audit_bytes(found.note, found.length));
}

/* The key that has signed the present log last, or NULL. */
static char *
stored_key(void)
{
	Snapshot snapshot = audit_snapshot();
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	List *verifiers;

	audit_present_log(log_id);
	verifiers = store_verifiers(log_id, snapshot);
	UnregisterSnapshot(snapshot);
	return verifiers == NIL ? NULL : ((StoredVerifier *) llast(verifiers))->vkey;
}

Datum
audit_verifier_key(PG_FUNCTION_ARGS)
{
	LedgerSigned *published = palloc0(sizeof(LedgerSigned));
	char *vkey;

	refuse_created_here();
	if (is_signed_here())
	{
		/* what the worker has to say of its key, it says before it takes entries */
		(void) signer_durable();
		(void) signer_read(ledger_my_slot(), published);
		if (published->vkey[0] != '\0')
			PG_RETURN_TEXT_P(cstring_to_text(published->vkey));
	}
	vkey = stored_key();
	if (vkey == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("no key signs this database's ledger"),
			 published->problem[0] != '\0'
				 ? errdetail("%s", published->problem)
				 : errdetail("Neither is there one now, nor has one signed its present log."),
			 errhint("Set biometric_audit.signing_key to the file of an Ed25519 private key.")));
	PG_RETURN_TEXT_P(cstring_to_text(vkey));
}

/* Puts together what a witness is sent that has seen old_size entries. */
static void
make_request(int64 old_size, StringInfo body)
{
	CosignedCheckpoint newest;
	Proof *proof = palloc(sizeof(Proof));

	cosigned_newest(-1, &newest);
	proofs_consistency(newest.log_id, old_size, newest.size, proof);
	initStringInfo(body);
	appendStringInfo(body, "old " INT64_FORMAT "\n", old_size);
	for (int i = 0; i < proof->count; i++)
		proofs_append_hash(body, &proof->hashes[i]);
	appendStringInfoChar(body, '\n');
	appendBinaryStringInfo(body, newest.note, (int) newest.length);
}

Datum
audit_add_checkpoint_request(PG_FUNCTION_ARGS)
{
	StringInfoData body;

	make_request(PG_GETARG_INT64(0), &body);
	PG_RETURN_TEXT_P(audit_text(body.data, body.len));
}

Datum
audit_add_checkpoint_body(PG_FUNCTION_ARGS)
{
	StringInfoData body;

	make_request(PG_GETARG_INT64(0), &body);
	PG_RETURN_BYTEA_P(audit_bytes(body.data, body.len));
}

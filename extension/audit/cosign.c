/*
 * cosign.c - add_cosignature(): what witnesses have signed.
 *
 * The witness's answer may come when the checkpoint's row has been pruned:
 * then the row is written again, out of what is given, once it is known to be
 * ours and true.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "audit/checkpoint.h"
#include "base/internal.h"
#include "core/checkpoint.h"
#include "ledger/store_checkpoint.h"
#include "ledger/verify.h"

/* As objsubid of the extension: one adds cosignatures at a time. */
#define COSIGN_LOCK 2

PGDLLEXPORT Datum audit_add_cosignature(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum audit_add_cosignature_bytes(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_add_cosignature);
PG_FUNCTION_INFO_V1(audit_add_cosignature_bytes);

/* A checkpoint of ours with signatures below. */
typedef struct Given
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	Note note;
	Checkpoint checkpoint;
} Given;

pg_noreturn static void
refuse(const char *message, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
					errdetail("%s", detail), errhint("%s", hint)));
}

static void
parse_given(const char *text, Given *given)
{
	if (note_parse(text, strlen(text), &given->note) != CORE_OK ||
		checkpoint_parse(given->note.text, given->note.text_length, &given->checkpoint) != CORE_OK)
		refuse("this is no signed checkpoint",
			   "A checkpoint is origin, size and root, a line each, an empty line, and signature "
			   "lines, and ends in a newline.",
			   "Append what the witness answered to the checkpoint that it was asked about.");
}

/* Finds our own signature's line; NULL when none of the log's keys has signed. */
static const NoteSignature *
own_signature(Given *given, Snapshot snapshot)
{
	ListCell *cell;

	foreach(cell, store_verifiers(given->log_id, snapshot))
	{
		const StoredVerifier *verifier = lfirst(cell);
		NoteKey key;

		if (note_key_parse(verifier->vkey, strlen(verifier->vkey), &key) != CORE_OK ||
			strcmp(key.name, given->checkpoint.origin) != 0 ||
			note_verify(&given->note, &key, NULL) != CORE_OK)
			continue;
		for (int i = 0; i < given->note.count; i++)
			if (given->note.signatures[i].id == key.id &&
				given->note.signatures[i].name_length == strlen(key.name) &&
				memcmp(given->note.signatures[i].name, key.name, strlen(key.name)) == 0)
				return &given->note.signatures[i];
	}
	return NULL;
}

/* Refuses a checkpoint that is not of the log's own first entries. */
static void
require_true(const Given *given, Snapshot snapshot)
{
	int64 size = (int64) given->checkpoint.size;
	LedgerReader reader;
	MerkleHash root;
	bool known;

	if (!store_reader_open(&reader, given->log_id, snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	known = size <= store_size(&reader) && store_root(&reader, size, &root);
	store_reader_close(&reader);
	if (!known || memcmp(&root, &given->checkpoint.root, sizeof(root)) != 0)
		refuse("the checkpoint contradicts the ledger",
			   "A key of this log has signed it, but its root is not that of the log's first "
			   "entries, or there are fewer: the ledger was rewritten or rolled back since.",
			   "Keep the checkpoint, and give it to biometric.verify_ledger(checkpoint).");
}

/* Puts our own note together, without what others have signed. */
static void
own_note(const Given *given, const NoteSignature *own, StoredCheckpoint *row)
{
	StringInfoData text;

	initStringInfo(&text);
	appendBinaryStringInfo(&text, given->note.text, (int) given->note.text_length);
	appendStringInfoChar(&text, '\n');
	appendBinaryStringInfo(&text, own->line, (int) own->line_length);
	row->size = (int64) given->checkpoint.size;
	row->at = GetCurrentTimestamp();
	row->note = text.data;
	row->length = text.len;
}

/* The first signature by a witness; -1 when it has none. Refuses wrong ones. */
static int
find_witness(const Given *given, const NoteKey *witness)
{
	switch (note_verify(&given->note, witness, NULL))
	{
		case CORE_OK:
			break;
		case CORE_WRONG_KEY:
			return -1;
		default:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the signature of witness \"%s\" is wrong", witness->name),
							errdetail("The line bears its name and key id, and is no signature of "
									  "this checkpoint."),
							errhint("Ask the witness again; nothing was kept.")));
	}
	for (int i = 0; i < given->note.count; i++)
		if (given->note.signatures[i].id == witness->id &&
			given->note.signatures[i].name_length == strlen(witness->name) &&
			memcmp(given->note.signatures[i].name, witness->name, strlen(witness->name)) == 0)
			return i;
	return -1;
}

static bool
is_known(List *cosignatures, const char *vkey)
{
	ListCell *cell;

	foreach(cell, cosignatures)
		if (strcmp(((StoredCosignature *) lfirst(cell))->vkey, vkey) == 0)
			return true;
	return false;
}

/* Keeps what known witnesses have signed; returns how many lines are new. */
static int
keep_cosignatures(const Given *given, const StoredCheckpoint *row)
{
	Snapshot snapshot;
	List *known;
	int lines[NOTE_SIGNATURES_MAX];
	int found = 0;
	int added = 0;

	for (int i = 0; i < audit_witness_count(); i++)
		found += (lines[i] = find_witness(given, audit_witness(i))) >= 0;
	if (found == 0)
		refuse("no known witness has signed this checkpoint",
			   "biometric_audit.witnesses lists none of those whose signatures it has.",
			   "Put the witness's verifier key into biometric_audit.witnesses, then reload the "
			   "configuration.");
	LockDatabaseObject(ExtensionRelationId, extension_oid(), COSIGN_LOCK, ExclusiveLock);
	if (!store_hold_checkpoint(given->log_id, row->size))
		store_insert_checkpoint(given->log_id, row);
	snapshot = audit_snapshot();
	known = store_cosignatures(given->log_id, row->size, snapshot);
	UnregisterSnapshot(snapshot);
	for (int i = 0; i < audit_witness_count(); i++)
	{
		StoredCosignature cosignature = {.size = row->size};
		char vkey[NOTE_KEY_TEXT_MAX];

		note_key_format(audit_witness(i), vkey);
		if (lines[i] < 0 || is_known(known, vkey))
			continue;
		cosignature.vkey = vkey;
		cosignature.line = (char *) given->note.signatures[lines[i]].line;
		cosignature.length = given->note.signatures[lines[i]].line_length;
		store_insert_cosignature(given->log_id, &cosignature);
		added++;
	}
	CommandCounterIncrement();
	return added;
}

/* Takes in a note, in UTF-8; returns how many signatures are new. */
static int
add_cosignatures(const char *note)
{
	Given *given = palloc0(sizeof(Given));
	const NoteSignature *own;
	StoredCheckpoint row = {0};
	Snapshot snapshot;

	PreventCommandIfReadOnly("biometric.add_cosignature()");
	PreventCommandDuringRecovery("biometric.add_cosignature()");
	parse_given(note, given);
	audit_present_log(given->log_id);
	snapshot = audit_snapshot();
	own = own_signature(given, snapshot);
	if (own == NULL)
		refuse("the checkpoint is not of this database's present log",
			   "None of the log's keys has signed it.",
			   "See biometric.verifier_keys; a checkpoint of another log is kept with that log.");
	require_true(given, snapshot);
	UnregisterSnapshot(snapshot);
	own_note(given, own, &row);
	return keep_cosignatures(given, &row);
}

Datum
audit_add_cosignature(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(add_cosignatures(verify_given_text(PG_GETARG_TEXT_PP(0))));
}

Datum
audit_add_cosignature_bytes(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(add_cosignatures(verify_given_bytes(PG_GETARG_BYTEA_PP(0))));
}

/*
 * verify_checkpoint.c - are the checkpoints what was signed, and do they still
 * say what the log says? Those that are stored, and one that comes from
 * outside.
 *
 * Every row can be replaced by whoever owns the server. But the log names each
 * key that signs it in an entry of its own, so that no key can be slipped in
 * without a change of the tree; and a checkpoint that somebody else has kept
 * shows what no row here can.
 */
#include "postgres.h"

#include "common/string.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/snapmgr.h"

#include "ledger/fork.h"
#include "ledger/store_checkpoint.h"
#include "ledger/verify.h"

/* What psql, shells and mails put around a text. */
#define WHITE_SPACE " \t\r\n"

PGDLLEXPORT Datum ledger_verify_checkpoint(PG_FUNCTION_ARGS);
PGDLLEXPORT Datum ledger_verify_note(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(ledger_verify_checkpoint);
PG_FUNCTION_INFO_V1(ledger_verify_note);

/* A key that has signed a log's checkpoints. */
typedef struct Signatory
{
	NoteKey key;
	int64 since; /* sequence number of the entry that names it */
} Signatory;

typedef struct CheckpointCheck
{
	LogCheck *check;
	List *signatories; /* of Signatory */
	int64 entries;	   /* that the log has */
	int64 largest;	   /* size of the largest checkpoint; -1: none */
} CheckpointCheck;

/*
 * Whether an entry is the one that says that a key signs from now on. Of a
 * segment that was detached nobody here can tell: its archive does.
 */
static bool
entry_names_key(LedgerReader *reader, int64 sequence, const NoteKey *key)
{
	char vkey[NOTE_KEY_TEXT_MAX];
	bytea *bytes = sequence < 0 ? NULL : store_entry(reader, sequence);
	StringInfoData wanted;
	EntryFields fields;

	if (sequence >= 0 && sequence < store_first(reader))
		return true;
	if (bytes == NULL || entry_decode((const uint8_t *) VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ,
									  &fields) != CORE_OK)
		return false;
	note_key_format(key, vkey);
	initStringInfo(&wanted);
	appendStringInfoString(&wanted, "{\"verifier_key\": ");
	escape_json(&wanted, vkey);
	appendStringInfoChar(&wanted, ',');
	return fields.event == ENTRY_KEY_CHANGED && fields.detail.length > (Size) wanted.len &&
		   memcmp(fields.detail.bytes, wanted.data, wanted.len) == 0;
}

/* Whether a key is named after a log, as only the log's own keys are. */
static bool
key_is_of_log(const NoteKey *key, const uint8 *log_id)
{
	const char *slash = strrchr(key->name, '/');

	return slash != NULL && strcmp(slash + 1, fork_log_id_text(log_id)) == 0;
}

/* Reads the keys of a log. What is wrong with one is told to problem, if there is a check. */
static List *
read_signatories(LedgerReader *reader, LogCheck *check)
{
	List *result = NIL;
	ListCell *cell;

	foreach(cell, store_verifiers(reader->log_id, reader->snapshot))
	{
		const StoredVerifier *row = lfirst(cell);
		Signatory *signatory = palloc(sizeof(Signatory));

		signatory->since = row->since;
		if (note_key_parse(row->vkey, strlen(row->vkey), &signatory->key) == CORE_OK &&
			signatory->key.algorithm == NOTE_ED25519 &&
			key_is_of_log(&signatory->key, reader->log_id) &&
			entry_names_key(reader, row->since, &signatory->key))
			result = lappend(result, signatory);
		else if (check != NULL)
			verify_problem(check, Max(row->since, 0),
						   "verifier key %s: entry " INT64_FORMAT " does not say that it signs",
						   row->vkey, row->since);
	}
	return result;
}

/* Opens a note by one of a log's keys. CORE_WRONG_KEY: none of them has signed it. */
static CoreStatus
open_signed(const char *note, Size length, List *signatories, Checkpoint *checkpoint)
{
	ListCell *cell;

	foreach(cell, signatories)
	{
		const Signatory *signatory = lfirst(cell);
		CoreStatus status = checkpoint_open(note, length, &signatory->key, checkpoint);

		if (status == CORE_OK && (int64) checkpoint->size <= signatory->since)
			continue;
		if (status != CORE_WRONG_KEY)
			return status;
	}
	return CORE_WRONG_KEY;
}

/* Whether a root can be computed from an archive only: it cuts through a segment that was detached. */
static bool
root_is_elsewhere(LedgerReader *reader, int64 size)
{
	return size < store_first(reader) && size % reader->segment_size != 0;
}

/* Compares one stored checkpoint with the log. */
static void
check_stored(const StoredCheckpoint *stored, void *context)
{
	CheckpointCheck *it = context;
	LogCheck *check = it->check;
	Checkpoint checkpoint;
	MerkleHash root;
	int64 at = Min(Max(stored->size, 0), it->entries);

	CHECK_FOR_INTERRUPTS();
	it->largest = Max(it->largest, stored->size);
	if (stored->size < 0)
		verify_problem(check, 0, "a row of biometric.checkpoint is none");
	else if (open_signed(stored->note, stored->length, it->signatories, &checkpoint) != CORE_OK)
		verify_problem(check, at,
					   "checkpoint of size " INT64_FORMAT ": is not signed by a key of the log",
					   stored->size);
	else if ((int64) checkpoint.size != stored->size)
		verify_problem(check, at, "checkpoint of size " INT64_FORMAT ": is of size " UINT64_FORMAT,
					   stored->size, checkpoint.size);
	else if (stored->size > it->entries)
		verify_problem(check, at,
					   "checkpoint of size " INT64_FORMAT ": the log has only " INT64_FORMAT
					   " entries",
					   stored->size, it->entries);
	else if (root_is_elsewhere(&check->reader, stored->size))
		return;
	else if (!store_root(&check->reader, stored->size, &root))
		verify_problem(check, at,
					   "checkpoint of size " INT64_FORMAT ": entries or tiles below it are missing",
					   stored->size);
	else if (memcmp(&root, &checkpoint.root, sizeof(root)) != 0)
		verify_problem(check, at,
					   "checkpoint of size " INT64_FORMAT
					   ": its root is not that of the log's first entries",
					   stored->size);
}

static bool
cosignature_is_true(LogCheck *check, const StoredCosignature *cosignature)
{
	StoredCheckpoint stored;
	NoteSignature signature;
	NoteKey key;
	Note note;

	return cosignature->size >= 0 &&
		   store_checkpoint_from(check->reader.log_id, cosignature->size, check->reader.snapshot,
								 &stored) &&
		   stored.size == cosignature->size &&
		   note_parse(stored.note, stored.length, &note) == CORE_OK &&
		   note_key_parse(cosignature->vkey, strlen(cosignature->vkey), &key) == CORE_OK &&
		   key.algorithm == NOTE_COSIGNATURE &&
		   note_parse_signature(cosignature->line, cosignature->length, &signature) == CORE_OK &&
		   note_verify_signature(note.text, note.text_length, &signature, &key, NULL) == CORE_OK;
}

void
verify_checkpoints(LogCheck *check, const LedgerSigned *published)
{
	CheckpointCheck it = {.check = check, .largest = -1};
	ListCell *cell;

	it.entries = Max(check->size, check->highest + 1);
	it.signatories = read_signatories(&check->reader, check);
	store_scan_checkpoints(check->reader.log_id, check->reader.snapshot, check_stored, &it);
	foreach(cell, store_cosignatures(check->reader.log_id, -1, check->reader.snapshot))
	{
		const StoredCosignature *cosignature = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (!cosignature_is_true(check, cosignature))
			verify_problem(check, Min(Max(cosignature->size, 0), it.entries),
						   "checkpoint of size " INT64_FORMAT ": the cosignature of %s is wrong",
						   cosignature->size, cosignature->vkey);
	}
	/* whatever is published has been stored, and the newest is never pruned */
	if (published != NULL && it.largest < (int64) published->size)
		verify_problem(check, (int64) published->size,
					   "checkpoint of size " UINT64_FORMAT ": is missing", published->size);
}

/* ---- A checkpoint from outside */

/* Compares a checkpoint that one of a log's keys has signed with the log. NULL: it is so. */
static char *
compare_given(LedgerReader *reader, const Checkpoint *given)
{
	int64 entries = store_size(reader);
	char *log = fork_log_id_text(reader->log_id);
	MerkleHash root;

	if ((int64) given->size > entries)
		return psprintf("the checkpoint covers " UINT64_FORMAT
						" entries, and log %s has only " INT64_FORMAT
						": the ledger was rolled back or cut off since it was signed",
						given->size, log, entries);
	if (root_is_elsewhere(reader, (int64) given->size))
		return psprintf("the checkpoint's " UINT64_FORMAT
						" entries end in a segment of log %s that "
						"was detached: compare it with the archive, by biometric-verify",
						given->size, log);
	if (!store_root(reader, (int64) given->size, &root))
		return psprintf(
			"entries or tiles of log %s are missing below the checkpoint's " UINT64_FORMAT
			" entries: it cannot be compared here",
			log, given->size);
	if (memcmp(&root, &given->root, sizeof(root)) != 0)
		return psprintf("the first " UINT64_FORMAT " entries of log %s are not those that the "
						"checkpoint was signed over: the ledger was rewritten since",
						given->size, log);
	return NULL;
}

/* Verifies a note by the keys of one log; *found: one of them has signed it, rightly or not. */
static char *
look_in_log(const LedgerLog *log, Snapshot snapshot, const char *note, Size length, bool *found)
{
	LedgerReader reader;
	Checkpoint given;
	CoreStatus status;
	char *problem = NULL;

	if (!store_reader_open(&reader, log->log_id, snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	status = open_signed(note, length, read_signatories(&reader, NULL), &given);
	*found = status != CORE_WRONG_KEY;
	if (status == CORE_OK)
		problem = compare_given(&reader, &given);
	else if (*found)
		problem = psprintf("the checkpoint bears the name of a key of log %s, and its signature is "
						   "wrong: nobody has signed it",
						   fork_log_id_text(log->log_id));
	store_reader_close(&reader);
	return problem;
}

/* Whether a text of UTF-8 is one in this database's encoding, too. */
static bool
can_show(const char *utf8)
{
	return GetDatabaseEncoding() == PG_UTF8 || pg_is_ascii(utf8);
}

/* Finds the log that a checkpoint is of, and compares them. */
static char *
verify_given(const char *note, Size length, const char *origin)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	List *logs = list_concat(store_logs(snapshot), store_restored_logs(snapshot));
	char *problem = NULL;
	bool found = false;
	ListCell *cell;

	foreach(cell, logs)
	{
		const LedgerLog *log = lfirst(cell);

		problem = look_in_log(log, snapshot, note, length, &found);
		if (!found)
			continue;
		if (problem == NULL && log->restored)
		{
			MerkleHash root;
			int64 size;

			problem = verify_restored(log->log_id, &size, &root);
		}
		break;
	}
	UnregisterSnapshot(snapshot);
	if (!found)
		return psprintf("no key of this database's logs has signed the checkpoint%s%s: it is of "
						"another ledger, or this one was replaced since",
						can_show(origin) ? " of " : "", can_show(origin) ? origin : "");
	return problem;
}

/* Makes a note end in one newline, and begin with its first line. */
static char *
trim_note(const char *utf8)
{
	Size first = strspn(utf8, WHITE_SPACE);
	Size length = strlen(utf8);

	while (length > first && strchr(WHITE_SPACE, utf8[length - 1]) != NULL)
		length--;
	return psprintf("%.*s%s", (int) (length - first), utf8 + first, length > first ? "\n" : "");
}

char *
verify_given_text(const text *given)
{
	char *server = text_to_cstring(given);

	return trim_note(pg_server_to_any(server, (int) strlen(server), PG_UTF8));
}

char *
verify_given_bytes(const bytea *given)
{
	char *bytes = text_to_cstring((const text *) given);

	return trim_note(strlen(bytes) == VARSIZE_ANY_EXHDR(given) ? bytes : "");
}

/* Verifies the ledger, and compares it with a note. */
static Datum
verify_by_note(FunctionCallInfo fcinfo, const char *note)
{
	Size length = strlen(note);
	Checkpoint checkpoint;
	MerkleHash root;
	char *problem;
	int64 size;
	Note parts;

	if (note_parse(note, length, &parts) != CORE_OK ||
		checkpoint_parse(parts.text, parts.text_length, &checkpoint) != CORE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("this is no signed checkpoint"),
				 errdetail("A checkpoint is origin, size and root, a line each, an empty "
						   "line, and signature lines, and ends in a newline."),
				 errhint("Give it as biometric.checkpoint() returned it; to verify a "
						 "restored log, cast its id to uuid.")));
	problem = verify_present(&size, &root);
	if (problem == NULL)
		problem = verify_given(note, length, checkpoint.origin);
	return verify_answer(fcinfo, size, &root, problem);
}

Datum
ledger_verify_checkpoint(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(verify_by_note(fcinfo, verify_given_text(PG_GETARG_TEXT_PP(0))));
}

Datum
ledger_verify_note(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(verify_by_note(fcinfo, verify_given_bytes(PG_GETARG_BYTEA_PP(0))));
}

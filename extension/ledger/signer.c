/*
 * signer.c - the worker's side of checkpoints: its key, and what it signs.
 *
 * A note leaves this process by the commit that stores it, and is published
 * after that; a crash in between leaves it to the next worker, which begins
 * by publishing what is stored. Nothing is signed that contradicts the
 * newest checkpoint, whatever has become of the tables.
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/seal.h"
#include "keyring/source.h"
#include "ledger/follow.h"
#include "ledger/fork.h"
#include "ledger/session.h"
#include "ledger/signer.h"
#include "ledger/store_checkpoint.h"

#define INTERVAL_MS 1000L
#define KEEP_ONE_IN_US (60 * USECS_PER_SEC)
#define UNIX_EPOCH_OFFSET                                                                          \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC)

#define KEY_HINT                                                                                   \
	"Put an Ed25519 private key in PEM, as \"openssl genpkey -algorithm ed25519\" makes it, into " \
	"a file of its own with mode 0600, owned by the server's user, outside the data directory, "   \
	"then reload the configuration."

/* What the worker signs, and with what. */
typedef struct Signer
{
	uint32 generation;
	SignKey *private_key; /* NULL: nothing is signed */
	NoteKey key;
	bool recorded;	 /* the key has its row in biometric.verifier */
	int64 announced; /* sequence number of its entry key_changed; -1: not appended yet */
	char previous[NOTE_KEY_TEXT_MAX]; /* the key that signed before, or "" */

	TimestampTz tried;	 /* when something was last signed, or failed to be */
	int64 row;			 /* size of the newest row; -1: none */
	TimestampTz row_at;	 /* when that was signed */
	TimestampTz kept_at; /* when the newest before it was that is kept for good; 0: none */

	bool unpublished;	 /* newest says more than the shared memory */
	LedgerSigned newest; /* what is published, or will be after the commit */
} Signer;

static Signer signer = {.announced = -1, .row = -1};

/* The last problem that the server's log was told of. */
static char warned[SIGNER_PROBLEM_SIZE] = "";

/* Why nothing is signed: for the log once, and for ledger_status(). */
static void
signer_problem(const char *message, const char *detail, const char *hint)
{
	sign_key_free(signer.private_key);
	signer.private_key = NULL;
	signer.newest.vkey[0] = '\0';
	strlcpy(signer.newest.problem, detail, SIGNER_PROBLEM_SIZE);
	if (strcmp(warned, signer.newest.problem) == 0)
		return;
	strlcpy(warned, signer.newest.problem, SIGNER_PROBLEM_SIZE);
	ereport(WARNING, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("%s", message),
					  errdetail("%s Nothing is signed.", detail), errhint("%s", hint)));
}

/* Makes the key of a file's text; names it after the log. */
static bool
make_key(const SecretMemory *text, const uint8 *log_id)
{
	char *name = psprintf("%s/%s", signer_origin(), fork_log_id_text(log_id));
	uint8 public_key[SIGN_PUBLIC_SIZE];

	if (sign_key_read(text->memory, text->used, &signer.private_key) != CORE_OK)
		return false;
	if (sign_key_public(signer.private_key, public_key) == CORE_OK &&
		note_key_make(name, NOTE_ED25519, public_key, &signer.key) == CORE_OK)
	{
		note_key_format(&signer.key, signer.newest.vkey);
		return true;
	}
	sign_key_free(signer.private_key);
	signer.private_key = NULL;
	return false;
}

static void
read_key(const uint8 *log_id)
{
	const char *path = signer_key_file();
	KeyringProblem problem = {0};
	SecretMemory text;
	bool made;

	if (path[0] == '\0')
		return;
	if (!secret_read_file("signing key file", path, &text, &problem))
	{
		signer_problem(problem.message, problem.detail, KEY_HINT);
		return;
	}
	made = make_key(&text, log_id);
	secret_free(&text);
	if (made)
		warned[0] = '\0';
	else
		signer_problem(psprintf("signing key file \"%s\" is malformed", path),
					   "The signing key file holds no Ed25519 private key in PEM without a "
					   "password.",
					   KEY_HINT);
}

/* Whether a note is what one of the log's keys signed of the log's first entries. */
static bool
note_is_true(const uint8 *log_id, const StoredCheckpoint *stored, List *verifiers)
{
	Checkpoint checkpoint;
	LedgerReader reader;
	MerkleHash root;
	ListCell *cell;
	bool known;
	bool signature = false;

	foreach(cell, verifiers)
	{
		const char *vkey = ((StoredVerifier *) lfirst(cell))->vkey;
		NoteKey key;

		if (note_key_parse(vkey, strlen(vkey), &key) == CORE_OK &&
			checkpoint_open(stored->note, stored->length, &key, &checkpoint) == CORE_OK &&
			(int64) checkpoint.size == stored->size)
		{
			signature = true;
			break;
		}
	}
	if (!signature || !store_reader_open(&reader, log_id, GetActiveSnapshot()))
		return false;
	known = stored->size <= store_size(&reader) && store_root(&reader, stored->size, &root);
	store_reader_close(&reader);
	return known && memcmp(&root, &checkpoint.root, sizeof(root)) == 0;
}

/* Takes up what a predecessor left. False when it is not true: then nothing may be added to it. */
static bool
take_up_rows(const uint8 *log_id, List *verifiers)
{
	StoredCheckpoint rows[2];
	int count = store_newest_checkpoints(log_id, GetActiveSnapshot(), rows, lengthof(rows));

	signer.row = -1;
	signer.kept_at = 0;
	if (count == 0)
		return true;
	signer.row = rows[0].size;
	signer.row_at = rows[0].at;
	if (count > 1)
		signer.kept_at = rows[1].at;
	if (signer.tried < rows[0].at)
		signer.tried = rows[0].at;
	if (rows[0].length >= CHECKPOINT_MAX || !note_is_true(log_id, &rows[0], verifiers))
		return false;
	signer.newest.size = (uint64) rows[0].size;
	signer.newest.at = rows[0].at + UNIX_EPOCH_OFFSET;
	signer.newest.length = (uint32) rows[0].length;
	memcpy(signer.newest.note, rows[0].note, rows[0].length);
	return true;
}

/* Whether the key has signed last; one that comes back is announced again. */
static void
look_up_key(List *verifiers)
{
	const StoredVerifier *last = verifiers == NIL ? NULL : llast(verifiers);

	signer.previous[0] = '\0';
	if (last != NULL)
		strlcpy(signer.previous, last->vkey, sizeof(signer.previous));
	signer.recorded = last != NULL && strcmp(last->vkey, signer.newest.vkey) == 0;
}

/*
 * Publishes the key, and the newest checkpoint if it was published before. One that was not
 * could still be taken back by a failover: until it is durable, an older one stays.
 */
static void
publish_start(int number)
{
	LedgerSigned *start = palloc(sizeof(LedgerSigned));
	LedgerSigned *published = palloc(sizeof(LedgerSigned));
	bool same_log = signer_read(number, published) &&
					memcmp(published->log_id, signer.newest.log_id, LEDGER_LOG_ID_SIZE) == 0;

	signer.unpublished =
		signer.newest.length > 0 && !(same_log && published->size >= signer.newest.size);
	*start = signer.newest;
	if (signer.unpublished)
		start->length = 0;
	if (signer.unpublished && same_log)
	{
		start->size = published->size;
		start->at = published->at;
		start->length = published->length;
		memcpy(start->note, published->note, published->length);
	}
	signer_post(number, start);
	ledger_wake(number, true);
}

void
signer_start(int number, uint32 generation, const uint8 *log_id)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric signer start", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool same_log = signer.generation == generation;
	char *vkey = pstrdup(signer.newest.vkey);
	List *verifiers = store_verifiers(log_id, GetActiveSnapshot());

	sign_key_free(signer.private_key);
	signer.private_key = NULL;
	signer.generation = generation;
	memset(&signer.newest, 0, sizeof(signer.newest));
	memcpy(signer.newest.log_id, log_id, LEDGER_LOG_ID_SIZE);
	read_key(log_id);
	if (!same_log || strcmp(vkey, signer.newest.vkey) != 0)
		signer.announced = -1;
	if (!take_up_rows(log_id, verifiers))
		signer_problem("the newest checkpoint of the ledger is not what was signed",
					   "The newest row of biometric.checkpoint contradicts the ledger or its "
					   "verifier keys.",
					   "biometric.verify_ledger() says what has changed; "
					   "biometric.fork_ledger(reason) begins another log.");
	look_up_key(verifiers);
	publish_start(number);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
signer_hurry(void)
{
	signer.tried = 0;
}

long
signer_wait_ms(uint64 size)
{
	TimestampTz now;
	int64 passed;

	if (signer.private_key == NULL || size == 0 || (int64) size <= signer.row)
		return -1;
	/* the first checkpoint by a key covers the entry that names it */
	if (!signer.recorded && signer.announced >= 0 && (int64) size <= signer.announced)
		return -1;
	now = GetCurrentTimestamp();
	passed = (now - signer.tried) / 1000;
	/* the clock was set back */
	if (passed < 0)
		return 0;
	return passed >= INTERVAL_MS ? 0 : (long) (INTERVAL_MS - passed);
}

/* Puts the entry into the ring that says in the log itself who signs it from now on. */
static void
announce_key(int number)
{
	EntryFields fields = {.event = ENTRY_KEY_CHANGED, .reference = ENTRY_NO_REFERENCE};
	uint8 bytes[2048];
	StringInfoData json;
	size_t length;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"verifier_key\": ");
	escape_json(&json, signer.newest.vkey);
	appendStringInfoString(&json, ", \"previous\": ");
	if (signer.previous[0] != '\0')
		escape_json(&json, signer.previous);
	else
		appendStringInfoString(&json, "null");
	appendStringInfoChar(&json, '}');
	fields.at = session_unix_time();
	fields.process = (uint64_t) MyProcPid;
	fields.detail = session_text(json.data);
	if (entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK)
		elog(ERROR, "could not encode a ledger entry");
	pfree(json.data);
	if (follow_append(number, signer.generation, bytes, length, &signer.announced))
		SetLatch(MyLatch);
	else
		signer.tried = GetCurrentTimestamp();
}

/* Writes the row, and lets the one before go unless it is worth keeping. */
static void
store_signed(const uint8 *log_id, TimestampTz now)
{
	StoredCheckpoint row = {.size = (int64) signer.newest.size,
							.at = now,
							.note = signer.newest.note,
							.length = signer.newest.length};
	StoredVerifier verifier = {.vkey = signer.newest.vkey, .since = signer.announced, .at = now};
	TimestampTz apart = signer.row_at - signer.kept_at;

	store_insert_checkpoint(log_id, &row);
	if (!signer.recorded)
		store_insert_verifier(log_id, &verifier);
	signer.recorded = true;
	/* apart is negative when the clock was set back */
	if (signer.row >= 0 && (signer.kept_at == 0 || apart < 0 || apart >= KEEP_ONE_IN_US ||
							!store_prune_checkpoint(log_id, signer.row)))
		signer.kept_at = signer.row_at;
	signer.row = row.size;
	signer.row_at = now;
}

bool
signer_write(int number, const uint8 *log_id, const MerkleFrontier *frontier)
{
	Checkpoint checkpoint = {.size = frontier->size};
	TimestampTz now = GetCurrentTimestamp();
	size_t length;
	Relation table;

	if (signer_wait_ms(frontier->size) != 0 ||
		pg_atomic_read_u32(&ledger_slot(number)->generation) != signer.generation ||
		memcmp(log_id, signer.newest.log_id, LEDGER_LOG_ID_SIZE) != 0)
		return false;
	if (!signer.recorded && signer.announced < 0)
	{
		announce_key(number);
		return false;
	}
	signer.tried = now;
	table = store_open("checkpoint", RowExclusiveLock);
	if (table == NULL)
		return false;
	table_close(table, NoLock);
	merkle_frontier_root(frontier, &checkpoint.root);
	if (checkpoint_sign(&checkpoint, &signer.key, signer.private_key, signer.newest.note,
						&length) != CORE_OK)
	{
		signer_problem("a checkpoint of the ledger could not be signed",
					   "The cryptographic library refused to sign.",
					   "See whether the server has memory and entropy, then reload the "
					   "configuration.");
		signer.newest.length = 0;
		signer.unpublished = true;
		return true;
	}
	signer.newest.size = frontier->size;
	signer.newest.at = now + UNIX_EPOCH_OFFSET;
	signer.newest.length = (uint32) length;
	store_signed(log_id, now);
	signer.unpublished = true;
	return true;
}

void
signer_publish(int number)
{
	if (!signer.unpublished ||
		pg_atomic_read_u32(&ledger_slot(number)->generation) != signer.generation)
		return;
	signer.unpublished = false;
	signer_post(number, &signer.newest);
	ledger_wake(number, true);
}

/*
 * confirm.c - what was found by derived tables is held against the entries, which alone are
 * evidence.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "ledger/follow.h"
#include "ledger/store.h"
#include "trace/search.h"

/* One log, as far as it is needed. */
typedef struct ConfirmLog
{
	const LedgerLog *log;
	LedgerReader reader;
	bool open;
	HTAB *aborted; /* full ids of transactions that aborted; NULL: not read yet */
} ConfirmLog;

typedef struct Confirm
{
	Search *search;
	ConfirmLog *logs;
	MemoryContext context; /* of the results */
	MemoryContext entry;   /* reset after each */
} Confirm;

EntryText
search_relation(const EntryFields *fields, const EntryFields *statement)
{
	EntryText line = {NULL, 0};
	const char *end;

	if (fields->relation.bytes != NULL || fields->relation_index == 0 || statement == NULL ||
		statement->relations.bytes == NULL)
		return fields->relation;
	line.bytes = statement->relations.bytes;
	end = line.bytes + statement->relations.length;
	for (uint32 index = 1;; index++)
	{
		const char *stop = memchr(line.bytes, '\n', end - line.bytes);

		line.length = (stop == NULL ? end : stop) - line.bytes;
		if (index == fields->relation_index)
			return line;
		if (stop == NULL)
			return (EntryText){NULL, 0};
		line.bytes = stop + 1;
	}
}

static bool
read_entry(ConfirmLog *log, int64 sequence, EntryFields *fields)
{
	bytea *bytes = sequence < 0 ? NULL : store_entry(&log->reader, sequence);

	return bytes != NULL && entry_decode((const uint8_t *) VARDATA(bytes),
										 VARSIZE(bytes) - VARHDRSZ, fields) == CORE_OK;
}

static ConfirmLog *
open_log(Confirm *confirm, int number)
{
	ConfirmLog *log = &confirm->logs[number];

	if (log->open)
		return log;
	log->log = list_nth(confirm->search->logs, number);
	if (!store_reader_open(&log->reader, log->log->log_id, confirm->search->snapshot))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing"),
						errhint("Create the extension again, and restore a dump.")));
	log->open = true;
	return log;
}

/* All entries of event aborted. Reads the whole log: only for what the server does not know. */
static void
read_aborted(Confirm *confirm, ConfirmLog *log)
{
	HASHCTL control = {.keysize = sizeof(uint64), .entrysize = sizeof(uint64)};
	ActivityQuestion question = {
		.from = DT_NOBEGIN, .until = DT_NOEND, .events = 1u << ENTRY_ABORTED};
	MemoryContext old = MemoryContextSwitchTo(confirm->context);
	ActivityScan *scan;
	ActivityEntry entry;

	control.hcxt = confirm->context;
	log->aborted = hash_create("biometric aborted transactions", 64, &control,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	scan = activity_begin(log->log, confirm->search->snapshot, &question);
	while (activity_next(scan, &entry))
	{
		CHECK_FOR_INTERRUPTS();
		(void) hash_search(log->aborted, &entry.fields.transaction, HASH_ENTER, NULL);
	}
	activity_end(scan);
	MemoryContextSwitchTo(old);
}

/* Whether a change was taken back. The transactions of a restored log are another server's. */
static bool
was_aborted(Confirm *confirm, ConfirmLog *log, uint64 transaction)
{
	if (transaction == 0)
		return false;
	if (!log->log->restored)
	{
		TransactionOutcome outcome = follow_outcome(transaction);

		if (outcome != OUTCOME_UNKNOWN)
			return outcome == OUTCOME_ABORTED;
	}
	if (log->aborted == NULL)
		read_aborted(confirm, log);
	return hash_search(log->aborted, &transaction, HASH_FIND, NULL) != NULL;
}

/* Whether an entry says of an image what the derived table says that it says. */
static bool
is_confirmed(const Search *search, const FoundImage *image, TraceMatch match,
			 const EntryFields *fields)
{
	const EvidenceKey *key;

	if ((fields->event != ENTRY_STORED && fields->event != ENTRY_REPLACED) ||
		fields->image_id == NULL || fields->digest == NULL ||
		memcmp(fields->image_id, image->id, ENTRY_IMAGE_ID_SIZE) != 0)
		return false;
	key = fields->key > PG_UINT32_MAX ? NULL : evidence_key(search->evidence, (uint32) fields->key);
	switch (match)
	{
		case TRACE_MARK:
			return true;
		case TRACE_EXACT:
			return key != NULL && evidence_has_digest(key, fields->digest, ENTRY_DIGEST_SIZE);
		case TRACE_SIMILAR:
			return key != NULL && evidence_distance(key, fields->picture_hash, search->near) >= 0;
		default:
			return false;
	}
}

static EntryText
copy_text(Confirm *confirm, EntryText text)
{
	char *copy;

	if (text.bytes == NULL)
		return text;
	copy = MemoryContextAlloc(confirm->context, Max(text.length, 1));
	memcpy(copy, text.bytes, text.length);
	return (EntryText){copy, text.length};
}

typedef enum Verdict
{
	CONFIRMED,
	ABORTED,
	CONTRADICTED
} Verdict;

static Verdict
confirm_stored(Confirm *confirm, FoundImage *image, FoundStored *stored)
{
	ConfirmLog *log = open_log(confirm, stored->log);
	EntryFields fields;
	EntryFields statement;
	bool has_statement;

	/* what is in an archive is found by what was kept of it */
	if (stored->sequence < store_first(&log->reader))
		return CONFIRMED;
	if (!read_entry(log, stored->sequence, &fields) ||
		!is_confirmed(confirm->search, image, stored->match, &fields))
	{
		ereport(WARNING, (errmsg("biometric.traced says of entry " INT64_FORMAT
								 " of the ledger what the entry does not say",
								 stored->sequence),
						  errhint("biometric.verify_ledger() says what else has changed.")));
		return CONTRADICTED;
	}
	if (was_aborted(confirm, log, fields.transaction))
		return ABORTED;
	has_statement = fields.relation.bytes == NULL && fields.relation_index > 0 &&
					read_entry(log, fields.reference, &statement) &&
					statement.event == ENTRY_STATEMENT;
	stored->readable = true;
	stored->relation =
		copy_text(confirm, search_relation(&fields, has_statement ? &statement : NULL));
	stored->row_key = copy_text(confirm, fields.row_key);
	image->kind = fields.kind;
	return CONFIRMED;
}

/* An image of an aborted transaction stays: it may have been released before the end. */
static void
confirm_image(Confirm *confirm, FoundImage *image)
{
	int64 kept = 0;
	bool contradicted = false;

	for (int64 i = 0; i < image->stored_count; i++)
	{
		FoundStored *stored = &image->stored[i];
		Verdict verdict;

		CHECK_FOR_INTERRUPTS();
		verdict = confirm_stored(confirm, image, stored);
		MemoryContextReset(confirm->entry);
		if (verdict == CONFIRMED)
			image->stored[kept++] = *stored;
		contradicted = contradicted || verdict == CONTRADICTED;
	}
	image->stored_count = kept;
	if (kept == 0 && contradicted)
		image->match = TRACE_NONE;
}

void
search_confirm(Search *search)
{
	Confirm confirm = {.search = search, .context = CurrentMemoryContext};
	int logs = list_length(search->logs);
	MemoryContext old;

	confirm.logs = palloc0_array(ConfirmLog, Max(logs, 1));
	confirm.entry = AllocSetContextCreate(CurrentMemoryContext, "biometric traced entry",
										  ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(confirm.entry);
	for (int i = 0; i < search->count; i++)
		confirm_image(&confirm, &search->images[i]);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < logs; i++)
		if (confirm.logs[i].open)
			store_reader_close(&confirm.logs[i].reader);
	MemoryContextDelete(confirm.entry);
}

/*
 * entries.c - reads a log for somebody outside; entries(first, count).
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "audit/export.h"
#include "ledger/fork.h"
#include "ledger/signer.h"
#include "ledger/store_checkpoint.h"

#define ENTRIES_AT_ONCE 256

PGDLLEXPORT Datum audit_entries(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_entries);

/* The log of an id among all that this database has; the present one without an id. */
static LedgerLog *
find_log(const pg_uuid_t *log_id)
{
	LedgerLog *log;

	if (log_id == NULL)
		return fork_present_log();
	log = store_find_log(log_id->data, GetActiveSnapshot());
	if (log == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this database has no log %s", fork_log_id_text(log_id->data)),
				 errhint("Logs that were restored from dumps are in biometric.ledger_history.")));
	return log;
}

/*
 * How many of a log's entries are known to be durable: those of changes can be
 * seen before, and a crash might take them back.
 */
static int64
durable_size(LedgerReader *reader)
{
	int64 present = store_size(reader);
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();
	LedgerStatus *status = palloc(sizeof(LedgerStatus));

	if (number >= 0 && ledger_status_read(number, status) && status->loaded &&
		memcmp(status->log_id, reader->log_id, LEDGER_LOG_ID_SIZE) == 0)
		present = Min(present, (int64) status->frontier.size);
	pfree(status);
	return present;
}

void
audit_log_open(AuditLog *log, const pg_uuid_t *log_id)
{
	memset(log, 0, sizeof(*log));
	log->log = find_log(log_id);
	if (!store_reader_open(&log->reader, log->log->log_id, GetActiveSnapshot()))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("a ledger table is missing")));
	log->size = durable_size(&log->reader);
	log->first = store_first(&log->reader);
}

void
audit_log_close(AuditLog *log)
{
	store_reader_close(&log->reader);
}

/*
 * An entry is not there: with its segment, which was detached since the
 * snapshot was taken, or for no good reason.
 */
pg_noreturn static void
entry_missing(const AuditLog *log, int64 sequence)
{
	LedgerReader reader;

	PushActiveSnapshot(GetLatestSnapshot());
	if (store_reader_open(&reader, log->log->log_id, GetActiveSnapshot()) &&
		sequence < store_first(&reader))
		store_require_entry(&reader, sequence);
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("entry " INT64_FORMAT " of the ledger is missing", sequence),
					errhint("biometric.verify_ledger() says what else is.")));
}

void
audit_read_entries(AuditLog *log, int64 first, int count, bytea **entries)
{
	int done = 0;

	while (done < count)
	{
		int some = store_entries(&log->reader, first + done, count - done, entries + done);

		CHECK_FOR_INTERRUPTS();
		if (some == 0)
			entry_missing(log, first + done);
		done += some;
	}
}

/* ---- What was signed */

/* Whether a log is the one whose checkpoints are being signed here and now. */
static bool
is_being_signed(const LedgerLog *log)
{
	LedgerLog *present = fork_present_log();
	int number = RecoveryInProgress() ? -1 : ledger_my_slot();

	return number >= 0 && signer_key_file()[0] != '\0' && !log->retired && !log->fenced &&
		   memcmp(present->log_id, log->log_id, LEDGER_LOG_ID_SIZE) == 0 &&
		   pg_atomic_read_u32(&ledger_slot(number)->state) == LEDGER_READY;
}

/* Puts the cosignatures that are kept below a note. */
static void
set_note(const AuditLog *log, const char *note, size_t length, AuditCheckpoint *newest)
{
	StringInfoData text;
	Note parsed;
	ListCell *cell;

	if (note_parse(note, length, &parsed) != CORE_OK ||
		checkpoint_parse(parsed.text, parsed.text_length, &newest->head) != CORE_OK)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the newest checkpoint of the ledger is malformed"),
						errhint("biometric.verify_ledger() says what else is.")));
	initStringInfo(&text);
	appendBinaryStringInfo(&text, note, (int) length);
	foreach(cell,
			store_cosignatures(log->log->log_id, (int64) newest->head.size, GetActiveSnapshot()))
	{
		const StoredCosignature *cosignature = lfirst(cell);

		appendBinaryStringInfo(&text, cosignature->line, (int) cosignature->length);
	}
	newest->note = text.data;
	newest->length = text.len;
}

void
audit_newest_checkpoint(const AuditLog *log, AuditCheckpoint *newest)
{
	StoredCheckpoint stored;

	if (is_being_signed(log->log))
	{
		LedgerSigned *published = palloc(sizeof(LedgerSigned));

		signer_wait((uint64) log->size, published);
		set_note(log, published->note, published->length, newest);
	}
	else if (store_newest_checkpoints(log->log->log_id, GetActiveSnapshot(), &stored, 1) == 1)
		set_note(log, stored.note, stored.length, newest);
	else
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("no checkpoint of this log has been signed"),
						errdetail("Without one an export could not be checked by anybody."),
						errhint("Set biometric_audit.signing_key, and have the log signed "
								"while it is "
								"still being written.")));
}

char *
audit_verifiers(const AuditLog *log)
{
	StringInfoData text;
	ListCell *cell;

	initStringInfo(&text);
	foreach(cell, store_verifiers(log->log->log_id, GetActiveSnapshot()))
		appendStringInfo(&text, "%s\n", ((StoredVerifier *) lfirst(cell))->vkey);
	return text.data;
}

/* ---- entries() */

/* Refuses a range that cannot be; returns where it ends. */
static int64
check_range(AuditLog *log, int64 first, int64 count)
{
	if (first < 0 || count < 0 || first > log->size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the ledger has no " INT64_FORMAT " entries from " INT64_FORMAT " on",
						count, first),
				 errdetail("It has " INT64_FORMAT " that are durable, from 0 on.", log->size)));
	if (count > 0 && first < log->first)
		store_require_entry(&log->reader, first);
	return count > log->size - first ? log->size : first + count;
}

/* Puts count entries into the result. */
static void
put_rows(AuditLog *log, int64 first, int count, ReturnSetInfo *result)
{
	bytea *entries[ENTRIES_AT_ONCE];

	audit_read_entries(log, first, count, entries);
	for (int i = 0; i < count; i++)
	{
		Datum values[2] = {Int64GetDatum(first + i), PointerGetDatum(entries[i])};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

Datum
audit_entries(PG_FUNCTION_ARGS)
{
	int64 first = PG_GETARG_INT64(0);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext chunk;
	MemoryContext old;
	AuditLog log;
	int64 end;

	/* a tuplestore: spills to disk beyond work_mem, so any count will do */
	InitMaterializedSRF(fcinfo, 0);
	audit_log_open(&log, NULL);
	end = check_range(&log, first, PG_GETARG_INT64(1));
	chunk = AllocSetContextCreate(CurrentMemoryContext, "ledger entries", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(chunk);
	for (int64 sequence = first; sequence < end; sequence += ENTRIES_AT_ONCE)
	{
		int rows = (int) Min(ENTRIES_AT_ONCE, end - sequence);

		put_rows(&log, sequence, rows, result);
		MemoryContextReset(chunk);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(chunk);
	audit_log_close(&log);
	return (Datum) 0;
}

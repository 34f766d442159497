/*
 * entries.c - entries(first, count): the bytes of a range of entries.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "audit/export.h"

PGDLLEXPORT Datum audit_entries(PG_FUNCTION_ARGS);
PG_FUNCTION_INFO_V1(audit_entries);

/* The log of an id among all that this database has; the newest without an id. */
static LedgerLog *
find_log(const pg_uuid_t *log_id)
{
	List *logs = store_logs(GetActiveSnapshot());
	ListCell *cell;

	if (logs == NIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this database has no ledger"),
						errdetail("Table biometric.log has no row of its own."),
						errhint("See biometric.ledger_status().")));
	if (log_id == NULL)
		return llast(logs);
	foreach(cell, list_concat(logs, store_restored_logs(GetActiveSnapshot())))
	{
		LedgerLog *log = lfirst(cell);

		if (memcmp(log->log_id, log_id->data, LEDGER_LOG_ID_SIZE) == 0)
			return log;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("this database has no log %s",
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(log_id)))),
			 errhint("Logs that were restored from dumps are in biometric.ledger_history.")));
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
}

void
audit_log_close(AuditLog *log)
{
	store_reader_close(&log->reader);
}

void
audit_entry_missing(int64 sequence)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("entry " INT64_FORMAT " of the ledger is missing", sequence),
					errhint("biometric.verify_ledger() says what else is.")));
}

/* Refuses a range that cannot be; returns where it ends. */
static int64
check_range(const AuditLog *log, int64 first, int64 count)
{
	if (first < 0 || count < 0 || first > log->size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the ledger has no " INT64_FORMAT " entries from " INT64_FORMAT " on",
						count, first),
				 errdetail("It has " INT64_FORMAT " that are durable, from 0 on.", log->size)));
	if (first < log->first && count > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("entry " INT64_FORMAT " is in a segment that was detached", first),
				 errdetail("The entries before " INT64_FORMAT " are in an archive; their roots "
						   "were kept.",
						   log->first),
				 errhint("Ask for entries from " INT64_FORMAT " on, or read the archive. See "
						 "biometric.segments.",
						 log->first)));
	return count > log->size - first ? log->size : first + count;
}

Datum
audit_entries(PG_FUNCTION_ARGS)
{
	int64 first = PG_GETARG_INT64(0);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext row;
	MemoryContext old;
	AuditLog log;
	int64 end;

	/* a tuplestore: spills to disk beyond work_mem, so any count will do */
	InitMaterializedSRF(fcinfo, 0);
	audit_log_open(&log, NULL);
	end = check_range(&log, first, PG_GETARG_INT64(1));
	row = AllocSetContextCreate(CurrentMemoryContext, "ledger entry", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(row);
	for (int64 sequence = first; sequence < end; sequence++)
	{
		Datum values[2];
		bool nulls[2] = {false, false};
		bytea *entry = store_entry(&log.reader, sequence);

		CHECK_FOR_INTERRUPTS();
		if (entry == NULL)
			audit_entry_missing(sequence);
		values[0] = Int64GetDatum(sequence);
		values[1] = PointerGetDatum(entry);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
	audit_log_close(&log);
	return (Datum) 0;
}

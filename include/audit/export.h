/*
 * export.h - hands a log's entries out: to SQL, and to files in the layout of
 * c2sp.org/tlog-tiles.
 *
 * Private to the audit room. Client backends only; needs a transaction with an
 * active snapshot. Only what is durable is handed out: an entry that a crash
 * could take back must not be in anybody's hands.
 */
#ifndef BIOMETRIC_AUDIT_EXPORT_H
#define BIOMETRIC_AUDIT_EXPORT_H

#include "postgres.h"

#include "utils/uuid.h"

#include "ledger/store.h"

/* A log that is read for somebody outside. */
typedef struct AuditLog
{
	LedgerLog *log;
	LedgerReader reader;
	int64 size;	 /* entries that are durable */
	int64 first; /* the first entry that is not in a detached segment */
} AuditLog;

/*
 * audit_log_open opens a log for reading. log_id: one of this database's logs,
 * own or restored; NULL: the present one. audit_log_close closes it. Errors: 55000 when this database
 * has no ledger, 22023 when it has no such log, 42P01 when a table is gone.
 */
extern void audit_log_open(AuditLog *log, const pg_uuid_t *log_id);
extern void audit_log_close(AuditLog *log);

/*
 * audit_entry_missing raises XX001: an entry that must be there, attached and durable, is
 * not.
 */
pg_noreturn extern void audit_entry_missing(int64 sequence);

#endif

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

#include "core/checkpoint.h"
#include "core/tlog_tiles.h"
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
 * audit_read_entries reads count entries from first on into entries[], palloc'd. Errors:
 * XX001 when one is missing, 55000 when its segment was detached meanwhile.
 */
extern void audit_read_entries(AuditLog *log, int64 first, int count, bytea **entries);

/* The newest signed checkpoint of a log. */
typedef struct AuditCheckpoint
{
	Checkpoint head;
	char *note; /* palloc'd, with the cosignatures that are kept */
	size_t length;
} AuditCheckpoint;

/*
 * audit_newest_checkpoint finds it: of the present log one that covers what is durable
 * now, waited for if need be; on a standby and of other logs the newest that
 * is stored. Errors: 55000 when the log has never been signed, and as
 * signer_wait's.
 */
extern void audit_newest_checkpoint(const AuditLog *log, AuditCheckpoint *newest);

/* audit_verifiers returns the verifier keys that have signed a log, a line each, palloc'd. */
extern char *audit_verifiers(const AuditLog *log);

/* ---- The directory (export_files.c) */

/* How many files are made durable together. */
#define EXPORT_BATCH 128

/*
 * A directory that an export is written to. Names are relative to it. A file
 * has its name only when it is whole and on disk; what an export that was
 * interrupted leaves behind is named *.tmp.
 */
typedef struct ExportDirectory
{
	char path[MAXPGPATH];
	int lock;	   /* descriptor, closed when the transaction ends, too */
	int64 written; /* files */
	int count;	   /* files that have not got their names yet: */
	char pending[EXPORT_BATCH][TLOG_PATH_MAX];
} ExportDirectory;

/*
 * export_open makes or takes a directory, and keeps other exports out of it
 * until export_close. path: absolute, outside of what belongs to the server.
 * Errors: 22023 for a path that will not do, 42809 for what is no directory, 55006
 * when another export is writing there, those of the file system.
 */
extern void export_open(const char *path, ExportDirectory *directory);
extern void export_close(ExportDirectory *directory);

/*
 * export_is_empty tells whether there is nothing in the directory but what a
 * mkfs makes, and the first file of an export that did not get any further.
 */
extern bool export_is_empty(const ExportDirectory *directory);

/*
 * export_read returns a file's bytes, palloc'd, with a NUL behind them; NULL
 * when there is none. Error 54000 when it is longer than limit bytes.
 */
extern char *export_read(const ExportDirectory *directory, const char *name, size_t limit,
						 size_t *length);

/* export_has tells whether there is something of that name. */
extern bool export_has(const ExportDirectory *directory, const char *name);

/*
 * export_put writes a file, in place of the one that is there; it has its name when
 * export_flush has run, which export_put does by itself once in a while. Interruptible.
 */
extern void export_put(ExportDirectory *directory, const char *name, const void *bytes,
					   size_t length);
extern void export_flush(ExportDirectory *directory);

/* export_remove removes a file if it is there, and its directory if that was all it held. */
extern void export_remove(const ExportDirectory *directory, const char *name);

#endif

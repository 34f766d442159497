/*
 * export.h - sealed images that leave are put on record, too.
 *
 * Around everything that the client sends at top level the image room's
 * counts of ciphertext handed out are compared: what grew was exported
 * sealed, be it by COPY (to the client, a file or a program), as text, in a
 * row, an array or JSON, by logical decoding's functions. One entry
 * `exported_sealed` a run of a statement, with rows, images and bytes, its
 * AFTER triggers included; also when it fails half-way. What deferred triggers
 * hand out at COMMIT is one entry a transaction. The statement's own entry,
 * with relations and party, is durable before the first ciphertext is handed
 * out: a ledger that cannot take it fails the statement, a process that is
 * killed leaves it behind. After a failure nothing waits for the ledger: an
 * entry that it does not take at once goes with the session's next.
 *
 * Works for client backends only, and costs others nothing.
 */
#ifndef BIOMETRIC_GATE_EXPORT_H
#define BIOMETRIC_GATE_EXPORT_H

#include "base/compat.h"
#include "executor/execdesc.h"

#include "image/bind.h"

/* One for each query or utility command that is running, on the stack of its caller. */
typedef struct ExportWatch
{
	struct ExportWatch *outer; /* NULL: this is what the client sent */
	const QueryDesc *query;	   /* NULL: a utility command */
	bool finishing;			   /* the query has run; its triggers do */
	bool watching;
} ExportWatch;

/* export_begin starts watching; query: that is about to run, NULL for a utility command. */
extern void export_begin(ExportWatch *watch, const QueryDesc *query);

/*
 * export_resume starts watching a query that is being finished: its AFTER
 * triggers belong to the statement that ran it.
 */
extern void export_resume(ExportWatch *watch, const QueryDesc *query);

/*
 * export_end stops. When the outermost watch ends and ciphertext was handed
 * out, appends the entry and waits for it, unless more is to come: the triggers
 * of an INSERT, UPDATE or DELETE. rows: what the statement says it
 * processed, 0 if not known. failed: it is being ended by an error, which must
 * stay the one that is raised; the entry is then appended when the
 * (sub)transaction is rolled back. Errors, if not failed: ledger_append's.
 */
extern void export_end(ExportWatch *watch, uint64 rows, bool failed);

/*
 * export_note_read notes a relation that something inside of the statement
 * reads, or a deferred trigger, for its entries.
 */
extern void export_note_read(Oid relation);

/*
 * export_announce makes the statement's entry durable before ciphertext is
 * handed out, once a statement. The image room's output functions call it;
 * the gate does for what it sends past them. Errors: ledger_append's.
 */
extern void export_announce(void);

/* export_opened says that the gate has opened a value of so many bytes that the cast had counted. */
extern void export_opened(Size bytes);

/* export_outside says that an image goes out sealed only because it came in sealed from outside. */
extern void export_outside(void);

/* export_expired says that an image goes out sealed only because its retention period is over. */
extern void export_expired(void);

/*
 * gate_check_function refuses (42501) the functions that read changes out of
 * the WAL to a client that is refused images of any kind, and records their
 * use by others. To be called whenever a function is about to be executed.
 */
extern void gate_check_function(Oid function);

#endif

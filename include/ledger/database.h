/*
 * database.h - what becomes of a ledger when its database or its extension is
 * dropped, copied or restored.
 *
 * Workers are kept out of the way of commands on databases: DROP DATABASE,
 * CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME and SET TABLESPACE
 * fail while anybody is connected; our worker is. The utility hook calls begin
 * before and end (in PG_FINALLY) after the command.
 */
#ifndef BIOMETRIC_LEDGER_DATABASE_H
#define BIOMETRIC_LEDGER_DATABASE_H

#include "postgres.h"

#include "nodes/parsenodes.h"

typedef struct DatabaseCommand
{
	int slot; /* -1: none of our business */
	bool drop;
	Oid database;
} DatabaseCommand;

/*
 * ledger_database_begin stops the worker of the database that a utility
 * statement is about to drop, copy or rename, and keeps it stopped, provided
 * that the current user may do that (so that nobody else can stop a worker).
 * statement: any utility statement. command: filled in, for end.
 */
extern void ledger_database_begin(Node *statement, DatabaseCommand *command);

/* ledger_database_end lets the worker run again, or frees the slot after a successful drop. */
extern void ledger_database_end(const DatabaseCommand *command, bool succeeded);

/*
 * ledger_init registers the transaction callbacks; from _PG_init, before whoever appends
 * entries when a transaction is committed: the last to be registered is called first,
 * and the closing entry of a log is to be the last.
 */
extern void ledger_init(void);

/*
 * ledger_may_drop tells whether the extension may be dropped here: when the
 * present log has no entries of its own, or was retired, or this transaction
 * has created it. Needs a transaction; false in doubt.
 */
extern bool ledger_may_drop(void);

/*
 * ledger_receives tells whether rows of a log may come from a dump: it is not
 * one of this database's own, nor was it adopted here. Rows of a log that
 * others are about to make their own count, too. When true, nobody adopts a
 * log before this transaction has ended. log_id: 16 bytes. Needs a
 * transaction; cheap for the log that was asked about before. Interruptible.
 */
extern bool ledger_receives(const uint8 *log_id);

#endif

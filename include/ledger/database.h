/*
 * database.h - keeps workers out of the way of commands on databases.
 *
 * DROP DATABASE, CREATE DATABASE ... TEMPLATE, ALTER DATABASE ... RENAME and
 * SET TABLESPACE fail while anybody is connected; our worker is. The utility
 * hook calls begin before and end (in PG_FINALLY) after the command.
 */
#ifndef BIOMETRIC_LEDGER_DATABASE_H
#define BIOMETRIC_LEDGER_DATABASE_H

#include "postgres.h"

#include "nodes/parsenodes.h"

typedef struct DatabaseCommand
{
	int slot; /* -1: none of our business */
	bool drop;
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

#endif

/*
 * database.c - keeps workers out of the way of commands on databases.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_database_d.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "ledger/database.h"
#include "ledger/slot.h"

/* As long as PostgreSQL itself waits for others to leave a database. */
#define STOP_TIMEOUT_MS 5000
#define WAIT_SLICE_MS 100L

/* Holds of this backend, a slot each, so that they cannot outlive it. */
static uint32 *my_holds = NULL;

static void
hold_release(int number)
{
	if (my_holds[number] == 0)
		return;
	my_holds[number]--;
	pg_atomic_fetch_sub_u32(&ledger_slot(number)->holds, 1);
	ledger_poke_launcher();
}

/* A backend that is terminated in mid-command leaves nothing held. */
static void
hold_release_all(int code, Datum arg)
{
	for (int i = 0; i < ledger_slots(); i++)
		while (my_holds[i] > 0)
			hold_release(i);
}

static void
hold_acquire(int number)
{
	if (my_holds == NULL)
	{
		my_holds = MemoryContextAllocZero(TopMemoryContext, ledger_slots() * sizeof(uint32));
		before_shmem_exit(hold_release_all, (Datum) 0);
	}
	pg_atomic_fetch_add_u32(&ledger_slot(number)->holds, 1);
	my_holds[number]++;
	/* A worker that starts now looks at the holds after it has put down its pid. */
	pg_memory_barrier();
}

/* Waits for a slot's worker and helper to leave; if one does not, the command will say so. */
static void
wait_for_worker_to_leave(int number)
{
	LedgerSlot *slot = ledger_slot(number);
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STOP_TIMEOUT_MS);

	for (;;)
	{
		ledger_wait_announce(number, LEDGER_WAIT_ANY);
		if ((pg_atomic_read_u32(&slot->worker_pid) == 0 &&
			 pg_atomic_read_u32(&slot->helper_pid) == 0) ||
			GetCurrentTimestamp() >= deadline)
			break;
		ledger_poke_worker(number);
		ledger_poke_helper(number);
		ledger_wait_sleep(WAIT_SLICE_MS, true);
	}
	ledger_wait_announce(number, 0);
}

/* The database that CREATE DATABASE copies. */
static const char *
template_of(CreatedbStmt *statement)
{
	const char *name = "template1";
	ListCell *cell;

	foreach(cell, statement->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			name = defGetString(option);
	}
	return name;
}

static bool
sets_tablespace(AlterDatabaseStmt *statement)
{
	ListCell *cell;

	foreach(cell, statement->options)
		if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
			return true;
	return false;
}

/* The database whose worker is in a statement's way; NULL for other statements. */
static const char *
database_of(Node *statement, bool *drop)
{
	*drop = false;
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			*drop = true;
			return ((DropdbStmt *) statement)->dbname;
		case T_CreatedbStmt:
			return template_of((CreatedbStmt *) statement);
		case T_RenameStmt:
			return ((RenameStmt *) statement)->renameType == OBJECT_DATABASE
					   ? ((RenameStmt *) statement)->subname
					   : NULL;
		case T_AlterDatabaseStmt:
			return sets_tablespace((AlterDatabaseStmt *) statement)
					   ? ((AlterDatabaseStmt *) statement)->dbname
					   : NULL;
		default:
			return NULL;
	}
}

static bool
is_template(Oid database)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* PostgreSQL's own function for this is exported by some minor releases only. */
static bool
may_create_databases(void)
{
	HeapTuple tuple;
	bool result = false;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* Whether PostgreSQL would let the current user do this; it decides again itself. */
static bool
may_run(Node *statement, Oid database)
{
	bool owner = database_owner_check(database, GetUserId());

	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			return may_create_databases() && (owner || is_template(database));
		case T_RenameStmt:
			return owner && may_create_databases();
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			return owner;
		default:
			return false;
	}
}

void
ledger_database_begin(Node *statement, DatabaseCommand *command)
{
	const char *name;
	Oid database;

	command->slot = -1;
	name = database_of(statement, &command->drop);
	if (name == NULL)
		return;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) || !may_run(statement, database))
		return;
	command->database = database;
	command->slot = ledger_slot_of(database, false);
	if (command->slot < 0)
		return;
	hold_acquire(command->slot);
	PG_TRY();
	{
		wait_for_worker_to_leave(command->slot);
	}
	PG_CATCH();
	{
		hold_release(command->slot);
		command->slot = -1;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
ledger_database_end(const DatabaseCommand *command, bool succeeded)
{
	if (command->slot < 0)
		return;
	if (command->drop && succeeded)
		ledger_slot_free(command->slot);
	hold_release(command->slot);
}

/*
 * serving.c - which database serves replication connections.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/json.h"

#include "base/compat.h"
#include "ledger/append.h"
#include "ledger/refusal.h"
#include "policy/kept.h"
#include "policy/serving.h"

static char *replication_database = NULL;

void
serving_define_setting(void)
{
	DefineCustomStringVariable(
		"biometric_audit.replication_database",
		"The database whose policy and ledger serve replication connections.",
		"While it is empty replication is refused as soon as any database has a ledger.",
		&replication_database, "", PGC_SIGHUP, 0, NULL, NULL, NULL);
}

const char *
serving_name(void)
{
	return replication_database && replication_database[0] != '\0' ? replication_database : NULL;
}

bool
serving_bind(void)
{
	const char *name = serving_name();
	Oid database = name ? get_database_oid(name, true) : InvalidOid;

	kept_bind(name ? name : "", database);
	return name && kept_bound(name) == MyDatabaseId;
}

/* The database that a statement renames or drops; NULL for other statements. */
static const char *
serving_name_displaced(Node *statement)
{
	if (IsA(statement, DropdbStmt))
		return ((DropdbStmt *) statement)->dbname;
	if (IsA(statement, RenameStmt) && ((RenameStmt *) statement)->renameType == OBJECT_DATABASE)
		return ((RenameStmt *) statement)->subname;
	return NULL;
}

/* A command that is refused for a database. */
typedef struct ServingRefused
{
	Oid database;
	const char *name;
	const char *command;
} ServingRefused;

static void
serving_append(void *context)
{
	const ServingRefused *refused = context;
	EntryFields entry = {.event = ENTRY_DDL_REFUSED, .reference = ENTRY_NO_REFERENCE};
	LedgerTicket ticket = {0};
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"command\": ");
	escape_json(&detail, refused->command);
	appendStringInfoString(&detail, ", \"object\": ");
	escape_json(&detail, psprintf("database %s", refused->name));
	appendStringInfoString(&detail, ", \"rule\": \"replication\"}");
	entry.detail.bytes = detail.data;
	entry.detail.length = detail.len;
	entry.current_user_name.bytes = GetUserNameFromId(GetUserId(), false);
	entry.current_user_name.length = strlen(entry.current_user_name.bytes);
	ledger_append_to(refused->database, NULL, &entry, 1, &ticket);
	ledger_wait(&ticket);
}

/* Who may not do it anyway is left to PostgreSQL. */
void
serving_check_command(Node *statement)
{
	static const char *const rule = "Its policy decides on replication connections, and its name "
									"could be given to another database.";
	const char *name = serving_name_displaced(statement);
	const char *command = IsA(statement, DropdbStmt) ? "DROP DATABASE" : "ALTER DATABASE RENAME";
	ServingRefused refused;
	const char *problem;
	Oid database;

	if (name == NULL || serving_name() == NULL || IsBinaryUpgrade || !IsTransactionState())
		return;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) ||
		(strcmp(name, serving_name()) != 0 && kept_bound(serving_name()) != database) ||
		!database_owner_check(database, GetUserId()))
		return;
	refused = (ServingRefused){database, name, command};
	problem = ledger_refusal_record(serving_append, &refused);
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("%s is refused for database \"%s\"", command, name),
					ledger_refusal_detail(rule, problem),
					errhint("Have biometric_audit.replication_database changed first, by somebody "
							"who logs in as a custodian, and reload the server.")));
}

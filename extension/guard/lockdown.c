/*
 * lockdown.c - biometric_audit.lockdown: SQL runs no programs, reaches no
 * files of the server, and brings in no code that could read its memory.
 *
 * It holds in every database of the server: a superuser would only have to
 * change to another one.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "commands/defrem.h"
#include "foreign/fdwapi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "guard/ddl.h"
#include "guard/objects.h"
#include "guard/parts.h"
#include "guard/refuse.h"

static bool lockdown = false;

/*
 * How the C names of functions begin that read, write or list files, or write
 * to tables behind the server's back.
 */
static const char *const file_functions[] = {"pg_read_file",  "pg_read_binary_file", "pg_ls_",
											 "pg_stat_file",  "be_lo_import",		 "be_lo_export",
											 "pg_file_",	  "pg_logdir_ls",		 "heap_force_",
											 "pg_read_server"};

/* Settings that name programs or code. */
static const char *const code_settings[] = {"archive_command",
											"archive_library",
											"archive_cleanup_command",
											"restore_command",
											"recovery_end_command",
											"ssl_passphrase_command",
											"shared_preload_libraries",
											"session_preload_libraries",
											"local_preload_libraries",
											"dynamic_library_path",
											"extension_control_path",
											"jit_provider",
											"biometric_audit.keyring_command"};

void
guard_define_settings(void)
{
	DefineCustomBoolVariable("biometric_audit.lockdown",
							 "Keeps SQL from running programs, from the server's files, and from "
							 "bringing in code that could read its memory.",
							 "Refuses COPY ... PROGRAM, COPY to and from files of the server, file "
							 "functions, untrusted languages, LOAD and C functions, superuser "
							 "included, in every database.",
							 &lockdown, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

bool
guard_lockdown_on(void)
{
	return lockdown && !IsBinaryUpgrade;
}

/* Whether a language is known, and not a trusted one. */
static bool
is_untrusted(HeapTuple language)
{
	bool result;

	if (!HeapTupleIsValid(language))
		return false;
	result = !((Form_pg_language) GETSTRUCT(language))->lanpltrusted;
	ReleaseSysCache(language);
	return result;
}

static void
check_copy(CopyStmt *copy, const char *command)
{
	if (copy->is_program)
		guard_refuse_command(GUARD_LOCKDOWN, command, "a program of the server");
	if (copy->filename != NULL)
		guard_refuse_command(GUARD_LOCKDOWN, command, "a file of the server");
}

static void
check_do(DoStmt *statement, const char *command)
{
	ListCell *cell;

	foreach(cell, statement->args)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "language") == 0 &&
			is_untrusted(SearchSysCache1(LANGNAME, CStringGetDatum(strVal(option->arg)))))
			guard_refuse_command(GUARD_LOCKDOWN, command,
								 psprintf("language %s", strVal(option->arg)));
	}
}

/* ANALYZE puts what it reads into pg_statistic. */
static void
check_analyze(VacuumStmt *statement, const char *command)
{
	ListCell *cell;

	foreach(cell, statement->rels)
	{
		VacuumRelation *named = lfirst_node(VacuumRelation, cell);
		Oid relation = named->relation ? guard_find_relation(named->relation) : named->oid;

		if (guard_lockdown_reads_files(relation))
			guard_refuse_command(GUARD_LOCKDOWN, command,
								 guard_describe(RelationRelationId, relation));
	}
}

static void
check_code_setting(Node *statement, const char *command)
{
	const char *name = guard_settings_name_changed(statement);

	if (name == NULL)
		return;
	for (int i = 0; i < (int) lengthof(code_settings); i++)
		if (pg_strcasecmp(name, code_settings[i]) == 0)
			guard_refuse_command(GUARD_LOCKDOWN, command, psprintf("setting \"%s\"", name));
}

void
guard_lockdown_check(Node *statement, const char *command)
{
	if (!guard_lockdown_on())
		return;
	switch (nodeTag(statement))
	{
		case T_CopyStmt:
			check_copy((CopyStmt *) statement, command);
			break;
		case T_LoadStmt:
			guard_refuse_command(GUARD_LOCKDOWN, command,
								 psprintf("library \"%s\"", ((LoadStmt *) statement)->filename));
			break;
		case T_DoStmt:
			check_do((DoStmt *) statement, command);
			break;
		case T_CreatePLangStmt:
			/* a trusted one could be given the handler of one that is not */
			guard_refuse_command(GUARD_LOCKDOWN, command,
								 psprintf("language %s", ((CreatePLangStmt *) statement)->plname));
			break;
		case T_VacuumStmt:
			check_analyze((VacuumStmt *) statement, command);
			break;
		case T_AlterSystemStmt:
		case T_AlterRoleSetStmt:
		case T_AlterDatabaseSetStmt:
			check_code_setting(statement, command);
			break;
		default:
			break; /* functions are looked at when they are made, and when they are called */
	}
}

void
guard_lockdown_check_new_function(Oid function)
{
	HeapTuple tuple;
	Form_pg_proc form;

	if (!guard_lockdown_on() || guard_in_own_script())
		return;
	tuple = guard_new_row(ProcedureRelationId, function);
	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (is_untrusted(SearchSysCache1(LANGOID, ObjectIdGetDatum(form->prolang))))
		guard_refuse_command(GUARD_LOCKDOWN, guard_command_name(),
							 psprintf("function %s", NameStr(form->proname)));
	heap_freetuple(tuple);
}

/* Whether a C function, by the name it has in its library, reaches files. */
static bool
reaches_files(HeapTuple function)
{
	bool isnull;
	Datum source = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_prosrc, &isnull);
	char *symbol;
	bool result = false;

	if (isnull)
		return false;
	symbol = TextDatumGetCString(source);
	for (int i = 0; i < (int) lengthof(file_functions) && !result; i++)
		result = strncmp(symbol, file_functions[i], strlen(file_functions[i])) == 0;
	pfree(symbol);
	return result;
}

void
guard_check_function(Oid function)
{
	HeapTuple tuple;
	Form_pg_proc form;
	bool refused;
	char *name = NULL;

	if (!guard_lockdown_on() || !IsTransactionState())
		return;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	if (form->prolang == INTERNALlanguageId || form->prolang == ClanguageId)
		refused = reaches_files(tuple);
	else
		refused = is_untrusted(SearchSysCache1(LANGOID, ObjectIdGetDatum(form->prolang)));
	if (refused)
		name = psprintf("function %s", NameStr(form->proname));
	ReleaseSysCache(tuple);
	if (refused)
		guard_refuse_command(GUARD_LOCKDOWN, "EXECUTE", name);
}

/* Whether a foreign table is one of file_fdw. */
static bool
is_file(Oid relation)
{
	ForeignServer *server = GetForeignServer(GetForeignServerIdByRelId(relation));
	Oid handler = GetForeignDataWrapper(server->fdwid)->fdwhandler;
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(handler));
	bool result = false;
	bool isnull;
	Datum symbol;

	if (!HeapTupleIsValid(tuple))
		return false;
	symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (!isnull)
		result = strcmp(TextDatumGetCString(symbol), "file_fdw_handler") == 0;
	ReleaseSysCache(tuple);
	return result;
}

bool
guard_lockdown_reads_files(Oid relation)
{
	List *relations;
	ListCell *cell;
	bool result = false;

	if (relation < FirstNormalObjectId)
		return false;
	if (get_rel_relkind(relation) == RELKIND_FOREIGN_TABLE && is_file(relation))
		return true;
	if (!has_subclass(relation))
		return false;
	relations = find_all_inheritors(relation, NoLock, NULL);
	foreach(cell, relations)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_FOREIGN_TABLE && is_file(lfirst_oid(cell)))
			result = true;
	list_free(relations);
	return result;
}

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
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/internal.h"
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

/* How those of pg_surgery begin, which would remove entries of the ledger unseen. */
static const char *const surgery_functions = "heap_force_";

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
											"oauth_validator_libraries",
											"extension_control_path",
											"jit_provider",
											"biometric_audit.keyring_command",
											"biometric_audit.checkpoint_command"};

/* Settings that name files or directories of the server. */
static const char *const file_settings[] = {"config_file",
											"data_directory",
											"external_pid_file",
											"hba_file",
											"ident_file",
											"krb_server_keyfile",
											"log_directory",
											"log_filename",
											"promote_trigger_file",
											"ssl_ca_file",
											"ssl_cert_file",
											"ssl_crl_dir",
											"ssl_crl_file",
											"ssl_dh_params_file",
											"ssl_key_file",
											"stats_temp_directory",
											"unix_socket_directories"};

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

static bool
is_one_of(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (pg_strcasecmp(name, names[i]) == 0)
			return true;
	return false;
}

static void
check_named_setting(Node *statement, const char *command)
{
	const char *name = guard_settings_name_changed(statement);

	if (name != NULL && (is_one_of(name, code_settings, lengthof(code_settings)) ||
						 is_one_of(name, file_settings, lengthof(file_settings))))
		guard_refuse_command(GUARD_LOCKDOWN, command, psprintf("setting \"%s\"", name));
}

/* The ledger's workers: they run statements of the library only, and refusals need them. */
static bool
is_own_worker(void)
{
	return MyBgworkerEntry != NULL &&
		   strcmp(MyBgworkerEntry->bgw_library_name, "biometric_audit") == 0;
}

bool
guard_lockdown_check_support(const char *command, bool abort_on_violation)
{
	Oid function = is_own_worker() ? InvalidOid : guard_support_function();

	if (OidIsValid(function) && abort_on_violation)
		guard_refuse_command(GUARD_LOCKDOWN, command,
							 psprintf("function %s, which an operator or an index would call",
									  get_func_name(function)));
	return !OidIsValid(function);
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
		case T_CreateTableSpaceStmt:
			guard_refuse_command(GUARD_LOCKDOWN, command, "a directory of the server");
			break;
		case T_IndexStmt:
		case T_ReindexStmt:
		case T_ClusterStmt:
		case T_AlterTableStmt:
			/* building an index calls its support functions */
			(void) guard_lockdown_check_support(command, true);
			break;
		case T_VacuumStmt:
			/* building an index calls its support functions */
			(void) guard_lockdown_check_support(command, true);
			check_analyze((VacuumStmt *) statement, command);
			break;
		case T_AlterSystemStmt:
		case T_AlterRoleSetStmt:
		case T_AlterDatabaseSetStmt:
			check_named_setting(statement, command);
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

/* Whether the name that a C function has in its library begins with one of some. */
static bool
symbol_begins(HeapTuple function, const char *const *beginnings, int count)
{
	bool isnull;
	Datum source = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_prosrc, &isnull);
	text *symbol;
	bool result = false;

	if (isnull)
		return false;
	/* asked of every function of a statement: not copied unless it is compressed */
	symbol = DatumGetTextPP(source);
	for (int i = 0; i < count && !result; i++)
		result = strlen(beginnings[i]) <= VARSIZE_ANY_EXHDR(symbol) &&
				 memcmp(VARDATA_ANY(symbol), beginnings[i], strlen(beginnings[i])) == 0;
	if ((Pointer) symbol != DatumGetPointer(source))
		pfree(symbol);
	return result;
}

bool
guard_lockdown_forbids_function(Oid function, GuardRule *rule)
{
	bool lockdown_on = guard_lockdown_on();
	bool refused;
	HeapTuple tuple;
	Form_pg_proc form;

	/* initdb's functions concern lockdown only */
	if (!lockdown_on && (function < FirstNormalObjectId || IsBinaryUpgrade))
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	*rule = GUARD_LOCKDOWN;
	if (form->prolang == ClanguageId && symbol_begins(tuple, &surgery_functions, 1) &&
		OidIsValid(extension_oid()))
	{
		*rule = GUARD_SURGERY;
		refused = true;
	}
	else if (!lockdown_on)
		refused = false;
	else if (form->prolang == INTERNALlanguageId || form->prolang == ClanguageId)
		refused = symbol_begins(tuple, file_functions, lengthof(file_functions));
	else
		refused = is_untrusted(SearchSysCache1(LANGOID, ObjectIdGetDatum(form->prolang)));
	ReleaseSysCache(tuple);
	return refused;
}

void
guard_check_function(Oid function)
{
	GuardRule rule;

	if (IsTransactionState() && OidIsValid(MyDatabaseId) &&
		guard_lockdown_forbids_function(function, &rule))
		guard_refuse_command(rule, "EXECUTE", psprintf("function %s", get_func_name(function)));
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

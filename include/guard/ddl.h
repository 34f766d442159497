/*
 * ddl.h - what keeps commands from undoing the protection: superuser included.
 *
 * Each refusal names the object, the rule, and a proper way, and is an entry
 * `ddl_refused` before it is raised (where the ledger can take one). Nothing
 * is refused in a database without the extension, but for what concerns the
 * whole server: settings, roles and lockdown.
 */
#ifndef BIOMETRIC_GUARD_DDL_H
#define BIOMETRIC_GUARD_DDL_H

#include "base/compat.h"
#include "catalog/objectaccess.h"

/*
 * The utility command that is running. Its commands inside (of a function,
 * an event trigger) have their own, which refer to it.
 */
typedef struct GuardCommand
{
	NodeTag tag;
	const char *name;	 /* command tag */
	bool may_drop;		 /* the extension goes, and may */
	bool drops_triggers; /* it is a DROP TRIGGER */
	bool drop_confirmed; /* may_drop was asked again under the command's locks */
	int settings;		 /* level of what guard_drop_begin has set; 0: nothing */
	struct GuardCommand *outer;
} GuardCommand;

/* guard_command_current returns the utility command that is running, or NULL. */
extern GuardCommand *guard_command_current(void);

/* guard_command_name returns its command tag, or "a function call". */
extern const char *guard_command_name(void);

/* guard_define_settings: biometric_audit.lockdown. */
extern void guard_define_settings(void);

/*
 * guard_check_catalogs refuses DML on system catalogs where the extension is
 * installed, on shared catalogs on the whole server, and under lockdown anywhere,
 * as well as reading files by foreign tables, and everything while an operator or
 * an operator family has a function that reaches files. From the CheckPerms hook. False, or raises 42501, as guard_check_perms.
 */
extern bool guard_check_catalogs(List *permission_infos, bool abort_on_violation);

/*
 * guard_check_function refuses, under lockdown, functions that reach the
 * server's files, and those in untrusted languages; where the extension is
 * installed always those of pg_surgery. For OAT_FUNCTION_EXECUTE.
 */
extern void guard_check_function(Oid function);

/*
 * guard_object_access refuses to drop, alter or hang something on members of
 * the extension and its triggers, except for our own code, the extension's
 * own scripts and a DROP EXTENSION that guard_check_utility let pass, which is asked
 * again when it has its locks. Refuses (55000) to run the extension's scripts
 * while an event trigger in another language than C is enabled; always to
 * truncate the extension's tables; and operators and operator families with functions
 * that guard_check_function refuses. Arguments as object_access_hook's.
 */
extern void guard_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
								void *arg);

/*
 * guard_check_utility refuses utility commands by what they say: what would lock
 * tables of the ledger, drop the extension, settings, locks, maintenance of
 * ledger tables, and under lockdown programs, server files, untrusted
 * languages and LOAD. Called before the command runs, at every depth.
 * command: filled in, for guard_enter.
 */
extern void guard_check_utility(PlannedStmt *plan, bool top_level, GuardCommand *command);

/*
 * guard_drop_begin sees to it that a command with which the extension goes is not the one that is
 * given up when it and the ledger's worker wait for each other: the worker gives way within a
 * second, and so this process looks for deadlocks later. guard_drop_end takes that back; after an
 * error the transaction's end does. For hooks_utility, around the command.
 */
extern void guard_drop_begin(GuardCommand *command);
extern void guard_drop_end(const GuardCommand *command);

/*
 * guard_enter makes a command the running one, guard_leave the one around it,
 * or none. guard_leave is called after an error, too.
 */
extern void guard_enter(GuardCommand *command);
extern void guard_leave(const GuardCommand *command);

#endif

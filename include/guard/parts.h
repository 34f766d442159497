/*
 * parts.h - the guard's parts, as guard_check_utility and the hooks put them together.
 *
 * For extension/guard only.
 */
#ifndef BIOMETRIC_GUARD_PARTS_H
#define BIOMETRIC_GUARD_PARTS_H

#include "base/compat.h"
#include "nodes/parsenodes.h"

#include "guard/ddl.h"
#include "guard/refuse.h"

/* guard_find_relation returns the relation that a name means to a command, or InvalidOid. */
extern Oid guard_find_relation(const RangeVar *name);

/*
 * guard_settings_check refuses changes of our settings, and of the roles they
 * depend on, by others than custodians; records those of custodians. In every
 * database, once the role biometric_custodian exists. Errors: 42501.
 */
extern void guard_settings_check(Node *statement, const char *command);

/* guard_settings_name_changed returns the setting that ALTER SYSTEM, ROLE or DATABASE sets, or NULL. */
extern const char *guard_settings_name_changed(Node *statement);

/*
 * guard_lockdown_check refuses statements that lockdown forbids; guard_lockdown_check_new_function
 * a function in an untrusted language that was just made; both do nothing
 * while it is off. guard_lockdown_on tells whether it is on. Errors: 42501.
 */
extern bool guard_lockdown_on(void);
extern void guard_lockdown_check(Node *statement, const char *command);
extern void guard_lockdown_check_new_function(Oid function);

/*
 * guard_lockdown_forbids_function tells whether a function must not run here,
 * and by which rule: under lockdown one that reaches files or is in an
 * untrusted language; where the extension is installed one of pg_surgery.
 * Needs a transaction.
 */
extern bool guard_lockdown_forbids_function(Oid function, GuardRule *rule);

/*
 * guard_support_check_new refuses an operator, or a member of an operator
 * family, that was just made and would run such a function: indexes, sorts and
 * estimates call it past guard_check_function. Errors: 42501.
 */
extern void guard_support_check_new(Oid class_id, Oid object_id);

/*
 * guard_support_function returns such a function of an operator or operator
 * family that is there already, InvalidOid when there is none. Under lockdown
 * nothing is queried and no index is built in that database until the operator
 * or the family is dropped: which query would call it, nobody can say. Cheap,
 * but for the first time and after changes of operators and functions.
 */
extern Oid guard_support_function(void);

/*
 * guard_lockdown_check_support refuses a command while there is one: returns
 * false, or raises 42501, according to abort_on_violation. For use under lockdown.
 */
extern bool guard_lockdown_check_support(const char *command, bool abort_on_violation);

/*
 * guard_lockdown_reads_files tells whether a relation, or one that inherits
 * from it, is a foreign table of file_fdw. False for InvalidOid.
 */
extern bool guard_lockdown_reads_files(Oid relation);

/*
 * guard_keeps_catalog tells whether a system catalog is changed by commands
 * only: where the extension is installed, under lockdown, and for catalogs that
 * databases share once the role biometric_custodian exists, wherever a
 * superuser goes to change them. Needs a transaction.
 */
extern bool guard_keeps_catalog(Oid relation);

/*
 * guard_drop_check and guard_drop_check_owned look at what DROP, DROP OWNED and REASSIGN
 * OWNED name; command->may_drop is set when the extension goes, and may.
 */
extern void guard_drop_check(DropStmt *statement, GuardCommand *command);
extern void guard_drop_check_owned(Node *statement, GuardCommand *command);

/*
 * guard_drop_check_depends refuses ALTER ... DEPENDS ON EXTENSION for what is
 * ours, the triggers on others' tables included: the other extension's end
 * would be theirs.
 */
extern void guard_drop_check_depends(AlterObjectDependsStmt *statement, const char *command);

#endif

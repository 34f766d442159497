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

/* guard_command_current returns the utility command that is running, or NULL. */
extern const GuardCommand *guard_command_current(void);

/* guard_command_name returns its command tag, or "a function call". */
extern const char *guard_command_name(void);

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
 * guard_lockdown_reads_files tells whether a relation, or one that inherits
 * from it, is a foreign table of file_fdw. False for InvalidOid.
 */
extern bool guard_lockdown_reads_files(Oid relation);

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

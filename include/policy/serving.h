/*
 * serving.h - which database serves replication connections.
 *
 * The one that biometric_audit.replication_database names. But a name can
 * come to mean another database, with a policy of somebody else's: so the
 * workers bind the name to the OID that it means when they first see it in
 * the setting, and kept.h remembers that. Another database of that name
 * serves nobody until the setting was changed, loaded, changed back and
 * loaded again; nor may the bound one be renamed or dropped meanwhile.
 */
#ifndef BIOMETRIC_POLICY_SERVING_H
#define BIOMETRIC_POLICY_SERVING_H

#include "postgres.h"

#include "nodes/nodes.h"

/* serving_define_setting: biometric_audit.replication_database. */
extern void serving_define_setting(void);

/* serving_name returns the name in the setting, NULL when there is none. */
extern const char *serving_name(void);

/*
 * serving_bind binds the setting's name if that has not been done, and tells
 * whether the current database is the one that serves. From a worker's task,
 * in its transaction; a worker runs its tasks at its start and after each reload.
 */
extern bool serving_bind(void);

/*
 * serving_check_command refuses ALTER DATABASE RENAME and DROP DATABASE for
 * the database that serves: 42501, after an entry ddl_refused in its ledger.
 * For every command, in every database.
 */
extern void serving_check_command(Node *statement);

#endif

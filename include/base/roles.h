/*
 * roles.h - the extension's roles.
 */
#ifndef BIOMETRIC_BASE_ROLES_H
#define BIOMETRIC_BASE_ROLES_H

#include "postgres.h"

#define CUSTODIAN_ROLE "biometric_custodian"
#define AUDITOR_ROLE "biometric_auditor"

/*
 * role_is_custodian tells whether a role is a member of biometric_custodian.
 * A superuser is none by itself. False when the role does not exist. Needs a
 * transaction.
 */
extern bool role_is_custodian(Oid role);

/*
 * role_is_trusted tells whether a role is biometric_custodian or biometric_auditor, or a
 * member of one, directly or through others; likewise. False for InvalidOid.
 */
extern bool role_is_trusted(Oid role);

#endif

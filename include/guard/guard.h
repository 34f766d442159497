/*
 * guard.h - keeps everybody, superuser included, from writing to the ledger's
 * and the policy's tables other than by our own functions.
 */
#ifndef BIOMETRIC_GUARD_GUARD_H
#define BIOMETRIC_GUARD_GUARD_H

#include "base/compat.h"

/*
 * guard_check_perms refuses a statement that inserts into, updates or deletes
 * from a table of the extension, unless our own code does (base/internal.h). Called from
 * the CheckPerms hook with its list. Returns false or raises 42501 according
 * to abort_on_violation.
 */
extern bool guard_check_perms(List *permission_infos, bool abort_on_violation);

#endif

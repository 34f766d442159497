/*
 * roles.c - membership of the extension's roles.
 */
#include "postgres.h"

#include "utils/acl.h"

#include "base/roles.h"

bool
role_is_custodian(Oid role)
{
	Oid custodian = get_role_oid(CUSTODIAN_ROLE, true);

	return OidIsValid(custodian) && is_member_of_role_nosuper(role, custodian);
}

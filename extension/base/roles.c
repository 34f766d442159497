/*
 * roles.c - membership of the extension's roles.
 */
#include "postgres.h"

#include "utils/acl.h"

#include "base/roles.h"

static bool
role_is_member(Oid role, const char *of)
{
	Oid ours = get_role_oid(of, true);

	return OidIsValid(ours) && is_member_of_role_nosuper(role, ours);
}

bool
role_is_custodian(Oid role)
{
	return role_is_member(role, CUSTODIAN_ROLE);
}

bool
role_is_trusted(Oid role)
{
	return OidIsValid(role) &&
		   (role_is_member(role, CUSTODIAN_ROLE) || role_is_member(role, AUDITOR_ROLE));
}

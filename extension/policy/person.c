/*
 * person.c - who is at the other end of a session.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_authid.h"
#include "libpq/libpq-be.h"

#include "base/roles.h"
#include "policy/person.h"

Person
person_here(void)
{
	Person person = {0};

	if (MyProcPort == NULL || MyProcPort->user_name == NULL)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("a session without a client is nobody's"),
						errdetail("Of two persons each logs in."),
						errhint("Call the function in a session of a client that has logged in.")));
	person.login = MyProcPort->user_name;
	person.role = GetAuthenticatedUserId();
	person.identity = authenticated_identity();
	if (!role_is_custodian(person.role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("login \"%s\" is no custodian", person.login),
				 errdetail("With two persons the login counts, not the role that was set since, "
						   "nor the owner of a SECURITY DEFINER function."),
				 errhint("Log in as a member of %s.", CUSTODIAN_ROLE)));
	return person;
}

bool
person_same(const Person *one, const Person *other)
{
	return one->role == other->role || strcmp(one->login, other->login) == 0 ||
		   (one->identity && other->identity && strcmp(one->identity, other->identity) == 0);
}

int
person_others(const Person *person)
{
	Relation catalog = table_open(AuthIdRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	int count = 0;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_authid role = (Form_pg_authid) GETSTRUCT(tuple);

		if (role->rolcanlogin && role->oid != person->role && role_is_custodian(role->oid))
			count++;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return count;
}

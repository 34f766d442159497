/*
 * person.h - who is at the other end of a session, whatever role was set since.
 */
#ifndef BIOMETRIC_POLICY_PERSON_H
#define BIOMETRIC_POLICY_PERSON_H

#include "postgres.h"

typedef struct Person
{
	const char
		*login; /* the name that the client logged in as; entries call it session_user_name */
	Oid role;	/* that name's role, whatever it is called now */
	const char
		*identity; /* what the server authenticated (a certificate's name, say); NULL: not known */
} Person;

/*
 * person_here returns the person of this session; the texts last as long as the session.
 * Errors: 42501 for sessions without a client, and for logins that are no custodians:
 * neither SET ROLE nor a SECURITY DEFINER function makes a person of somebody else.
 */
extern Person person_here(void);

/* person_same tells whether two are one: by login's name, by role or by identity. */
extern bool person_same(const Person *one, const Person *other);

/* person_others counts the roles that may log in as custodians, besides that of a person. */
extern int person_others(const Person *person);

#endif

/*
 * session.c - what the ledger says of the session it runs in.
 */
#include "postgres.h"

#include <sys/socket.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "common/ip.h"
#include "datatype/timestamp.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "ledger/session.h"

#define MAPPED_PREFIX "::ffff:"
#define UNIX_EPOCH_OFFSET                                                                          \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC)

/* A role's name as it was when it could last be looked up. */
typedef struct KnownRole
{
	Oid role;
	char name[NAMEDATALEN];
} KnownRole;

static KnownRole session_role;
static KnownRole current_role;
static char client_address[NI_MAXHOST];
static char database_name[NAMEDATALEN];

EntryText
session_text(const char *string)
{
	EntryText text = {NULL, 0};

	if (string != NULL && string[0] != '\0')
	{
		text.bytes = string;
		text.length = strlen(string);
	}
	return text;
}

int64
session_unix_time(void)
{
	return (int64) GetCurrentTimestamp() + UNIX_EPOCH_OFFSET;
}

/* Brings a role's name up to date if the catalogs can be read now. */
static const char *
role_name(KnownRole *known, Oid role)
{
	char *name = IsTransactionState() ? GetUserNameFromId(role, true) : NULL;

	if (name != NULL)
	{
		strlcpy(known->name, name, NAMEDATALEN);
		pfree(name);
	}
	else if (known->role != role)
		snprintf(known->name, NAMEDATALEN, "oid:%u", role);
	known->role = role;
	return known->name;
}

/* The client's address, IPv4 for a mapped one and without a zone; "local" for a unix socket. */
static const char *
client_text(void)
{
	char text[NI_MAXHOST];
	const char *start = text;

	if (client_address[0] != '\0' || MyProcPort == NULL)
		return client_address;
	if (MyProcPort->raddr.addr.ss_family == AF_UNIX)
		strlcpy(text, "local", sizeof(text));
	else if (pg_getnameinfo_all(&MyProcPort->raddr.addr, MyProcPort->raddr.salen, text,
								sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
		strlcpy(text, "unknown", sizeof(text));
	text[strcspn(text, "%")] = '\0';
	if (pg_strncasecmp(text, MAPPED_PREFIX, strlen(MAPPED_PREFIX)) == 0 &&
		strchr(text, '.') != NULL)
		start = text + strlen(MAPPED_PREFIX);
	strlcpy(client_address, start, sizeof(client_address));
	return client_address;
}

static const char *
database_text(void)
{
	char *name = NULL;

	if (database_name[0] != '\0')
		return database_name;
	if (MyProcPort != NULL && MyProcPort->database_name != NULL)
		strlcpy(database_name, MyProcPort->database_name, NAMEDATALEN);
	else if (IsTransactionState() && (name = get_database_name(MyDatabaseId)) != NULL)
	{
		strlcpy(database_name, name, NAMEDATALEN);
		pfree(name);
	}
	return database_name;
}

/*
 * The client's login as it was authenticated: neither SET SESSION AUTHORIZATION
 * nor a new name of the role changes it. Others have the session's user.
 */
static const char *
login_text(void)
{
	if (MyProcPort != NULL && MyProcPort->user_name != NULL)
		return MyProcPort->user_name;
	return role_name(&session_role, GetSessionUserId());
}

/* Replication connections are made before a database, and so a session user, is known. */
static bool
has_session_user(void)
{
	return OidIsValid(MyDatabaseId) || MyProcPort == NULL;
}

static const char *
application_text(void)
{
	if ((application_name == NULL || application_name[0] == '\0') && !has_session_user())
		return MyProcPort->application_name;
	return application_name;
}

void
session_describe(EntryFields *fields)
{
	memset(fields, 0, sizeof(*fields));
	fields->event = ENTRY_SESSION;
	fields->reference = ENTRY_NO_REFERENCE;
	fields->client_addr = session_text(client_text());
	fields->session_user_name = session_text(login_text());
	fields->application = session_text(application_text());
	fields->process = (uint64_t) MyProcPid;
	fields->database = session_text(database_text());
	fields->tls = MyProcPort != NULL && MyProcPort->ssl_in_use ? 1 : 0;
}

const char *
session_current_user(void)
{
	Oid user;

	if (!has_session_user())
		return NULL;
	user = GetUserId();
	if (user == (MyProcPort != NULL ? GetAuthenticatedUserId() : GetSessionUserId()))
		return NULL;
	return role_name(&current_role, user);
}

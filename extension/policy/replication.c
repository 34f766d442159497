/*
 * replication.c - who may connect for replication.
 */
#include "base/compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "libpq/auth.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "storage/latch.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "ledger/append.h"
#include "ledger/ring.h"
#include "policy/advice.h"
#include "policy/choose.h"
#include "policy/client.h"
#include "policy/cutoff.h"
#include "policy/kept.h"
#include "policy/publish.h"
#include "policy/replication.h"
#include "policy/serving.h"

/* Pauses between looks at whether a worker has published. */
#define LOOK_AGAIN_MS 20

/* How long, in ms, a standby that the ledger waits for waits itself for the ledger. */
#define STANDBY_PATIENCE_MS 1000

/* What a permitted unix socket is called in biometric_audit.replication_networks. */
#define LOCAL_NETWORK "local"

/* biometric_audit.replication_networks, taken apart. */
typedef struct ReplicationNetworks
{
	bool local;
	int count;
	PolicyAddress network[FLEXIBLE_ARRAY_MEMBER];
} ReplicationNetworks;

static char *replication_networks = NULL;
static const ReplicationNetworks *networks = NULL;

/* ---- settings ---- */

/* Cuts the next item off a comma separated list, without blanks; NULL at the end. */
static char *
networks_next(char **rest)
{
	char *item = *rest;
	char *end;

	if (item == NULL)
		return NULL;
	end = strchr(item, ',');
	*rest = end ? end + 1 : NULL;
	if (end == NULL)
		end = item + strlen(item);
	while (end > item && isspace((unsigned char) end[-1]))
		end--;
	*end = '\0';
	while (isspace((unsigned char) *item))
		item++;
	return item;
}

/* Reads a list, which is changed; false, with the item at fault, when it is none. */
static bool
networks_read(char *list, ReplicationNetworks *read, const char **fault)
{
	char *rest = list;
	char *item;

	while ((item = networks_next(&rest)) != NULL)
	{
		if (item[0] == '\0' && read->count == 0 && !read->local && rest == NULL)
			return true;
		if (strcmp(item, LOCAL_NETWORK) == 0)
			read->local = true;
		else if (address_parse(item, &read->network[read->count]))
			read->count++;
		else
		{
			*fault = item;
			return false;
		}
	}
	return true;
}

static bool
replication_check_networks(char **value, void **extra, GucSource source)
{
	int commas = 0;
	const char *fault = NULL;
	ReplicationNetworks *read;
	char *list;
	bool valid;

	for (const char *at = *value; *at != '\0'; at++)
		commas += *at == ',';
	read = guc_malloc(LOG, offsetof(ReplicationNetworks, network) +
							   (commas + 1) * sizeof(PolicyAddress));
	if (read == NULL)
		return false;
	memset(read, 0, offsetof(ReplicationNetworks, network));
	list = pstrdup(*value);
	valid = networks_read(list, read, &fault);
	if (!valid)
		GUC_check_errdetail(
			"\"%s\" is neither a network in CIDR notation nor \"" LOCAL_NETWORK "\".", fault);
	pfree(list);
	*extra = read;
	return valid;
}

static void
replication_assign_networks(const char *value, void *extra)
{
	networks = extra;
}

void
replication_define_settings(void)
{
	serving_define_setting();
	DefineCustomStringVariable("biometric_audit.replication_networks",
							   "Networks that may connect to a standby for replication.",
							   "Networks in CIDR notation, separated by commas; \"" LOCAL_NETWORK
							   "\" for unix sockets. A primary server goes by its policy.",
							   &replication_networks, "", PGC_SIGHUP, 0, replication_check_networks,
							   replication_assign_networks, NULL);
}

/* ---- refusing ---- */

pg_noreturn static void
replication_refuse(const char *party, const char *rule, const char *problem, const char *advice)
{
	const PolicyClient *client = policy_client();
	const char *address = client->local ? "a unix socket" : client->address;

	ereport(FATAL, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					party ? errmsg("replication is refused to party \"%s\" (%s)", party, address)
						  : errmsg("replication is refused to %s", address),
					errdetail("%s", rule), problem ? errdetail_log("%s %s", rule, problem) : 0,
					errhint("%s", advice)));
	pg_unreachable();
}

/* ---- on a standby ---- */

/* The server as its own client matches only exactly its address, as everywhere. */
static bool
replication_standby_permits(void)
{
	const PolicyClient *client = policy_client();

	if (networks == NULL || !client->present)
		return false;
	if (client->local)
		return networks->local;
	for (int i = 0; i < networks->count; i++)
		if (client_place_matches(policy_client_place(), &networks->network[i]))
			return true;
	return false;
}

static void
replication_check_on_standby(const Port *port)
{
	if (!replication_standby_permits())
		replication_refuse(NULL,
						   "A standby serves replication only to the networks of "
						   "biometric_audit.replication_networks.",
						   NULL,
						   "Add the network to biometric_audit.replication_networks on this "
						   "server, or replicate from the primary server.");
	ereport(LOG, (errmsg("replication connection from %s by user \"%s\" is not recorded in a "
						 "ledger: this server is a standby",
						 policy_client()->address, port->user_name)));
}

/* ---- on a primary server ---- */

/*
 * A database by name, InvalidOid when there is none. By a scan of pg_database:
 * not every index can be used at this stage.
 */
static Oid
replication_find_database(const char *name)
{
	Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;
	Oid found = InvalidOid;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (strcmp(NameStr(database->datname), name) == 0)
			found = database->oid;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

/* A pause before another look at what a worker does; false when there was enough of that. */
static bool
replication_pause(TimestampTz start)
{
	if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ledger_timeout_ms()))
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_AGAIN_MS,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

/* The policy of a database as published, as remembered, or as published after a wait. */
static const PolicyView *
replication_view(Oid database, TimestampTz start)
{
	StringInfoData blob;

	initStringInfo(&blob);
	while (publish_read_database(database, &blob) != PUBLISH_POLICY &&
		   !kept_read(database, &blob) && replication_pause(start))
		;
	return policy_view_build(&blob, database);
}

/* The database that serves; a worker binds the name as soon as it has seen the setting. */
static Oid
replication_serving(TimestampTz start)
{
	Oid database = replication_find_database(serving_name());
	Oid bound;

	if (!OidIsValid(database))
		replication_refuse(NULL, "The database whose policy decides on replication does not exist.",
						   NULL, "Correct biometric_audit.replication_database.");
	while ((bound = kept_bound(serving_name())) != database)
		if (OidIsValid(bound) || !replication_pause(start))
			replication_refuse(
				NULL,
				OidIsValid(bound)
					? "The database of the name in biometric_audit.replication_database is not the "
					  "one that has served replication under this name."
					: "No ledger's worker has taken up biometric_audit.replication_database yet.",
				NULL,
				!OidIsValid(bound) ? "Create extension biometric_audit in that database; see "
									 "biometric.ledger_status() there, and the server's log."
								   : "If it shall serve, set biometric_audit.replication_database "
									 "to the empty string, "
									 "reload the server, set it again, and reload again.");
	return database;
}

static char *
replication_detail(const Port *port)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"physical\": %s", am_db_walsender ? "false" : "true");
	if (am_db_walsender && port->database_name)
	{
		appendStringInfoString(&detail, ", \"database\": ");
		escape_json(&detail, port->database_name);
	}
	appendStringInfoChar(&detail, '}');
	return detail.data;
}

/* Whether commits may wait for this very client: a standby that is to be synchronous. */
static bool
replication_is_awaited(const Port *port)
{
	const char *member;

	if (am_db_walsender || SyncRepConfig == NULL || port->application_name == NULL)
		return false;
	member = SyncRepConfig->member_names;
	for (int i = 0; i < SyncRepConfig->nmembers; i++, member += strlen(member) + 1)
		if (strcmp(member, "*") == 0 || pg_strcasecmp(member, port->application_name) == 0)
			return true;
	return false;
}

/* Sets *appended when the entry is in the ring, and raises when it is not durable in time. */
static void
replication_append(Oid database, const Port *port, const Decision *decision,
				   volatile bool *appended)
{
	LedgerStatement statement = {
		.party = decision->party, .network = decision->network, .command = "REPLICATION"};
	EntryFields entry = {.reference = ENTRY_NO_REFERENCE};
	LedgerTicket ticket = {0};
	char *detail = replication_detail(port);

	entry.event = decision->delivery == DELIVERY_REFUSE ? ENTRY_REFUSED : ENTRY_REPLICATION;
	entry.permit = decision->permit;
	entry.reason = decision->reason;
	entry.detail.bytes = detail;
	entry.detail.length = strlen(detail);
	ledger_append_to(database, &statement, &entry, 1, &ticket);
	*appended = true;
	if (replication_is_awaited(port))
		ticket.deadline = Min(ticket.deadline, TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
																		   STANDBY_PATIENCE_MS));
	ledger_wait(&ticket);
}

/*
 * NULL when the entry is durable, else why it is not. A standby that the ledger
 * itself waits for would wait for ever: its entry, the next to be written as soon
 * as it answers, is enough.
 */
static const char *
replication_record(Oid database, const Port *port, const Decision *decision)
{
	MemoryContext context = CurrentMemoryContext;
	const char *volatile problem = NULL;
	volatile bool appended = false;

	PG_TRY();
	{
		replication_append(database, port, decision, &appended);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		problem = psprintf("The ledger of database \"%s\" could not record it: %s.", serving_name(),
						   error->message ? error->message : "unknown error");
	}
	PG_END_TRY();
	if (problem && appended && decision->delivery != DELIVERY_REFUSE &&
		replication_is_awaited(port) && ledger_awaits_standby(database))
	{
		ereport(LOG, (errmsg("standby \"%s\" is let in before its entry is durable, as the ledger "
							 "waits for a synchronous standby",
							 port->application_name)));
		return NULL;
	}
	return problem;
}

/*
 * Decides on this client. Whose it is is remembered before the policy is asked for the last time: who
 * cuts the party off after that finds it, though it has no network any more.
 */
static Decision
replication_decide(Oid database, TimestampTz start)
{
	Decision decision = policy_decide_replication(replication_view(database, start));
	const char *admitted;

	do
	{
		admitted = decision.party;
		cutoff_admit(database, admitted);
		decision = policy_decide_replication(replication_view(database, start));
	} while (decision.party && (admitted == NULL || strcmp(decision.party, admitted) != 0));
	return decision;
}

static void
replication_check_on_primary(const Port *port)
{
	TimestampTz start = GetCurrentTimestamp();
	Oid database = replication_serving(start);
	Decision decision = replication_decide(database, start);
	const char *problem = replication_record(database, port, &decision);

	if (decision.reason == REASON_LEDGER_UNAVAILABLE ||
		(problem && decision.delivery != DELIVERY_REFUSE))
		replication_refuse(
			decision.party, advice_rule(REASON_LEDGER_UNAVAILABLE), problem,
			psprintf("See biometric.ledger_status() in database \"%s\", which serves "
					 "replication, and the server's log.",
					 serving_name()));
	if (decision.delivery == DELIVERY_REFUSE)
		replication_refuse(
			decision.party, advice_rule(decision.reason), problem,
			decision.reason == REASON_NO_PERMIT
				? psprintf("A custodian of database \"%s\" can permit images of every "
						   "kind, sealed, to party \"%s\" with "
						   "biometric.authorize().",
						   serving_name(), decision.party)
				: advice_what_to_do(&decision, IMAGE_KIND_NONE));
}

/* Replication without a database that decides is for servers that have no ledger. */
static void
replication_check_without_policy(void)
{
	TimestampTz start = GetCurrentTimestamp();
	bool known;

	while (kept_have_ledgers(&known))
		if (known || !replication_pause(start))
			replication_refuse(
				NULL,
				known ? "Replication carries the images of all databases away, so it is decided by "
						"the policy of one of them."
					  : "Whether any database has a ledger is not known yet.",
				NULL,
				known ? "Set biometric_audit.replication_database to the database whose policy and "
						"ledger shall serve replication."
					  : "Try again when the ledger launcher has looked at all databases, or set "
						"biometric_audit.replication_database; see the server's log.");
}

void
replication_check_client(Port *port, int status)
{
	if (status != STATUS_OK || !am_walsender)
		return;
	/* names of nobody and nothing are refused by the server itself, and are in no encoding */
	if (!SearchSysCacheExists1(AUTHNAME, CStringGetDatum(port->user_name)) ||
		(am_db_walsender && !OidIsValid(replication_find_database(port->database_name))))
		return;
	if (RecoveryInProgress())
		replication_check_on_standby(port);
	else if (serving_name() == NULL)
		replication_check_without_policy();
	else
		replication_check_on_primary(port);
}

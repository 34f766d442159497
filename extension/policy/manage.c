/*
 * manage.c - the SQL functions that register parties and networks.
 */
#include "base/compat.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inet.h"

#include "policy/address.h"
#include "policy/arguments.h"
#include "policy/change.h"
#include "policy/cutoff.h"
#include "policy/manage.h"
#include "policy/proposal.h"

/* What a record takes in the published policy besides its texts, roughly, in bytes. */
#define RECORD_SIZE 64

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_register_party);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_register_network);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_register_local);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_unregister_network);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_unregister_local);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_quarantine);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_reinstate);

void
manage_require_party(const char *party)
{
	ChangeArguments arguments = {0};

	change_add_text(&arguments, party);
	if (change_execute("SELECT FROM biometric.party WHERE name = $1 FOR KEY SHARE", &arguments) ==
		0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("party \"%s\" is not registered", party),
				 errhint("Register it with biometric.register_party().")));
}

/*
 * Keeps everybody else, quarantine() as well, from changing a party; false when it is not
 * registered. A statement of its own: the next one sees what has been waited for.
 */
static bool
manage_lock_party(const char *party)
{
	ChangeArguments arguments = {0};

	change_add_text(&arguments, party);
	return change_execute("SELECT FROM ONLY biometric.party WHERE name = $1 FOR NO KEY UPDATE",
						  &arguments) > 0;
}

/* Renews the contract of a party that is registered; false when it is not. */
static bool
manage_renew_party(const PolicyChange *change, ChangeArguments *arguments, const char *party)
{
	if (!manage_lock_party(party) ||
		change_execute("UPDATE biometric.party AS p SET title = $2, contract = $3 "
					   "FROM biometric.party AS old WHERE p.name = $1 AND old.name = $1 "
					   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'register_party', "
					   "'party', p.name, 'title', p.title, 'contract', p.contract, "
					   "'renewed', true, 'previous_title', old.title, "
					   "'previous_contract', old.contract))::text",
					   arguments) == 0)
		return false;
	change_record(change, change_result(1), 0);
	ereport(NOTICE,
			(errmsg("party \"%s\" was registered already: its title and contract are now as given",
					party)));
	return true;
}

/* Whether a party is registered whose contract does not contain what it would be now. */
static bool
manage_lengthens_contract(FunctionCallInfo fcinfo)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	Datum contract;
	bool unlimited;
	bool longer;

	change_begin_policy(&change);
	change_add_text(&arguments, argument_party(fcinfo, 0));
	contract = argument_period(fcinfo, 2, "contract", &unlimited);
	change_add(&arguments, TSTZRANGEOID, contract, unlimited);
	longer = change_execute("SELECT FROM biometric.party WHERE name = $1 AND NOT "
							"coalesce(contract, '(,)') @> coalesce($2, '(,)')",
							&arguments) > 0;
	change_end(&change);
	return longer;
}

/*
 * biometric_register_party(party text, title text, contract tstzrange):
 * registers a party, or renews the title and the contract of one.
 */
Datum
biometric_register_party(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	char *party;
	Datum contract;
	bool unlimited;

	if (proposal_wanted(manage_lengthens_contract(fcinfo)))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	party = argument_party(fcinfo, 0);
	contract = argument_period(fcinfo, 2, "contract", &unlimited);
	change_add_text(&arguments, party);
	change_add_text(&arguments, argument_text(fcinfo, 1, "title"));
	change_add(&arguments, TSTZRANGEOID, contract, unlimited);
	if (!manage_renew_party(&change, &arguments, party))
	{
		change_execute("INSERT INTO biometric.party (name, title, contract) VALUES ($1, $2, $3) "
					   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', 'register_party', "
					   "'party', name, 'title', title, 'contract', contract))::text",
					   &arguments);
		change_record(&change, change_result(1), RECORD_SIZE + strlen(party));
	}
	change_end(&change);
	PG_RETURN_VOID();
}

/*
 * Returns a cidr argument, an IPv4-mapped one as the IPv4 network it carries:
 * clients are compared under the address that is their own.
 */
static Datum
manage_plain_network(FunctionCallInfo fcinfo, int index, PolicyAddress *address)
{
	inet *network;
	char text[ADDRESS_TEXT_SIZE];

	if (PG_ARGISNULL(index))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"network\" cannot be used: it is NULL"),
						errhint("Unix sockets are registered with biometric.register_local().")));
	network = PG_GETARG_INET_PP(index);
	address_from_inet(network, address);
	if (ip_family(network) == PGSQL_AF_INET || address->family == 6)
		return PG_GETARG_DATUM(index);
	address_text(address, text);
	return DirectFunctionCall1(cidr_in, CStringGetDatum(text));
}

/* manage_plain_network, which says so. */
static Datum
manage_network(FunctionCallInfo fcinfo, int index, PolicyAddress *address)
{
	Datum network = manage_plain_network(fcinfo, index, address);
	char text[ADDRESS_TEXT_SIZE];

	address_text(address, text);
	if (network != PG_GETARG_DATUM(index))
		ereport(NOTICE, (errmsg("the IPv4-mapped network is taken for %s", text)));
	return network;
}

/* Refuses a network (or the unix sockets, NULL) that is registered already. */
static void
manage_require_free(Datum network, bool local)
{
	ChangeArguments arguments = {0};
	const char *shown;

	change_add(&arguments, CIDROID, network, local);
	if (change_execute("SELECT party, coalesce(network::text, 'local') FROM biometric.network "
					   "WHERE network IS NOT DISTINCT FROM $1 AND unregistered_at IS NULL",
					   &arguments) == 0)
		return;
	shown = local ? "the unix sockets are" : psprintf("network %s is", change_result(2));
	ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
					errmsg("%s registered already, for party \"%s\"", shown, change_result(1)),
					errdetail("A network belongs to one party at a time."),
					errhint("Give it up first with biometric.unregister_%s().",
							local ? "local" : "network")));
}

static void
manage_insert_network(const PolicyChange *change, const char *party, Datum network, bool local)
{
	ChangeArguments arguments = {0};

	manage_require_party(party);
	manage_require_free(network, local);
	change_add(&arguments, CIDROID, network, local);
	change_add_text(&arguments, party);
	/* never a number that is taken, whatever the sequence was set to */
	change_execute("INSERT INTO biometric.network (id, network, party) OVERRIDING SYSTEM VALUE "
				   "VALUES (greatest(nextval('biometric.network_id_seq'), "
				   "(SELECT max(id) + 1 FROM ONLY biometric.network)), $1, $2) "
				   "RETURNING jsonb_strip_nulls(jsonb_build_object('action', "
				   "CASE WHEN network IS NULL THEN 'register_local' ELSE 'register_network' END, "
				   "'network', network, 'party', party))::text",
				   &arguments);
	change_record(change, change_result(1), RECORD_SIZE + ADDRESS_TEXT_SIZE);
}

/* Says what a network opens, or does not open, that its digits do not show. */
static void
manage_warn_network(const PolicyAddress *address, const char *party)
{
	char text[ADDRESS_TEXT_SIZE];

	address_text(address, text);
	if (address->bits == 0)
		ereport(WARNING, (errmsg("network %s contains every IPv%d client", text, address->family),
						  errdetail("Whoever can connect is now taken for party \"%s\", unless a "
									"narrower network says otherwise.",
									party)));
	if (!address_covers_own(address))
		return;
	if (address_is_host(address))
		ereport(WARNING,
				(errmsg("%s is an address of the server itself", text),
				 errdetail("Every connection from this host is now taken for party \"%s\": also "
						   "those that users of the server open from inside by dblink, "
						   "postgres_fdw or COPY ... PROGRAM.",
						   party),
				 errhint("If that was not meant, use biometric.unregister_network().")));
	else
		ereport(NOTICE,
				(errmsg("network %s does not include the server's own addresses", text),
				 errdetail("A client on the server's own host matches only a /32 or /128 that is "
						   "exactly its address.")));
}

/* biometric_register_network(network cidr, party text) */
Datum
biometric_register_network(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	PolicyAddress address;
	Datum network;
	char *party;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	network = manage_network(fcinfo, 0, &address);
	party = argument_party(fcinfo, 1);
	manage_insert_network(&change, party, network, false);
	manage_warn_network(&address, party);
	change_end(&change);
	PG_RETURN_VOID();
}

/* biometric_register_local(party text) */
Datum
biometric_register_local(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	char *party;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	party = argument_party(fcinfo, 0);
	manage_insert_network(&change, party, (Datum) 0, true);
	ereport(WARNING,
			(errmsg("unix sockets belong to the server's own host"),
			 errdetail("Everybody on this host who may log in is now taken for party \"%s\": also "
					   "those that users of the server connect from inside by dblink, "
					   "postgres_fdw or COPY ... PROGRAM.",
					   party),
			 errhint("If that was not meant, use biometric.unregister_local().")));
	change_end(&change);
	PG_RETURN_VOID();
}

static void
manage_delete_network(const PolicyChange *change, Datum network, bool local, const char *reason)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, CIDROID, network, local);
	change_add_text(&arguments, reason);
	change_add_text(&arguments, change->caller_name);
	if (change_execute(
			"UPDATE biometric.network SET unregistered_at = now(), unregistered_by = $3, "
			"unregister_reason = $2 "
			"WHERE network IS NOT DISTINCT FROM $1 AND unregistered_at IS NULL "
			"RETURNING jsonb_strip_nulls(jsonb_build_object('action', "
			"CASE WHEN network IS NULL THEN 'unregister_local' ELSE 'unregister_network' END, "
			"'network', network, 'party', party, 'reason', unregister_reason))::text",
			&arguments) == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("%s registered", local ? "the unix sockets are not" : "this network is not"),
			 errhint("Table biometric.network lists what is; a network must be given exactly "
					 "as it was registered.")));
	change_record(change, change_result(1), 0);
}

/*
 * Whether clients of a network would then belong to a wider one of another party. That of the
 * same party gives what they have.
 */
static bool
manage_falls_to_other(FunctionCallInfo fcinfo)
{
	PolicyChange change;
	PolicyAddress address;
	ChangeArguments arguments = {0};
	bool falls;

	change_begin_policy(&change);
	change_add(&arguments, CIDROID, manage_plain_network(fcinfo, 0, &address), false);
	falls = change_execute("SELECT FROM ONLY biometric.network AS mine, LATERAL ("
						   "SELECT party FROM ONLY biometric.network AS wider "
						   "WHERE wider.unregistered_at IS NULL AND wider.network >> mine.network "
						   "ORDER BY masklen(wider.network) DESC LIMIT 1) AS next "
						   "WHERE mine.network = $1 AND mine.unregistered_at IS NULL "
						   "AND next.party <> mine.party",
						   &arguments) > 0;
	change_end(&change);
	return falls;
}

/* biometric_unregister_network(network cidr, reason text) */
Datum
biometric_unregister_network(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	PolicyAddress address;
	Datum network;

	if (proposal_wanted(manage_falls_to_other(fcinfo)))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	network = manage_network(fcinfo, 0, &address);
	manage_delete_network(&change, network, false, argument_reason(fcinfo, 1));
	change_end(&change);
	PG_RETURN_VOID();
}

/* biometric_unregister_local(reason text) */
Datum
biometric_unregister_local(PG_FUNCTION_ARGS)
{
	PolicyChange change;

	change_begin_policy(&change);
	manage_delete_network(&change, (Datum) 0, true, argument_reason(fcinfo, 0));
	change_end(&change);
	PG_RETURN_VOID();
}

/* Cuts a party off; false when it is in quarantine already, and nothing is asked for but that. */
static bool
manage_cut_off(const char *party, const char *reason, bool end_sessions)
{
	CutoffCount count = cutoff_count(party);
	ChangeArguments arguments = {0};
	bool already;

	change_add_text(&arguments, party);
	change_add_text(&arguments, reason);
	already = change_execute("UPDATE biometric.party SET quarantined_at = now(), "
							 "quarantine_reason = $2 WHERE name = $1 AND quarantined_at IS NULL",
							 &arguments) == 0;
	if (already)
		ereport(NOTICE, (errmsg("party \"%s\" is in quarantine already", party)));
	if (!end_sessions && count.sessions + count.replication > 0)
		ereport(NOTICE, (errmsg("%d sessions and %d replication connections of party \"%s\" remain",
								count.sessions, count.replication, party),
						 errdetail("Nothing is released to the sessions; what replicates goes on."),
						 errhint("End them with end_sessions => true.")));
	if (already && !end_sessions)
		return false;
	change_add(&arguments, BOOLOID, BoolGetDatum(end_sessions), false);
	change_add(&arguments, INT4OID, Int32GetDatum(count.sessions), false);
	change_add(&arguments, INT4OID, Int32GetDatum(count.replication), false);
	change_execute("SELECT jsonb_build_object('action', 'quarantine', 'party', $1, 'reason', $2, "
				   "'end_sessions', $3, 'sessions', $4, 'replication', $5)::text",
				   &arguments);
	return true;
}

/*
 * biometric_quarantine(party text, reason text, end_sessions bool). Twice is
 * no error: in an emergency nothing may stand in the way of the statements after it. Nor do
 * other changes of the policy that are under way: change_begin, not change_begin_policy.
 */
Datum
biometric_quarantine(PG_FUNCTION_ARGS)
{
	bool end_sessions = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	PolicyChange change;
	char *reason;
	char *party;

	change_begin(&change);
	party = argument_party(fcinfo, 0);
	reason = argument_reason(fcinfo, 1);
	manage_require_party(party);
	(void) manage_lock_party(party);
	if (manage_cut_off(party, reason, end_sessions))
	{
		change_record(&change, change_result(1), 0);
		if (end_sessions)
			change_cut_off(party);
	}
	change_end(&change);
	PG_RETURN_VOID();
}

/* biometric_reinstate(party text, reason text) */
Datum
biometric_reinstate(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	ChangeArguments arguments = {0};
	char *party;

	if (proposal_wanted(true))
	{
		proposal_make(fcinfo);
		PG_RETURN_VOID();
	}
	change_begin_policy(&change);
	party = argument_party(fcinfo, 0);
	change_add_text(&arguments, party);
	change_add_text(&arguments, argument_reason(fcinfo, 1));
	manage_require_party(party);
	(void) manage_lock_party(party);
	if (change_execute("UPDATE biometric.party AS p SET quarantined_at = NULL, "
					   "quarantine_reason = NULL FROM biometric.party AS old "
					   "WHERE p.name = $1 AND old.name = $1 AND p.quarantined_at IS NOT NULL "
					   "RETURNING jsonb_build_object('action', 'reinstate', 'party', p.name, "
					   "'reason', $2, 'quarantined_at', old.quarantined_at, "
					   "'quarantine_reason', old.quarantine_reason)::text",
					   &arguments) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("party \"%s\" is not in quarantine", party),
						errhint("Nothing needs to be lifted: see biometric.explain_access() in a "
								"session of that party.")));
	change_record(&change, change_result(1), 0);
	change_end(&change);
	PG_RETURN_VOID();
}

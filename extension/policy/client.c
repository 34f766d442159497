/*
 * client.c - who is at the other end of this session.
 */
#include "postgres.h"

#include "libpq/libpq-be.h"
#include "miscadmin.h"

#include "policy/client.h"
#include "policy/policy.h"

static bool client_known = false;
static PolicyClient client;
static ClientPlace place;

/* Whether the connection comes from the very address that it goes to. */
static bool
client_meets_itself(const SockAddr *server)
{
	PolicyAddress address;

	return address_from_socket((const struct sockaddr *) &server->addr, &address) &&
		   memcmp(&address, &place.address, sizeof(address)) == 0;
}

static void
client_describe(const Port *port)
{
	client.present = true;
	client.tls = port->ssl_in_use;
	if (port->raddr.addr.ss_family == AF_UNIX)
	{
		client.local = place.local = true;
		strlcpy(client.address, "local", sizeof(client.address));
		return;
	}
	/* of a family that is not known nothing can match; the narrowest rule is kept all the same */
	if (!address_from_socket((const struct sockaddr *) &port->raddr.addr, &place.address))
		place.own_host = true;
	else
		place.own_host = client_meets_itself(&port->laddr) || address_is_own(&place.address);
	client.own_host = place.own_host;
	address_text(&place.address, client.address);
}

const PolicyClient *
policy_client(void)
{
	if (!client_known)
	{
		if (MyProcPort && (MyBackendType == B_BACKEND || MyBackendType == B_WAL_SENDER))
			client_describe(MyProcPort);
		client_known = true;
	}
	return &client;
}

const ClientPlace *
policy_client_place(void)
{
	(void) policy_client();
	return &place;
}

bool
client_place_matches(const ClientPlace *client_place, const PolicyAddress *network)
{
	if (client_place->local || network->family == 0)
		return client_place->local && network->family == 0;
	if (!address_contains(network, &client_place->address))
		return false;
	return address_is_host(network) || !client_place->own_host;
}

/*
 * client.h - where this session's client is, for matching networks.
 */
#ifndef BIOMETRIC_POLICY_CLIENT_H
#define BIOMETRIC_POLICY_CLIENT_H

#include "policy/address.h"

/* Where a client is. Plain data. */
typedef struct ClientPlace
{
	bool local;			   /* a unix socket */
	bool own_host;		   /* its address is one of this host's */
	PolicyAddress address; /* family 0: none */
} ClientPlace;

/* policy_client_place returns where this session's client is; nowhere when it has none. */
extern const ClientPlace *policy_client_place(void);

/*
 * client_place_matches tells whether a network is that of a client. network: family 0 for
 * unix sockets. The server as its own client matches only what is registered for exactly
 * its address: so that nobody who may run COPY ... PROGRAM or dblink inherits what an
 * office network is permitted.
 */
extern bool client_place_matches(const ClientPlace *place, const PolicyAddress *network);

#endif

/*
 * client.h - the address of this session's client, for matching networks.
 */
#ifndef BIOMETRIC_POLICY_CLIENT_H
#define BIOMETRIC_POLICY_CLIENT_H

#include "policy/address.h"

/* policy_client_address returns the client's address; family 0 when it has none. */
extern const PolicyAddress *policy_client_address(void);

#endif

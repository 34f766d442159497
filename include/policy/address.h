/*
 * address.h - network addresses: normalised, compared, and whose they are.
 *
 * An IPv4-mapped IPv6 address (::ffff:0:0/96) is the IPv4 address it carries;
 * zone ids are not part of an address.
 */
#ifndef BIOMETRIC_POLICY_ADDRESS_H
#define BIOMETRIC_POLICY_ADDRESS_H

#include "postgres.h"

#include <sys/socket.h>

#include "utils/inet.h"

typedef struct PolicyAddress
{
	uint8 family;	 /* 4 or 6; 0: none */
	uint8 bits;		 /* prefix length; 32 or 128: one host */
	uint8 bytes[16]; /* network order; 4 of them used by family 4 */
} PolicyAddress;

/* The longest text of an address with prefix length, with its NUL. */
#define ADDRESS_TEXT_SIZE 64

/* address_from_socket fills address with one host; false, and family 0, for other families. */
extern bool address_from_socket(const struct sockaddr *socket, PolicyAddress *address);

/*
 * address_from_inet fills address from a cidr. An IPv6 network inside
 * ::ffff:0:0/96 becomes the IPv4 network it carries.
 */
extern void address_from_inet(const inet *network, PolicyAddress *address);

/*
 * address_parse reads a network as type cidr writes it ("192.0.2.0/24"), or one
 * host without a prefix length; false for anything else. Needs no transaction.
 */
extern bool address_parse(const char *text, PolicyAddress *address);

/* address_is_host tells whether an address is one host, not a wider network. */
extern bool address_is_host(const PolicyAddress *address);

/* address_contains tells whether host lies in network; never across families. */
extern bool address_contains(const PolicyAddress *network, const PolicyAddress *host);

/*
 * address_is_own tells whether host is an address of this machine: all of
 * 127.0.0.0/8, ::1, and whatever the kernel lists now. When the kernel cannot
 * be asked the answer is yes, the one that opens least.
 */
extern bool address_is_own(const PolicyAddress *host);

/* address_covers_own tells whether an address of this machine lies in network; yes when in doubt. */
extern bool address_covers_own(const PolicyAddress *network);

/* address_text writes the address, with "/bits" unless it is one host. */
extern void address_text(const PolicyAddress *address, char out[ADDRESS_TEXT_SIZE]);

#endif

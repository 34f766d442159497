/*
 * address.c - network addresses.
 */
#include "base/compat.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>

#include "utils/builtins.h"

#include "policy/address.h"

static const uint8 mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const PolicyAddress loopback_network = {.family = 4, .bits = 8, .bytes = {127}};
static const PolicyAddress loopback_host = {.family = 6, .bits = 128, .bytes = {[15] = 1}};

/* An IPv4 address in IPv6's clothes would else slip past the networks of either family. */
static void
address_unmap(PolicyAddress *address)
{
	if (address->family != 6 || address->bits < 96 ||
		memcmp(address->bytes, mapped_prefix, sizeof(mapped_prefix)) != 0)
		return;
	memmove(address->bytes, address->bytes + 12, 4);
	memset(address->bytes + 4, 0, 12);
	address->family = 4;
	address->bits -= 96;
}

bool
address_from_socket(const struct sockaddr *socket, PolicyAddress *address)
{
	memset(address, 0, sizeof(*address));
	switch (socket->sa_family)
	{
		case AF_INET:
			address->family = 4;
			address->bits = 32;
			memcpy(address->bytes, &((const struct sockaddr_in *) socket)->sin_addr, 4);
			return true;
		case AF_INET6:
			address->family = 6;
			address->bits = 128;
			memcpy(address->bytes, &((const struct sockaddr_in6 *) socket)->sin6_addr, 16);
			address_unmap(address);
			return true;
		default:
			return false;
	}
}

void
address_from_inet(const inet *network, PolicyAddress *address)
{
	memset(address, 0, sizeof(*address));
	address->family = ip_family(network) == PGSQL_AF_INET ? 4 : 6;
	address->bits = ip_bits(network);
	memcpy(address->bytes, ip_addr(network), ip_addrsize(network));
	address_unmap(address);
}

bool
address_parse(const char *text, PolicyAddress *address)
{
	bool six = strchr(text, ':') != NULL;
	int bits;

	memset(address, 0, sizeof(*address));
	bits = pg_inet_net_pton(six ? PGSQL_AF_INET6 : PGSQL_AF_INET, text, address->bytes, -1);
	if (bits < 0 || bits > (six ? 128 : 32))
		return false;
	/* as for type cidr: no bits may be set behind the prefix */
	for (int bit = bits; bit < (six ? 128 : 32); bit++)
		if (address->bytes[bit / 8] & (0x80 >> bit % 8))
			return false;
	address->family = six ? 6 : 4;
	address->bits = bits;
	address_unmap(address);
	return true;
}

bool
address_is_host(const PolicyAddress *address)
{
	return (address->family == 4 && address->bits == 32) ||
		   (address->family == 6 && address->bits == 128);
}

bool
address_contains(const PolicyAddress *network, const PolicyAddress *host)
{
	int whole = network->bits / 8;
	int rest = network->bits % 8;

	if (network->family == 0 || network->family != host->family || network->bits > host->bits)
		return false;
	if (memcmp(network->bytes, host->bytes, whole) != 0)
		return false;
	return rest == 0 || (network->bytes[whole] ^ host->bytes[whole]) >> (8 - rest) == 0;
}

bool
address_covers_own(const PolicyAddress *network)
{
	struct ifaddrs *interfaces;
	bool found = false;

	if (address_contains(network, &loopback_host) || address_contains(network, &loopback_network) ||
		address_contains(&loopback_network, network))
		return true;
	if (getifaddrs(&interfaces) != 0)
		return true;
	for (struct ifaddrs *one = interfaces; one && !found; one = one->ifa_next)
	{
		PolicyAddress own;

		if (one->ifa_addr && address_from_socket(one->ifa_addr, &own))
			found = address_contains(network, &own);
	}
	freeifaddrs(interfaces);
	return found;
}

bool
address_is_own(const PolicyAddress *host)
{
	return address_covers_own(host);
}

void
address_text(const PolicyAddress *address, char out[ADDRESS_TEXT_SIZE])
{
	char host[INET6_ADDRSTRLEN];

	if (address->family == 0 || inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes,
										  host, sizeof(host)) == NULL)
		strlcpy(host, "unknown", sizeof(host));
	if (address->family == 0 || address_is_host(address))
		strlcpy(out, host, ADDRESS_TEXT_SIZE);
	else
		snprintf(out, ADDRESS_TEXT_SIZE, "%s/%d", host, address->bits);
}

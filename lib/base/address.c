#include "lib/base/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

/* Reads a decimal port, 0 to 65535, with nothing behind it. */
static bool
parse_port(const char *text, in_port_t *port)
{
	unsigned value = 0;

	if (*text == '\0')
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		value = value * 10 + (unsigned)(*text - '0');
		if (value > 65535)
			return false;
	}
	*port = htons((uint16_t)value);
	return true;
}

static bool
set_v4(struct address *address, const char *ip, in_port_t port)
{
	address->socket.v4.sin_family = AF_INET;
	address->socket.v4.sin_port = port;
	address->length = sizeof address->socket.v4;
	return inet_pton(AF_INET, ip, &address->socket.v4.sin_addr) == 1;
}

/* An IPv4-mapped address (RFC 4291, 2.5.5.2) means the IPv4 address, which a
 * socket of either family would take: so it becomes that. */
static void
unmap(struct address *address)
{
	struct sockaddr_in6 v6 = address->socket.v6;

	if (!IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
		return;
	memset(&address->socket, 0, sizeof address->socket);
	address->socket.v4.sin_family = AF_INET;
	address->socket.v4.sin_port = v6.sin6_port;
	memcpy(&address->socket.v4.sin_addr, &v6.sin6_addr.s6_addr[12],
	    sizeof address->socket.v4.sin_addr);
	address->length = sizeof address->socket.v4;
}

/* IP may end in "%INTERFACE" (RFC 4007, 11). */
static bool
set_v6(struct address *address, char *ip, in_port_t port)
{
	char *scope = strchr(ip, '%');

	address->socket.v6.sin6_family = AF_INET6;
	address->socket.v6.sin6_port = port;
	address->length = sizeof address->socket.v6;
	if (scope) {
		*scope++ = '\0';
		address->socket.v6.sin6_scope_id = if_nametoindex(scope);
		if (address->socket.v6.sin6_scope_id == 0)
			return false;
	}
	if (inet_pton(AF_INET6, ip, &address->socket.v6.sin6_addr) != 1)
		return false;
	unmap(address);
	return true;
}

bool
address_parse(const char *text, struct address *address)
{
	const char *colon = strrchr(text, ':');
	char ip[ADDRESS_TEXT];
	in_port_t port;
	size_t length;

	memset(address, 0, sizeof *address);
	if (!colon || !parse_port(colon + 1, &port))
		return false;
	length = (size_t)(colon - text);
	if (length >= sizeof ip)
		return false;
	memcpy(ip, text, length);
	ip[length] = '\0';
	if (length == 0) {
		address->any_family = true;
		strcpy(ip, "::");
		return set_v6(address, ip, port);
	}
	if (ip[0] == '[' && ip[length - 1] == ']') {
		ip[length - 1] = '\0';
		return set_v6(address, ip + 1, port);
	}
	return set_v4(address, ip, port);
}

static struct address_text
format_v4(const void *ip, unsigned port)
{
	struct address_text result;
	char text[INET_ADDRSTRLEN] = "?";

	inet_ntop(AF_INET, ip, text, sizeof text);
	snprintf(result.text, sizeof result.text, "%s:%u", text, port);
	return result;
}

static struct address_text
format_v6(const struct in6_addr *ip, unsigned scope, unsigned port)
{
	struct address_text result;
	char text[INET6_ADDRSTRLEN] = "?";
	char interface[IF_NAMESIZE] = "";

	if (IN6_IS_ADDR_V4MAPPED(ip))
		return format_v4(&ip->s6_addr[12], port);
	inet_ntop(AF_INET6, ip, text, sizeof text);
	if (scope != 0)
		if_indextoname(scope, interface);
	snprintf(result.text, sizeof result.text, "[%s%s%s]:%u", text,
	    *interface ? "%" : "", interface, port);
	return result;
}

struct address_text
address_format(const struct address *address)
{
	unsigned port = address_port(address);

	if (address->socket.any.sa_family == AF_INET)
		return format_v4(&address->socket.v4.sin_addr, port);
	return format_v6(&address->socket.v6.sin6_addr,
	    address->socket.v6.sin6_scope_id, port);
}

struct address_text
address_format_peer(const struct in6_addr *ip, in_port_t port)
{
	return format_v6(ip, 0, ntohs(port));
}

void
address_peer(
    const struct sockaddr_storage *peer, struct in6_addr *ip, in_port_t *port)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (peer->ss_family == AF_INET) {
		memcpy(&v4, peer, sizeof v4);
		memset(ip, 0, sizeof *ip);
		ip->s6_addr[10] = ip->s6_addr[11] = 0xff;
		memcpy(&ip->s6_addr[12], &v4.sin_addr, sizeof v4.sin_addr);
		*port = v4.sin_port;
		return;
	}
	memcpy(&v6, peer, sizeof v6);
	*ip = v6.sin6_addr;
	*port = v6.sin6_port;
}

unsigned
address_port(const struct address *address)
{
	if (address->socket.any.sa_family == AF_INET)
		return ntohs(address->socket.v4.sin_port);
	return ntohs(address->socket.v6.sin6_port);
}

void
address_fall_back_to_v4(struct address *address)
{
	unsigned port = address_port(address);

	memset(&address->socket, 0, sizeof address->socket);
	set_v4(address, "0.0.0.0", htons((uint16_t)port));
}

static bool
is_wildcard(const struct address *address)
{
	if (address->socket.any.sa_family == AF_INET)
		return address->socket.v4.sin_addr.s_addr == INADDR_ANY;
	return IN6_IS_ADDR_UNSPECIFIED(&address->socket.v6.sin6_addr);
}

static bool
same_ip(const struct address *a, const struct address *b)
{
	if (a->socket.any.sa_family != b->socket.any.sa_family)
		return false;
	if (a->socket.any.sa_family == AF_INET)
		return a->socket.v4.sin_addr.s_addr ==
		    b->socket.v4.sin_addr.s_addr;
	return a->socket.v6.sin6_scope_id == b->socket.v6.sin6_scope_id &&
	    IN6_ARE_ADDR_EQUAL(
		&a->socket.v6.sin6_addr, &b->socket.v6.sin6_addr);
}

bool
address_equal(const struct address *a, const struct address *b)
{
	return same_ip(a, b) && address_port(a) == address_port(b);
}

/* [::] is dual-stack and covers all; 0.0.0.0 covers what is IPv4. */
static bool
covers(const struct address *a, const struct address *b)
{
	return is_wildcard(a) &&
	    (a->socket.any.sa_family == AF_INET6 ||
		b->socket.any.sa_family == AF_INET);
}

bool
address_overlaps(const struct address *a, const struct address *b)
{
	if (address_port(a) != address_port(b) || address_port(a) == 0)
		return false;
	return same_ip(a, b) || covers(a, b) || covers(b, a);
}

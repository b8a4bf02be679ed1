#include "lib/base/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char expected_address[] =
    "expected ADDRESS:PORT such as 127.0.0.1:8080, [::1]:8080, or :8080 for "
    "every address; names are not resolved";

/* Reads decimal digits, up to MOST, with nothing behind them. */
static bool
parse_number(const char *text, uint64_t most, uint64_t *number)
{
	if (*text == '\0')
		return false;
	for (*number = 0; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		*number = *number * 10 + (uint64_t)(*text - '0');
		if (*number > most)
			return false;
	}
	return true;
}

static const char *
set_v4(struct address *address, const char *ip, in_port_t port)
{
	address->socket.v4.sin_family = AF_INET;
	address->socket.v4.sin_port = port;
	address->length = sizeof address->socket.v4;
	return inet_pton(AF_INET, ip, &address->socket.v4.sin_addr) == 1
	    ? NULL
	    : expected_address;
}

void
address_unmap(struct address *address)
{
	struct sockaddr_in6 v6 = address->socket.v6;

	if (v6.sin6_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
		return;
	memset(&address->socket, 0, sizeof address->socket);
	address->socket.v4.sin_family = AF_INET;
	address->socket.v4.sin_port = v6.sin6_port;
	memcpy(&address->socket.v4.sin_addr, &v6.sin6_addr.s6_addr[12],
	    sizeof address->socket.v4.sin_addr);
	address->length = sizeof address->socket.v4;
	*address->zone = '\0';
}

bool
address_find_zone(struct address *address)
{
	uint32_t *scope = &address->socket.v6.sin6_scope_id;
	uint64_t number;

	if (!*address->zone)
		return true;
	*scope = if_nametoindex(address->zone);
	if (*scope == 0 && parse_number(address->zone, UINT32_MAX, &number))
		*scope = (uint32_t)number;
	return *scope != 0;
}

/* IP may end in "%ZONE" (RFC 4007, 11). */
static const char *
set_v6(struct address *address, char *ip, in_port_t port)
{
	struct sockaddr_in6 *v6 = &address->socket.v6;
	char *zone = strchr(ip, '%');

	v6->sin6_family = AF_INET6;
	v6->sin6_port = port;
	address->length = sizeof *v6;
	if (zone) {
		*zone++ = '\0';
		if (*zone == '\0' || strlen(zone) >= sizeof address->zone)
			return "expected behind % the name of an interface";
		strcpy(address->zone, zone);
		address_find_zone(address);
	}
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) != 1)
		return expected_address;
	if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr) && !zone)
		return "expected a link-local address with its interface, as "
		       "in [fe80::1%eth0]:8080";
	address_unmap(address);
	return NULL;
}

const char *
address_parse(const char *text, struct address *address)
{
	const char *colon = strrchr(text, ':');
	char ip[ADDRESS_TEXT];
	uint64_t number;
	in_port_t port;
	size_t length;

	memset(address, 0, sizeof *address);
	if (!colon || !parse_number(colon + 1, 65535, &number))
		return expected_address;
	port = htons((uint16_t)number);
	length = (size_t)(colon - text);
	if (length >= sizeof ip)
		return expected_address;
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
format_v6(const struct in6_addr *ip, const char *zone, unsigned port)
{
	struct address_text result;
	char text[INET6_ADDRSTRLEN] = "?";

	if (IN6_IS_ADDR_V4MAPPED(ip))
		return format_v4(&ip->s6_addr[12], port);
	inet_ntop(AF_INET6, ip, text, sizeof text);
	snprintf(result.text, sizeof result.text, "[%s%s%s]:%u", text,
	    *zone ? "%" : "", zone, port);
	return result;
}

/* The name of an interface, its number where it has none any more, or "". */
static void
name_zone(uint32_t scope, char zone[IF_NAMESIZE])
{
	*zone = '\0';
	if (scope != 0 && !if_indextoname(scope, zone))
		snprintf(zone, IF_NAMESIZE, "%u", scope);
}

struct address_text
address_format(const struct address *address)
{
	const struct sockaddr_in6 *v6 = &address->socket.v6;
	unsigned port = address_port(address);
	char zone[IF_NAMESIZE];

	if (address->socket.any.sa_family == AF_INET)
		return format_v4(&address->socket.v4.sin_addr, port);
	if (*address->zone)
		return format_v6(&v6->sin6_addr, address->zone, port);
	name_zone(v6->sin6_scope_id, zone);
	return format_v6(&v6->sin6_addr, zone, port);
}

enum { ZONE_BYTE = 4 }; /* where a kept address has it */

struct address_text
address_format_peer(const struct in6_addr *kept, in_port_t port)
{
	struct in6_addr ip = *kept;
	char zone[IF_NAMESIZE] = "";
	uint32_t scope;

	if (IN6_IS_ADDR_LINKLOCAL(&ip)) {
		memcpy(&scope, &ip.s6_addr[ZONE_BYTE], sizeof scope);
		memset(&ip.s6_addr[ZONE_BYTE], 0, sizeof scope);
		name_zone(scope, zone);
	}
	return format_v6(&ip, zone, ntohs(port));
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
	if (IN6_IS_ADDR_LINKLOCAL(ip))
		memcpy(&ip->s6_addr[ZONE_BYTE], &v6.sin6_scope_id,
		    sizeof v6.sin6_scope_id);
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
	if (a->socket.v6.sin6_scope_id != b->socket.v6.sin6_scope_id)
		return false;
	/* Two interfaces that are not there yet are two by their names. */
	if (a->socket.v6.sin6_scope_id == 0 && strcmp(a->zone, b->zone) != 0)
		return false;
	return IN6_ARE_ADDR_EQUAL(
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

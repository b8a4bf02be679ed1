/* address: IP addresses with ports, as text and as sockets take them. */
#ifndef PREFORKD_ADDRESS_H
#define PREFORKD_ADDRESS_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} socket;
	socklen_t length; /* of the member in use */
	bool any_family;  /* ":PORT": [::], or 0.0.0.0 where there is no IPv6 */
	char zone[IF_NAMESIZE]; /* as it was asked for; "": none */
};

/* Room for "[" INET6_ADDRSTRLEN "%" interface "]:65535". */
enum { ADDRESS_TEXT = 80 };

/* The text of an address; returned by value, so that a call can stand in the
 * arguments of a log line. */
struct address_text {
	char text[ADDRESS_TEXT];
};

/* Reads ADDRESS:PORT, [ADDRESS]:PORT or :PORT, numeric only; IPv4-mapped IPv6
 * is read as IPv4. ADDRESS may end in a zone, which is the name or the number
 * of an interface that need not be there yet. Returns NULL, or what was
 * expected instead. */
const char *address_parse(const char *text, struct address *);

/* Looks its zone up again. False where there is no such interface. */
bool address_find_zone(struct address *);

/* "127.0.0.1:80" or "[::1]:80"; an IPv4-mapped address shows as IPv4. */
struct address_text address_format(const struct address *);
/* The same for an IPv6 (or IPv4-mapped) address and a port as on the wire. */
struct address_text address_format_peer(const struct in6_addr *, in_port_t);

/* The address of a peer in the shape that a connection keeps: IPv4 is mapped
 * into IPv6 (RFC 4291, 2.5.5.2), and the zone of a link-local address lies in
 * its bytes 4 to 7, which are zero on the wire (2.5.6). */
void address_peer(
    const struct sockaddr_storage *, struct in6_addr *ip, in_port_t *port);

/* Port in host order. */
unsigned address_port(const struct address *);

/* An IPv4-mapped address (RFC 4291, 2.5.5.2) means the IPv4 address, which a
 * socket of either family would take: so it becomes that. */
void address_unmap(struct address *);

/* [::]:PORT becomes 0.0.0.0:PORT. */
void address_fall_back_to_v4(struct address *);

/* The same address and port; `:80` is [::]:80. */
bool address_equal(const struct address *, const struct address *);
/* True where no two servers could listen on both: the same port, and one IP
 * covers the other. Port 0 covers nothing. */
bool address_overlaps(const struct address *, const struct address *);

#endif

/*
 * listener: SO_REUSEPORT sockets, one for each slot and address, and the
 * reservation that holds their port.
 */
#ifndef PREFORKD_LISTENER_H
#define PREFORKD_LISTENER_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/address.h"

/* Room for any message of this module. */
enum { LISTENER_ERROR = 256 };

/* What is to be done about an error of this module, by its errno. */
enum listener_remedy {
	LISTENER_ACT,	/* a person must act: trying again is useless */
	LISTENER_AWAIT, /* the address or the interface may come in a moment, as
			   by duplicate address detection, DHCP or VRRP */
	LISTENER_RETRY, /* something is short at the moment */
};
enum listener_remedy listener_remedy(int error);

/*
 * Takes the port of REQUESTED for this server, and only if nobody else listens
 * there: SO_REUSEPORT alone would let a second server join in silently. The
 * socket is bound and never listens, so it gets no connection, and it fixes the
 * number where port 0 was asked for.
 *
 * BESIDE says that this server itself listens there, on an address that covers
 * REQUESTED or is covered by it. Then that one is what keeps others away.
 *
 * BOUND becomes the address with its port resolved, and with IPv4 instead of
 * IPv6 where REQUESTED allows any family and there is no IPv6. Returns the
 * socket, or -1 with errno, and the cause and the remedy in ERROR.
 */
int listener_reserve(const struct address *requested, bool beside,
    struct address *bound, char error[LISTENER_ERROR]);

/*
 * Opens a listener on a reserved address; every connection accepted from it has
 * TCP_NODELAY, SO_OOBINLINE and SO_KEEPALIVE on (Linux lets them inherit).
 * Returns the nonblocking socket, or -1 with errno, and cause and remedy in
 * ERROR.
 */
int listener_open(
    const struct address *bound, unsigned backlog, char error[LISTENER_ERROR]);

/* Sets what every connection is to have: TCP_NODELAY, SO_OOBINLINE,
 * SO_KEEPALIVE. FD is a connection, or a listener whose connections get them.
 * Returns 0, or -1 with errno. */
int listener_equip(int fd);
/* True for a connection that has begun after its listener had these. */
bool listener_has_equipped(int connection);

/* True for a listener on [::] that takes no IPv4. */
bool listener_lacks_v4(int fd, const struct address *bound);

/* True for a listener on exactly that address, of a group that others can join.
 * It may come from a process that talks to strangers. */
bool listener_is(int fd, const struct address *bound);

/* How many connections wait to be accepted; 0 where that cannot be told. */
unsigned listener_queue(int fd);

/*
 * Drops what would begin a handshake, before a listener's queue is emptied for
 * the last time: what came between that and the close would be reset. So the
 * client tries again in a second, and comes to whoever listens then. Where
 * filters are not allowed that moment remains.
 */
void listener_begin_no_more(int fd);
/* It stays after all. */
void listener_begin_again(int fd);

#endif

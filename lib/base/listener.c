#include "lib/base/listener.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/socket.h"

enum listener_remedy
listener_remedy(int error)
{
	switch (error) {
	case EADDRINUSE:
	case EACCES:
	case EPERM:
	case EAFNOSUPPORT:
	case EPROTONOSUPPORT:
	case EPROTOTYPE:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EINVAL:
		return LISTENER_ACT;
	case EADDRNOTAVAIL:
	case ENODEV:
		return LISTENER_AWAIT;
	default:
		return LISTENER_RETRY;
	}
}

static const struct {
	int error;
	const char *cause, *remedy;
} explanations[] = {
	{ EADDRINUSE, "address in use",
	    "stop the other server or choose another --listen" },
	{ EACCES, "permission denied",
	    "ports below 1024 need CAP_NET_BIND_SERVICE, or choose a higher "
	    "port" },
	{ EPERM, "permission denied",
	    "ports below 1024 need CAP_NET_BIND_SERVICE, or choose a higher "
	    "port" },
	{ EADDRNOTAVAIL, "this machine has no such address",
	    "choose one that `ip address` shows, and not as tentative" },
	{ ENODEV, "this machine has no such interface",
	    "choose one that `ip link` shows" },
	{ EAFNOSUPPORT, "no IPv6 here", "choose an IPv4 address" },
	{ EPROTONOSUPPORT, "the socket speaks Multipath TCP",
	    "start the server without mptcpize" },
	{ EAGAIN, "no port is free",
	    "name one, or widen net.ipv4.ip_local_port_range" },
};

static int
explain(const struct address *address, char error[LISTENER_ERROR])
{
	const char *cause = strerror(errno), *remedy = NULL;
	int saved_errno = errno;

	for (size_t i = 0; i < sizeof explanations / sizeof explanations[0];
	     i++)
		if (explanations[i].error == errno) {
			cause = explanations[i].cause;
			remedy = explanations[i].remedy;
		}
	snprintf(error, LISTENER_ERROR, "cannot listen on %s: %s%s%s",
	    address_format(address).text, cause, remedy ? ": " : "",
	    remedy ? remedy : "");
	errno = saved_errno;
	return -1;
}

static int
set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value);
}

static int
close_failed(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return -1;
}

/* A library that is loaded first may make another kind of socket of it. The
 * ledger (lib/worker/ledger.c) knows TCP's counters alone. */
static bool
is_tcp(int fd)
{
	int protocol = 0;
	socklen_t length = sizeof protocol;

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) <
	    0 ||
	    protocol == IPPROTO_TCP;
}

static int
open_socket(const struct address *address)
{
	int family = address->socket.any.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (!is_tcp(fd)) {
		errno = EPROTONOSUPPORT;
		return close_failed(fd);
	}
	/* Dual-stack whatever net.ipv6.bindv6only says. */
	if (family == AF_INET6 &&
	    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0)
		return close_failed(fd);
	return fd;
}

/* Where that is not allowed, as some systems have it for all but root, a client
 * that comes in just this moment is reset instead of refused. */
static void
drop_all(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog program = { .len = 1, .filter = &nothing };

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* Turns what is bound alone into what our listeners may join by SO_REUSEPORT,
 * while others' binds fail, as it has no SO_REUSEADDR any more. */
static int
invite(int fd)
{
	if (set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
		return -1;
	return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 0);
}

/* Returns the socket, or -1 with errno; RACED where somebody else was about to
 * listen as well. */
static int
claim_once(const struct address *address, bool *raced)
{
	int fd = open_socket(address);

	if (fd < 0)
		return -1;
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    bind(fd, &address->socket.any, address->length) < 0)
		return close_failed(fd);
	drop_all(fd);
	if (listen(fd, 0) < 0) {
		*raced = true;
		return close_failed(fd);
	}
	if (invite(fd) < 0 || shutdown(fd, SHUT_RD) < 0)
		return close_failed(fd);
	return fd;
}

/*
 * Binds as an ordinary server would, which fails where any other listens.
 * SO_REUSEADDR is on meanwhile, so that connections of an earlier run in
 * TIME_WAIT do not count; but so any number may bind until one of them listens,
 * and then no other can (inet_bind_conflict in the kernel's
 * net/ipv4/inet_connection_sock.c). So it does listen for a moment, in which
 * clients' SYNs are dropped, to come again. Two that begin to listen at the
 * same instant can both fail, and try again. The port is never free in between.
 */
static int
claim(const struct address *address)
{
	bool raced = false;
	int tries = 16, fd;

	do
		fd = claim_once(address, &raced);
	while (fd < 0 && errno == EADDRINUSE && raced && --tries > 0);
	return fd;
}

/* Has the kernel choose a port for ADDRESS. Returns a socket that keeps others
 * from being given the same, or -1. */
static int
choose_port(struct address *address)
{
	int fd = open_socket(address);

	if (fd < 0)
		return -1;
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0)
		return close_failed(fd);
	if (bind(fd, &address->socket.any, address->length) < 0) {
		if (errno == EADDRINUSE) /* not one port, but all of them */
			errno = EAGAIN;
		return close_failed(fd);
	}
	if (getsockname(fd, &address->socket.any, &address->length) < 0)
		return close_failed(fd);
	return fd;
}

static int
bind_alone(struct address *address)
{
	int chosen, fd, saved_errno;

	if (address_port(address) != 0)
		return claim(address);
	chosen = choose_port(address);
	if (chosen < 0)
		return -1;
	fd = claim(address);
	saved_errno = errno;
	close(chosen);
	errno = saved_errno;
	return fd;
}

/* Binds beside what this server has: others' sockets stand in the way still,
 * unless they are this user's and share by SO_REUSEPORT, too. */
static int
bind_beside(const struct address *address)
{
	int fd = open_socket(address);

	if (fd < 0)
		return -1;
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0 ||
	    bind(fd, &address->socket.any, address->length) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 0) < 0)
		return close_failed(fd);
	return fd;
}

int
listener_reserve(const struct address *requested, bool beside,
    struct address *bound, char error[LISTENER_ERROR])
{
	int fd;

	*bound = *requested;
	if (!address_find_zone(bound)) {
		errno = ENODEV;
		return explain(bound, error);
	}
	fd = beside ? bind_beside(bound) : bind_alone(bound);
	if (fd < 0 && requested->any_family &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		address_fall_back_to_v4(bound);
		fd = beside ? bind_beside(bound) : bind_alone(bound);
	}
	return fd < 0 ? explain(bound, error) : fd;
}

/* The last is what listener_has_equipped looks at. */
int
listener_equip(int fd)
{
	if (set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) < 0 ||
	    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0)
		return -1;
	return set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1);
}

bool
listener_has_equipped(int connection)
{
	return socket_has(connection, SOL_SOCKET, SO_OOBINLINE, 1);
}

static int
set_options(int fd)
{
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0)
		return -1;
	return listener_equip(fd);
}

int
listener_open(
    const struct address *bound, unsigned backlog, char error[LISTENER_ERROR])
{
	int fd = open_socket(bound);

	if (fd < 0)
		return explain(bound, error);
	if (set_options(fd) < 0 ||
	    bind(fd, &bound->socket.any, bound->length) < 0 ||
	    listen(fd, (int)backlog) < 0) {
		close_failed(fd);
		return explain(bound, error);
	}
	return fd;
}

bool
listener_is(int fd, const struct address *bound)
{
	struct address actual = { .length = sizeof actual.socket };

	return socket_has(
		   fd, SOL_SOCKET, SO_DOMAIN, bound->socket.any.sa_family) &&
	    socket_has(fd, SOL_SOCKET, SO_PROTOCOL, IPPROTO_TCP) &&
	    socket_has(fd, SOL_SOCKET, SO_ACCEPTCONN, 1) &&
	    socket_has(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
	    getsockname(fd, &actual.socket.any, &actual.length) == 0 &&
	    address_equal(&actual, bound);
}

bool
listener_lacks_v4(int fd, const struct address *bound)
{
	return bound->socket.any.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&bound->socket.v6.sin6_addr) &&
	    socket_has(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
}

/* For a listener tcpi_unacked is the length of its queue (net/ipv4/tcp.c,
 * tcp_get_info). */
unsigned
listener_queue(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof info;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return 0;
	return info.tcpi_unacked;
}

void
listener_begin_no_more(int fd)
{
	struct sock_filter no_syn[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* the flags */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = { .len = sizeof no_syn / sizeof no_syn[0],
		.filter = no_syn };

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void
listener_begin_again(int fd)
{
	int none = 0;

	setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none);
}

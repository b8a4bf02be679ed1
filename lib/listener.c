#include "listener.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
explain(const struct address *address, char error[LISTENER_ERROR])
{
	const char *cause = strerror(errno), *remedy = "";
	int saved_errno = errno;

	if (errno == EADDRINUSE) {
		cause = "address in use";
		remedy = ": stop the other server or choose another --listen";
	} else if (errno == EACCES || errno == EPERM) {
		cause = "permission denied";
		remedy = ": ports below 1024 need CAP_NET_BIND_SERVICE, "
			 "or choose a higher port";
	} else if (errno == EADDRNOTAVAIL) {
		cause = "this machine has no such address";
		remedy = ": choose one that `ip address` shows";
	} else if (errno == EAFNOSUPPORT) {
		cause = "no IPv6 here";
		remedy = ": choose an IPv4 address";
	}
	snprintf(error, LISTENER_ERROR, "cannot listen on %s: %s%s",
	    address_format(address).text, cause, remedy);
	errno = saved_errno;
	return -1;
}

static int
set_option(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof value);
}

static int
open_socket(const struct address *address)
{
	int family = address->socket.any.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* Dual-stack whatever net.ipv6.bindv6only says. */
	if (fd >= 0 && family == AF_INET6 &&
	    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static int
close_failed(int fd)
{
	int saved_errno = errno;

	close(fd);
	errno = saved_errno;
	return -1;
}

/*
 * Binds as an ordinary server would, which fails where any other listens.
 * SO_REUSEADDR is on meanwhile, so that connections of an earlier run in
 * TIME_WAIT do not count. Only then the options turn: with SO_REUSEPORT our
 * listeners may join, without SO_REUSEADDR another server's own probe fails
 * (inet_bind_conflict in the kernel's net/ipv4/inet_connection_sock.c). The
 * port is never free in between.
 */
static int
bind_alone(struct address *address)
{
	int fd = open_socket(address);

	if (fd < 0)
		return -1;
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    bind(fd, &address->socket.any, address->length) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 0) < 0 ||
	    getsockname(fd, &address->socket.any, &address->length) < 0)
		return close_failed(fd);
	return fd;
}

int
listener_reserve(const struct address *requested, struct address *bound,
    char error[LISTENER_ERROR])
{
	int fd;

	*bound = *requested;
	fd = bind_alone(bound);
	if (fd < 0 && requested->any_family &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		address_fall_back_to_v4(bound);
		fd = bind_alone(bound);
	}
	return fd < 0 ? explain(bound, error) : fd;
}

static int
set_options(int fd)
{
	if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) < 0 ||
	    set_option(fd, SOL_SOCKET, SO_OOBINLINE, 1) < 0)
		return -1;
	return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
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

#include "lib/base/handshake.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 diag;
};

static bool
ask(int fd, int family, unsigned port)
{
	struct request request = {
		.header = { .nlmsg_len = sizeof request,
		    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.diag = { .sdiag_family = (__u8)family,
		    .sdiag_protocol = IPPROTO_TCP,
		    .idiag_states = 1 << TCP_SYN_RECV,
		    .id.idiag_sport = htons((in_port_t)port) },
	};

	return send(fd, &request, sizeof request, 0) == sizeof request;
}

/* The first message of the answer tells: it is a socket, or the end. */
static bool
has_any(int fd, int family, unsigned port)
{
	union {
		struct nlmsghdr header;
		char bytes[8192];
	} answer;

	return !ask(fd, family, port) ||
	    recv(fd, &answer, sizeof answer, 0) < NLMSG_HDRLEN ||
	    answer.header.nlmsg_type != NLMSG_DONE;
}

static bool
has_any_of(int family, unsigned port)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	bool any;

	if (fd < 0)
		return true;
	any = has_any(fd, family, port);
	close(fd);
	return any;
}

/* The kernel has a client of IPv4 in the table of IPv4, also one of a listener
 * of IPv6. */
bool
handshake_is_under_way(unsigned port)
{
	return has_any_of(AF_INET, port) || has_any_of(AF_INET6, port);
}

#include "lib/base/handshake.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	FIRST_MS = 1000,    /* until a SYN-ACK is sent again; then twice that */
	RETRIES_MAX = 16,   /* enough for any age that is asked for */
	IMPRECISION_MS = 50 /* of an age: the kernel counts in jiffies */
};

struct request {
	struct nlmsghdr header;
	struct inet_diag_req_v2 diag;
};

struct ages {
	uint64_t least_ms, most_ms;
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

/* The kernel tells how many SYN-ACKs it has sent again, and when it sends the
 * next (net/ipv4/inet_diag.c, inet_req_diag_fill). */
static uint64_t
age_of(const struct inet_diag_msg *handshake)
{
	unsigned retries = handshake->idiag_retrans;
	uint64_t next_ms;

	if (retries > RETRIES_MAX)
		retries = RETRIES_MAX;
	next_ms = ((2ULL << retries) - 1) * FIRST_MS;
	return next_ms > handshake->idiag_expires
	    ? next_ms - handshake->idiag_expires
	    : 0;
}

static bool
is_within(const struct ages *ages, uint64_t age_ms)
{
	return age_ms + IMPRECISION_MS >= ages->least_ms &&
	    age_ms <= ages->most_ms;
}

/* True where a message ends the search; then it has the result. */
static bool
tells(const struct nlmsghdr *message, const struct ages *ages,
    enum handshakes *result)
{
	switch (message->nlmsg_type) {
	case NLMSG_DONE:
		*result = HANDSHAKES_NONE;
		return true;
	case SOCK_DIAG_BY_FAMILY:
		*result = HANDSHAKES_SOME;
		return is_within(ages, age_of(NLMSG_DATA(message)));
	default:
		*result = HANDSHAKES_UNKNOWN;
		return true;
	}
}

static enum handshakes
hear(int fd, const struct ages *ages)
{
	union {
		struct nlmsghdr header;
		char bytes[8192];
	} answer;
	enum handshakes result;
	ssize_t length;

	while ((length = recv(fd, &answer, sizeof answer, 0)) > 0) {
		unsigned left = (unsigned)length;

		for (const struct nlmsghdr *m = &answer.header;
		     NLMSG_OK(m, left); m = NLMSG_NEXT(m, left))
			if (tells(m, ages, &result))
				return result;
	}
	return HANDSHAKES_UNKNOWN;
}

static enum handshakes
look_at(int family, unsigned port, const struct ages *ages)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	enum handshakes result = HANDSHAKES_UNKNOWN;

	if (fd < 0)
		return result;
	if (ask(fd, family, port))
		result = hear(fd, ages);
	close(fd);
	return result;
}

/* The kernel has a client of IPv4 in the table of IPv4, also one of a listener
 * of IPv6. */
enum handshakes
handshake_look(unsigned port, uint64_t least_ms, uint64_t most_ms)
{
	const struct ages ages = { least_ms, most_ms };
	enum handshakes result = look_at(AF_INET, port, &ages), other;

	if (result == HANDSHAKES_SOME)
		return result;
	other = look_at(AF_INET6, port, &ages);
	return other == HANDSHAKES_NONE ? result : other;
}

bool
handshake_is_under_way(unsigned port)
{
	return handshake_look(port, 0, UINT64_MAX) != HANDSHAKES_NONE;
}

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

/* The older request, which is for both families at once (net/ipv4/inet_diag.c,
 * inet_diag_dump_compat): SOCK_DIAG_BY_FAMILY takes a walk for each. */
struct request {
	struct nlmsghdr header;
	struct inet_diag_req diag;
};

struct search {
	const unsigned *ports;
	unsigned count;
	uint64_t least_ms, most_ms; /* ages */
};

static bool
ask(int fd)
{
	struct request request = {
		.header = { .nlmsg_len = sizeof request,
		    .nlmsg_type = TCPDIAG_GETSOCK,
		    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.diag = { .idiag_states = 1 << TCP_SYN_RECV },
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
is_within(const struct search *search, uint64_t age_ms)
{
	return age_ms + IMPRECISION_MS >= search->least_ms &&
	    age_ms <= search->most_ms;
}

static bool
is_wanted(const struct search *search, const struct inet_diag_msg *handshake)
{
	for (unsigned i = 0; i < search->count; i++)
		if (htons((in_port_t)search->ports[i]) ==
		    handshake->id.idiag_sport)
			return is_within(search, age_of(handshake));
	return false;
}

/* True where a message ends the search; then it has the result. */
static bool
tells(const struct nlmsghdr *message, const struct search *search,
    enum handshakes *result)
{
	switch (message->nlmsg_type) {
	case NLMSG_DONE:
		*result = HANDSHAKES_NONE;
		return true;
	case TCPDIAG_GETSOCK:
		*result = HANDSHAKES_SOME;
		return is_wanted(search, NLMSG_DATA(message));
	default:
		*result = HANDSHAKES_UNKNOWN;
		return true;
	}
}

static enum handshakes
hear(int fd, const struct search *search)
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
			if (tells(m, search, &result))
				return result;
	}
	return HANDSHAKES_UNKNOWN;
}

enum handshakes
handshake_look(
    const unsigned *ports, unsigned count, uint64_t least_ms, uint64_t most_ms)
{
	const struct search search = { ports, count, least_ms, most_ms };
	enum handshakes result = HANDSHAKES_UNKNOWN;
	int fd;

	if (count == 0)
		return HANDSHAKES_NONE;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return result;
	if (ask(fd))
		result = hear(fd, &search);
	close(fd);
	return result;
}

bool
handshake_is_under_way(const unsigned *ports, unsigned count)
{
	return handshake_look(ports, count, 0, UINT64_MAX) != HANDSHAKES_NONE;
}

uint64_t
handshake_again_ms(uint64_t begun_ms, uint64_t took_ms, uint64_t pause_ms)
{
	return begun_ms + took_ms + (took_ms > pause_ms ? took_ms : pause_ms);
}

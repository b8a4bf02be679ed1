/*
 * The derivation, with the kernel's names (net/ipv4/tcp.c, tcp_input.c):
 *
 * Received. tcp_rcv_nxt_update adds to bytes_received whatever it adds to
 * rcv_nxt, which begins right behind the SYN; copied_seq is how far recv has
 * come. So of bytes_received, rcv_nxt - copied_seq have not been taken:
 *
 *     consumed = bytes_received - (rcv_nxt - copied_seq)
 *
 * TCP_INQ (tcp_inq_hint) tells that difference to a recvmsg that only looks.
 * The peer's FIN counts as one in bytes_received and in rcv_nxt, and in
 * copied_seq once recv has returned 0. From then on the difference would be one
 * too small: there the kernel says 1 instead of 0. So a FIN never counts, and
 * nobody has to know whether one has come. A recvmsg that fails has nothing
 * before it, not even a FIN: the difference is 0.
 *
 * Sent. tcp_snd_una_update adds to bytes_acked whatever it adds to snd_una
 * after the handshake; write_seq is how far send has come, and SIOCOUTQ gives
 * write_seq - snd_una:
 *
 *     accepted = bytes_acked + SIOCOUTQ
 *
 * (Our own FIN would count in both; as long as we have not sent one there is
 * nothing to subtract.)
 *
 * What is read, and under which lock:
 *
 *     what                     written by              read by
 *     rcv_nxt, bytes_received  tcp_rcv_nxt_update      TCP_INQ without lock,
 *                                                      TCP_INFO with it
 *     SOCK_DONE (a FIN came)   tcp_fin                 TCP_INQ without lock
 *     copied_seq               recv                    TCP_INQ without lock
 *     snd_una, bytes_acked     tcp_snd_una_update      SIOCOUTQ without lock,
 *                                                      TCP_INFO with it
 *     write_seq                send                    SIOCOUTQ without lock
 *     sk_state                 tcp_fin, tcp_reset,     TCP_INFO without lock,
 *                              the handshake's ACK     before all else
 *
 * All are written under the socket's lock. copied_seq and write_seq stand
 * still, as nobody reads or writes; rcv_nxt and snd_una only grow. So a queue
 * that is the same before and after TCP_INFO has not moved in between, and all
 * is of the one moment at which TCP_INFO had the lock. What could disagree:
 *
 * - A FIN, alone or behind bytes, is in rcv_nxt and bytes_received at once. If
 *   it comes between two calls the queue before has it not, the queue after
 *   has it. SOCK_DONE may be seen before rcv_nxt: then 1 is said instead of 0,
 *   which is what rcv_nxt says a moment later.
 * - The state is not used to tell whether a FIN has come: tcp_get_info reads it
 *   before it takes the lock. A FIN between the two would be in bytes_received
 *   and not in the state, and SIOCINQ (tcp_inq) leaves it out of the queue.
 * - A RST moves none of the numbers, and recv still gives what had come before.
 * - Urgent data makes no difference, with SO_OOBINLINE.
 * - States of our own FIN (FIN_WAIT1 and 2, CLOSING at a simultaneous close,
 *   LAST_ACK, TIME_WAIT) are refused. A connection is shut down outside of a
 *   transaction, and never read or written in one afterwards (exchange.c,
 *   `linger`).
 * - In SYN_RECV, which Fast Open lets us accept, SIOCOUTQ says 0 whatever is
 *   there. So the state is read before it, as SYN_RECV is left once and for
 *   all. In it nothing is acknowledged, so all that was sent is in flight or
 *   waits: bytes_sent and notsent_bytes. The kernel counts as sent also what
 *   then fails to leave, and sends it again; so as many segments have to be in
 *   flight as were sent, and none of them twice.
 */
#include "lib/worker/ledger.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Values of tcpi_state, from the kernel's tcp_states.h, which it does not
 * export. */
enum {
	STATE_ESTABLISHED = 1,
	STATE_SYN_RECV = 3,
	STATE_CLOSE = 7,
	STATE_CLOSE_WAIT = 8
};

/* A peer that sends without pause may move a queue between the calls, but not
 * for as long as this. */
enum { SAMPLES = 10000 };

/* All that is used of it is there since Linux 4.19. */
static bool
read_info(int fd, struct tcp_info *info)
{
	socklen_t length = sizeof *info;

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0 &&
	    length >= offsetof(struct tcp_info, tcpi_bytes_retrans) +
		sizeof info->tcpi_bytes_retrans;
}

/* Fills in the state alone, for certain. */
static bool
is_readable(int fd, struct tcp_info *info)
{
	if (!read_info(fd, info))
		return false;
	return info->tcpi_state == STATE_ESTABLISHED ||
	    info->tcpi_state == STATE_CLOSE_WAIT ||
	    info->tcpi_state == STATE_CLOSE ||
	    info->tcpi_state == STATE_SYN_RECV;
}

/* ---- received ------------------------------------------------------------ */

static bool
find_inq(struct msghdr *message, int *inq)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(message);

	if (!c || c->cmsg_level != IPPROTO_TCP || c->cmsg_type != TCP_CM_INQ)
		return false;
	memcpy(inq, CMSG_DATA(c), sizeof *inq);
	return true;
}

/* rcv_nxt - copied_seq. An error is told once: whoever looks has to remember
 * it. Behind it recv says that the stream is at its end, as behind a FIN. */
static bool
read_queue(int fd, int *queue, int *error)
{
	char byte;
	struct iovec place = { .iov_base = &byte, .iov_len = 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = { .msg_iov = &place,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &message, MSG_PEEK | MSG_DONTWAIT);

	*queue = 0;
	if (n < 0 && errno != EAGAIN && errno != ENOTCONN)
		*error = errno;
	if (n < 0)
		return errno != ENOTCONN; /* it has never been connected */
	if (!find_inq(&message, queue))
		return false;
	if (n == 0 && *queue == 0 && *error == 0)
		*error = ECONNRESET;
	return true;
}

static bool
sample_received(int fd, uint64_t *consumed, int *error, bool *steady)
{
	struct tcp_info info;
	int before, after;

	if (!read_queue(fd, &before, error) || !read_info(fd, &info) ||
	    !read_queue(fd, &after, error))
		return false;
	*consumed = (uint64_t)info.tcpi_bytes_received - (uint64_t)after;
	*steady = before == after;
	return true;
}

bool
ledger_consumed(int fd, uint64_t *consumed, int *error)
{
	struct tcp_info info;
	bool steady = false;
	int one = 1;

	*error = 0;
	if (!is_readable(fd, &info) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_INQ, &one, sizeof one) < 0)
		return false;
	for (int i = 0; i < SAMPLES && !steady; i++)
		if (!sample_received(fd, consumed, error, &steady))
			return false;
	return steady;
}

/* ---- sent ---------------------------------------------------------------- */

/* In SYN_RECV; false where it cannot be told. */
static bool
count_sent(const struct tcp_info *info, uint64_t *accepted)
{
	*accepted = (uint64_t)info->tcpi_bytes_sent + info->tcpi_notsent_bytes;
	return info->tcpi_bytes_retrans == 0 &&
	    info->tcpi_data_segs_out == info->tcpi_unacked;
}

static bool
sample_sent(int fd, uint64_t *accepted, bool *steady)
{
	struct tcp_info first, info;
	int before, after;

	if (!is_readable(fd, &first) || ioctl(fd, SIOCOUTQ, &before) < 0 ||
	    !read_info(fd, &info) || ioctl(fd, SIOCOUTQ, &after) < 0)
		return false;
	if (first.tcpi_state == STATE_SYN_RECV) {
		*steady = count_sent(&info, accepted);
		return true;
	}
	*accepted = (uint64_t)info.tcpi_bytes_acked + (uint64_t)after;
	*steady = before == after;
	return true;
}

bool
ledger_accepted(int fd, uint64_t *accepted)
{
	bool steady = false;

	for (int i = 0; i < SAMPLES && !steady; i++)
		if (!sample_sent(fd, accepted, &steady))
			return false;
	return steady;
}

uint64_t
ledger_taken(int fd, uint64_t sent)
{
	int out = 0;

	if (ioctl(fd, SIOCOUTQ, &out) < 0 || out < 0 || (uint64_t)out > sent)
		return sent;
	return sent - (uint64_t)out;
}

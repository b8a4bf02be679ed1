/*
 * The derivation, with the kernel's names (net/ipv4/tcp.c, tcp_input.c):
 *
 * Received. tcp_rcv_nxt_update adds to bytes_received whatever it adds to
 * rcv_nxt, which begins right behind the SYN; copied_seq is how far recv has
 * come. So of bytes_received, rcv_nxt - copied_seq have not been taken:
 *
 *     consumed = bytes_received - (rcv_nxt - copied_seq)
 *
 * SIOCINQ (tcp_inq) gives that difference, with urgent data inline without any
 * exception. The peer's FIN counts as one in rcv_nxt and in bytes_received.
 * tcp_inq leaves it out while it waits in the queue, and once recv has returned
 * 0 copied_seq is behind it; both ways the formula is one too large from the
 * FIN's arrival on, which is when the state becomes CLOSE_WAIT.
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
 * What is read, by which call, and under which lock:
 *
 *     what                     written by              read
 *     rcv_nxt, bytes_received  tcp_rcv_nxt_update      locked: tcp_inq, and
 *     FIN (SOCK_DONE, state)   tcp_fin                 tcp_get_info, but the
 *     RST (state)              tcp_reset, tcp_done       state without
 *     copied_seq               recv                    locked: tcp_inq
 *     snd_una, bytes_acked     tcp_snd_una_update      SIOCOUTQ without;
 *     write_seq                send                      tcp_get_info locked
 *
 * All are written under the socket's lock, one segment at a time: a FIN moves
 * rcv_nxt, bytes_received and the state in one hold of it. copied_seq and
 * write_seq stand still, as nobody reads or writes. The others go one way:
 * rcv_nxt and snd_una only grow, and the state goes from ESTABLISHED to
 * CLOSE_WAIT to CLOSE, or skips one. So a value that is the same before and
 * after a moment had that value at that moment. The moment is the one in which
 * TCP_INFO holds the lock and reads the two counters of bytes. What can
 * disagree with them, and what excludes it:
 *
 * - SIOCINQ, by bytes that arrive between the calls, alone or with a FIN in the
 *   same segment: it is read before and after, and has to agree.
 * - SIOCOUTQ, by an acknowledgement: likewise. That it reads without the lock
 *   does no harm, as only snd_una moves, in one store.
 * - The state, which tcp_get_info reads before it takes the lock. A FIN that
 *   comes in between is in bytes_received and not in the state; neither queue
 *   shows it, as tcp_inq leaves it out. So the state of a second TCP_INFO,
 *   which is read after the first has held the lock, has to agree.
 * - Urgent data does not: with SO_OOBINLINE tcp_inq makes no exception.
 * - Neither does an RST: it changes the state alone. Who sees CLOSE cannot tell
 *   by it whether a FIN had come before.
 * - States in which our own FIN has been sent (FIN_WAIT1 and 2, CLOSING at a
 *   simultaneous close, LAST_ACK, TIME_WAIT) are refused. A connection is shut
 *   down only outside of a transaction, and never read or written afterwards
 *   (exchange.c, `linger`).
 * - SYN_RECV, in which Fast Open lets us accept a connection, is refused: both
 *   queues are said to be 0 in it, whatever they hold.
 */
#include "lib/worker/ledger.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Values of tcpi_state, from the kernel's tcp_states.h, which it does not
 * export. */
enum { STATE_ESTABLISHED = 1, STATE_CLOSE_WAIT = 8 };

/* A peer that sends without pause may move a queue between the calls, but not
 * for as long as this. */
enum { SAMPLES = 10000 };

struct queues {
	int in, out; /* bytes */
};

static bool
read_queues(int fd, struct queues *queues)
{
	return ioctl(fd, SIOCINQ, &queues->in) == 0 &&
	    ioctl(fd, SIOCOUTQ, &queues->out) == 0;
}

static bool
read_info(int fd, struct tcp_info *info)
{
	socklen_t length = sizeof *info;

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0 &&
	    length >= offsetof(struct tcp_info, tcpi_bytes_received) +
		sizeof info->tcpi_bytes_received;
}

/* One sample. Returns false where it failed; STEADY says whether it holds. */
static bool
sample(int fd, struct queues *queues, struct tcp_info *info, bool *steady)
{
	struct queues before;
	struct tcp_info after;

	if (!read_queues(fd, &before) || !read_info(fd, info) ||
	    !read_info(fd, &after) || !read_queues(fd, queues))
		return false;
	*steady = before.in == queues->in && before.out == queues->out &&
	    info->tcpi_state == after.tcpi_state;
	return true;
}

bool
ledger_read(int fd, struct ledger *ledger)
{
	struct queues queues;
	struct tcp_info info;
	bool steady = false;

	for (int i = 0; i < SAMPLES && !steady; i++)
		if (!sample(fd, &queues, &info, &steady))
			return false;
	if (!steady ||
	    (info.tcpi_state != STATE_ESTABLISHED &&
		info.tcpi_state != STATE_CLOSE_WAIT))
		return false;
	ledger->consumed = (uint64_t)info.tcpi_bytes_received -
	    (uint64_t)queues.in - (info.tcpi_state == STATE_CLOSE_WAIT);
	ledger->accepted =
	    (uint64_t)info.tcpi_bytes_acked + (uint64_t)queues.out;
	return true;
}

uint64_t
ledger_taken(int fd, uint64_t sent)
{
	int out = 0;

	if (ioctl(fd, SIOCOUTQ, &out) < 0 || out < 0 || (uint64_t)out > sent)
		return sent;
	return sent - (uint64_t)out;
}

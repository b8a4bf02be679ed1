/*
 * The ledger, with segments that arrive at every point of a reading of it.
 *
 * Its calls are ours here. They do the same, but at each point in which the
 * kernel lets a segment in, one may be made to arrive: before a call, and
 * within TCP_INFO between the state, which the kernel reads first, and all
 * else, which it reads once it has the socket's lock. So what a race would do
 * once in thousands of readings is done here in order, each case once.
 */
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "lib/worker/ledger.h"

/* Linked with --wrap: calls of a name go to __wrap_, and __real_ is libc's. */
/* NOLINTBEGIN(cert-dcl51-cpp) */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, int *value);
int __real_getsockopt(
    int fd, int level, int option, void *value, socklen_t *length);
int __wrap_getsockopt(
    int fd, int level, int option, void *value, socklen_t *length);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
/* NOLINTEND(cert-dcl51-cpp) */

/* What arrives. NOTHING more follows a RST. */
enum arrival { NOTHING, FIN, RST, BYTES, URGENT, BYTES_AND_FIN, ARRIVALS };

enum {
	OFFERED = 9, /* bytes, by the peer */
	SENT = 5,    /* bytes, by us */
	EVENTS = 2,  /* in one reading */
};

static struct {
	int ours, theirs;
	size_t taken;	/* by us */
	unsigned point; /* how many have passed */
	unsigned at[EVENTS];
	enum arrival arrivals[EVENTS];
	bool finished, reset; /* has arrived */
} now;

static void
send_bytes(int flags)
{
	CHECK(send(now.theirs, "more", 4, flags | MSG_NOSIGNAL) == 4);
}

static void
await(short events)
{
	struct pollfd polled = { .fd = now.ours, .events = events };

	do
		CHECK(poll(&polled, 1, 10000) == 1);
	while (!(polled.revents & events));
}

static void
await_queued(int count)
{
	int queued = 0;

	for (int i = 0; i < 10000 && queued < count; i++) {
		CHECK(__real_ioctl(now.ours, SIOCINQ, &queued) == 0);
		if (queued < count)
			poll(NULL, 0, 1);
	}
	CHECK(queued >= count);
}

static void
finish(void)
{
	CHECK(shutdown(now.theirs, SHUT_WR) == 0);
	await(POLLRDHUP);
	now.finished = true;
}

static void
arrive(enum arrival what)
{
	int queued = 0;

	if (now.reset || (now.finished && what != RST))
		return;
	CHECK(__real_ioctl(now.ours, SIOCINQ, &queued) == 0);
	switch (what) {
	case BYTES:
	case URGENT:
		send_bytes(what == URGENT ? MSG_OOB : 0);
		await_queued(queued + 4);
		break;
	case FIN:
		finish();
		break;
	case BYTES_AND_FIN:
		send_bytes(MSG_MORE);
		finish();
		break;
	case RST:
		close(now.theirs);
		now.theirs = -1;
		await(POLLHUP);
		now.reset = true;
		break;
	default:
		break;
	}
}

static void
pass_point(void)
{
	for (int i = 0; i < EVENTS; i++)
		if (now.at[i] == now.point)
			arrive(now.arrivals[i]);
	now.point++;
}

int /* NOLINTNEXTLINE(cert-dcl51-cpp) */
__wrap_ioctl(int fd, unsigned long request, int *value)
{
	pass_point();
	return __real_ioctl(fd, request, value);
}

int /* NOLINTNEXTLINE(cert-dcl51-cpp) */
__wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *length)
{
	struct tcp_info early;
	socklen_t size = sizeof early;

	pass_point();
	if (level != IPPROTO_TCP || option != TCP_INFO)
		return __real_getsockopt(fd, level, option, value, length);
	CHECK(__real_getsockopt(fd, level, option, &early, &size) == 0);
	pass_point();
	CHECK(__real_getsockopt(fd, level, option, value, length) == 0);
	((struct tcp_info *)value)->tcpi_state = early.tcpi_state;
	return 0;
}

ssize_t /* NOLINTNEXTLINE(cert-dcl51-cpp) */
__wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
	pass_point();
	return __real_recvmsg(fd, message, flags);
}

/* ---- the cases ----------------------------------------------------------- */

static void
connect_both(int listener, const struct sockaddr_in *address)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	char bytes[OFFERED] = { 0 };

	now.theirs = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(now.theirs, (const struct sockaddr *)address,
		  sizeof *address) == 0);
	now.ours = accept(listener, NULL, NULL);
	CHECK(now.ours >= 0);
	CHECK(setsockopt(now.theirs, SOL_SOCKET, SO_LINGER, &reset,
		  sizeof reset) == 0);
	CHECK(setsockopt(
		  now.ours, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
	CHECK(send(now.theirs, bytes, OFFERED, MSG_NOSIGNAL) == OFFERED);
	await_queued(OFFERED);
	CHECK(recv(now.ours, bytes, now.taken, 0) == (ssize_t)now.taken);
	CHECK(send(now.ours, bytes, SENT, MSG_NOSIGNAL) == SENT);
}

static void
show(void)
{
	fprintf(stderr, "of %u points, at %u arrival %d, at %u arrival %d:\n",
	    now.point, now.at[0], now.arrivals[0], now.at[1], now.arrivals[1]);
}

/* Returns at how many points something could have arrived. */
static unsigned
read_once(int listener, const struct sockaddr_in *address)
{
	uint64_t consumed = 0, accepted = 0;
	bool told;
	int error;

	connect_both(listener, address);
	now.point = 0;
	now.finished = now.reset = false;
	told = ledger_consumed(now.ours, &consumed, &error) &&
	    ledger_accepted(now.ours, &accepted);
	if (!told || consumed != now.taken || accepted != SENT)
		show();
	CHECK(told);
	CHECK(consumed == now.taken);
	CHECK(accepted == SENT);
	close(now.ours);
	if (now.theirs >= 0)
		close(now.theirs);
	return now.point;
}

static void
every_point(int listener, const struct sockaddr_in *address, unsigned points)
{
	for (now.at[0] = 0; now.at[0] < points; now.at[0]++)
		for (now.at[1] = now.at[0]; now.at[1] < points; now.at[1]++) {
			read_once(listener, address);
			if (now.arrivals[1] == NOTHING)
				break;
		}
}

static void
every_pair(int listener, const struct sockaddr_in *address, unsigned points)
{
	for (now.arrivals[0] = FIN; now.arrivals[0] < ARRIVALS;
	     now.arrivals[0]++)
		for (now.arrivals[1] = NOTHING; now.arrivals[1] < BYTES;
		     now.arrivals[1]++)
			every_point(listener, address, points);
}

int
main(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	unsigned points;

	alarm(60); /* whatever hangs ends */
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(setsockopt(
		  listener, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one) == 0);
	CHECK(bind(listener, (struct sockaddr *)&address, length) == 0);
	CHECK(listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	for (now.taken = OFFERED - 5; now.taken <= OFFERED; now.taken += 5) {
		points = read_once(listener, &address);
		CHECK(points > 6); /* otherwise the calls are others by now */
		every_pair(listener, &address, points);
	}
	return 0;
}

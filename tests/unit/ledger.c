/* The kernel's ledger, against real sockets of the loopback. */
#include "lib/worker/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "check.h"

enum { STEPS = 100000, BLOCK = 16 * 1024 };

/* Both ends of a connection: OURS is the server's, as it would have it. */
struct link {
	int ours, theirs;
};

static int
listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*address = (struct sockaddr_in) { .sin_family = AF_INET };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(fd >= 0);
	CHECK(bind(fd, (struct sockaddr *)address, length) == 0);
	CHECK(listen(fd, 1) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)address, &length) == 0);
	return fd;
}

static struct link
connect_both(void)
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address), one = 1;
	struct link link = { .theirs = socket(AF_INET, SOCK_STREAM, 0) };

	CHECK(connect(link.theirs, (struct sockaddr *)&address,
		  sizeof address) == 0);
	link.ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	CHECK(link.ours >= 0);
	CHECK(setsockopt(
		  link.ours, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one) == 0);
	CHECK(setsockopt(link.theirs, IPPROTO_TCP, TCP_NODELAY, &one,
		  sizeof one) == 0);
	close(listener);
	return link;
}

static void
disconnect(struct link link)
{
	close(link.ours);
	close(link.theirs);
}

struct ledger {
	uint64_t consumed, accepted;
	int error;
};

static bool
read_ledger(int fd, struct ledger *ledger)
{
	return ledger_consumed(fd, &ledger->consumed, &ledger->error) &&
	    ledger_accepted(fd, &ledger->accepted);
}

/* The ledger says so. */
static void
check_ledger(int fd, uint64_t consumed, uint64_t accepted)
{
	struct ledger ledger = { 0 };
	bool told = read_ledger(fd, &ledger);

	if (!told || ledger.consumed != consumed || ledger.accepted != accepted)
		fprintf(stderr,
		    "ledger: %s, consumed %llu instead of %llu, accepted %llu "
		    "instead of %llu\n",
		    told ? "told" : "not told",
		    (unsigned long long)ledger.consumed,
		    (unsigned long long)consumed,
		    (unsigned long long)ledger.accepted,
		    (unsigned long long)accepted);
	CHECK(told);
	CHECK(ledger.error == 0);
	CHECK(ledger.consumed == consumed);
	CHECK(ledger.accepted == accepted);
}

/* It says so, and that the connection was reset. */
static void
check_reset(int fd, uint64_t consumed, uint64_t accepted)
{
	struct ledger ledger = { 0 };

	CHECK(read_ledger(fd, &ledger));
	CHECK(ledger.consumed == consumed && ledger.accepted == accepted);
	CHECK(ledger.error == ECONNRESET);
}

static void
send_all(int fd, size_t count, int flags)
{
	static const char bytes[BLOCK];

	while (count > 0) {
		size_t part = count < BLOCK ? count : BLOCK;
		ssize_t n = send(fd, bytes, part, flags | MSG_NOSIGNAL);

		CHECK(n > 0);
		count -= (size_t)n;
	}
}

/* Waits until something is there, then takes at most COUNT bytes. */
static ssize_t
take(int fd, size_t count)
{
	static char bytes[BLOCK];
	struct pollfd polled = { .fd = fd, .events = POLLIN };

	CHECK(poll(&polled, 1, 10000) == 1);
	return recv(fd, bytes, count, 0);
}

static void
await_queued(int fd, int count)
{
	int queued = -1;

	for (int i = 0; i < 10000 && queued < count; i++) {
		CHECK(ioctl(fd, SIOCINQ, &queued) == 0);
		if (queued < count)
			poll(NULL, 0, 1);
	}
	CHECK(queued == count);
}

/* What is to come next is an event of this kind. */
static void
await_event(int fd, short event)
{
	struct pollfd polled = { .fd = fd, .events = event };

	CHECK(poll(&polled, 1, 10000) == 1);
	CHECK(polled.revents & event);
}

static void
nothing_has_moved_at_first(void)
{
	struct link link = connect_both();

	check_ledger(link.ours, 0, 0);
	disconnect(link);
}

static void
what_is_queued_is_not_consumed(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 1000, 0);
	await_queued(link.ours, 1000);
	check_ledger(link.ours, 0, 0);
	disconnect(link);
}

static void
a_partial_recv(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 1000, 0);
	await_queued(link.ours, 1000);
	CHECK(take(link.ours, 1) == 1);
	check_ledger(link.ours, 1, 0);
	CHECK(take(link.ours, 399) == 399);
	check_ledger(link.ours, 400, 0);
	CHECK(take(link.ours, BLOCK) == 600);
	check_ledger(link.ours, 1000, 0);
	CHECK(recv(link.ours, &(char) { 0 }, 1, 0) < 0 && errno == EAGAIN);
	check_ledger(link.ours, 1000, 0);
	disconnect(link);
}

/* A look at the queue takes nothing from it. */
static void
a_peek_does_not_consume(void)
{
	struct link link = connect_both();
	char bytes[10];

	send_all(link.theirs, 10, 0);
	await_queued(link.ours, 10);
	CHECK(recv(link.ours, bytes, sizeof bytes, MSG_PEEK) == 10);
	check_ledger(link.ours, 0, 0);
	disconnect(link);
}

/* Whether it has been acknowledged makes no difference. */
static void
what_was_sent_is_accepted(void)
{
	struct link link = connect_both();

	send_all(link.ours, 500, 0);
	check_ledger(link.ours, 0, 500);
	CHECK(take(link.theirs, BLOCK) == 500);
	check_ledger(link.ours, 0, 500);
	disconnect(link);
}

static uint64_t
fill(int fd)
{
	static const char bytes[BLOCK];
	uint64_t total = 0;
	ssize_t n;

	while ((n = send(
		    fd, bytes, sizeof bytes, MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		total += (uint64_t)n;
	CHECK(errno == EAGAIN);
	return total;
}

static void
a_partial_send(void)
{
	struct link link = connect_both();
	uint64_t total = fill(link.ours), taken = 0;

	CHECK(total > BLOCK);
	check_ledger(link.ours, 0, total);
	while (taken < total) {
		ssize_t n = take(link.theirs, 10000);

		CHECK(n > 0);
		taken += (uint64_t)n;
		check_ledger(link.ours, 0, total);
	}
	total += fill(link.ours);
	check_ledger(link.ours, 0, total);
	disconnect(link);
}

/* The peer fills all queues, then goes on as far as we read. */
static void
a_full_receive_queue(void)
{
	struct link link = connect_both();
	uint64_t sent = fill(link.theirs), consumed = 0;

	check_ledger(link.ours, 0, 0);
	while (consumed < sent) {
		ssize_t n = take(link.ours, 7777);

		CHECK(n > 0);
		consumed += (uint64_t)n;
		check_ledger(link.ours, consumed, 0);
	}
	CHECK(consumed == sent);
	disconnect(link);
}

static void
a_fin_that_waits_behind_bytes(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 100, 0);
	CHECK(shutdown(link.theirs, SHUT_WR) == 0);
	await_event(link.ours, POLLRDHUP);
	check_ledger(link.ours, 0, 0);
	CHECK(take(link.ours, 60) == 60);
	check_ledger(link.ours, 60, 0);
	CHECK(take(link.ours, BLOCK) == 40);
	check_ledger(link.ours, 100, 0);
	CHECK(take(link.ours, BLOCK) == 0);
	check_ledger(link.ours, 100, 0);
	disconnect(link);
}

static void
a_fin_behind_nothing(void)
{
	struct link link = connect_both();

	CHECK(shutdown(link.theirs, SHUT_WR) == 0);
	await_event(link.ours, POLLRDHUP);
	check_ledger(link.ours, 0, 0);
	CHECK(take(link.ours, BLOCK) == 0);
	check_ledger(link.ours, 0, 0);
	disconnect(link);
}

/* A client that has said all it wants to say still reads. */
static void
half_closed(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 100, 0);
	CHECK(shutdown(link.theirs, SHUT_WR) == 0);
	await_event(link.ours, POLLRDHUP);
	CHECK(take(link.ours, BLOCK) == 100);
	CHECK(take(link.ours, BLOCK) == 0);
	for (uint64_t sent = 100; sent <= 1000; sent += 100) {
		send_all(link.ours, 100, 0);
		check_ledger(link.ours, 100, sent);
		CHECK(take(link.theirs, BLOCK) == 100);
		check_ledger(link.ours, 100, sent);
	}
	disconnect(link);
}

/* With SO_OOBINLINE an urgent byte is one like all others, only that a recv
 * stops before it. */
static void
urgent_data_inline(void)
{
	struct link link = connect_both();
	uint64_t consumed = 0;

	send_all(link.theirs, 10, 0);
	send_all(link.theirs, 1, MSG_OOB);
	send_all(link.theirs, 10, 0);
	await_queued(link.ours, 21);
	check_ledger(link.ours, 0, 0);
	while (consumed < 21) {
		ssize_t n = take(link.ours, BLOCK);

		CHECK(n > 0);
		consumed += (uint64_t)n;
		check_ledger(link.ours, consumed, 0);
	}
	send_all(link.ours, 1, MSG_OOB);
	check_ledger(link.ours, 21, 1);
	disconnect(link);
}

static void
urgent_data_and_a_fin(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 5, MSG_OOB);
	CHECK(shutdown(link.theirs, SHUT_WR) == 0);
	await_event(link.ours, POLLRDHUP);
	check_ledger(link.ours, 0, 0);
	CHECK(take(link.ours, BLOCK) == 4);
	check_ledger(link.ours, 4, 0);
	CHECK(take(link.ours, BLOCK) == 1);
	check_ledger(link.ours, 5, 0);
	CHECK(take(link.ours, BLOCK) == 0);
	check_ledger(link.ours, 5, 0);
	disconnect(link);
}

static void
reset_by_peer(int theirs)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(theirs, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(theirs);
}

/* What had come before can be read, and the end is told behind it. */
static void
a_reset_with_bytes_in_the_queue(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 100, 0);
	await_queued(link.ours, 100);
	CHECK(take(link.ours, 30) == 30);
	reset_by_peer(link.theirs);
	await_event(link.ours, POLLHUP);
	check_ledger(link.ours, 30, 0);
	CHECK(take(link.ours, BLOCK) == 70);
	check_reset(link.ours, 100, 0);
	close(link.ours);
}

static void
a_reset_with_nothing_in_the_queue(void)
{
	struct link link = connect_both();

	send_all(link.theirs, 100, 0);
	await_queued(link.ours, 100);
	CHECK(take(link.ours, BLOCK) == 100);
	send_all(link.ours, 10, 0);
	reset_by_peer(link.theirs);
	await_event(link.ours, POLLHUP);
	check_reset(link.ours, 100, 10);
	check_reset(link.ours, 100, 10); /* it is told again */
	close(link.ours);
}

/* As when a client closes that has not read all. */
static void
a_reset_behind_a_fin(void)
{
	for (size_t first = 1; first <= 100; first += 99) {
		struct link link = connect_both();

		send_all(link.theirs, 100, 0);
		CHECK(shutdown(link.theirs, SHUT_WR) == 0);
		await_event(link.ours, POLLRDHUP);
		CHECK(take(link.ours, first) == (ssize_t)first);
		reset_by_peer(link.theirs);
		await_event(link.ours, POLLHUP);
		check_ledger(link.ours, first, 0);
		close(link.ours);
	}
}

/* Our own FIN would count as a byte. */
static void
a_connection_that_we_shut_is_not_told(void)
{
	struct link link = connect_both();
	struct ledger ledger;

	CHECK(shutdown(link.ours, SHUT_WR) == 0);
	CHECK(!read_ledger(link.ours, &ledger));
	disconnect(link);
}

static void
what_is_no_connection_is_not_told(void)
{
	struct sockaddr_in address;
	int fds[] = { listen_on_loopback(&address),
		socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0),
		socket(AF_UNIX, SOCK_STREAM, 0), dup(STDIN_FILENO), 0 };
	int both[2];
	struct ledger ledger;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, both) == 0);
	fds[5] = both[0];
	for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
		CHECK(!read_ledger(fds[i], &ledger));
		close(fds[i]);
	}
	CHECK(!read_ledger(fds[0], &ledger)); /* closed */
	CHECK(!read_ledger(-1, &ledger));
	close(both[1]);
}

/* ---- Fast Open ----------------------------------------------------------- */

/* A network of our own, in which Fast Open needs no cookie. Not everywhere is
 * that allowed. */
static bool
enter_own_network(void)
{
	const char *everything = "1543"; /* 0x607: ip-sysctl, tcp_fastopen */
	struct ifreq loopback = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int control, sysctl;
	bool done;

	if (unshare(CLONE_NEWNET) < 0 &&
	    unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	control = socket(AF_INET, SOCK_DGRAM, 0);
	sysctl = open("/proc/sys/net/ipv4/tcp_fastopen", O_WRONLY);
	done = ioctl(control, SIOCSIFFLAGS, &loopback) == 0 &&
	    write(sysctl, everything, strlen(everything)) > 0;
	close(control);
	close(sysctl);
	return done;
}

/* Drops all but SYNs, as if what follows were still on its way: so what is
 * accepted stays in SYN_RECV. The filter is inherited. */
static void
hold_back(int listener)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13), /* the flags */
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = { .len = 4, .filter = filter };

	CHECK(setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program,
		  sizeof program) == 0);
}

static struct link
connect_fast(const char *bytes, size_t count)
{
	struct sockaddr_in address;
	int listener = listen_on_loopback(&address), one = 1;
	struct link link = { .theirs = socket(
				 AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0) };

	hold_back(listener);
	CHECK(setsockopt(
		  listener, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one) == 0);
	CHECK(sendto(link.theirs, bytes, count, MSG_FASTOPEN,
		  (struct sockaddr *)&address, sizeof address) > 0);
	link.ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	CHECK(link.ours >= 0);
	close(listener);
	return link;
}

static void
check_state(int fd, int state)
{
	struct tcp_info info;
	socklen_t length = sizeof info;

	CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
	CHECK(info.tcpi_state == state);
}

static void
a_handshake_that_is_not_over(void)
{
	struct link link = connect_fast("0123456789", 10);
	char bytes[10];

	check_state(link.ours, TCP_SYN_RECV);
	check_ledger(link.ours, 0, 0);
	CHECK(recv(link.ours, bytes, 4, 0) == 4);
	check_ledger(link.ours, 4, 0);
	CHECK(send(link.ours, bytes, 3, MSG_NOSIGNAL) == 3);
	check_ledger(link.ours, 4, 3);
	CHECK(recv(link.ours, bytes, 10, 0) == 6);
	CHECK(send(link.ours, bytes, 10, MSG_NOSIGNAL) == 10);
	check_ledger(link.ours, 10, 13);
	check_state(link.ours, TCP_SYN_RECV);
	CHECK(setsockopt(link.ours, SOL_SOCKET, SO_DETACH_FILTER, &(int) { 0 },
		  sizeof(int)) == 0);
	await_event(link.theirs, POLLOUT);
	send_all(link.theirs, 5, 0);
	await_queued(link.ours, 5);
	check_state(link.ours, TCP_ESTABLISHED);
	check_ledger(link.ours, 10, 13);
	CHECK(take(link.ours, BLOCK) == 5);
	check_ledger(link.ours, 15, 13);
	disconnect(link);
}

static void
fast_open(void)
{
	int status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		if (enter_own_network())
			a_handshake_that_is_not_over();
		else
			fputs("no network of its own: left out\n", stderr);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(status == 0);
}

/* ---- under load ---------------------------------------------------------- */

/* Sends and takes without pause, until we hang up. */
static _Noreturn void
stream_at(int fd)
{
	static char bytes[BLOCK];
	struct pollfd polled = { .fd = fd, .events = POLLIN | POLLOUT };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (uint64_t turn = 1;; turn = turn * 6364136223846793005u + 1) {
		size_t count = 1 + (turn >> 40) % BLOCK;
		int urgent = (turn >> 20) % 64 == 0 ? MSG_OOB : 0;

		poll(&polled, 1, -1);
		if (polled.revents & (POLLHUP | POLLERR))
			_exit(0);
		if (polled.revents & POLLIN &&
		    recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == 0)
			_exit(0);
		if (polled.revents & POLLOUT)
			send(fd, bytes, count,
			    MSG_DONTWAIT | MSG_NOSIGNAL | urgent);
	}
}

static pid_t
start_peer(const struct link *link)
{
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		close(link->ours);
		stream_at(link->theirs);
	}
	close(link->theirs);
	return pid;
}

/* After each random step the ledger knows exactly what it did, whatever arrives
 * and is acknowledged meanwhile. */
static void
a_hundred_thousand_steps_while_the_peer_streams(void)
{
	static char bytes[BLOCK];
	struct link link = connect_both();
	pid_t peer = start_peer(&link);
	uint64_t consumed = 0, accepted = 0, seed = 12345;

	for (int i = 0; i < STEPS; i++) {
		size_t count = 1 + (seed >> 40) % BLOCK;
		bool receives = seed >> 32 & 1;
		ssize_t n = receives
		    ? recv(link.ours, bytes, count, 0)
		    : send(link.ours, bytes, count, MSG_NOSIGNAL);

		CHECK(n > 0 || (n < 0 && errno == EAGAIN));
		if (n > 0 && receives)
			consumed += (uint64_t)n;
		else if (n > 0)
			accepted += (uint64_t)n;
		check_ledger(link.ours, consumed, accepted);
		seed = seed * 6364136223846793005u + 1442695040888963407u;
	}
	/* Otherwise the steps were none. */
	CHECK(consumed > STEPS && accepted > STEPS);
	close(link.ours);
	CHECK(waitpid(peer, NULL, 0) == peer);
}

int
main(void)
{
	alarm(60); /* whatever hangs ends */
	nothing_has_moved_at_first();
	what_is_queued_is_not_consumed();
	a_partial_recv();
	a_peek_does_not_consume();
	what_was_sent_is_accepted();
	a_partial_send();
	a_full_receive_queue();
	a_fin_that_waits_behind_bytes();
	a_fin_behind_nothing();
	half_closed();
	urgent_data_inline();
	urgent_data_and_a_fin();
	a_reset_with_bytes_in_the_queue();
	a_reset_with_nothing_in_the_queue();
	a_reset_behind_a_fin();
	a_connection_that_we_shut_is_not_told();
	what_is_no_connection_is_not_told();
	fast_open();
	a_hundred_thousand_steps_while_the_peer_streams();
	return 0;
}

/*
 * ledger_race: reads the ledger of a connection (lib/worker/ledger.h) over and
 * over, while at a random moment its peer does whatever moves what the ledger
 * is made of. It must say at every reading what recv and send have really done,
 * which is known here.
 *
 * Usage: ledger_race SECONDS. One line for each thing that the peer does says
 * how many connections ended so, how many readings were taken of them, and how
 * many readings were wrong. The exit status is 0 only where none was.
 */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/worker/ledger.h"
#include "tests/common/clock.h"

enum {
	BYTES = 64,	/* the most of one step */
	SPINS = 6000,	/* turns of an empty loop, the longest pause */
	AFTERWARDS = 4, /* readings when all has come */
	SHOWN = 5,	/* wrong ones that are printed */
	PAIRS = 100,	/* connections of one batch */
};

/* What a peer ends with. */
enum ending { FIN, FIN_WITH_BYTES, URGENT, RST, FIN_RST, ENDINGS };

static const char *const names[ENDINGS] = { [FIN] = "FIN",
	[FIN_WITH_BYTES] = "FIN in the bytes' segment",
	[URGENT] = "urgent byte and FIN",
	[RST] = "RST",
	[FIN_RST] = "FIN and RST" };

struct tally {
	uint64_t connections, readings, wrong;
};

/* What our end has done. */
struct end {
	int fd;
	uint64_t received, sent;
};

struct pair {
	int ours, theirs;
	enum ending ending;
};

static uint64_t seed;
static unsigned *turn; /* the connection that our end looks at */

static unsigned
random_below(unsigned limit)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % limit;
}

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(2);
}

/* No call is short enough. */
static void
pause_a_moment(void)
{
	for (volatile unsigned i = random_below(SPINS); i > 0; i--)
		continue;
}

static void
reset_on_close(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/* ---- the peer ------------------------------------------------------------ */

static void
end_connection(int fd, enum ending ending)
{
	static const char bytes[BYTES];
	size_t count = 1 + random_below(BYTES);

	switch (ending) {
	case FIN_WITH_BYTES:
		/* They wait for more, and get the FIN. */
		send(fd, bytes, count, MSG_MORE | MSG_NOSIGNAL);
		break;
	case URGENT:
		send(fd, bytes, 1, MSG_OOB | MSG_NOSIGNAL);
		break;
	default:
		break;
	}
	if (ending != RST)
		shutdown(fd, SHUT_WR);
	if (ending == FIN_RST)
		pause_a_moment();
	if (ending == RST || ending == FIN_RST)
		close(fd);
}

/* Waits until our end looks at that connection. Whoever waits by a system call
 * comes too late for what takes nanoseconds. */
static void
await_turn(unsigned i)
{
	while (__atomic_load_n(turn, __ATOMIC_ACQUIRE) < i)
		if (random_below(1000) == 0)
			sched_yield();
}

static _Noreturn void
be_the_peer(const struct pair *pairs)
{
	static const char bytes[BYTES];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	seed ^= (uint64_t)getpid() << 32;
	for (unsigned i = 0; i < PAIRS; i++)
		close(pairs[i].ours);
	for (unsigned i = 0; i < PAIRS; i++) {
		await_turn(i);
		pause_a_moment();
		if (random_below(2))
			send(pairs[i].theirs, bytes, 1 + random_below(BYTES),
			    MSG_NOSIGNAL);
		pause_a_moment();
		end_connection(pairs[i].theirs, pairs[i].ending);
	}
	_exit(0);
}

/* ---- our end ------------------------------------------------------------- */

/* Reads or writes a little. */
static void
step(struct end *end)
{
	char bytes[BYTES] = { 0 };
	size_t count = 1 + random_below(BYTES);
	ssize_t n;

	if (random_below(2)) {
		n = recv(end->fd, bytes, count, MSG_DONTWAIT);
		end->received += n > 0 ? (uint64_t)n : 0;
	} else {
		n = send(end->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
		end->sent += n > 0 ? (uint64_t)n : 0;
	}
}

static bool
is_over(int fd)
{
	struct pollfd polled = { .fd = fd, .events = POLLRDHUP };

	return poll(&polled, 1, 0) > 0;
}

static bool
is_right(const struct end *end)
{
	uint64_t consumed, accepted;
	int error;

	return ledger_consumed(end->fd, &consumed, &error) &&
	    ledger_accepted(end->fd, &accepted) && consumed == end->received &&
	    accepted == end->sent;
}

static void
show(const struct end *end, enum ending ending)
{
	uint64_t consumed = 0, accepted = 0;
	int error;
	bool told = ledger_consumed(end->fd, &consumed, &error) &&
	    ledger_accepted(end->fd, &accepted);

	printf("wrong, with %s: received %" PRIu64 ", sent %" PRIu64
	       "; read again it %s %" PRIu64 " and %" PRIu64 "\n",
	    names[ending], end->received, end->sent,
	    told ? "is" : "cannot be told,", consumed, accepted);
}

static void
watch(struct end *end, enum ending ending, struct tally *tally)
{
	bool steps = random_below(4) == 0;
	int afterwards = 0;

	while (afterwards < AFTERWARDS) {
		if (steps && random_below(4) == 0)
			step(end);
		afterwards += is_over(end->fd);
		tally->readings++;
		if (is_right(end))
			continue;
		if (tally->wrong++ < SHOWN)
			show(end, ending);
		break; /* it would be wrong again */
	}
	tally->connections++;
}

/* ---- both ---------------------------------------------------------------- */

static int
listen_on_loopback(struct sockaddr_in *address)
{
	socklen_t length = sizeof *address;
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	*address = (struct sockaddr_in) { .sin_family = AF_INET };
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one) < 0 ||
	    bind(fd, (struct sockaddr *)address, length) < 0 ||
	    listen(fd, 1) < 0 ||
	    getsockname(fd, (struct sockaddr *)address, &length) < 0)
		die("a listener on the loopback");
	return fd;
}

/* The connections end by RST, and leave no TIME_WAIT behind. */
static struct pair
connect_pair(int listener, const struct sockaddr_in *to)
{
	struct pair pair = { .theirs = socket(AF_INET, SOCK_STREAM, 0),
		.ending = (enum ending)random_below(ENDINGS) };
	int one = 1;

	if (pair.theirs < 0 ||
	    connect(pair.theirs, (const struct sockaddr *)to, sizeof *to) < 0)
		die("connect");
	pair.ours = accept(listener, NULL, NULL);
	if (pair.ours < 0)
		die("accept");
	setsockopt(pair.theirs, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	reset_on_close(pair.theirs);
	reset_on_close(pair.ours);
	return pair;
}

static pid_t
start_peer(const struct pair pairs[PAIRS])
{
	pid_t peer;

	__atomic_store_n(turn, 0, __ATOMIC_RELEASE);
	fflush(stdout);
	peer = fork();
	if (peer < 0)
		die("fork");
	if (peer == 0)
		be_the_peer(pairs);
	for (unsigned i = 0; i < PAIRS; i++)
		close(pairs[i].theirs);
	return peer;
}

static void
run_batch(
    int listener, const struct sockaddr_in *to, struct tally tallies[ENDINGS])
{
	struct pair pairs[PAIRS];
	pid_t peer;

	for (unsigned i = 0; i < PAIRS; i++)
		pairs[i] = connect_pair(listener, to);
	peer = start_peer(pairs);
	for (unsigned i = 0; i < PAIRS; i++) {
		struct end end = { .fd = pairs[i].ours };

		__atomic_store_n(turn, i, __ATOMIC_RELEASE);
		watch(&end, pairs[i].ending, &tallies[pairs[i].ending]);
		close(end.fd);
	}
	waitpid(peer, NULL, 0);
}

static uint64_t
report(const struct tally tallies[ENDINGS])
{
	uint64_t wrong = 0;

	for (int i = 0; i < ENDINGS; i++) {
		printf("%s: connections %" PRIu64 ", readings %" PRIu64
		       ", wrong %" PRIu64 "\n",
		    names[i], tallies[i].connections, tallies[i].readings,
		    tallies[i].wrong);
		wrong += tallies[i].wrong;
	}
	return wrong;
}

int
main(int argc, char *argv[])
{
	struct tally tallies[ENDINGS] = { 0 };
	struct sockaddr_in address;
	int64_t end_ms;
	int listener = listen_on_loopback(&address);

	if (argc != 2) {
		fprintf(stderr, "Usage: ledger_race SECONDS\n");
		return 2;
	}
	turn = mmap(NULL, sizeof *turn, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (turn == MAP_FAILED)
		die("mmap");
	seed = (uint64_t)clock_ms();
	end_ms = clock_ms() + strtol(argv[1], NULL, 10) * 1000;
	do
		run_batch(listener, &address, tallies);
	while (clock_ms() < end_ms);
	return report(tallies) > 0;
}

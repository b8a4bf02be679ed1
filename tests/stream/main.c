/*
 * stream: a client that checks every byte an echo server sends back.
 *
 * It keeps many connections going from one epoll loop.  What it sends is
 * coded by connection and position, so a byte that is lost, doubled, late
 * or of another connection is found where it happens.  One summary line on
 * stdout says what came back; the exit status is the verdict on it: 0 all
 * is well, 1 something is wrong, 2 misuse.
 *
 * SIGTERM means: send no more, collect what is still to come, then report.
 * With --mixed, message sizes are of every magnitude, every second connection
 * waits for an echo before it goes on, and every fourth stops reading for a
 * while at random moments. With --progress a line like the summary comes ten
 * times a second.
 *
 * With --fin-at-random a connection is a short one: it sends any number of
 * bytes up to --bytes, and its FIN follows them within a millisecond, before
 * the echo or behind it.
 *
 * With --never-read --hold it takes two: at the first, what has been sent is
 * read back, and the connections are held on.
 */
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/common/die.h"
#include "tests/stream/stream.h"

static void
prepare_signals(struct stream *s)
{
	struct epoll_event e = { .events = EPOLLIN };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->signals < 0 || s->epoll < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->signals, &e) < 0)
		die("signalfd and epoll", "raise ulimit -n");
}

static void
prepare_conns(struct stream *s)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	s->conns = calloc(s->opt.connections, sizeof *s->conns);
	if (s->conns == NULL)
		die("memory", "ask for fewer --connections");
	for (uint64_t i = 0; i < s->opt.connections; i++)
		s->conns[i].fd = -1;
	s->target = s->opt.connections;
	if (s->opt.in_rounds)
		s->target = s->opt.rounds > 0 ? s->opt.rounds : UINT64_MAX;
	if (getrandom(&s->seed, sizeof s->seed, 0) != sizeof s->seed)
		die("getrandom", "a kernel of Linux 3.17 or later is needed");
	s->random = s->seed;
}

static void
prepare_address(struct stream *s)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
	struct addrinfo *found;
	int error;

	error = getaddrinfo(s->opt.host, s->opt.port, &hints, &found);
	if (error != 0) {
		fprintf(stderr,
		    "stream: --host \"%s\" --port \"%s\": %s: "
		    "expected a numeric address and a port\n",
		    s->opt.host, s->opt.port, gai_strerror(error));
		exit(2);
	}
	memcpy(&s->address, found->ai_addr, found->ai_addrlen);
	s->address_len = found->ai_addrlen;
	freeaddrinfo(found);
}

int
main(int argc, char *argv[])
{
	static struct stream s = { .opt = { .host = "127.0.0.1",
				       .port = "",
				       .connections = 1,
				       .bytes = 1024UL * 1024,
				       .message_min = 1,
				       .message_max = TURN_BYTES,
				       .rounds = NO_ROUNDS,
				       .seconds = 240 } };

	options_read(&s.opt, argc, argv);
	prepare_address(&s);
	prepare_conns(&s);
	prepare_signals(&s);
	stream_run(&s);
	return report_end(&s);
}

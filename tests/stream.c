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
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	TURN_BYTES = 64 * 1024, /* read or sent for one event */
	FAREWELL_BYTES = 64,	/* sent by --hold when it is told to stop */
	TICK_MS = 5,
	STUCK_MS = 400, /* nobody could send for so long: stuck */
	EVENTS = 256,
	PROGRESS_MS = 100,
	PAUSE_MS = 300,	 /* the longest pause of a reader, with --mixed */
	PAUSE_ODDS = 16, /* one read in so many is followed by one */
	FIN_US = 1000,	 /* the latest, with --fin-at-random */
	SOURCES = 250,	 /* addresses that rounds begin at: more ports */
};

struct options {
	const char *host;
	const char *port;
	uint64_t connections; /* at the same time */
	uint64_t bytes;	      /* to send on each connection */
	uint64_t message_min; /* bytes in one message */
	uint64_t message_max;
	uint64_t interval_ms; /* between two messages of a connection */
	uint64_t rounds;      /* connections in all; 0: until SIGTERM */
	uint64_t seconds;     /* all must be over by then */
	int in_rounds;	      /* connect, echo, close, again and again */
	int ping_pong;	      /* a message waits for the last one's echo */
	int half_close;	      /* shut down after sending, expect EOF */
	int hold;	      /* keep connections open until SIGTERM */
	int never_read;	      /* read nothing until SIGTERM */
	int oob;	      /* every second message ends urgently */
	int fin_at_random;    /* shut down a moment after sending */
	int reset_at_random;  /* end with RST at a random moment */
	int allow_cut;	      /* the server may cut connections */
	int mixed;	      /* see above */
	int progress;
};

struct conn {
	int fd;		      /* -1: not open */
	uint32_t interest;    /* events asked of epoll */
	uint64_t id;	      /* never used twice */
	uint64_t sent;	      /* bytes the kernel took */
	uint64_t verified;    /* bytes that came back, right or wrong */
	uint64_t goal;	      /* bytes to send in all */
	uint64_t message_end; /* position where the current message ends */
	uint64_t messages;    /* begun so far */
	uint64_t reset_after; /* bytes moved before the RST */
	int64_t next_ms;      /* no new message before that time */
	int64_t resume_ms;    /* reads nothing before that time */
	int64_t waiting_ms;   /* since when it waits for what comes next */
	int64_t fin_us;	      /* no FIN before that time; 0: not known yet */
	bool connected;
	bool answered;
	bool shut; /* our FIN has been sent */
};

enum outcome { ENDED, REFUSED, RESET, CLOSED, LATE, OUTCOMES };

struct stream {
	struct options opt;
	struct sockaddr_storage address;
	socklen_t address_len;
	struct conn *conns;
	uint64_t count[OUTCOMES];
	uint64_t bytes; /* that came back as they should */
	uint64_t wrong;
	uint64_t lost;
	uint64_t opened; /* connections begun */
	uint64_t target; /* connections to begin in all */
	uint64_t open;	 /* of them, open now */
	uint64_t connected;
	uint64_t answered;
	uint64_t random;
	uint64_t seed;
	int64_t now_ms;
	int64_t sent_ms;     /* when anybody could send last */
	int64_t progress_ms; /* when to say how far it is */
	int64_t gap_ms;	     /* the longest that one waited for its bytes */
	int epoll;
	int signals;
	bool reading; /* in spite of --never-read */
	bool stopping;
	bool stuck; /* and it has been said */
};

static void
die(const char *what, const char *remedy)
{
	fprintf(stderr, "stream: %s: %s: %s\n", what, strerror(errno), remedy);
	exit(1);
}

static int64_t
clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t
clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The mixer of splitmix64: every bit of x reaches every bit of the result. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t
random_below(struct stream *s, uint64_t limit)
{
	s->random += 0x9e3779b97f4a7c15u;
	return limit == 0 ? 0 : mix(s->random) % limit;
}

/* What connection id sends from position on. */
static void
code(const struct stream *s, uint64_t id, uint64_t position, unsigned char *to,
    size_t count)
{
	uint64_t key = mix(s->seed + id), word = 0;
	size_t i;

	for (i = 0; i < count; i++, position++) {
		if (i == 0 || position % 8 == 0)
			word = mix(key + position / 8);
		to[i] = (unsigned char)(word >> (position % 8 * 8));
	}
}

static void
conn_finish(struct stream *s, struct conn *c, enum outcome outcome)
{
	s->count[outcome]++;
	if (outcome != ENDED)
		s->lost += c->sent - c->verified;
	close(c->fd);
	c->fd = -1;
	s->open--;
}

static void
conn_reset(struct stream *s, struct conn *c)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_finish(s, c, ENDED);
}

static bool
conn_may_begin_message(const struct stream *s, const struct conn *c)
{
	if (c->sent >= c->goal || c->sent < c->message_end)
		return false;
	if ((s->opt.ping_pong || (s->opt.mixed && c->id % 2 == 0)) &&
	    c->verified < c->sent)
		return false;
	return s->now_ms >= c->next_ms;
}

static bool
conn_wants_write(const struct stream *s, const struct conn *c)
{
	return c->sent < c->message_end || conn_may_begin_message(s, c);
}

static bool
conn_is_pausing(const struct stream *s, const struct conn *c)
{
	return c->resume_ms > s->now_ms;
}

static bool
conn_reads(const struct stream *s, const struct conn *c)
{
	return !conn_is_pausing(s, c) && (!s->opt.never_read || s->reading);
}

static uint32_t
conn_interest(const struct stream *s, const struct conn *c)
{
	uint32_t events = 0; /* what comes in a pause shows after it */

	if (!c->connected)
		return EPOLLOUT;
	if (conn_reads(s, c))
		events = EPOLLIN;
	else if (!conn_is_pausing(s, c))
		events = EPOLLRDHUP;
	return events | (uint32_t)(conn_wants_write(s, c) ? EPOLLOUT : 0);
}

static void
conn_watch(struct stream *s, struct conn *c)
{
	struct epoll_event e = { .events = conn_interest(s, c),
		.data = { .ptr = c } };

	if (e.events == c->interest)
		return;
	c->interest = e.events;
	if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, c->fd, &e) < 0)
		die("epoll_ctl", "a bug in this client");
}

static void
conn_begin(struct stream *s, struct conn *c)
{
	*c = (struct conn) { .fd = c->fd,
		.id = s->opened++,
		.waiting_ms = s->now_ms,
		.goal = s->stopping ? 0 : s->opt.bytes };
	if (s->opt.fin_at_random)
		c->goal = random_below(s, c->goal + 1);
	c->reset_after = random_below(s, 2 * c->goal + 2);
	s->open++;
}

/* One address has 28,000 ports, and a closed connection keeps its own for a
 * while. Loopback has addresses in plenty. */
static void
conn_choose_source(const struct stream *s, const struct conn *c)
{
	const struct sockaddr_in *to = (const struct sockaddr_in *)&s->address;
	struct sockaddr_in from = { .sin_family = AF_INET };
	uint32_t host = 2 + (uint32_t)(c->id % SOURCES);
	int one = 1;

	if (!s->opt.in_rounds || to->sin_family != AF_INET ||
	    ntohl(to->sin_addr.s_addr) != INADDR_LOOPBACK)
		return;
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + host);
	setsockopt(
	    c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		die("bind", "127.0.0.0/8 must be on the loopback interface");
}

/* A refusal that comes at once is counted; conns_open() tries the next. */
static void
conn_open(struct stream *s, struct conn *c)
{
	struct epoll_event e = { .events = EPOLLOUT, .data = { .ptr = c } };
	const struct sockaddr *to = (const struct sockaddr *)&s->address;
	int one = 1;

	c->fd = socket(
	    to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket", "ask for fewer --connections");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conn_begin(s, c);
	conn_choose_source(s, c);
	if (connect(c->fd, to, s->address_len) < 0 && errno != EINPROGRESS) {
		if (errno == EADDRNOTAVAIL)
			die("connect",
			    "all local ports are in use; "
			    "ask for fewer --rounds");
		conn_finish(s, c, errno == ECONNRESET ? RESET : REFUSED);
		return;
	}
	c->interest = EPOLLOUT;
	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
		die("epoll_ctl", "a bug in this client");
}

static void
conns_open(struct stream *s)
{
	uint64_t i;

	for (i = 0; i < s->opt.connections; i++)
		if (s->conns[i].fd < 0 && s->opened < s->target)
			conn_open(s, &s->conns[i]);
}

static bool
conn_connected(struct stream *s, struct conn *c)
{
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		die("getsockopt SO_ERROR", "a bug in this client");
	if (error != 0) {
		conn_finish(s, c, error == ECONNRESET ? RESET : REFUSED);
		return false;
	}
	c->connected = true;
	s->connected++;
	return true;
}

static void
conn_verify(
    struct stream *s, struct conn *c, const unsigned char *got, size_t count)
{
	static unsigned char expected[TURN_BYTES];
	uint64_t wrong = 0;
	size_t i;

	code(s, c->id, c->verified, expected, count);
	if (c->verified + count > c->sent)
		wrong = c->verified + count - c->sent;
	else if (memcmp(got, expected, count) != 0)
		for (i = 0; i < count; i++)
			wrong += got[i] != expected[i];
	if (wrong > 0 && s->wrong == 0)
		fprintf(stderr,
		    "stream: connection %" PRIu64 ": %" PRIu64
		    " wrong bytes after position %" PRIu64 " of %" PRIu64
		    " sent: the server lost, doubled or mixed them\n",
		    c->id, wrong, c->verified, c->sent);
	c->verified += count;
	s->wrong += wrong;
	s->bytes += count - (wrong < count ? wrong : count);
}

/* Bytes are due to it, or an end, or the connection itself. */
static void
conn_note_gap(struct stream *s, const struct conn *c)
{
	bool is_due = !c->connected || c->sent > c->verified || c->shut;

	if (is_due && conn_reads(s, c) && s->now_ms - c->waiting_ms > s->gap_ms)
		s->gap_ms = s->now_ms - c->waiting_ms;
}

static void
conn_maybe_pause(struct stream *s, struct conn *c)
{
	if (!s->opt.mixed || c->id % 4 > 1 || s->stopping ||
	    random_below(s, PAUSE_ODDS) != 0)
		return;
	c->resume_ms = s->now_ms + (int64_t)random_below(s, PAUSE_MS);
	c->waiting_ms = c->resume_ms;
}

static bool
conn_is_whole(const struct stream *s, const struct conn *c)
{
	return c->sent == c->goal && c->verified >= c->goal &&
	    (!s->opt.hold || s->stopping);
}

static void
conn_read(struct stream *s, struct conn *c)
{
	static unsigned char bytes[TURN_BYTES];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n > 0) {
		conn_note_gap(s, c);
		c->waiting_ms = s->now_ms;
		conn_verify(s, c, bytes, (size_t)n);
		conn_maybe_pause(s, c);
	} else if (n == 0) {
		conn_finish(
		    s, c, c->shut && conn_is_whole(s, c) ? ENDED : CLOSED);
	} else if (errno != EAGAIN && errno != EINTR) {
		conn_finish(s, c, RESET);
	}
}

static uint64_t
message_size(struct stream *s)
{
	uint64_t span = s->opt.message_max - s->opt.message_min + 1;
	uint64_t bits = 64 - (uint64_t)__builtin_clzll(span), limit;

	if (s->opt.mixed) {
		limit = UINT64_C(1) << random_below(s, bits + 1);
		span = limit < span ? limit : span;
	}
	return s->opt.message_min + random_below(s, span);
}

static void
conn_begin_message(struct stream *s, struct conn *c)
{
	uint64_t size = message_size(s);

	if (size > c->goal - c->sent)
		size = c->goal - c->sent;
	c->message_end = c->sent + size;
	c->messages++;
	c->next_ms = s->now_ms + (int64_t)s->opt.interval_ms;
}

static void
conn_write(struct stream *s, struct conn *c)
{
	static unsigned char bytes[TURN_BYTES];
	size_t count = sizeof(bytes);
	int flags = MSG_NOSIGNAL;
	ssize_t n;

	if (conn_may_begin_message(s, c))
		conn_begin_message(s, c);
	if (count > c->message_end - c->sent)
		count = (size_t)(c->message_end - c->sent);
	if (s->opt.oob && c->messages % 2 == 0)
		flags |= MSG_OOB;
	code(s, c->id, c->sent, bytes, count);
	n = send(c->fd, bytes, count, flags);
	if (n > 0) {
		if (c->sent == c->verified && c->waiting_ms < s->now_ms)
			c->waiting_ms = s->now_ms;
		c->sent += (uint64_t)n;
		s->sent_ms = s->now_ms;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		conn_finish(s, c, RESET);
	}
}

static void
conn_note_answer(struct stream *s, struct conn *c)
{
	if (c->answered || (c->verified == 0 && c->goal > 0))
		return;
	if (s->opt.hold && c->verified < c->goal)
		return;
	c->answered = true;
	s->answered++;
}

/* Has all been sent, and is it time for the FIN? */
static bool
conn_is_to_shut(struct stream *s, struct conn *c)
{
	if (!s->opt.half_close || c->shut || c->sent < c->goal ||
	    (s->opt.hold && !s->stopping))
		return false;
	if (!s->opt.fin_at_random)
		return true;
	if (c->fin_us == 0)
		c->fin_us = clock_us() + (int64_t)random_below(s, FIN_US);
	return clock_us() >= c->fin_us;
}

/* After anything has happened to a connection: is it over, what is next? */
static void
conn_settle(struct stream *s, struct conn *c)
{
	conn_note_answer(s, c);
	if (s->opt.reset_at_random && c->sent + c->verified >= c->reset_after) {
		conn_reset(s, c);
		return;
	}
	if (conn_is_to_shut(s, c)) {
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
	}
	if (!s->opt.half_close && conn_is_whole(s, c))
		conn_finish(s, c, ENDED);
	else
		conn_watch(s, c);
}

static void
conn_event(struct stream *s, struct conn *c, uint32_t events)
{
	const uint32_t gone = EPOLLERR | EPOLLHUP | EPOLLRDHUP;

	if (!c->connected && !conn_connected(s, c))
		return;
	if (!conn_is_pausing(s, c) && !conn_reads(s, c) && (events & gone)) {
		conn_finish(s, c, events & EPOLLERR ? RESET : CLOSED);
		return;
	}
	if (conn_reads(s, c) && (events & (EPOLLIN | gone)))
		conn_read(s, c);
	if (c->fd >= 0 && conn_wants_write(s, c))
		conn_write(s, c);
	if (c->fd >= 0)
		conn_settle(s, c);
}

static void
conn_stop(struct stream *s, struct conn *c)
{
	if (!s->opt.in_rounds)
		c->goal = c->message_end = c->sent;
	if (s->opt.hold && s->stopping)
		c->goal += FAREWELL_BYTES;
	c->next_ms = c->resume_ms = 0;
	if (c->connected)
		conn_settle(s, c);
}

static void
stream_stop(struct stream *s)
{
	struct signalfd_siginfo info;
	uint64_t i;

	if (read(s->signals, &info, sizeof(info)) < 0)
		die("read of the signalfd", "a bug in this client");
	if (s->stopping)
		return;
	s->stopping = !(s->opt.never_read && s->opt.hold) || s->reading;
	s->reading = true;
	s->target = s->opened;
	for (i = 0; i < s->opt.connections; i++)
		if (s->conns[i].fd >= 0)
			conn_stop(s, &s->conns[i]);
}

static void
announce(const char *what, uint64_t *count, uint64_t connections)
{
	if (*count < connections || *count == UINT64_MAX)
		return;
	printf("%s %" PRIu64 "\n", what, connections);
	fflush(stdout);
	*count = UINT64_MAX;
}

static void
announce_stuck(struct stream *s)
{
	uint64_t i, sent = 0;

	if (!s->opt.never_read || s->stuck || s->connected != UINT64_MAX ||
	    s->now_ms - s->sent_ms < STUCK_MS)
		return;
	for (i = 0; i < s->opt.connections; i++)
		sent += s->conns[i].fd < 0 ? 0 : s->conns[i].sent;
	printf("stuck %" PRIu64 "\n", sent);
	fflush(stdout);
	s->stuck = true;
}

static void
print_counts(const struct stream *s)
{
	printf("connections %" PRIu64 " bytes %" PRIu64 " wrong %" PRIu64
	       " lost %" PRIu64 " refused %" PRIu64 " reset %" PRIu64
	       " closed %" PRIu64 " late %" PRIu64 " gap %" PRId64 "\n",
	    s->count[ENDED], s->bytes, s->wrong, s->lost, s->count[REFUSED],
	    s->count[RESET], s->count[CLOSED], s->count[LATE], s->gap_ms);
}

static void
stream_progress(struct stream *s)
{
	if (!s->opt.progress || s->now_ms < s->progress_ms)
		return;
	s->progress_ms = s->now_ms + PROGRESS_MS;
	printf("progress open %" PRIu64 " ", s->open);
	print_counts(s);
	fflush(stdout);
}

static void
stream_tick(struct stream *s)
{
	uint64_t i;

	conns_open(s);
	stream_progress(s);
	if (!s->opt.in_rounds) {
		announce("connected", &s->connected, s->opt.connections);
		announce("answered", &s->answered, s->opt.connections);
		announce_stuck(s);
	}
	for (i = 0; i < s->opt.connections; i++) {
		if (s->conns[i].fd < 0)
			continue;
		conn_note_gap(s, &s->conns[i]);
		if (s->opt.interval_ms > 0 || s->opt.mixed)
			conn_watch(s, &s->conns[i]);
	}
}

/* No event tells of the moment: connections are many, and so are the turns. */
static void
stream_shut(struct stream *s)
{
	uint64_t i;

	for (i = 0; i < s->opt.connections && s->opt.fin_at_random; i++)
		if (s->conns[i].fd >= 0 && s->conns[i].fin_us != 0 &&
		    !s->conns[i].shut)
			conn_settle(s, &s->conns[i]);
}

static void
stream_turn(struct stream *s)
{
	struct epoll_event events[EVENTS];
	struct conn *c;
	int i, n;

	n = epoll_wait(
	    s->epoll, events, EVENTS, s->opt.fin_at_random ? 1 : TICK_MS);
	s->now_ms = clock_ms();
	for (i = 0; i < n; i++) {
		c = events[i].data.ptr;
		if (c == NULL) {
			stream_stop(s);
			return; /* it may have closed others of this batch */
		}
		conn_event(s, c, events[i].events);
		if (c->fd < 0 && s->opened < s->target)
			conn_open(s, c);
	}
	stream_shut(s);
}

static void
stream_run(struct stream *s)
{
	int64_t end, tick = 0;
	uint64_t i;

	s->now_ms = s->sent_ms = clock_ms();
	end = s->now_ms + (int64_t)s->opt.seconds * 1000;
	conns_open(s);
	while ((s->open > 0 || s->opened < s->target) && s->now_ms < end) {
		stream_turn(s);
		if (s->now_ms < tick)
			continue;
		tick = s->now_ms + TICK_MS;
		stream_tick(s);
	}
	for (i = 0; i < s->opt.connections; i++)
		if (s->conns[i].fd >= 0)
			conn_finish(s, &s->conns[i], LATE);
}

static int
stream_report(const struct stream *s)
{
	bool cut = s->count[RESET] + s->count[CLOSED] + s->lost > 0;

	print_counts(s);
	if (s->count[LATE] > 0)
		fprintf(stderr,
		    "stream: time is up: %" PRIu64 " connections "
		    "have not ended: the server hangs, or --seconds %" PRIu64
		    " is too short\n",
		    s->count[LATE], s->opt.seconds);
	return s->wrong + s->count[REFUSED] + s->count[LATE] > 0 ||
	    (cut && !s->opt.allow_cut);
}

static void
stream_prepare_signals(struct stream *s)
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
stream_prepare_conns(struct stream *s)
{
	struct rlimit limit;
	uint64_t i;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	s->conns = calloc(s->opt.connections, sizeof(*s->conns));
	if (s->conns == NULL)
		die("memory", "ask for fewer --connections");
	for (i = 0; i < s->opt.connections; i++)
		s->conns[i].fd = -1;
	s->target = s->opt.connections;
	if (s->opt.in_rounds)
		s->target = s->opt.rounds > 0 ? s->opt.rounds : UINT64_MAX;
	if (getrandom(&s->seed, sizeof(s->seed), 0) != sizeof(s->seed))
		die("getrandom", "a kernel of Linux 3.17 or later is needed");
	s->random = s->seed;
}

static void
stream_prepare_address(struct stream *s)
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

static const struct option long_options[] = {
	{ "host", required_argument, NULL, 'h' },
	{ "port", required_argument, NULL, 'p' },
	{ "connections", required_argument, NULL, 'c' },
	{ "bytes", required_argument, NULL, 'b' },
	{ "message", required_argument, NULL, 'm' },
	{ "interval", required_argument, NULL, 'i' },
	{ "rounds", required_argument, NULL, 'r' },
	{ "seconds", required_argument, NULL, 's' },
	{ "ping-pong", no_argument, NULL, 'P' },
	{ "half-close", no_argument, NULL, 'F' },
	{ "hold", no_argument, NULL, 'H' },
	{ "never-read", no_argument, NULL, 'N' },
	{ "oob", no_argument, NULL, 'O' },
	{ "fin-at-random", no_argument, NULL, 'f' },
	{ "reset-at-random", no_argument, NULL, 'R' },
	{ "allow-cut", no_argument, NULL, 'A' },
	{ "mixed", no_argument, NULL, 'M' },
	{ "progress", no_argument, NULL, 'G' },
	{ NULL, 0, NULL, 0 },
};

static const char *
option_name(int letter)
{
	const struct option *o;

	for (o = long_options; o->val != letter; o++)
		continue;
	return o->name;
}

/* A number, with K, M or G for powers of 1024, or two joined by a "-". */
static void
option_range(int letter, const char *text, uint64_t *low, uint64_t *high)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;
	int i;

	for (i = 0; i < 2; i++) {
		errno = 0;
		*high = strtoull(text, &end, 10);
		if (end == text || errno != 0 || *text == '-')
			break;
		unit = *end == '\0' ? NULL : strchr(units, *end);
		if (unit != NULL) {
			*high <<= 10 * (unit - units + 1);
			end++;
		}
		if (i == 0)
			*low = *high;
		if (*end == '\0' && *low <= *high)
			return;
		if (low == high || *end != '-')
			break;
		text = end + 1;
	}
	fprintf(stderr,
	    "stream: --%s: invalid value \"%s\": expected a "
	    "number%s\n",
	    option_name(letter), optarg, low == high ? "" : " or MIN-MAX");
	exit(2);
}

static void
option_number(int letter, uint64_t *number)
{
	option_range(letter, optarg, number, number);
}

static void
option_set(struct options *o, int letter)
{
	switch (letter) {
	case 'h':
		o->host = optarg;
		break;
	case 'p':
		o->port = optarg;
		break;
	case 'c':
		option_number(letter, &o->connections);
		break;
	case 'b':
		option_number(letter, &o->bytes);
		break;
	case 'm':
		option_range(letter, optarg, &o->message_min, &o->message_max);
		break;
	case 'i':
		option_number(letter, &o->interval_ms);
		break;
	case 'r':
		option_number(letter, &o->rounds);
		o->in_rounds = 1;
		break;
	case 's':
		option_number(letter, &o->seconds);
		break;
	case 'P':
		o->ping_pong = 1;
		break;
	case 'F':
		o->half_close = 1;
		break;
	case 'H':
		o->hold = 1;
		break;
	case 'N':
		o->never_read = 1;
		break;
	case 'O':
		o->oob = 1;
		break;
	case 'f':
		o->half_close = o->fin_at_random = 1;
		break;
	case 'R':
		o->reset_at_random = 1;
		break;
	case 'A':
		o->allow_cut = 1;
		break;
	case 'M':
		o->mixed = 1;
		break;
	case 'G':
		o->progress = 1;
		break;
	default:
		fprintf(stderr, "stream: see the options in its source\n");
		exit(2);
	}
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
				       .seconds = 240 } };
	int letter;

	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) >= 0)
		option_set(&s.opt, letter);
	if (*s.opt.port == '\0' || s.opt.message_min == 0 || optind < argc) {
		fprintf(stderr,
		    "stream: --port is needed, --message must be "
		    "at least 1, and there are no arguments besides\n");
		return 2;
	}
	stream_prepare_address(&s);
	stream_prepare_conns(&s);
	stream_prepare_signals(&s);
	stream_run(&s);
	return stream_report(&s);
}

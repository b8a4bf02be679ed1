/* One connection: what it sends, what has to come back, when it is over. */
#include "tests/stream/stream.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/common/clock.h"
#include "tests/common/die.h"
#include "tests/common/random.h"

enum {
	FAREWELL_BYTES = 64, /* sent by --hold when it is told to stop */
	PAUSE_MS = 300,	     /* the longest pause of a reader, with --mixed */
	PAUSE_ODDS = 16,     /* one read in so many is followed by one */
	FIN_US = 1000,	     /* the latest, with --fin-at-random */
	SOURCES = 250,	     /* addresses that rounds begin at: more ports */
};

/* What connection id sends from position on. */
static void
code(const struct stream *s, uint64_t id, uint64_t position, unsigned char *to,
    size_t count)
{
	uint64_t key = random_mix(s->seed + id), word = 0;
	size_t i;

	for (i = 0; i < count; i++, position++) {
		if (i == 0 || position % 8 == 0)
			word = random_mix(key + position / 8);
		to[i] = (unsigned char)(word >> (position % 8 * 8));
	}
}

void
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

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
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

void
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
		c->goal = random_below(&s->random, c->goal + 1);
	c->reset_after = random_below(&s->random, 2 * c->goal + 2);
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
	    c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0)
		die("bind", "127.0.0.0/8 must be on the loopback interface");
}

/* A refusal that comes at once is counted; conns_open() tries the next. */
void
conn_open(struct stream *s, struct conn *c)
{
	struct epoll_event e = { .events = EPOLLOUT, .data = { .ptr = c } };
	const struct sockaddr *to = (const struct sockaddr *)&s->address;
	int one = 1;

	c->fd = socket(
	    to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket", "ask for fewer --connections");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
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

void
conns_open(struct stream *s)
{
	for (uint64_t i = 0; i < s->opt.connections; i++)
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
void
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
	    random_below(&s->random, PAUSE_ODDS) != 0)
		return;
	c->resume_ms = s->now_ms + (int64_t)random_below(&s->random, PAUSE_MS);
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
	ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);

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
		limit = UINT64_C(1) << random_below(&s->random, bits + 1);
		span = limit < span ? limit : span;
	}
	return s->opt.message_min + random_below(&s->random, span);
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
	size_t count = sizeof bytes;
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
		c->fin_us =
		    clock_us() + (int64_t)random_below(&s->random, FIN_US);
	return clock_us() >= c->fin_us;
}

/* After anything has happened to a connection: is it over, what is next? */
void
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

void
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

void
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

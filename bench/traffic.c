#include "traffic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
	EVENTS = 256,
	SILENCE_MS = 10000, /* it gives up after */
};

/* ---- what is counted ----------------------------------------------------- */

static bool
is_measured(const struct traffic *t, uint64_t ns)
{
	return ns >= t->board->begin_ns && ns < t->board->end_ns;
}

static void
count_answer(struct traffic *t, const struct client *c, uint64_t now_ns)
{
	t->result->all++;
	if (!is_measured(t, now_ns))
		return;
	t->result->echoes++;
	histogram_record(&t->result->latency, now_ns - c->since_ns);
}

static void
count_failure(struct traffic *t)
{
	if (!t->options->failures)
		die("the server has closed a connection");
	if (is_measured(t, clock_ns()))
		t->result->failed++;
}

/* In an open loop, what still waits has waited that long at least. */
static void
count_unanswered(struct traffic *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->clients[i].busy &&
		    t->clients[i].since_ns < t->board->end_ns)
			histogram_record(&t->result->latency,
			    t->board->end_ns - t->clients[i].since_ns);
}

/* ---- a connection's turn ------------------------------------------------- */

static void
watch(struct traffic *t, struct client *c, int how)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
		.data.ptr = c };

	if (epoll_ctl(t->epoll, how, c->conn.fd, &event) < 0)
		die("epoll_ctl");
}

static void
reopen(struct traffic *t, struct client *c)
{
	conn_close(&c->conn);
	if (!conn_open(&t->script, &c->conn, t->options->port, SOCK_NONBLOCK))
		die("connect");
	watch(t, c, EPOLL_CTL_ADD);
}

/* That a connection was lost turn() finds out. The event that tells of it may
 * be one that has come already, so it is asked for anew. */
static void
start(struct traffic *t, struct client *c)
{
	c->busy = true;
	if (!conn_send(&t->script, &c->conn))
		watch(t, c, EPOLL_CTL_MOD);
}

/* The next message: at once, or when it is due if that is still to come. */
static void
next(struct traffic *t, struct client *c, uint64_t now_ns)
{
	c->busy = false;
	if (t->period_ns == 0)
		c->since_ns = now_ns;
	else
		c->since_ns += t->period_ns;
	if (c->since_ns <= now_ns)
		start(t, c);
}

/* A request that has failed is made again, and is as late as that makes it. An
 * idle connection may be closed at will. */
static void
lose(struct traffic *t, struct client *c)
{
	t->result->closed++;
	if (c->busy)
		count_failure(t);
	reopen(t, c);
	if (c->busy)
		start(t, c);
}

static void
turn(struct traffic *t, struct client *c)
{
	enum answer answer = ANSWER_LOST;
	uint64_t now_ns;

	if (!c->busy || conn_send(&t->script, &c->conn))
		answer = conn_read(&t->script, &c->conn);
	if (answer == ANSWER_PARTIAL)
		return;
	if (answer == ANSWER_LOST) {
		lose(t, c);
		return;
	}
	now_ns = clock_ns();
	count_answer(t, c, now_ns);
	if (answer == ANSWER_LAST || t->options->connects)
		reopen(t, c);
	next(t, c, now_ns);
}

/* ---- the loop ------------------------------------------------------------ */

/* Message number N is due at N / rate, on the connections in turn. One whose
 * connection is still busy waits there, see next(). */
static uint64_t
due_ns(const struct traffic *t)
{
	return t->started_ns + t->due * t->period_ns / t->count;
}

static void
start_due(struct traffic *t)
{
	uint64_t now_ns = clock_ns();

	for (; due_ns(t) <= now_ns; t->due++) {
		struct client *c = &t->clients[t->due % t->count];

		if (!c->busy && c->since_ns <= now_ns)
			start(t, c);
	}
}

static int
wait_events(const struct traffic *t, struct epoll_event *events)
{
	uint64_t now_ns = clock_ns(), left_ns = 0;
	struct timespec left;

	if (t->period_ns == 0)
		return epoll_wait(t->epoll, events, EVENTS, SILENCE_MS);
	if (due_ns(t) > now_ns)
		left_ns = due_ns(t) - now_ns;
	left = clock_timespec(left_ns);
	return epoll_pwait2(t->epoll, events, EVENTS, &left, NULL);
}

static void
start_all(struct traffic *t)
{
	t->started_ns = clock_ns();
	for (size_t i = 0; i < t->count; i++) {
		struct client *c = &t->clients[i];

		watch(t, c, EPOLL_CTL_ADD);
		c->since_ns = t->started_ns + i * t->period_ns / t->count;
		if (t->period_ns == 0)
			start(t, c);
	}
}

void
traffic_run(struct traffic *t)
{
	struct epoll_event events[EVENTS];

	start_all(t);
	while (!t->board->over) {
		int count = wait_events(t, events);

		if (count == 0 && t->period_ns == 0) {
			errno = ETIMEDOUT;
			die("no answer");
		}
		for (int i = 0; i < count; i++)
			turn(t, events[i].data.ptr);
		if (t->period_ns > 0)
			start_due(t);
	}
	if (t->period_ns > 0)
		count_unanswered(t);
}

void
traffic_open(struct traffic *t)
{
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->clients = calloc(t->count, sizeof *t->clients);
	if (t->epoll < 0 || !t->clients)
		die("no memory");
	for (size_t i = 0; i < t->count; i++) {
		struct conn *c = &t->clients[i].conn;

		if (!conn_open(&t->script, c, t->options->port, 0))
			die("connect");
		conn_converse(&t->script, c);
		if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
			die("fcntl");
	}
	t->result->all += t->count;
}

struct traffic
traffic_make(const struct options *o, struct board *board, size_t index)
{
	struct traffic t = { .options = o,
		.board = board,
		.result = &board->results[index],
		.script = script_make(o->bytes, o->body, index) };

	t.count = (index + 1) * o->connections / o->processes -
	    index * o->connections / o->processes;
	if (o->rate > 0)
		t.period_ns = o->connections * UINT64_C(1000000000) / o->rate;
	return t;
}

/* All connections, from one epoll loop. */
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <unistd.h>

#include "tests/common/clock.h"
#include "tests/common/die.h"
#include "tests/stream/stream.h"

enum { EVENTS = 256, TICK_MS = 5 };

static void
stream_stop(struct stream *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof info) < 0)
		die("read of the signalfd", "a bug in this client");
	if (s->stopping)
		return;
	s->stopping = !(s->opt.never_read && s->opt.hold) || s->reading;
	s->reading = true;
	s->target = s->opened;
	for (uint64_t i = 0; i < s->opt.connections; i++)
		if (s->conns[i].fd >= 0)
			conn_stop(s, &s->conns[i]);
}

static void
stream_tick(struct stream *s)
{
	conns_open(s);
	report_progress(s);
	report_milestones(s);
	for (uint64_t i = 0; i < s->opt.connections; i++) {
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
	for (uint64_t i = 0; i < s->opt.connections && s->opt.fin_at_random;
	     i++)
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

void
stream_run(struct stream *s)
{
	int64_t end, tick = 0;

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
	for (uint64_t i = 0; i < s->opt.connections; i++)
		if (s->conns[i].fd >= 0)
			conn_finish(s, &s->conns[i], LATE);
}

#include "lib/worker/schedule.h"

#include "lib/base/clock.h"
#include "lib/slot/hold.h"
#include "lib/slot/timers.h"
#include "lib/worker/exchange.h"
#include "lib/worker/ledger.h"
#include "lib/worker/own.h"
#include "lib/worker/wait.h"

enum {
	SWEEP_MS = 1000,
	TIMERS = 256, /* are served before events have their turn */
};

/* What has been missed so far stays missed: only a look finds more. */
uint64_t
schedule_after(const struct loop *loop, uint64_t ms)
{
	const uint64_t begun_ms = 1; /* the one that clock_ms() has cut off */

	return clock_ms() - loop->memory->vigil.missed_ms + begun_ms + ms;
}

void
schedule_look(struct loop *loop)
{
	loop->now_ms = vigil_now(&loop->memory->vigil, clock_ms());
}

/*
 * Serves a connection as if the kernel had an event of it. The kernel has none
 * that would come again, so a worker that dies between two transactions of it
 * leaves it in the journal. Without that, a connection that its timer's call
 * has finished would never be shut down.
 *
 * An event would prove that the descriptor is the connection's. A service may
 * have closed it, and its number be a file of its own, which is not read here.
 */
static void
serve(struct loop *loop, int fd, uint32_t events)
{
	struct slot_memory *memory = loop->memory;
	struct epoll_event *entry = &memory->events[SLOT_EVENTS];

	if (exchange_has_lost(loop, fd)) {
		exchange_claim(loop, fd);
		return;
	}
	loop_name(entry, fd, memory->connections[fd].generation);
	store(entry->events, events);
	exchange_serve(loop, fd, events);
	store(entry->events, 0);
}

/* Serves what an open connection has sent. False where that has closed it. */
static bool
hear(struct loop *loop, int fd)
{
	serve(loop, fd, EPOLLIN | EPOLLRDHUP);
	return connection_is_open(&loop->memory->connections[fd]);
}

/* ---- the sweep ---------------------------------------------------------- */

static enum close_reason
judge(struct loop *loop, int fd)
{
	struct connection *c = &loop->memory->connections[fd];
	struct particulars *p = slot_particulars(loop->memory, fd);
	const struct config *config = loop->config;

	if ((config->write_timeout_ms > 0 || c->lingering) &&
	    wait_is_owed(c, p))
		wait_note(c, p, ledger_taken(fd, c->sent), loop->now_ms);
	return wait_overdue(c, p, loop->now_ms, config->idle_timeout_ms,
	    config->write_timeout_ms);
}

/* Closes the connection if it is late, or of a server that stops, or gives back
 * a place that it does not need. False where there is nothing to look at again.
 */
static bool
sweep_one(struct loop *loop, int fd)
{
	struct slot_memory *memory = loop->memory;
	const struct connection *c = &memory->connections[fd];
	enum close_reason reason = judge(loop, fd);

	/* That an answer is acknowledged, or that a newcomer is none any more,
	 * is no event. */
	if ((reason != CLOSE_NOT || loop->stopping) && !hear(loop, fd))
		return false;
	if (reason != CLOSE_NOT)
		reason = judge(loop, fd);
	if (reason != CLOSE_NOT) {
		exchange_close(loop, fd, reason);
		return false;
	}
	if (connection_place_is_spare(c, loop->now_ms, SWEEP_MS))
		hold_release_place(memory, fd);
	return loop->stopping || loop->config->idle_timeout_ms > 0 ||
	    c->place_used || c->lingering ||
	    (loop->config->write_timeout_ms > 0 &&
		wait_is_owed(c, slot_particulars(memory, fd)));
}

/* A successor wants a sweep, whatever its predecessor died at. */
static void
sweep(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	bool wanted = false;

	own_look(loop);
	store(memory->sweep_wanted, 0);
	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (connection_is_here(&memory->connections[fd]))
			wanted |= sweep_one(loop, fd);
	if (wanted)
		store(memory->sweep_wanted, 1);
}

static void
keep_sweep(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;

	if (memory->sweep_wanted && memory->sweep_ms != 0 &&
	    loop->now_ms >= memory->sweep_ms) {
		store(memory->sweep_ms, loop->now_ms + SWEEP_MS);
		sweep(loop);
	}
	if (!memory->sweep_wanted)
		store(memory->sweep_ms, 0);
	else if (memory->sweep_ms == 0)
		store(memory->sweep_ms, loop->now_ms + SWEEP_MS);
}

/* ---- the timers --------------------------------------------------------- */

/* The first that is due comes first, however many are. One that is due while
 * its answer is pending is served when that has left (exchange.c). */
static void
keep_timers(struct loop *loop)
{
	int fd;

	for (int i = 0; i < TIMERS; i++) {
		fd = timers_due(loop->memory, loop->now_ms);
		if (fd < 0)
			return;
		serve(loop, fd, EPOLLOUT);
	}
}

/* ---- both --------------------------------------------------------------- */

void
schedule_keep(struct loop *loop)
{
	keep_sweep(loop);
	keep_timers(loop);
}

uint64_t
schedule_due(const struct loop *loop)
{
	return clock_earlier(loop->memory->sweep_ms, loop->memory->timer_ms);
}

void
schedule_hear_all(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (connection_is_here(&memory->connections[fd]))
			hear(loop, fd);
}

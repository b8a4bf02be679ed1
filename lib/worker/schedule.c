#include "lib/worker/schedule.h"

#include "lib/base/clock.h"
#include "lib/worker/exchange.h"
#include "lib/worker/ledger.h"

enum {
	SWEEP_MS = 1000,
	TIMERS_MS = 10, /* between two looks at the connections' timers */
};

/* ---- the sweep ---------------------------------------------------------- */

/* The kernel holds megabytes, and asks for more only when a good part of them
 * has gone: that a client takes them is progress, too. */
static void
note_taken(struct loop *loop, int fd)
{
	struct connection *c = &loop->memory->connections[fd];
	struct particulars *p = slot_particulars(loop->memory, fd);
	uint64_t taken;

	if (connection_pending(c) == 0 || loop->config->write_timeout_ms == 0)
		return;
	taken = ledger_taken(fd, c->sent);
	if (taken == p->taken)
		return;
	p->taken = taken;
	c->progress_ms = loop->now_ms;
}

/* Closes what has stood still for too long and gives unused places back. */
static void
sweep(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	const struct config *config = loop->config;
	bool wanted = false;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++) {
		struct connection *c = &memory->connections[fd];
		enum close_reason reason;

		if (!connection_is_open(c) || fd == memory->offered)
			continue;
		note_taken(loop, fd);
		reason = connection_overdue(c, loop->now_ms,
		    config->idle_timeout_ms, config->write_timeout_ms);
		if (reason != CLOSE_NOT) {
			exchange_close(loop, fd, reason);
			continue;
		}
		if (connection_place_is_spare(c, loop->now_ms, SWEEP_MS))
			slot_release_place(memory, fd);
		wanted |= config->idle_timeout_ms > 0 || c->place_used ||
		    c->lingering;
	}
	store(memory->sweep_wanted, wanted);
}

static void
keep_sweep(struct loop *loop, struct schedule *schedule)
{
	uint64_t now_ms = loop->now_ms;

	if (!loop->memory->sweep_wanted) {
		schedule->sweep_ms = 0;
	} else if (schedule->sweep_ms == 0) {
		schedule->sweep_ms = now_ms + SWEEP_MS;
	} else if (now_ms >= schedule->sweep_ms) {
		schedule->sweep_ms = now_ms + SWEEP_MS;
		sweep(loop);
	}
}

/* ---- the timers --------------------------------------------------------- */

/* Adds an event to the batch, of which COUNT are used: so a successor finds it
 * as it finds the kernel's. False where there is no room. */
static bool
add_event(struct loop *loop, int fd, int *count)
{
	struct slot_memory *memory = loop->memory;

	if (*count == SLOT_EVENTS)
		return false;
	loop_name(
	    &memory->events[*count], fd, memory->connections[fd].generation);
	store(memory->events[(*count)++].events, EPOLLOUT);
	return true;
}

/* Has the connections served whose timer is due. One that is due while its
 * answer is pending is served when that has left (exchange.c). */
static void
fire_timers(struct loop *loop, int *count)
{
	struct slot_memory *memory = loop->memory;
	uint64_t now_ms = loop->now_ms, next_ms = 0;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++) {
		const struct connection *c = &memory->connections[fd];

		if (c->timer_ms == 0 || !connection_is_open(c))
			continue;
		if (c->timer_ms > now_ms)
			next_ms = clock_earlier(next_ms, c->timer_ms);
		else if (connection_pending(c) == 0 &&
		    !add_event(loop, fd, count))
			next_ms = now_ms;
	}
	if (next_ms != 0 && next_ms < now_ms + TIMERS_MS)
		next_ms = now_ms + TIMERS_MS;
	store(memory->timer_ms, next_ms);
}

/* ---- both --------------------------------------------------------------- */

void
schedule_keep(struct loop *loop, struct schedule *schedule, int *count)
{
	uint64_t timer_ms;

	keep_sweep(loop, schedule);
	timer_ms = loop->memory->timer_ms;
	if (timer_ms != 0 && loop->now_ms >= timer_ms)
		fire_timers(loop, count);
}

uint64_t
schedule_due(const struct loop *loop, const struct schedule *schedule)
{
	return clock_earlier(schedule->sweep_ms, loop->memory->timer_ms);
}

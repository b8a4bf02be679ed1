#include "hang.h"

#include <signal.h>

#include "log.h"

enum { KILL_MS = 1000 }; /* from SIGABRT to SIGKILL */

void
hang_wake(struct crew *crew)
{
	if (crew->look_ms == 0 && crew->config.hang_timeout_ms > 0)
		crew->look_ms =
		    crew->now_ms + crew->config.hang_timeout_ms / 4 + 1;
}

/* Returns false while the worker waits for events. */
static bool
has_moved(struct pair *pair, uint64_t now_ms)
{
	const struct slot_memory *memory = pair->memory;
	const struct transaction *t = &memory->transaction;
	struct pair_watch seen = { memory->begun, memory->done, t->base,
		t->phase, t->fd, now_ms };

	if (seen.begun != pair->watch.begun || seen.done != pair->watch.done ||
	    seen.base != pair->watch.base || seen.phase != pair->watch.phase ||
	    seen.fd != pair->watch.fd) {
		pair->watch = seen;
		return true;
	}
	return seen.begun != seen.done;
}

static void
abort_if_hung(struct crew *crew, struct pair *pair)
{
	if (pair->taking_over || pair->worker == 0 || pair->hung ||
	    pair->watch.begun == pair->watch.done ||
	    crew->now_ms - pair->watch.since_ms < crew->config.hang_timeout_ms)
		return;
	log_error("worker %u (pid %d) hangs: aborting it", pair->slot,
	    (int)pair->worker);
	pair->hung = true;
	kill(pair->worker, SIGABRT);
	if (pair->deadline_ms == 0)
		pair->deadline_ms = crew->now_ms + KILL_MS;
}

/* Whoever waits for events wakes us before it works: see worker.c. */
static bool
let_sleep(struct pair *pair, uint64_t now_ms)
{
	store(pair->memory->watched, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!has_moved(pair, now_ms))
		return true;
	store(pair->memory->watched, 1);
	return false;
}

/* Looks for workers that hang for as long as any works. */
void
hang_look(struct crew *crew)
{
	bool busy = false;

	crew->look_ms = 0;
	if (crew->config.hang_timeout_ms == 0)
		return;
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (!pair || pair->state == PAIR_STARTING)
			continue;
		if (has_moved(pair, crew->now_ms) ||
		    !let_sleep(pair, crew->now_ms))
			busy = true;
		abort_if_hung(crew, pair);
	}
	if (busy)
		hang_wake(crew);
}

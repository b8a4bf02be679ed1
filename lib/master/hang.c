#include "lib/master/hang.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/log.h"

enum {
	KILL_MS = 1000,	  /* from SIGABRT to SIGKILL */
	STARVED_MOST = 4, /* times the hang-timeout, for want of a CPU */
};

void
hang_wake(struct crew *crew)
{
	if (crew->look_ms == 0 && crew->config.hang_timeout_ms > 0)
		crew->look_ms =
		    crew->now_ms + crew->config.hang_timeout_ms / 4 + 1;
}

/* How long PID has run; 0 where nobody knows. */
static uint64_t
cpu_time_ms(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 ||
	    clock_gettime(clock, &used) < 0)
		return 0;
	return (uint64_t)used.tv_sec * 1000 + (uint64_t)used.tv_nsec / 1000000;
}

/* The letter that proc(5) has for it, or '\0'. */
static char
process_state(pid_t pid)
{
	char path[32], stat[64] = "";
	const char *name_end;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return '\0';
	if (read(fd, stat, sizeof stat - 1) < 0)
		stat[0] = '\0';
	close(fd);
	name_end = strrchr(stat, ')');
	return name_end && name_end[1] ? name_end[2] : '\0';
}

/* Returns false while the worker waits for events. */
static bool
has_moved(struct pair *pair, uint64_t now_ms)
{
	const struct slot_memory *memory = pair->memory;
	const struct transaction *t = &memory->transaction;
	struct pair_watch seen = { memory->begun, memory->done, t->base,
		t->phase, t->fd, now_ms, 0 };

	if (seen.begun != pair->watch.begun || seen.done != pair->watch.done ||
	    seen.base != pair->watch.base || seen.phase != pair->watch.phase ||
	    seen.fd != pair->watch.fd) {
		seen.cpu_ms = cpu_time_ms(pair->worker);
		pair->watch = seen;
		return true;
	}
	return seen.begun != seen.done;
}

/* For how long the worker has not moved. */
static uint64_t
stands_ms(const struct crew *crew, const struct pair *pair)
{
	if (pair->taking_over || pair->worker == 0)
		return 0;
	if (pair->stopped_ms != 0)
		return crew->now_ms - pair->stopped_ms;
	if (pair->watch.begun == pair->watch.done)
		return 0;
	return crew->now_ms - pair->watch.since_ms;
}

static void
note_stuck(const struct crew *crew, struct pair *pair)
{
	bool stuck =
	    stands_ms(crew, pair) >= crew->config.hang_timeout_ms / 4 + 1;

	if (stuck && !pair->stuck)
		log_warning("worker %u (pid %d) does not move: steering away "
			    "from it",
		    pair->slot, (int)pair->worker);
	pair->stuck = stuck;
}

/* What it was at when it was stopped is not to blame. */
static void
kill_if_stopped(struct crew *crew, struct pair *pair)
{
	uint64_t stands = stands_ms(crew, pair);

	if (stands < crew->config.hang_timeout_ms || pair->killed)
		return;
	if (!pair_has_standby(pair)) {
		log_warning("worker %u (pid %d) has been stopped for %" PRIu64
			    " ms, and nobody could take over: letting it go on",
		    pair->slot, (int)pair->worker, stands);
		pair->stopped_ms = crew->now_ms;
		pair_continue_worker(pair);
		return;
	}
	log_warning("worker %u (pid %d) has been stopped for %" PRIu64
		    " ms: killing it",
	    pair->slot, (int)pair->worker, stands);
	pair_kill_worker(pair);
}

void
hang_stop(struct crew *crew, struct pair *pair, int number)
{
	if (number == 0) {
		if (pair->stopped_ms != 0 && crew_may_log(crew, pair->slot))
			log_info("worker %u (pid %d) goes on", pair->slot,
			    (int)pair->worker);
		pair->stopped_ms = 0;
		pair->stuck = false;
		pair->watch.since_ms = crew->now_ms;
		return;
	}
	if (crew_may_log(crew, pair->slot))
		log_warning("worker %u (pid %d) was stopped by %s", pair->slot,
		    (int)pair->worker, pair_signal(number).text);
	pair->stopped_ms = crew->now_ms;
	hang_wake(crew);
}

/* A call that is ready to run, on a machine that runs others, does not hang for
 * as long as it has not had its time; but nobody is let wait for ever. */
static bool
is_starved(const struct crew *crew, const struct pair *pair)
{
	const uint64_t timeout_ms = crew->config.hang_timeout_ms;

	return stands_ms(crew, pair) < STARVED_MOST * timeout_ms &&
	    cpu_time_ms(pair->worker) < pair->watch.cpu_ms + timeout_ms &&
	    process_state(pair->worker) == 'R';
}

static void
abort_if_hung(struct crew *crew, struct pair *pair)
{
	const char *service;

	if (pair->hung ||
	    stands_ms(crew, pair) < crew->config.hang_timeout_ms ||
	    is_starved(crew, pair))
		return;
	service = crew_service_in_call(crew, pair);
	log_error("worker %u (pid %d) hangs: aborting it%s%s%s", pair->slot,
	    (int)pair->worker, service ? " (it is in a call of " : "",
	    service ? service : "", service ? ")" : "");
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

/* Nobody looks any more, so nobody would see it move. */
static void
forget_all(struct crew *crew)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next)
		pair->stuck = false;
}

/* Looks for workers that hang for as long as any works. */
void
hang_look(struct crew *crew)
{
	bool busy = false;

	crew->look_ms = 0;
	if (crew->config.hang_timeout_ms == 0) {
		forget_all(crew);
		return;
	}
	for (struct pair *pair = crew->pairs; pair; pair = pair->next) {
		if (pair->state == PAIR_STARTING)
			continue;
		if (has_moved(pair, crew->now_ms) ||
		    !let_sleep(pair, crew->now_ms) || pair->stopped_ms != 0)
			busy = true;
		note_stuck(crew, pair);
		if (pair->stopped_ms != 0)
			kill_if_stopped(crew, pair);
		else
			abort_if_hung(crew, pair);
	}
	if (busy)
		hang_wake(crew);
}

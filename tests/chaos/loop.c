#include <sys/signalfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/common/clock.h"
#include "tests/common/die.h"

enum {
	SHOW_MS = 100,
};

void
show(const struct chaos *c, const char *end)
{
	printf("%5.1f s  kills %" PRIu64 "  reloads %" PRIu64
	       "  connections %" PRIu64 "  verified %.1f MB  lost %" PRIu64
	       "  wrong %" PRIu64 "  worst gap %" PRIu64 " ms%s",
	    (double)(c->now_ms - c->begun_ms) / 1000, kills_of_all(c),
	    c->reloads, loads_sum(c, "open") + loads_sum(c, "connections"),
	    (double)loads_sum(c, "bytes") / 1e6, loads_sum(c, "lost"),
	    loads_sum(c, "wrong"), loads_worst_gap(c), end);
	fflush(stdout);
}

static struct load *
load_by_pid(struct chaos *c, pid_t pid)
{
	for (int kind = 0; kind < LOADS; kind++)
		if (c->loads[kind].pid == pid)
			return &c->loads[kind];
	return NULL;
}

/* Dies anybody before he was told to? Then it is over. */
static void
reap(struct chaos *c)
{
	struct load *load;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		load = load_by_pid(c, pid);
		if (load != NULL) {
			load->pid = 0;
			load->status = status;
		} else if (pid == c->master) {
			c->master_died = true;
		}
		c->end_ms = c->now_ms;
	}
}

static void
hear_signal(struct chaos *c)
{
	struct signalfd_siginfo info;

	if (read(c->signals, &info, sizeof info) < 0)
		die("read of the signalfd", "a bug in chaos");
	if (info.ssi_signo == SIGCHLD) {
		reap(c);
	} else {
		c->interrupted = true;
		c->end_ms = c->now_ms;
	}
}

static void
turn(struct chaos *c, int timeout_ms)
{
	struct pollfd fds[LOADS + 1];

	fds[LOADS] = (struct pollfd) { .fd = c->signals, .events = POLLIN };
	for (int kind = 0; kind < LOADS; kind++)
		fds[kind] = (struct pollfd) { .fd = c->loads[kind].out,
			.events = POLLIN };
	if (poll(fds, LOADS + 1, timeout_ms) < 0 && errno != EINTR)
		die("poll", "a bug in chaos");
	c->now_ms = clock_ms();
	for (int kind = 0; kind < LOADS; kind++)
		if (fds[kind].revents != 0)
			hear_load(&c->loads[kind]);
	if (fds[LOADS].revents != 0)
		hear_signal(c);
	if (c->now_ms >= c->show_ms) {
		c->show_ms = c->now_ms + SHOW_MS;
		if (isatty(STDOUT_FILENO))
			show(c, "\033[K\r");
	}
}

/* The streams have to be there before descriptors run out. */
void
start_loads(struct chaos *c)
{
	c->now_ms = clock_ms();
	c->end_ms = c->now_ms + START_MS;
	for (int kind = 0; kind < LOADS; kind++) {
		if (c->opt.connections[kind] == 0)
			continue;
		start_load(c, (enum load_kind)kind);
		while (c->now_ms < c->end_ms &&
		    load_count(&c->loads[kind], "bytes") == 0)
			turn(c, 1);
	}
}

void
rage(struct chaos *c)
{
	int64_t planned_ms;

	c->begun_ms = c->now_ms = clock_ms();
	c->kill_ms = c->reload_ms = c->now_ms;
	planned_ms = c->now_ms + (int64_t)c->opt.seconds * 1000;
	c->end_ms = planned_ms + MISSING_MS;
	while (c->now_ms < c->end_ms &&
	    (c->now_ms < planned_ms || lacks_evidence(c)) &&
	    (c->opt.kills == 0 || kills_of_all(c) < c->opt.kills)) {
		act(c);
		turn(c, 1);
	}
}

static void
stop_load(struct chaos *c, enum load_kind kind)
{
	struct load *load = &c->loads[kind];

	if (load->pid == 0)
		return;
	kill(load->pid, SIGTERM);
	c->now_ms = clock_ms();
	c->end_ms = c->now_ms + FINISH_MS;
	while (load->pid != 0 && c->now_ms < c->end_ms)
		turn(c, 10);
	if (load->pid == 0)
		return;
	kill(load->pid, SIGKILL);
	waitpid(load->pid, &load->status, 0);
	load->pid = 0;
}

/* Last to come, first to go. */
void
stop_loads(struct chaos *c)
{
	int64_t ended_ms = c->now_ms;

	for (int kind = LOADS - 1; kind >= 0; kind--)
		stop_load(c, (enum load_kind)kind);
	for (int kind = 0; kind < LOADS; kind++)
		while (c->loads[kind].out >= 0)
			hear_load(&c->loads[kind]);
	c->now_ms = ended_ms;
}

#include "lib/master/generation.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/master/pair.h"

enum {
	MESSAGES = 256, /* heard in one wake-up */
	ASK_MS = 100,	/* between two questions whether anybody lives */
};

/* ---- processes ----------------------------------------------------------- */

static _Noreturn void
become_loader(
    struct loader_birth *birth, int (*load)(const struct loader_birth *))
{
	int *ends[] = { &birth->control };

	birth_follow(birth->master);
	birth_keep_only(ends, 1);
	birth_leave_master();
	log_limit(birth->config->log_level);
	birth_place(birth->master, 0, false);
	_exit(load(birth)); /* what exit(3) would do is the master's to do */
}

struct generation *
generation_fork(const struct config *config,
    int (*load)(const struct loader_birth *), uint64_t now_ms)
{
	struct generation *g = calloc(1, sizeof *g);
	struct loader_birth birth = { .master = getpid(), .config = config };
	int ends[2] = { -1, -1 };
	pid_t pid = -1;

	if (g && control_pair(ends) == 0)
		pid = fork();
	birth.control = ends[1];
	if (pid == 0)
		become_loader(&birth, load);
	if (ends[1] >= 0)
		close(ends[1]);
	if (pid < 0) {
		if (ends[0] >= 0)
			close(ends[0]);
		free(g);
		return NULL;
	}
	g->control = ends[0];
	g->loaders[0] = g->first = pid;
	g->began_ms = now_ms;
	g->start_timeout_ms = config->start_timeout_ms;
	if (g->start_timeout_ms > 0)
		g->deadline_ms = now_ms + g->start_timeout_ms;
	return g;
}

static void
hang_up(struct generation *g)
{
	if (g->control >= 0)
		close(g->control);
	g->control = -1;
}

void
generation_free(struct generation *g)
{
	hang_up(g);
	free(g);
}

/* Which place PID has, or -1; of 0: a place that is free. */
static int
find(const struct generation *g, pid_t pid)
{
	for (int i = 0; i < GENERATION_LOADERS; i++)
		if (g->loaders[i] == pid)
			return i;
	return -1;
}

bool
generation_has(const struct generation *g, pid_t pid)
{
	return pid > 0 && find(g, pid) >= 0;
}

static bool
lacks_one(const struct generation *g)
{
	return find(g, 0) >= 0;
}

static bool
has_any(const struct generation *g)
{
	return g->loaders[0] > 0 || g->loaders[1] > 0;
}

bool
generation_is_gone(const struct generation *g)
{
	return !has_any(g) && g->state > GENERATION_STOPPING;
}

/* They are ours, as they have not been reaped. */
static void
signal_all(const struct generation *g, int number)
{
	for (int i = 0; i < GENERATION_LOADERS; i++)
		if (g->loaders[i] > 0)
			kill(g->loaders[i], number);
}

/* ---- orders -------------------------------------------------------------- */

static int
order(struct generation *g, enum control_type type, uint64_t value, int fd)
{
	const struct control_message message = { .type = type, .value = value };

	/* Whichever of the two reads it first carries it out: one that a signal
	 * has stopped may be the only one. */
	if (g->halted)
		signal_all(g, SIGCONT);
	g->halted = false;
	return control_send(g->control, &message, fd);
}

int
generation_bear(struct generation *g, unsigned slot, int control)
{
	if (g->state != GENERATION_READY) {
		errno = EAGAIN;
		return -1;
	}
	return order(g, CONTROL_BEAR, slot, control);
}

static void
order_clone(struct generation *g, uint64_t now_ms)
{
	if (order(g, CONTROL_CLONE, 0, -1) < 0)
		backoff_begin(&g->clone, now_ms);
}

void
generation_stop(struct generation *g, uint64_t now_ms)
{
	if (g->state != GENERATION_READY || order(g, CONTROL_STOP, 0, -1) < 0) {
		generation_kill(g);
		return;
	}
	g->state = GENERATION_STOPPING;
	g->deadline_ms = now_ms + GENERATION_STOP_MS;
}

void
generation_kill(struct generation *g)
{
	signal_all(g, SIGKILL);
	hang_up(g); /* one that we do not know of ends by that */
	g->state = GENERATION_OVER;
	g->deadline_ms = 0;
}

/* ---- words --------------------------------------------------------------- */

/* Nobody is left. */
static void
lose(struct generation *g)
{
	hang_up(g);
	g->state = GENERATION_LOST;
	g->deadline_ms = 0;
}

/* There are to be two. A third can come of an order to a loader that has died
 * before it could say that it had carried it out. */
static void
know(struct generation *g, pid_t pid)
{
	int place = find(g, 0);

	if (generation_has(g, pid) || !pair_is_child(pid))
		return;
	if (place >= 0)
		g->loaders[place] = pid;
	else
		kill(pid, SIGKILL); /* ours, as it has not been reaped */
}

/* It has been asked whether anybody lives. */
static void
know_speaker(struct generation *g, pid_t pid, uint64_t now_ms)
{
	if (g->state != GENERATION_READY)
		return;
	know(g, pid);
	g->deadline_ms = 0;
	if (lacks_one(g))
		order_clone(g, now_ms);
}

static void
know_spare(struct generation *g, pid_t pid, uint64_t error, uint64_t now_ms)
{
	if (pid > 0) {
		backoff_end(&g->clone);
		know(g, pid);
		if (lacks_one(g))
			order_clone(g, now_ms); /* it has died already */
		return;
	}
	if (g->clone.wait_ms == 0)
		log_warning(
		    "cannot clone the loader: %s; trying until it can be done",
		    strerror((int)error));
	backoff_begin(&g->clone, now_ms);
}

static void
take(struct generation *g, const struct control_message *message,
    uint64_t now_ms)
{
	switch (message->type) {
	case CONTROL_DOING:
		memcpy(g->doing, message->text, sizeof g->doing);
		break;
	case CONTROL_FAILED:
		memcpy(g->cause, message->text, sizeof g->cause);
		g->useless = message->value != 0;
		break;
	case CONTROL_READY:
		if (g->state != GENERATION_LOADING)
			break;
		g->state = GENERATION_READY;
		g->deadline_ms = 0;
		*g->doing = '\0';
		know_spare(g, message->standby, message->value, now_ms);
		break;
	case CONTROL_BORN:
		know_speaker(g, message->pid, now_ms);
		break;
	case CONTROL_CLONED:
		know(g, message->pid);
		know_spare(g, message->standby, message->value, now_ms);
		break;
	}
}

/* All of its processes have gone. */
static void
hear_end(struct generation *g)
{
	if (g->state == GENERATION_READY)
		lose(g);
	else if (g->state == GENERATION_STOPPING)
		generation_kill(g);
	else
		hang_up(g);
}

void
generation_hear(struct generation *g, uint64_t now_ms)
{
	struct control_message message;
	int fd, result;

	for (int n = 0; n < MESSAGES && g->control >= 0; n++) {
		result =
		    control_receive(g->control, &message, &fd, MSG_DONTWAIT);
		control_discard(fd);
		if (result > 0)
			take(g, &message, now_ms);
		else if (result == 0)
			hear_end(g);
		else if (errno != EPROTO)
			return;
	}
}

/* ---- deaths -------------------------------------------------------------- */

static void
describe(struct generation *g, const char *how)
{
	const bool told = *g->cause, busy = !told && *g->doing;
	int length = snprintf(g->end, sizeof g->end, "%s%s%s", how,
	    told       ? ": "
		: busy ? " while "
		       : "",
	    told       ? g->cause
		: busy ? g->doing
		       : "");

	if (g->overdue)
		snprintf(g->end + length, sizeof g->end - (size_t)length,
		    ": not ready in %" PRIu64 " ms (start-timeout)",
		    g->start_timeout_ms);
}

static void
fail(struct generation *g, int status)
{
	g->killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	describe(g, pair_death(status).text);
	hang_up(g);
	g->state = GENERATION_FAILED;
}

static void
end_stopping(struct generation *g, pid_t pid, int status)
{
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		log_warning("loader (pid %d) %s%s%s", (int)pid,
		    pair_death(status).text, *g->doing ? " while " : "",
		    g->doing);
	generation_kill(g);
}

/* One of those that wait for orders. If it was the last that we know of it may
 * have cloned another and not said so. That one speaks, or the socket ends. */
static void
lose_one(struct generation *g, pid_t pid, int status, uint64_t now_ms)
{
	log_warning("loader (pid %d) %s; the other clones one", (int)pid,
	    pair_death(status).text);
	if (has_any(g)) {
		order_clone(g, now_ms);
		return;
	}
	g->deadline_ms = now_ms + GENERATION_ANSWER_MS;
	g->ask_ms = now_ms;
}

void
generation_died(struct generation *g, pid_t pid, int status, uint64_t now_ms)
{
	g->loaders[find(g, pid)] = 0; /* generation_has it */
	switch (g->state) {
	case GENERATION_LOADING:
		fail(g, status);
		break;
	case GENERATION_READY:
		lose_one(g, pid, status, now_ms);
		break;
	case GENERATION_STOPPING:
		end_stopping(g, pid, status);
		break;
	case GENERATION_FAILED:
	case GENERATION_LOST:
	case GENERATION_OVER:
		break;
	}
}

/* ---- time ---------------------------------------------------------------- */

static void
enforce_deadline(struct generation *g)
{
	if (g->state == GENERATION_READY) {
		lose(g);
		return;
	}
	log_warning("loader (pid %d) is still %s: killing it", (int)g->first,
	    *g->doing ? g->doing : "starting");
	g->deadline_ms = 0;
	g->overdue = g->state == GENERATION_LOADING;
	signal_all(g, SIGKILL);
	if (!g->overdue && !has_any(g))
		generation_kill(g);
}

void
generation_keep_time(struct generation *g, uint64_t now_ms)
{
	if (g->deadline_ms != 0 && now_ms >= g->deadline_ms)
		enforce_deadline(g);
	if (g->state == GENERATION_READY && !has_any(g) &&
	    now_ms >= g->ask_ms) {
		g->ask_ms = now_ms + ASK_MS;
		order(g, CONTROL_SPEAK, 0, -1); /* if it fails, again then */
	}
	if (g->state == GENERATION_READY && backoff_is_due(&g->clone, now_ms)) {
		g->clone.due_ms = 0; /* the wait stays, if it fails anew */
		order_clone(g, now_ms);
	}
}

uint64_t
generation_due_ms(const struct generation *g)
{
	if (g->state != GENERATION_READY)
		return g->deadline_ms;
	return clock_earlier(
	    g->deadline_ms, has_any(g) ? g->clone.due_ms : g->ask_ms);
}

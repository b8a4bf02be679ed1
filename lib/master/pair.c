#include "lib/master/pair.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"

const char *const pair_state_names[] = {
	[PAIR_STARTING] = "starting",
	[PAIR_READY] = "ready",
	[PAIR_SERVING] = "serving",
	[PAIR_RETIRING] = "retiring",
	[PAIR_ENDING] = "ending",
};

unsigned
pair_fds(const struct config *config, unsigned *wanted)
{
	struct rlimit limit;

	*wanted = config->max_connections + SLOT_FDS_BESIDE;
	/* Cannot fail: the resource and the address are good. */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* up to the hard limit: allowed */
	return limit.rlim_max < *wanted ? (unsigned)limit.rlim_max : *wanted;
}

struct pair_ends
pair_ends(struct pair *pair)
{
	return (struct pair_ends) { { &pair->control, &pair->waiting } };
}

/* Ends that are -1 were not made. */
static void
close_ends(const int ends[PAIR_ENDS])
{
	for (int i = 0; i < PAIR_ENDS; i++)
		if (ends[i] >= 0)
			close(ends[i]);
}

/* Makes the pairs: the master's ends into PAIR, the slot's into THEIRS. */
static int
make_controls(struct pair *pair, int theirs[PAIR_ENDS])
{
	struct pair_ends ours = pair_ends(pair);
	int ends[2];

	for (int i = 0; i < PAIR_ENDS; i++) {
		if (control_pair(ends) < 0)
			return -1;
		*ours.fd[i] = ends[0];
		theirs[i] = ends[1];
	}
	return 0;
}

static struct pair *
fail(struct pair *pair, const int theirs[PAIR_ENDS])
{
	int saved_errno = errno;

	close_ends(theirs);
	pair_free(pair);
	errno = saved_errno;
	return NULL;
}

static struct pair *
make(unsigned slot, const struct config *config, unsigned least_fds)
{
	struct pair *pair = calloc(1, sizeof *pair);
	unsigned wanted;

	if (!pair)
		return NULL;
	pair->slot = slot;
	pair->patience = PAIR_PATIENCE; /* it may die before the next look */
	for (int i = 0; i < PAIR_ENDS; i++)
		*pair_ends(pair).fd[i] = -1;
	pair->fds = pair_fds(config, &wanted);
	if (pair->fds < least_fds)
		pair->fds = least_fds;
	return pair;
}

static _Noreturn void
become_worker(struct birth *birth, int (*run)(const struct birth *))
{
	int *ends[PAIR_ENDS] = { &birth->control, &birth->waiting };

	birth_follow(birth->master);
	birth_keep_only(ends, PAIR_ENDS);
	birth_leave_master();
	birth_limit_fds(birth->memory->fds);
	log_limit(birth->config->log_level);
	birth_place(birth->master, birth->slot, birth->config->pin_cpus);
	_exit(run(birth)); /* what exit(3) would do is the master's to do */
}

struct pair *
pair_fork(unsigned slot, const struct config *config, unsigned least_fds,
    int (*run)(const struct birth *))
{
	struct pair *pair = make(slot, config, least_fds);
	int theirs[PAIR_ENDS] = { -1, -1 };
	struct birth birth = {
		.slot = slot, .master = getpid(), .config = config
	};

	if (!pair)
		return NULL;
	pair->memory = slot_map(pair->fds);
	if (!pair->memory || make_controls(pair, theirs) < 0 ||
	    slot_inherit(pair->memory, pair->fds, true) < 0)
		return fail(pair, theirs);
	birth.memory = pair->memory;
	birth.control = theirs[0];
	birth.waiting = theirs[1];
	pair->worker = fork();
	if (pair->worker == 0)
		become_worker(&birth, run);
	if (pair->worker < 0)
		return fail(pair, theirs);
	slot_inherit(pair->memory, pair->fds, false); /* did so in slot_map */
	close_ends(theirs);
	return pair;
}

/* What the first process receives before all else. */
static void
send_belongings(struct pair *pair, int file, int waiting)
{
	const struct control_message memory = { .type = CONTROL_MEMORY,
		.value = pair->fds };
	const struct control_message socket = { .type = CONTROL_WAITING };

	pair_send(pair, &memory, file);
	pair_send(pair, &socket, waiting);
}

struct pair *
pair_bear(unsigned slot, const struct config *config, unsigned least_fds,
    struct generation *generation)
{
	struct pair *pair = make(slot, config, least_fds);
	int theirs[PAIR_ENDS] = { -1, -1 };
	int file;

	if (!pair)
		return NULL;
	pair->memory = slot_map_file(pair->fds, &file);
	if (!pair->memory)
		return fail(pair, theirs);
	if (make_controls(pair, theirs) < 0 ||
	    generation_bear(generation, slot, theirs[0]) < 0) {
		close(file);
		return fail(pair, theirs);
	}
	pair->generation = generation;
	send_belongings(pair, file, theirs[1]);
	close(file);
	close_ends(theirs);
	return pair;
}

static void
kill_one(pid_t pid)
{
	if (pid > 0)
		kill(pid, SIGKILL); /* ours, as it has not been reaped */
}

bool
pair_is_child(pid_t pid)
{
	siginfo_t unused;

	return pid > 0 && child_look(pid, WEXITED | WNOWAIT, &unused);
}

pid_t *
pair_find_dying(struct pair *pair, pid_t pid)
{
	for (int i = 0; i < PAIR_DYING; i++)
		if (pair->dying[i] == pid)
			return &pair->dying[i];
	return NULL;
}

bool
pair_has(struct pair *pair, pid_t pid)
{
	return pair->worker == pid || pair->standby == pid ||
	    pair_find_dying(pair, pid);
}

bool
pair_has_any(const struct pair *pair)
{
	return pair->worker > 0 || pair->standby > 0 || pair_has_dying(pair);
}

void
pair_forget(struct pair *pair, pid_t pid)
{
	pid_t *dying = pair_find_dying(pair, pid);

	if (pair->standby == pid)
		pair->standby = 0;
	if (dying)
		*dying = 0;
}

void
pair_dismiss(struct pair *pair, pid_t pid)
{
	if (!pair_is_child(pid) || pair_find_dying(pair, pid))
		return;
	kill_one(pid);
	for (int i = 0; i < PAIR_DYING; i++)
		if (pair->dying[i] == 0) {
			pair->dying[i] = pid;
			return;
		}
}

bool
pair_has_dying(const struct pair *pair)
{
	for (int i = 0; i < PAIR_DYING; i++)
		if (pair->dying[i] != 0)
			return true;
	return false;
}

void
pair_kill(struct pair *pair)
{
	kill_one(pair->worker);
	kill_one(pair->standby);
	pair->deadline_ms = 0;
}

void
pair_continue(struct pair *pair)
{
	if (pair->standby_stopped && pair->standby > 0)
		kill(pair->standby, SIGCONT); /* ours, as above */
	pair->standby_stopped = false;
}

bool
pair_has_standby(const struct pair *pair)
{
	return pair->standby > 0;
}

void
pair_continue_worker(const struct pair *pair)
{
	if (pair->worker > 0)
		kill(pair->worker, SIGCONT); /* ours, as above */
}

void
pair_kill_worker(struct pair *pair)
{
	pair->killed = true;
	kill_one(pair->worker);
}

/* It asks and asks, and reads no answer: that is no worker of ours any more. */
static void
give_up_deaf(struct pair *pair)
{
	log_warning("worker %u (pid %d) leaves %d messages unread: killing "
		    "its slot",
	    pair->slot, (int)pair->worker, OUTBOX_MAX);
	outbox_clear(&pair->outbox);
	pair_kill(pair);
}

void
pair_send(struct pair *pair, const struct control_message *message, int fd)
{
	if (pair->control < 0)
		return;
	if (!pair->outbox.first) {
		if (control_send(pair->control, message, fd) == 0 ||
		    control_is_over(errno))
			return;
		pair->deaf_ms = 0; /* since the next look: pair_send_rest */
	}
	if (outbox_put(&pair->outbox, message, fd))
		return;
	if (errno == ENOBUFS)
		give_up_deaf(pair);
	else
		pair_kill_worker(pair); /* its successor is told all anew */
}

void
pair_send_rest(struct pair *pair, uint64_t now_ms)
{
	if (!pair->outbox.first)
		return;
	if (outbox_send(&pair->outbox, pair->control) || pair->deaf_ms == 0) {
		pair->deaf_ms = now_ms;
	} else if (pair->outbox.first && pair->worker > 0 &&
	    pair_has_standby(pair) && now_ms >= pair->deaf_ms + PAIR_DEAF_MS) {
		log_warning("worker %u (pid %d) has not read for %d ms: "
			    "killing it",
		    pair->slot, (int)pair->worker, PAIR_DEAF_MS);
		pair->deaf_ms = now_ms;
		pair_kill_worker(pair);
	}
}

void
pair_order(struct pair *pair, enum control_type type, uint64_t value)
{
	const struct control_message message = {
		.type = type, .pid = pair->worker, .value = value
	};

	pair_send(pair, &message, -1);
}

bool
pair_send_waiting(
    const struct pair *pair, const struct control_message *message)
{
	/* Nobody there is no error: the end of the whole slot shows it. */
	return pair->waiting < 0 ||
	    control_send(pair->waiting, message, -1) == 0 ||
	    control_is_over(errno);
}

/* signal(7); libc has no portable way to name them. */
static const char *const signal_names[] = {
	[SIGHUP] = "SIGHUP",
	[SIGINT] = "SIGINT",
	[SIGQUIT] = "SIGQUIT",
	[SIGILL] = "SIGILL",
	[SIGTRAP] = "SIGTRAP",
	[SIGABRT] = "SIGABRT",
	[SIGBUS] = "SIGBUS",
	[SIGFPE] = "SIGFPE",
	[SIGKILL] = "SIGKILL",
	[SIGUSR1] = "SIGUSR1",
	[SIGSEGV] = "SIGSEGV",
	[SIGUSR2] = "SIGUSR2",
	[SIGPIPE] = "SIGPIPE",
	[SIGALRM] = "SIGALRM",
	[SIGTERM] = "SIGTERM",
	[SIGXCPU] = "SIGXCPU",
	[SIGXFSZ] = "SIGXFSZ",
	[SIGVTALRM] = "SIGVTALRM",
	[SIGPROF] = "SIGPROF",
	[SIGIO] = "SIGIO",
	[SIGSYS] = "SIGSYS",
	[SIGPWR] = "SIGPWR",
	[SIGSTKFLT] = "SIGSTKFLT",
	[SIGTTIN] = "SIGTTIN",
	[SIGTTOU] = "SIGTTOU",
	[SIGSTOP] = "SIGSTOP",
	[SIGTSTP] = "SIGTSTP",
};

struct pair_signal
pair_signal(int number)
{
	const int known = sizeof signal_names / sizeof signal_names[0];
	struct pair_signal name;

	if (number >= 0 && number < known && signal_names[number])
		snprintf(
		    name.text, sizeof name.text, "%s", signal_names[number]);
	else
		snprintf(name.text, sizeof name.text, "signal %d", number);
	return name;
}

struct pair_death
pair_death(int status)
{
	struct pair_death death;

	if (!WIFSIGNALED(status)) {
		snprintf(death.text, sizeof death.text, "exited with status %d",
		    WEXITSTATUS(status));
		return death;
	}
	snprintf(death.text, sizeof death.text, "was killed by %s%s",
	    pair_signal(WTERMSIG(status)).text,
	    WCOREDUMP(status) ? " (core dumped)" : "");
	return death;
}

void
pair_hang_up(struct pair *pair)
{
	struct pair_ends ends = pair_ends(pair);

	for (int i = 0; i < PAIR_ENDS; i++) {
		if (*ends.fd[i] >= 0)
			close(*ends.fd[i]); /* leaves the epoll instance, too */
		*ends.fd[i] = -1;
	}
}

void
pair_free(struct pair *pair)
{
	pair_hang_up(pair);
	outbox_clear(&pair->outbox);
	if (pair->memory)
		slot_unmap(pair->memory, pair->fds);
	free(pair);
}

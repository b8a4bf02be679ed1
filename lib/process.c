#include "process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "title.h"

const char *const process_state_names[] = {
	[PROCESS_STARTING] = "starting",
	[PROCESS_READY] = "ready",
	[PROCESS_SERVING] = "serving",
	[PROCESS_RETIRING] = "retiring",
	[PROCESS_DRAINING] = "draining",
};

unsigned
process_fds(const struct config *config, unsigned *wanted)
{
	struct rlimit limit;

	*wanted = config->max_connections + SLOT_FDS_BESIDE;
	/* Cannot fail: the resource and the address are good. */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit); /* up to the hard limit: allowed */
	return limit.rlim_max < *wanted ? (unsigned)limit.rlim_max : *wanted;
}

/* Closes all but the standard streams and KEEP. close_range(2) has no wrapper
 * in every libc. */
static void
close_all_but(int keep)
{
	if (keep > 3)
		syscall(SYS_close_range, 3U, (unsigned)keep - 1, 0U);
	syscall(SYS_close_range, (unsigned)keep + 1, ~0U, 0U);
}

/* Only the master acts on these, also where a terminal or systemd sends them to
 * the whole group. */
static void
reset_signals(void)
{
	static const int ignored[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM,
		SIGUSR1, SIGTTIN, SIGTTOU };
	sigset_t none;

	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
		signal(ignored[i], SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Pins to the Nth of the CPUs allowed, counted round. */
static void
pin(unsigned n)
{
	cpu_set_t allowed, one;

	if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
		return;
	n %= (unsigned)CPU_COUNT(&allowed);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || n-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof one, &one) < 0)
			log_warning(
			    "cannot pin to CPU %zu: %s", cpu, strerror(errno));
		return;
	}
}

static _Noreturn void
become_worker(const struct process_start *start, pid_t master,
    int (*run)(const struct process_start *))
{
	struct rlimit limit = { .rlim_cur = start->memory->fds };
	char name[32];

	/* The master's death by any means is ours; it may be over already. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(0);
	close_all_but(start->control);
	reset_signals();
	limit.rlim_max = start->memory->fds;
	setrlimit(RLIMIT_NOFILE, &limit); /* lowers both: cannot fail */
	snprintf(name, sizeof name, "worker %u", start->slot);
	title_set(name);
	log_name(name);
	log_limit(start->config->log_level);
	if (start->config->pin_cpus)
		pin(start->slot);
	_exit(run(start)); /* what exit(3) would do is the master's to do */
}

static struct process *
fail(struct process *process, int pair[2])
{
	int saved_errno = errno;

	if (process)
		process_free(process);
	if (pair[1] >= 0)
		close(pair[1]);
	errno = saved_errno;
	return NULL;
}

struct process *
process_fork(unsigned slot, const struct config *config,
    int (*run)(const struct process_start *))
{
	struct process *process = calloc(1, sizeof *process);
	struct process_start start = { .slot = slot, .config = config };
	pid_t master = getpid();
	int pair[2] = { -1, -1 };
	unsigned wanted;

	if (!process)
		return NULL;
	process->control = -1;
	process->memory = slot_map(process_fds(config, &wanted));
	if (!process->memory || control_pair(pair) < 0)
		return fail(process, pair);
	process->control = pair[0];
	start.memory = process->memory;
	start.control = pair[1];
	if (slot_inherit(process->memory, true) < 0)
		return fail(process, pair);
	process->pid = fork();
	if (process->pid == 0)
		become_worker(&start, master, run);
	if (process->pid < 0)
		return fail(process, pair);
	slot_inherit(process->memory, false); /* did so in slot_map */
	close(pair[1]);
	process->slot = slot;
	process->state = PROCESS_STARTING;
	process->started_ms = clock_ms();
	return process;
}

void
process_kill(struct process *process)
{
	kill(process->pid, SIGKILL); /* ours, as it has not been reaped */
	process->deadline_ms = 0;
}

void
process_send(
    struct process *process, const struct control_message *message, int fd)
{
	if (process->control >= 0 &&
	    control_send(process->control, message, fd) < 0 && errno == EAGAIN)
		process_kill(process);
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
};

struct process_death
process_death(int status)
{
	size_t known = sizeof signal_names / sizeof signal_names[0];
	struct process_death death;
	const char *core = "";
	int number;

	if (!WIFSIGNALED(status)) {
		snprintf(death.text, sizeof death.text, "exited with status %d",
		    WEXITSTATUS(status));
		return death;
	}
	number = WTERMSIG(status);
	if (WCOREDUMP(status))
		core = " (core dumped)";
	if ((size_t)number < known && signal_names[number])
		snprintf(death.text, sizeof death.text, "was killed by %s%s",
		    signal_names[number], core);
	else
		snprintf(death.text, sizeof death.text,
		    "was killed by signal %d%s", number, core);
	return death;
}

void
process_free(struct process *process)
{
	if (process->control >= 0)
		close(process->control);
	if (process->memory)
		slot_unmap(process->memory);
	free(process);
}

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/common/clock.h"
#include "tests/common/die.h"

enum {
	EMFILE_SPARE = 40, /* descriptors of a worker beside its streams */
};

/* Descriptors for the streams, spread unevenly, and not for much else. */
static void
limit_descriptors(const struct options *o)
{
	rlim_t n = (o->connections[STREAMS] + o->connections[URGENT]) * 4 / 3 /
		o->workers +
	    EMFILE_SPARE;
	const struct rlimit limit = { .rlim_cur = n, .rlim_max = n };

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("setrlimit", "a higher ulimit -n is needed");
}

void
unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static _Noreturn void
become_server(const struct chaos *c)
{
	char workers[24], listen[LINE];

	snprintf(listen, sizeof listen, "127.0.0.1:0=%s", c->opt.service);
	snprintf(workers, sizeof workers, "%" PRIu64, c->opt.workers);
	unblock_signals();
	setpgid(0, 0); /* a Ctrl-C is for us alone */
	if (c->opt.emfile)
		limit_descriptors(&c->opt);
	dup2(c->log, STDERR_FILENO);
	execl(c->opt.server, c->opt.server, "--listen", listen, "--workers",
	    workers, NULL);
	die(c->opt.server, "build it with make, or say --server PATH");
}

char *
read_log(const struct chaos *c)
{
	off_t size = lseek(c->log, 0, SEEK_END);
	char *text = calloc((size_t)size + 1, 1);

	if (text == NULL || pread(c->log, text, (size_t)size, 0) < 0)
		die("the server's log", "a bug in chaos");
	return text;
}

/* Until the server says that it is ready it may die, too. */
static bool
server_is_ready(struct chaos *c)
{
	char *log = read_log(c), *at = strstr(log, "starting on 127.0.0.1:");
	bool ready = at != NULL && strstr(log, "ready: ") != NULL;

	if (ready)
		sscanf(at, "starting on 127.0.0.1:%7[0-9]", c->port);
	else if (waitpid(c->master, NULL, WNOHANG) != 0) {
		fprintf(stderr, "chaos: the server ended at once:\n%s", log);
		exit(1);
	}
	free(log);
	return ready;
}

void
start_server(struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t begin = clock_ms(), end = begin + START_MS;

	if (c->opt.log != NULL)
		c->log = open(c->opt.log,
		    O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	else
		c->log = memfd_create("log", MFD_CLOEXEC);
	if (c->log < 0 || fcntl(c->log, F_SETFL, O_APPEND) < 0)
		die("the server's log", "say --log FILE where one can be");
	c->master = fork();
	if (c->master == 0)
		become_server(c);
	while (!server_is_ready(c)) {
		if (clock_ms() > end) {
			errno = ETIMEDOUT;
			die("the server's start", "is it preforkd?");
		}
		nanosleep(&moment, NULL);
	}
	if (!settle(c))
		complain(c, "the server does not start its processes");
	c->slowest_ms = clock_ms() - begin;
	c->descriptors = count_descriptors(c, false);
}

/* Orphans of the server become our children (PR_SET_CHILD_SUBREAPER). */
static unsigned
reap_orphans(void)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t end = clock_ms() + 2000;
	char text[LINE], *at, *next;
	unsigned count = 0;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && clock_ms() < end)
		if (pid == 0)
			nanosleep(&moment, NULL);
	if (pid < 0)
		return 0;
	read_children(text, sizeof text, getpid());
	for (at = text; (pid = (pid_t)strtol(at, &next, 10)) > 0; at = next) {
		kill(pid, SIGKILL);
		count++;
	}
	return count;
}

void
stop_server(struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t end = clock_ms() + SETTLE_MS;
	int status = 0;
	pid_t pid;

	if (c->master_died)
		return;
	kill(c->master, SIGTERM);
	while ((pid = waitpid(c->master, &status, WNOHANG)) == 0 &&
	    clock_ms() < end)
		nanosleep(&moment, NULL);
	if (pid == 0) {
		complain(c, "the server does not end by TERM");
		kill(c->master, SIGKILL);
		waitpid(c->master, NULL, 0);
	} else if (status != 0) {
		complain(c, "the server did not end with status 0");
	}
	if (reap_orphans() > 0)
		complain(c, "the server left processes behind");
}

#include "lib/slot/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/close.h"
#include "lib/base/cpus.h"
#include "lib/base/log.h"

static int
compare(const void *a, const void *b)
{
	return **(int *const *)a - **(int *const *)b;
}

void
birth_keep_only(int *fds[], size_t count)
{
	int next = STDERR_FILENO + 1;

	qsort(fds, count, sizeof *fds, compare);
	for (size_t i = 0; i < count; i++, next++) {
		if (*fds[i] != next)
			dup3(*fds[i], next, O_CLOEXEC); /* within the limit */
		*fds[i] = next;
	}
	close_between((unsigned)next, ~0U);
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

/* The master is never pinned: where it may run its workers may. */
void
birth_place(pid_t master, unsigned n, bool pinned)
{
	size_t wanted_size, actual_size;
	cpu_set_t *wanted = cpus_of(master, &wanted_size);
	cpu_set_t *actual = cpus_of(0, &actual_size);

	if (wanted && actual && wanted_size == actual_size) {
		if (pinned)
			cpus_choose(wanted, wanted_size, n);
		if (!CPU_EQUAL_S(wanted_size, wanted, actual) &&
		    sched_setaffinity(0, wanted_size, wanted) < 0)
			log_warning("cannot choose a CPU: %s", strerror(errno));
	}
	CPU_FREE(wanted); /* NULL, too: free(3) */
	CPU_FREE(actual);
}

/* Where memory runs out the kernel's OOM killer is to take a slot, which the
 * master makes anew, and never the master. What it had, as from systemd's
 * OOMScoreAdjust=, is added to; whatever is cloned from here inherits it. To
 * raise it needs no privilege, but the file is root's while the process is not
 * dumpable (proc(5), /proc/pid). */
static void
volunteer_for_oom(void)
{
	enum { BEFORE_THE_MASTER = 500, MOST = 1000 };
	int fd, length, score = 0, dumpable = prctl(PR_GET_DUMPABLE);
	char text[16] = "";

	prctl(PR_SET_DUMPABLE, 1);
	fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	prctl(PR_SET_DUMPABLE, dumpable == 1);
	if (fd < 0)
		return; /* no /proc: all are alike then */
	if (read(fd, text, sizeof text - 1) > 0)
		score = atoi(text) + BEFORE_THE_MASTER;
	length = snprintf(text, sizeof text, "%d", score < MOST ? score : MOST);
	if (pwrite(fd, text, (size_t)length, 0) < 0)
		log_warning("cannot raise oom_score_adj: %s", strerror(errno));
	close(fd);
}

void
birth_leave_master(void)
{
	volunteer_for_oom();
	reset_signals();
}

void
birth_follow(pid_t master)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(0);
}

void
birth_limit_fds(unsigned fds)
{
	const struct rlimit limit = { .rlim_cur = fds, .rlim_max = fds };

	setrlimit(RLIMIT_NOFILE, &limit); /* lowers both: cannot fail */
}

pid_t
birth_clone(int flags)
{
	const int all = flags | CLONE_PARENT | SIGCHLD;

	return (pid_t)syscall(SYS_clone, all, 0L, 0L, 0L, 0L);
}

#include "lib/worker/standby.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void
standby_size_table(unsigned fds)
{
	/* Where it fails the table grows later, which only takes longer. */
	if (dup2(STDERR_FILENO, (int)fds - 1) >= 0)
		close((int)fds - 1);
}

/* The system call itself: libc's fork has no flags. Nothing that its fork
 * handlers would do is missed by a process of one thread. */
static long
clone_once(const struct loop *loop)
{
	long pid;
	int error;

	if (slot_inherit(loop->memory, loop->fds, true) < 0)
		return -1;
	pid = syscall(
	    SYS_clone, CLONE_FILES | CLONE_PARENT | SIGCHLD, 0L, 0L, 0L, 0L);
	error = errno;
	slot_inherit(loop->memory, loop->fds, false); /* it did so before */
	errno = error;
	return pid;
}

pid_t
standby_clone(const struct loop *loop, pid_t master)
{
	long pid = clone_once(loop);

	if (pid < 0)
		pid = clone_once(loop); /* then it is for the master to wait */
	if (pid != 0)
		return (pid_t)pid;
	/* A clone does not inherit this; the master may be gone already. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != master)
		_exit(0);
	return 0;
}

#include "lib/worker/standby.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "lib/slot/birth.h"

void
standby_size_table(unsigned fds)
{
	/* Where it fails the table grows later, which only takes longer. */
	if (dup2(STDERR_FILENO, (int)fds - 1) >= 0)
		close((int)fds - 1);
}

static pid_t
clone_once(const struct loop *loop)
{
	pid_t pid;
	int error;

	if (slot_inherit(loop->memory, loop->fds, true) < 0)
		return -1;
	pid = birth_clone(CLONE_FILES);
	error = errno;
	slot_inherit(loop->memory, loop->fds, false); /* it did so before */
	errno = error;
	return pid;
}

pid_t
standby_clone(const struct loop *loop, pid_t master)
{
	pid_t pid = clone_once(loop);

	if (pid < 0)
		pid = clone_once(loop); /* then it is for the master to wait */
	if (pid == 0)
		birth_follow(master); /* a clone does not inherit that */
	return pid;
}

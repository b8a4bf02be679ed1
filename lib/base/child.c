#include "lib/base/child.h"

#include <errno.h>
#include <sys/wait.h>

bool
child_look(pid_t pid, int options, siginfo_t *info)
{
	const idtype_t which = pid > 0 ? P_PID : P_ALL;
	int result;

	do {
		*info = (siginfo_t) { .si_pid = 0 };
		result = waitid(which, (id_t)pid, info, options | WNOHANG);
	} while (result < 0 && errno == EINTR);
	return result == 0;
}

bool
child_reap(pid_t pid, int *status)
{
	pid_t result;

	do
		result = waitpid(pid, status, 0);
	while (result < 0 && errno == EINTR);
	return result == pid;
}

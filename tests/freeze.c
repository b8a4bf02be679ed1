/*
 * freeze SECONDS PID...: stops processes for a while as a debugger does, a
 * frozen cgroup or a suspended machine: without a signal, so that nobody is
 * told (ptrace(2), PTRACE_SEIZE). The first goes on first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void
check(long result, const char *what)
{
	if (result >= 0)
		return;
	perror(what);
	exit(1);
}

int
main(int argc, char *argv[])
{
	for (int i = 2; i < argc; i++) {
		pid_t pid = (pid_t)atoi(argv[i]);

		check(ptrace(PTRACE_SEIZE, pid, 0, 0), "PTRACE_SEIZE");
		check(ptrace(PTRACE_INTERRUPT, pid, 0, 0), "PTRACE_INTERRUPT");
		check(waitpid(pid, NULL, __WALL), "waitpid");
	}
	if (argc > 2)
		sleep((unsigned)atoi(argv[1]));
	for (int i = 2; i < argc; i++)
		check(ptrace(PTRACE_DETACH, (pid_t)atoi(argv[i]), 0, 0),
		    "PTRACE_DETACH");
	return 0;
}

/*
 * hold MASTER ROLE CALL entry|exit [COUNT]: waits until MASTER has a child
 * whose title is "preforkd: ROLE", and stops it at the COUNTth such system call
 * from then on. Says "traced", then "held". When its stdin ends the child is
 * killed where it stands.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name;
	unsigned long long number;
} calls[] = {
	{ "accept4", SYS_accept4 },
	{ "clone", SYS_clone },
	{ "close", SYS_close },
	{ "clock_nanosleep", SYS_clock_nanosleep },
	{ "dup2", SYS_dup2 },
	{ "recvmsg", SYS_recvmsg },
	{ "sendmsg", SYS_sendmsg },
};

static _Noreturn void
fail(const char *what)
{
	fprintf(stderr, "hold: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool
has_title(int pid, const char *role)
{
	char path[64], title[128] = "", wanted[128];
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	snprintf(wanted, sizeof wanted, "preforkd: %s", role);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(title, sizeof title, file))
		*title = '\0';
	fclose(file);
	return strcmp(title, wanted) == 0;
}

/* Returns 0 where there is none. */
static int
find(const char *master, const char *role)
{
	char path[64];
	FILE *file;
	int pid, found = 0;

	snprintf(
	    path, sizeof path, "/proc/%s/task/%s/children", master, master);
	file = fopen(path, "r");
	if (!file)
		fail(path);
	while (found == 0 && fscanf(file, "%d", &pid) == 1)
		if (has_title(pid, role))
			found = pid;
	fclose(file);
	return found;
}

static unsigned long long
number_of(const char *name)
{
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].number;
	errno = EINVAL;
	fail(name);
}

/* Lets PID go on to its next stop at a system call. */
static void
step(int pid, int number)
{
	int status;

	do {
		ptrace(PTRACE_SYSCALL, pid, NULL, (long)number);
		if (waitpid(pid, &status, __WALL) < 0 || !WIFSTOPPED(status))
			fail("it has ended");
		number = status >> 16 ? 0 : WSTOPSIG(status);
	} while (WSTOPSIG(status) != (SIGTRAP | 0x80));
}

static void
run_to(int pid, unsigned long long number, bool entry, int count)
{
	struct __ptrace_syscall_info info;

	while (count > 0) {
		step(pid, 0);
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) <
		    0)
			fail("ptrace");
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY ||
		    info.entry.nr != number)
			continue;
		if (--count == 0 && entry)
			return;
		step(pid, 0); /* to its exit */
	}
}

int
main(int argc, char **argv)
{
	const struct timespec moment = { .tv_nsec = 200000 };
	char byte;
	int pid;

	if (argc < 5)
		return 2;
	for (int fd = STDERR_FILENO + 1; fd < 256; fd++)
		close(fd); /* the test's connections are not ours */
	while ((pid = find(argv[1], argv[2])) == 0)
		nanosleep(&moment, NULL);
	if (ptrace(PTRACE_SEIZE, pid, NULL, (long)PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 ||
	    waitpid(pid, NULL, __WALL) < 0)
		fail("cannot trace it");
	puts("traced");
	fflush(stdout);
	run_to(pid, number_of(argv[3]), strcmp(argv[4], "entry") == 0,
	    argc > 5 ? atoi(argv[5]) : 1);
	puts("held");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		continue;
	kill(pid, SIGKILL);
	return 0;
}

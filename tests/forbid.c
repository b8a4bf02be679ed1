/*
 * forbid: runs a program that may not make a system call, as a container's
 * filter does.
 *
 *	forbid CALL ERROR[:N:LEAST] PROGRAM ARGUMENT...
 *
 * With :N:LEAST the call is refused only where its argument N is below LEAST.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <sys/prctl.h>
#include <sys/syscall.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct name {
	const char *text;
	unsigned value;
};

static const struct name calls[] = {
	{ "pwritev2", SYS_pwritev2 },
	{ "sched_getaffinity", SYS_sched_getaffinity },
	{ NULL, 0 },
};

static const struct name errors[] = {
	{ "EPERM", EPERM },
	{ "EINVAL", EINVAL },
	{ NULL, 0 },
};

static unsigned
find(const struct name *names, const char *text)
{
	for (; names->text; names++)
		if (strcmp(names->text, text) == 0)
			return names->value;
	fprintf(stderr, "forbid: unknown name %s\n", text);
	exit(2);
}

static int
forbid(unsigned call, unsigned error, unsigned argument, unsigned least)
{
	const unsigned nr = offsetof(struct seccomp_data, nr);
	/* little-endian: its low half */
	const unsigned arg = (unsigned)(offsetof(struct seccomp_data, args) +
	    argument * sizeof(__u64));
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, arg),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, least, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { sizeof filter / sizeof filter[0],
		filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int
main(int argc, char **argv)
{
	unsigned argument = 0, least = ~0u;
	char *rest;

	if (argc < 4)
		return 2;
	rest = strchr(argv[2], ':');
	if (rest) {
		*rest++ = '\0';
		if (sscanf(rest, "%u:%u", &argument, &least) != 2)
			return 2;
	}
	if (forbid(find(calls, argv[1]), find(errors, argv[2]), argument,
		least) < 0) {
		perror("forbid");
		return 1;
	}
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 1;
}

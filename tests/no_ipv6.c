/*
 * no_ipv6: runs a program as on a machine without IPv6.
 *
 * A seccomp filter makes socket(AF_INET6, ...) fail with EAFNOSUPPORT, as
 * the kernel does when it is booted with ipv6.disable=1.
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
	BPF_STMT(
	    BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

int
main(int argc, char *argv[])
{
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]),
		.filter = filter };

	if (argc < 2) {
		fprintf(stderr,
		    "no_ipv6: no program: expected its name and "
		    "arguments\n");
		return 2;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		fprintf(stderr,
		    "no_ipv6: seccomp: %s: a kernel with "
		    "CONFIG_SECCOMP_FILTER is needed\n",
		    strerror(errno));
		return 1;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "no_ipv6: %s: %s\n", argv[1], strerror(errno));
	return 127;
}

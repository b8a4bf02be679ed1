/*
 * sockopts: prints the options of another process's TCP connections.
 *
 *	sockopts PID
 *
 * prints a line for each established TCP socket of the process, such as
 * `fd 7 nodelay 1 keepalive 1 oobinline 1`.  It copies the sockets with
 * pidfd_getfd(), so it needs the right to trace that process.
 */
#include <sys/socket.h>
#include <sys/syscall.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int
option(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int value = 0;

	if (getsockopt(fd, level, name, &value, &len) < 0)
		return -1;
	return value;
}

static void
print_options(const char *name, int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    info.tcpi_state != TCP_ESTABLISHED)
		return;
	printf("fd %s nodelay %d keepalive %d oobinline %d\n", name,
	    option(fd, IPPROTO_TCP, TCP_NODELAY) != 0,
	    option(fd, SOL_SOCKET, SO_KEEPALIVE) != 0,
	    option(fd, SOL_SOCKET, SO_OOBINLINE) != 0);
}

static void
print_socket(int process, const char *name)
{
	int fd = (int)syscall(SYS_pidfd_getfd, process, atoi(name), 0);

	if (fd < 0) {
		fprintf(stderr,
		    "sockopts: fd %s: %s: expected the right to "
		    "trace the process\n",
		    name, strerror(errno));
		exit(1);
	}
	print_options(name, fd);
	close(fd);
}

int
main(int argc, char *argv[])
{
	char path[64];
	struct dirent *entry;
	DIR *fds;
	int process;

	if (argc != 2) {
		fprintf(stderr, "sockopts: expected one argument, a PID\n");
		return 2;
	}
	snprintf(path, sizeof(path), "/proc/%d/fd", atoi(argv[1]));
	fds = opendir(path);
	process = (int)syscall(SYS_pidfd_open, atoi(argv[1]), 0);
	if (fds == NULL || process < 0) {
		fprintf(stderr,
		    "sockopts: process \"%s\": %s: expected the "
		    "PID of a running process\n",
		    argv[1], strerror(errno));
		return 1;
	}
	while ((entry = readdir(fds)) != NULL)
		if (entry->d_name[0] != '.')
			print_socket(process, entry->d_name);
	closedir(fds);
	close(process);
	return 0;
}

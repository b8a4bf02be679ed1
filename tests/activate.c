/*
 * activate: runs a program with sockets, as systemd does (sd_listen_fds(3)).
 *
 *	activate [OPTION]... [KIND:ADDRESS:PORT | KIND]... -- PROGRAM
 *ARGUMENT...
 *
 * KIND is tcp; reuse, which others can be bound to as well; v6only; mptcp;
 * idle, which is bound and does not listen; udp; unix, seqpacket and fifo,
 *which have no address.
 *
 *	-b N	the backlog of those that listen (4096)
 *	-f N	LISTEN_FDS, whatever there is
 *	-p PID	LISTEN_PID
 *	-n TEXT	LISTEN_FDNAMES
 *	-w FILE	waits until there is such a file before it runs the program
 *	-h	leaves a process that holds the sockets, as systemd would, for
 *as long as the program runs
 */
#include <sys/prctl.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/address.h"

enum { FIRST = 3 };

static int next = FIRST;

static _Noreturn void __attribute__((format(printf, 1, 2)))
fail(const char *format, ...)
{
	va_list arguments;

	fputs("activate: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", strerror(errno));
	exit(2);
}

/* FD becomes the next that is passed. */
static void
pass(int fd)
{
	if (fd < 0)
		fail("cannot open a descriptor");
	if (fd != next && (dup2(fd, next) < 0 || close(fd) < 0))
		fail("cannot move descriptor %d to %d", fd, next);
	next++;
}

static void
set(int fd, int level, int option)
{
	const int on = 1;

	if (setsockopt(fd, level, option, &on, sizeof on) < 0)
		fail("setsockopt");
}

static void
pass_bound(const char *kind, const char *where, int backlog)
{
	bool udp = strcmp(kind, "udp") == 0, idle = strcmp(kind, "idle") == 0;
	struct address address;
	int fd;

	if (address_parse(where, &address) != NULL)
		fail("invalid address \"%s\"", where);
	fd =
	    socket(address.socket.any.sa_family, udp ? SOCK_DGRAM : SOCK_STREAM,
		strcmp(kind, "mptcp") == 0 ? IPPROTO_MPTCP : 0);
	if (fd < 0)
		fail("cannot make a socket of kind %s", kind);
	set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (strcmp(kind, "reuse") == 0)
		set(fd, SOL_SOCKET, SO_REUSEPORT);
	if (strcmp(kind, "v6only") == 0)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (bind(fd, &address.socket.any, address.length) < 0 ||
	    (!udp && !idle && listen(fd, backlog) < 0))
		fail("cannot listen on %s", where);
	pass(fd);
}

static void
pass_unbound(const char *kind)
{
	int ends[2];

	if (strcmp(kind, "fifo") == 0) {
		if (pipe(ends) < 0)
			fail("pipe");
		pass(ends[0]);
		close(ends[1]);
	} else {
		pass(socket(AF_UNIX,
		    strcmp(kind, "unix") == 0 ? SOCK_STREAM : SOCK_SEQPACKET,
		    0));
	}
}

static void
pass_kind(char *text, int backlog)
{
	char *colon = strchr(text, ':');

	if (!colon) {
		pass_unbound(text);
		return;
	}
	*colon = '\0';
	pass_bound(text, colon + 1, backlog);
}

static void
hold(void)
{
	const pid_t parent = getpid();
	pid_t child = fork();

	if (child < 0)
		fail("fork");
	if (child > 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static void
set_number(const char *name, const char *given, int number)
{
	char text[16];

	snprintf(text, sizeof text, "%d", number);
	setenv(name, given ? given : text, 1);
}

int
main(int argc, char *argv[])
{
	const char *fds = NULL, *pid = NULL, *names = NULL, *file = NULL;
	bool holds = false;
	int backlog = 4096, option;

	while ((option = getopt(argc, argv, "+b:f:p:n:w:h")) != -1)
		switch (option) {
		case 'b':
			backlog = atoi(optarg);
			break;
		case 'f':
			fds = optarg;
			break;
		case 'p':
			pid = optarg;
			break;
		case 'n':
			names = optarg;
			break;
		case 'w':
			file = optarg;
			break;
		case 'h':
			holds = true;
			break;
		default:
			return 2;
		}
	if (strcmp(argv[optind - 1], "--") == 0)
		optind--;
	for (; optind < argc && strcmp(argv[optind], "--") != 0; optind++)
		pass_kind(argv[optind], backlog);
	if (holds)
		hold();
	set_number("LISTEN_FDS", fds, next - FIRST);
	set_number("LISTEN_PID", pid, getpid());
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
	while (file && access(file, F_OK) < 0)
		poll(NULL, 0, 10);
	if (optind + 1 >= argc)
		return 2;
	execvp(argv[optind + 1], argv + optind + 1);
	fail("%s", argv[optind + 1]);
}

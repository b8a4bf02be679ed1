#include "lib/base/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/socket.h"
#include "lib/base/text.h"

enum variable {
	LISTEN_PID,
	LISTEN_FDS,
	LISTEN_FDNAMES,
	LISTEN_PIDFDID, /* of newer systemds; LISTEN_PID says enough */
	VARIABLES
};

static const char *const variables[VARIABLES] = {
	[LISTEN_PID] = "LISTEN_PID",
	[LISTEN_FDS] = "LISTEN_FDS",
	[LISTEN_FDNAMES] = "LISTEN_FDNAMES",
	[LISTEN_PIDFDID] = "LISTEN_PIDFDID",
};

/* Their values, which the environment owns no more. */
static const char *values[VARIABLES];

/* Reads digits, with nothing before or behind them. */
static bool
parse_number(const char *text, unsigned long most, unsigned long *number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	*number = strtoul(text, &end, 10); /* too large: ULONG_MAX */
	return *end == '\0' && *number <= most;
}

bool
inherited_parse(const char *pid, const char *fds, pid_t self, unsigned *count)
{
	unsigned long number;

	*count = 0;
	if (!pid || !fds || !parse_number(pid, INT_MAX, &number) ||
	    (pid_t)number != self)
		return true;
	if (!parse_number(fds, INT_MAX - INHERITED_FIRST, &number))
		return false;
	*count = (unsigned)number;
	return true;
}

/* Stops at the first that is not open, however many were promised. */
static void
close_on_exec(struct inherited *in)
{
	const unsigned end = INHERITED_FIRST + in->count;

	for (unsigned fd = INHERITED_FIRST; fd < end; fd++)
		if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
			snprintf(in->error, sizeof in->error,
			    "LISTEN_FDS: invalid value \"%u\": descriptor %u "
			    "is not open: expected how many are, from %d on",
			    in->count, fd, INHERITED_FIRST);
			in->count = 0;
			return;
		}
}

void
inherited_take(struct inherited *in)
{
	for (int i = 0; i < VARIABLES; i++) {
		values[i] = getenv(variables[i]);
		unsetenv(variables[i]); /* the name is good: cannot fail */
	}
	*in = (struct inherited) { .names = "" };
	if (values[LISTEN_FDNAMES])
		in->names = values[LISTEN_FDNAMES];
	if (!inherited_parse(
		values[LISTEN_PID], values[LISTEN_FDS], getpid(), &in->count))
		snprintf(in->error, sizeof in->error,
		    "LISTEN_FDS: invalid value \"%.*s\": expected how many "
		    "descriptors are passed, a number",
		    text_cut(values[LISTEN_FDS], 64), values[LISTEN_FDS]);
	close_on_exec(in);
}

/* The Nth name, and its length; an empty one where there are fewer. */
static const char *
find_name(const char *names, int n, size_t *length)
{
	for (; n > 0; n--) {
		names += strcspn(names, ":");
		names += *names == ':';
	}
	*length = strcspn(names, ":");
	return names;
}

struct inherited_text
inherited_name(const struct inherited *in, int fd)
{
	struct inherited_text result;
	size_t length;
	const char *name = find_name(in->names, fd - INHERITED_FIRST, &length);

	if (length == 0)
		snprintf(result.text, sizeof result.text, "descriptor %d", fd);
	else
		snprintf(result.text, sizeof result.text,
		    "descriptor %d (%.*s)", fd,
		    text_cut(name, length < 64 ? length : 64), name);
	return result;
}

/* Returns -1 where it is no socket. */
static int
option(int fd, int name)
{
	int value;

	return socket_option(fd, SOL_SOCKET, name, &value) ? value : -1;
}

static const char *
flaw_of_file(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return "is not open";
	return S_ISFIFO(status.st_mode) ? "is a FIFO" : "is no socket";
}

static const char *
flaw_of_protocol(int protocol)
{
	switch (protocol) {
	case IPPROTO_UDP:
		return "is a UDP socket";
	case IPPROTO_MPTCP:
		return "is a Multipath TCP socket";
	default:
		return "is no TCP socket";
	}
}

const char *
inherited_flaw(int fd, struct address *bound)
{
	const int domain = option(fd, SO_DOMAIN);
	const int protocol = option(fd, SO_PROTOCOL);

	if (domain < 0)
		return flaw_of_file(fd);
	if (domain == AF_UNIX)
		return "is a Unix socket";
	if (domain != AF_INET && domain != AF_INET6)
		return "is no Internet socket";
	if (protocol != IPPROTO_TCP || option(fd, SO_TYPE) != SOCK_STREAM)
		return flaw_of_protocol(protocol);
	if (option(fd, SO_ACCEPTCONN) != 1)
		return "is a TCP socket that does not listen";
	*bound = (struct address) { .length = sizeof bound->socket };
	if (getsockname(fd, &bound->socket.any, &bound->length) < 0)
		return "has no address";
	address_unmap(bound);
	return NULL;
}

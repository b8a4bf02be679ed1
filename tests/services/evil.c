/*
 * A worker that is taken over: a service that does to the master, on the slot's
 * own control sockets, what an attacker would. It echoes, but a line that
 * begins with "evil" is an attack by name; each is answered with a line when it
 * is done. README tells what such a slot may reach: itself.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/preforkd.h"
#include "lib/slot/control.h"
#include "lib/slot/slot.h"

/* The slot's ends, as a worker is born with them (pair.c). */
enum { CONTROL = 3, WAITING, ENDS_END };

static struct slot_memory *memory;

/* The master may not read: nothing here waits for it. */
static int
say(int end, const struct control_message *message, const int *fds,
    unsigned count)
{
	union {
		char bytes[CMSG_SPACE(2 * sizeof(int))];
		struct cmsghdr align;
	} rights = { { 0 } };
	struct iovec part = { (void *)message, sizeof *message };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (count > 0) {
		header.msg_control = &rights;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
		rights.align.cmsg_level = SOL_SOCKET;
		rights.align.cmsg_type = SCM_RIGHTS;
		rights.align.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&rights.align), fds, count * sizeof(int));
	}
	return (int)sendmsg(end, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Sends it COUNT times, each as soon as there is room. */
static void
repeat(const struct control_message *message, const int *fds, unsigned fd_count,
    long count)
{
	const struct timespec moment = { .tv_nsec = 20000 };

	while (count > 0)
		if (say(CONTROL, message, fds, fd_count) >= 0)
			count--;
		else if (errno == EAGAIN)
			nanosleep(&moment, NULL);
		else
			break;
}

/* A connection to ourselves whose other end takes nothing. */
static int
full_socket(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof at;
	int door = socket(AF_INET, SOCK_STREAM, 0);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	static char bytes[1 << 16];

	if (bind(door, (void *)&at, length) < 0 || listen(door, 1) < 0 ||
	    getsockname(door, (void *)&at, &length) < 0 ||
	    connect(fd, (void *)&at, length) < 0)
		abort();
	while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
		;
	return fd; /* the door stays open, so that the other end does */
}

/* Whoever closes it last waits for an hour, unless somebody sees to it. */
static void
send_lingering(unsigned count)
{
	const struct linger hour = { 1, 3600 };
	struct control_message message = { .type = CONTROL_WAKE };
	int fds[2];

	for (unsigned i = 0; i < count; i++) {
		fds[i] = full_socket();
		setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &hour, sizeof hour);
	}
	say(CONTROL, &message, fds, count);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

/* "A move is over", with a socket at which whoever writes to it blocks. */
static void
send_offer(void)
{
	struct control_message message = { .type = CONTROL_MOVED, .serial = 1 };
	int fd = full_socket();

	say(CONTROL, &message, &fd, 1);
	close(fd);
}

/* "I have a listener for you": another port's, of the first address. */
static void
send_listener(void)
{
	struct control_message message = { .type = CONTROL_LISTENING,
		.serial = memory->listeners[0].serial };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	listen(fd, 10);
	say(CONTROL, &message, &fd, 1);
	close(fd);
}

/* Every message that names a pid, as its sender or as a new process. */
static void
name(int pid)
{
	static const uint32_t types[] = { CONTROL_CLONED, CONTROL_READY,
		CONTROL_TAKEN };

	for (unsigned i = 0; i < sizeof types / sizeof types[0]; i++)
		for (int end = CONTROL; end < ENDS_END; end++) {
			struct control_message message = { .type = types[i],
				.pid = pid };

			say(end, &message, NULL, 0);
			message.pid = getpid();
			message.standby = pid;
			say(end, &message, NULL, 0);
		}
}

/* ---- at random ---------------------------------------------------------- */

static uint64_t seed;

static uint64_t
any(void) /* splitmix64 */
{
	uint64_t z = seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t
below(uint64_t end)
{
	return any() % end;
}

/* Values at which checks go wrong, and small ones. */
static uint64_t
odd_value(void)
{
	static const uint64_t edges[] = { 0, 1, 2, 63, 255, 256, 65535, 65536,
		INT32_MAX, 1U << 31, UINT32_MAX, UINT64_MAX, INT64_MAX,
		(uint64_t)1 << 32, (uint64_t)INT64_MAX + 1 };

	return below(3) == 0 ? below(100)
			     : edges[below(sizeof edges / sizeof edges[0])];
}

static int32_t
odd_pid(const int *pids, unsigned count)
{
	switch (below(4)) {
	case 0:
		return pids[below(count)];
	case 1:
		return getpid() + (int)below(40);
	case 2:
		return -(int)below(3);
	default:
		return (int)odd_value();
	}
}

static int
odd_descriptor(void)
{
	switch (below(5)) {
	case 0:
		return open("/dev/null", O_RDWR);
	case 1:
		return socket(AF_UNIX, SOCK_STREAM, 0);
	case 2:
		return socket(AF_INET, SOCK_STREAM, 0);
	case 3:
		return dup(CONTROL + (int)below(2));
	default:
		return dup(memory->listeners[0].fd);
	}
}

static void
say_anything(const int *pids, unsigned pid_count)
{
	struct control_message message = {
		.type = (uint32_t)(below(20) ? below(28) : odd_value()),
		.pid = odd_pid(pids, pid_count),
		.standby = odd_pid(pids, pid_count),
		.serial = below(2) ? below(4) << 16 | below(3) : odd_value(),
		.value = below(2) ? below(3) : odd_value(),
	};
	int fds[2] = { -1, -1 };
	unsigned count = below(3) ? 0 : 1 + (unsigned)below(2);

	for (size_t i = 0; i < sizeof message.text; i++)
		message.text[i] = (char)any();
	for (unsigned i = 0; i < count; i++)
		fds[i] = odd_descriptor();
	say(CONTROL + (int)below(2), &message, fds, count);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
}

static void
say_garbage(void)
{
	char bytes[2000];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)any();
	send(CONTROL + (int)below(2), bytes, below(sizeof bytes),
	    MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
scribble(void)
{
	static const size_t ends[] = { offsetof(
					   struct slot_memory, transaction),
		offsetof(struct slot_memory, listeners),
		offsetof(struct slot_memory, input) };
	uint64_t *words = (void *)memory;

	words[below(ends[below(3)] / sizeof *words)] = odd_value();
	if (below(2))
		memory->transaction.fd = (int)odd_value();
	if (below(2))
		memory->transaction.phase = (uint32_t)below(PHASES + 1);
}

/* PIDS begins with this process's; those of others follow. */
static void
fuzz(unsigned long count, const int *pids, unsigned pid_count, bool scribbles)
{
	while (count-- > 0) {
		uint64_t what = below(100);

		if (scribbles && what < 20)
			scribble();
		else if (what < 95)
			say_anything(pids, pid_count);
		else
			say_garbage();
	}
	if (scribbles)
		kill(getpid(), below(2) ? SIGKILL : SIGSEGV);
}

/* ---- the attacks by name ------------------------------------------------ */

static const char *
open_memory(int pid)
{
	char path[40];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	fd = open(path, O_RDWR);
	if (fd < 0)
		return "refused";
	close(fd);
	return "opened";
}

/* "worker 1" is what this process is called: the number of its slot. */
static long
slot_number(void)
{
	char title[64] = "";
	int fd = open("/proc/self/cmdline", O_RDONLY);
	ssize_t length = read(fd, title, sizeof title - 1);

	close(fd);
	return length > 0 ? strtol(strrchr(title, ' '), NULL, 10) : -1;
}

/* A child that goes on as if it were the worker. */
static void
stray(void)
{
	if (fork() != 0)
		usleep(20000);
}

static const char *
attack(const char *what, const long n[3])
{
	const struct control_message wake = { .type = CONTROL_WAKE };
	const struct control_message nobody = { .type = CONTROL_CLONED,
		.standby = INT32_MAX };
	const int fds[2] = { 0, 0 }, pids[3] = { getpid(), (int)n[2], 1 };
	static char text[32];

	snprintf(text, sizeof text, "done");
	if (strcmp(what, "who") == 0)
		snprintf(text, sizeof text, "slot %ld", slot_number());
	else if (strcmp(what, "mem") == 0)
		return open_memory((int)n[0]);
	else if (strcmp(what, "lingering") == 0)
		send_lingering(n[0] == 2 ? 2 : 1);
	else if (strcmp(what, "descriptors") == 0)
		repeat(&wake, fds, (unsigned)n[1], n[0]);
	else if (strcmp(what, "nobody") == 0)
		repeat(&nobody, NULL, 0, n[0]);
	else if (strcmp(what, "wake") == 0)
		repeat(&wake, NULL, 0, n[0]);
	else if (strcmp(what, "name") == 0)
		name((int)n[0]);
	else if (strcmp(what, "offer") == 0)
		send_offer();
	else if (strcmp(what, "listener") == 0)
		send_listener();
	else if (strcmp(what, "empty") == 0)
		send(CONTROL, "", 0, 0);
	else if (strcmp(what, "count") == 0)
		memory->counters.accepted = UINT64_MAX / 2;
	else if (strcmp(what, "stray") == 0)
		stray();
	else if (strcmp(what, "helper") == 0 && fork() == 0)
		for (;;)
			pause();
	else if (strcmp(what, "fuzz") == 0) {
		seed = (uint64_t)n[1];
		fuzz((unsigned long)n[0], pids, 3, false);
	} else if (strcmp(what, "scribble") == 0) {
		seed = (uint64_t)n[1];
		fuzz((unsigned long)n[0], pids, 3, true);
	}
	return text;
}

static size_t
evil_input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	const unsigned char *end = memchr(bytes, '\n', count);
	char line[80] = "", what[20] = "";
	long n[3] = { 0 };

	if (count < 4 || memcmp(bytes, "evil", 4) != 0 || !end ||
	    (size_t)(end - bytes) >= sizeof line) {
		preforkd_reply(conn, bytes, count);
		return count;
	}
	memcpy(line, bytes, (size_t)(end - bytes));
	sscanf(line, "evil %19s %ld %ld %ld", what, &n[0], &n[1], &n[2]);
	/* The line lies in the slot's input buffer. */
	memory = (void *)(bytes - (uintptr_t)bytes % SLOT_PAGE -
	    offsetof(struct slot_memory, input));
	preforkd_replyf(conn, "%s\n", attack(what, n));
	return (size_t)(end - bytes) + 1;
}

/* Beginning with a helper process is forbidden, too: "helper". */
static const char *
evil_start(const char *argument)
{
	if (argument && strcmp(argument, "helper") == 0 && fork() == 0)
		for (;;)
			pause();
	return NULL;
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "evil",
	.start = evil_start,
	.input = evil_input,
};

/*
 * every_instruction: kills a worker after each single instruction.
 *
 *	every_instruction [OPTION...] SERVER
 *
 *	--scenario NAME   only those whose name begins so, !NAME: only the
 *others (or: list)
 *	--from K, --to K  only these points
 *	--sample N        every Nth point, from a random one on
 *	--seconds S       random points of each scenario, for so long in all
 *
 * It starts the server with one worker, stops that worker with ptrace(2) at its
 * epoll_wait, does something as a client, and lets the worker go on for K
 * instructions; then comes SIGKILL. What follows is judged on the wire: every
 * byte comes back once and in its order, no connection is closed, and the slot
 * has as many descriptors and counts as many connections as before. Then the
 * same for K + 1, until the worker has come to its next epoll_wait. The server
 * stays the same: each point is one more take-over.
 *
 * A system call is one instruction: the points around it are before it and
 * after its effect. So is a `rep` instruction, however often it repeats.
 *
 * In the takeover scenarios the worker dies at one fixed place, and it is its
 * successor that dies after K instructions. K begins when the clone of the next
 * standby has returned: before that both deaths hit the slot's only processes.
 *
 * In the late scenarios it is the client that acts after K instructions:
 * its FIN, its last words with the FIN, or its RST comes there. Whoever was
 * stopped dies there and then, or some instructions later, or lives on.
 *
 * A line for each scenario says how many points were tried and how many went
 * wrong; each wrong one has a line with K and the place. The exit status is 0
 * where all is well, 1 where something is wrong, 2 for misuse, and 77 with the
 * reason where such tracing is not possible.
 */
#include <sys/types.h>

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_WRONG = 1, EXIT_MISUSE = 2, EXIT_IMPOSSIBLE = 77 };

#if !defined(__x86_64__)

int
main(void)
{
	puts("every_instruction: the registers of an x86-64 are expected here");
	return EXIT_IMPOSSIBLE;
}

#else

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include "lib/slot/slot.h"

#define RECORD UINT64_MAX /* in place of a point's number */

enum {
	PATIENCE_MS = 10000, /* for anything that the server is to do */
	POINT_MS = 60000,    /* for a point, most of which is stepping */
	POLL_US = 50,
	PROGRESS_MS = 10000,
	BYSTANDERS = 2, /* connections that live through all points */
	CLIENTS = 3,	/* at most, of one point */
	MESSAGE = 100,
	LEAST = 5,	/* random points of a scenario, whatever the time */
	WRONG_MAX = 20, /* then a scenario is given up */
	TURN_BYTES = 150 * 1024,  /* more than the worker reads in a turn */
	WARM_BYTES = 1024 * 1024, /* lets the receive window grow */
	WARM_STEP = 32 * 1024,
	FULL_BYTES = 12 * 1024, /* more than a small socket takes */
	SMALL_RECEIVE = 4096,
	SMALL_SEND = 1,
	TIME_BYTES = 4,	 /* RFC 868 */
	PATH = 1 << 18,	 /* instructions, at most */
	TABLE = 1 << 19, /* of addresses on it */
};

struct conn {
	int fd; /* -1: not open */
	uint64_t id;
	uint64_t sent;	   /* bytes */
	uint64_t verified; /* bytes that came back */
	bool ended;	   /* the server's FIN has come */
};

struct test;

/* Who dies, and from where on its instructions are counted. */
enum victim {
	WORKER,	   /* from its wake-up */
	SUCCESSOR, /* from its clone of a standby; the worker died before */
	ORDERED,   /* the successor, from when the master's orders wake it */
	CLONING,   /* the worker, from its clone of a standby, as that died */
};

/* What becomes of the victim at the point. */
enum fate { DIES, DIES_LATER, LIVES };

struct scenario {
	const char *name;
	bool (*prepare)(struct test *); /* nobody is traced yet */
	bool (*act)(struct test *);	/* the worker is about to wait */
	bool (*verify)(struct test *);	/* what must come, but for the rest */
	/* SUCCESSOR: where the worker dies: after this system call, and in
	 * PHASE where that is not 0. */
	long after;
	uint32_t phase;
	enum victim victim;
	bool (*late)(struct test *); /* what the client does at the point */
	enum fate fate;
};

struct options {
	const char *server;
	const char *service; /* that answers with its input's own bytes */
	const char *scenario;
	uint64_t from, to, sample, seconds;
};

/*
 * What a victim's instructions were when a point was tried for the first time.
 * To single-step to the 5,000th each time would take days: a breakpoint stops
 * it at an instruction before it, found by its address and by how often it has
 * come by (`visit`), and the rest is stepped.
 */
struct path {
	uint64_t length;      /* rip[length] is the next epoll_wait, or _exit */
	uint64_t rip[PATH];   /* 0: where the counting begins */
	uint32_t stops[PATH]; /* to get from here to the next: 1, or a `rep` */
	uint32_t visit[PATH]; /* of this address; 0: no place to stop at */
	bool clones; /* a clone would inherit the breakpoint, and die of it */
};

struct server {
	pid_t master, worker, standby;
	pid_t known; /* the worker when the next were read */
	int log;     /* a file in memory */
	off_t log_read;
	in_port_t port, time_port;	      /* the echo's, and of RFC 868 */
	int mem;			      /* the master's memory */
	uint64_t slot_memory;		      /* its address there */
	uint64_t text, text_end, text_offset; /* the last: in the file */
	int epoll;			      /* the slot's, a descriptor */
	unsigned fds; /* of the slot, with the bystanders alone */
};

struct test {
	struct options options;
	struct server server;
	struct conn bystanders[BYSTANDERS];
	struct conn clients[CLIENTS];
	struct path path;
	uint64_t ids;
	uint64_t random;
	bool steps_only; /* no breakpoints */
	int64_t progress_ms;
	/* Of the point: */
	uint64_t rip, own_rip; /* the second: the last in the server's text */
	uint32_t phase;
	bool strayed; /* another path than the first time */
	long entered; /* the last system call that was entered, or -1 */
	char failure[512];
	uint64_t points, wrong; /* of all scenarios */
};

static const char *const phase_names[PHASES] = {
	[PHASE_IDLE] = "IDLE",
	[PHASE_READ] = "READ",
	[PHASE_RUN] = "RUN",
	[PHASE_APPLY] = "APPLY",
	[PHASE_WRITE] = "WRITE",
	[PHASE_FLUSH] = "FLUSH",
	[PHASE_TELL] = "TELL",
	[PHASE_CLOSE] = "CLOSE",
	[PHASE_ACCEPT] = "ACCEPT",
	[PHASE_OPEN] = "OPEN",
	[PHASE_HEAR] = "HEAR",
	[PHASE_RELEASE] = "RELEASE",
	[PHASE_TAKE] = "TAKE",
};

/* ---- small things -------------------------------------------------------- */

static void __attribute__((noreturn))
die(int status, const char *what, const char *remedy)
{
	printf(
	    "every_instruction: %s: %s: %s\n", what, strerror(errno), remedy);
	exit(status);
}

/* Keeps the first cause. Returns false, for the caller to return. */
static bool __attribute__((format(printf, 2, 3)))
fail(struct test *t, const char *format, ...)
{
	va_list arguments;

	if (*t->failure != '\0')
		return false;
	va_start(arguments, format);
	vsnprintf(t->failure, sizeof(t->failure), format, arguments);
	va_end(arguments);
	return false;
}

static int64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The mixer of splitmix64: every bit of x reaches every bit of the result. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t
random_below(struct test *t, uint64_t limit)
{
	t->random += 0x9e3779b97f4a7c15u;
	return mix(t->random) % limit;
}

/* Reads a small file of /proc as a string. Returns its length, 0 where that
 * failed. */
static size_t
read_proc(pid_t pid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	*text = '\0';
	if (fd < 0)
		return 0;
	length = read(fd, text, size - 1);
	close(fd);
	text[length > 0 ? length : 0] = '\0';
	return length > 0 ? (size_t)length : 0;
}

/* Waits until CONDITION holds. Returns false where it took too long. */
static bool
wait_until(struct test *t, bool (*condition)(struct test *))
{
	int64_t end = clock_ms() + PATIENCE_MS;

	while (!condition(t)) {
		if (clock_ms() > end)
			return false;
		usleep(POLL_US);
	}
	return true;
}

/* ---- slot memory --------------------------------------------------------- */

static bool
peek(struct test *t, size_t offset, void *value, size_t size)
{
	off_t address = (off_t)(t->server.slot_memory + offset);

	if (pread(t->server.mem, value, size, address) == (ssize_t)size)
		return true;
	return fail(t, "slot memory is gone: the master has given the slot up");
}

#define PEEK(t, field, value)                               \
	peek(t, offsetof(struct slot_memory, field), value, \
	    sizeof(((struct slot_memory *)NULL)->field))

static uint64_t
open_connections(struct test *t)
{
	struct slot_counters counters = { 0 };

	PEEK(t, counters, &counters);
	return counters.accepted - counters.closed;
}

static size_t
connection_offset(int fd)
{
	return offsetof(struct slot_memory, connections) +
	    (size_t)fd * sizeof(struct connection);
}

/* The server's end of a connection. Returns its descriptor, or -1. */
static int
find_connection(struct test *t, const struct conn *c, struct connection *found)
{
	struct sockaddr_in own = { .sin_port = 0 };
	socklen_t length = sizeof(own);
	uint32_t used = 0, fds = 0;
	struct particulars p;

	getsockname(c->fd, (struct sockaddr *)&own, &length);
	if (!PEEK(t, fds_used, &used) || !PEEK(t, fds, &fds))
		return -1;
	for (int fd = 0; fd < (int)used; fd++)
		if (peek(t, connection_offset(fd), found, sizeof(*found)) &&
		    connection_is_open(found) &&
		    peek(t, slot_particulars_offset(fds, fd), &p, sizeof(p)) &&
		    p.peer_port == own.sin_port)
			return fd;
	return -1;
}

static uint64_t
pending(struct test *t, const struct conn *c)
{
	struct connection found;

	return find_connection(t, c, &found) < 0 ? 0
						 : connection_pending(&found);
}

/* ---- connections --------------------------------------------------------- */

/* What connection ID sends at POSITION. */
static unsigned char
code(uint64_t id, uint64_t position)
{
	return (
	    unsigned char)(mix(id << 32 ^ position / 8) >> position % 8 * 8);
}

static bool
conn_wait(struct test *t, const struct conn *c, short events)
{
	struct pollfd p = { .fd = c->fd, .events = events };
	struct connection found;

	if (poll(&p, 1, PATIENCE_MS) > 0)
		return true;
	return fail(t,
	    "after %d ms %s; sent %" PRIu64 ", verified %" PRIu64
	    ", the server's fd is %d",
	    (int)PATIENCE_MS,
	    events & POLLIN ? "nothing comes" : "the server does not read",
	    c->sent, c->verified, find_connection(t, c, &found));
}

static bool
conn_open_at(struct test *t, struct conn *c, in_port_t port, int receive_buffer)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = port,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int on = 1;

	*c = (struct conn) { .id = ++t->ids };
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die(EXIT_WRONG, "socket", "raise ulimit -n");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (receive_buffer > 0)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer,
		    sizeof(receive_buffer));
	if (connect(c->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return true;
	return fail(t, "connect: %s", strerror(errno));
}

static bool
conn_open(struct test *t, struct conn *c, int receive_buffer)
{
	return conn_open_at(t, c, t->server.port, receive_buffer);
}

static void
conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* Sends up to COUNT bytes, as many as the kernel takes at once. */
static bool
conn_push(struct test *t, struct conn *c, size_t count)
{
	static unsigned char bytes[TURN_BYTES];
	ssize_t sent;

	for (size_t i = 0; i < count; i++)
		bytes[i] = code(c->id, c->sent + i);
	sent = send(c->fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		c->sent += (uint64_t)sent;
	if (sent >= 0 || errno == EAGAIN)
		return true;
	return fail(t, "the connection is cut: send: %s", strerror(errno));
}

static bool
conn_send(struct test *t, struct conn *c, size_t count)
{
	uint64_t goal = c->sent + count;

	while (conn_push(t, c, (size_t)(goal - c->sent)) && c->sent < goal)
		if (!conn_wait(t, c, POLLOUT))
			return false;
	return c->sent == goal;
}

static bool
conn_check(
    struct test *t, struct conn *c, const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++, c->verified++) {
		if (c->verified >= c->sent)
			return fail(t,
			    "%zu bytes more than the %" PRIu64
			    " that were sent come back",
			    count - i, c->sent);
		if (bytes[i] != code(c->id, c->verified))
			return fail(t,
			    "the byte at %" PRIu64 " is %u instead of %u",
			    c->verified, bytes[i], code(c->id, c->verified));
	}
	return true;
}

/* Reads and verifies what is there. */
static bool
conn_read(struct test *t, struct conn *c)
{
	static unsigned char bytes[64 * 1024];
	ssize_t count;

	while ((count = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		if (!conn_check(t, c, bytes, (size_t)count))
			return false;
	c->ended = count == 0;
	if (count == 0 || errno == EAGAIN)
		return true;
	return fail(t, "the connection is cut: recv: %s", strerror(errno));
}

/* Reads until all that was sent has come back. */
static bool
conn_collect(struct test *t, struct conn *c)
{
	while (conn_read(t, c) && c->verified < c->sent) {
		if (c->ended)
			return fail(t,
			    "closed by the server at byte %" PRIu64
			    " of %" PRIu64,
			    c->verified, c->sent);
		if (!conn_wait(t, c, POLLIN))
			return false;
	}
	return *t->failure == '\0';
}

static bool
conn_echo(struct test *t, struct conn *c, size_t count)
{
	return conn_send(t, c, count) && conn_collect(t, c);
}

/* After our FIN: the rest comes, then the server's FIN, and nothing else. */
static bool
conn_end(struct test *t, struct conn *c)
{
	if (!conn_collect(t, c))
		return false;
	while (!c->ended)
		if (!conn_wait(t, c, POLLIN) || !conn_read(t, c))
			return false;
	conn_close(c);
	return true;
}

/* ---- the server ---------------------------------------------------------- */

static void __attribute__((noreturn))
become_server(struct test *t, pid_t parent)
{
	char listen[512];
	const char *arguments[] = { t->options.server, "--workers", "1",
		"--listen", listen, "--listen", "127.0.0.1:0=time", NULL };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_WRONG);
	snprintf(listen, sizeof(listen), "127.0.0.1:0=%s", t->options.service);
	setsid();
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(t->server.log, STDERR_FILENO);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("JOURNAL_STREAM");
	execv(t->options.server, (char **)arguments);
	_exit(EXIT_MISUSE);
}

/* Reads what the log has got since the last time. */
static void
read_log(struct test *t, char *text, size_t size)
{
	ssize_t length =
	    pread(t->server.log, text, size - 1, t->server.log_read);

	text[length > 0 ? length : 0] = '\0';
	t->server.log_read += length > 0 ? length : 0;
}

static void
print_log(struct test *t)
{
	char text[2048];
	off_t end = lseek(t->server.log, 0, SEEK_END);

	t->server.log_read = end > 1500 ? end - 1500 : 0;
	read_log(t, text, sizeof(text));
	printf("--- the log's end:\n%s---\n", text);
}

static bool
is_ready(struct test *t)
{
	char text[4096], *where;
	in_port_t port, time_port;

	t->server.log_read = 0;
	read_log(t, text, sizeof(text));
	where = strstr(text, " starting on ");
	if (where == NULL || strstr(text, "ready: ") == NULL ||
	    sscanf(where, " starting on 127.0.0.1:%hu, 127.0.0.1:%hu;", &port,
		&time_port) != 2)
		return false;
	t->server.port = htons(port);
	t->server.time_port = htons(time_port);
	return true;
}

/* Reads the master's map: where the slot memory is, and the server's text,
 * which all its processes have at the same place. False unless there is one
 * slot's: in the midst of a reload there are two. */
static bool
read_maps(struct test *t)
{
	struct server *s = &t->server;
	char path[64], line[512], rights[8], name[256], exe[256];
	uint64_t start, end, offset;
	unsigned slots;
	ssize_t length;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)s->master);
	length = readlink(path, exe, sizeof(exe) - 1);
	exe[length > 0 ? length : 0] = '\0';
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)s->master);
	maps = fopen(path, "re");
	s->slot_memory = s->text = 0;
	slots = 0;
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		*name = '\0';
		if (sscanf(line,
			"%" SCNx64 "-%" SCNx64 " %7s %" SCNx64 " %*s %*s %255s",
			&start, &end, rights, &offset, name) < 4)
			continue;
		/* It is in pieces, by a fence (slot.h). */
		if (strcmp(rights, "rw-s") == 0 && offset == 0 &&
		    (strcmp(name, "/dev/zero") == 0 ||
			strcmp(name, "/memfd:preforkd-slot") == 0)) {
			s->slot_memory = start;
			slots++;
		}
		if (strcmp(rights, "r-xp") == 0 && strcmp(name, exe) == 0) {
			s->text = start;
			s->text_end = end;
			s->text_offset = offset;
		}
	}
	if (maps != NULL)
		fclose(maps);
	return slots == 1 && s->text != 0;
}

static bool
open_memory(struct test *t)
{
	uint32_t magic = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)t->server.master);
	t->server.mem = open(path, O_RDWR | O_CLOEXEC);
	if (t->server.mem < 0)
		die(EXIT_IMPOSSIBLE, path,
		    "expected the right to trace processes of the same user");
	if (!read_maps(t) || !PEEK(t, magic, &magic) || magic != SLOT_MAGIC)
		return fail(t, "no slot memory in the master's map");
	return true;
}

/* The system call that a process waits in, or -1. */
static long
waits_in(pid_t pid)
{
	char text[256], *end;
	long number;

	if (read_proc(pid, "syscall", text, sizeof(text)) == 0)
		return -1;
	number = strtol(text, &end, 10);
	return end == text ? -1 : number;
}

static bool
is_epoll_wait(long number)
{
	return number == SYS_epoll_wait || number == SYS_epoll_pwait;
}

/* Finds worker and standby by their titles. Returns false unless the master has
 * these two children and no others but loaders, dead ones too. */
static bool
find_pair(struct test *t)
{
	char children[256], name[64], title[64], *next = children;
	struct server *s = &t->server;
	int others = 0;
	pid_t pid;

	snprintf(name, sizeof(name), "task/%d/children", (int)s->master);
	read_proc(s->master, name, children, sizeof(children));
	s->worker = s->standby = 0;
	while ((pid = (pid_t)strtol(next, &next, 10)) > 0) {
		read_proc(pid, "cmdline", title, sizeof(title));
		if (strcmp(title, "preforkd: worker 0") == 0)
			others += s->worker != 0, s->worker = pid;
		else if (strcmp(title, "preforkd: standby 0") == 0)
			others += s->standby != 0, s->standby = pid;
		else if (strcmp(title, "preforkd: loader") != 0)
			others++;
	}
	return others == 0 && s->worker > 0 && s->standby > 0;
}

/* Each is looked at twice, since one may have woken another that was looked at
 * before. */
static bool
all_wait(const struct server *s)
{
	bool all = true;

	for (int i = 0; i < 2; i++)
		all = all && is_epoll_wait(waits_in(s->worker)) &&
		    waits_in(s->standby) == SYS_recvmsg &&
		    is_epoll_wait(waits_in(s->master));
	return all;
}

/* True where the listener's events are on. */
static bool
is_armed(struct test *t)
{
	int listener = -1, fd;
	char text[4096], name[64], *line = text;
	unsigned events;

	peek(t, offsetof(struct slot_memory, listeners[0].fd), &listener,
	    sizeof(listener));
	snprintf(name, sizeof(name), "fdinfo/%d", t->server.epoll);
	read_proc(t->server.worker, name, text, sizeof(text));
	while ((line = strstr(line, "tfd:")) != NULL) {
		if (sscanf(line, "tfd: %d events: %x", &fd, &events) == 2 &&
		    fd == listener)
			return events & EPOLLIN;
		line++;
	}
	return false;
}

/* Counts the slot's descriptors, and finds its epoll instance among them. */
static unsigned
count_fds(struct test *t)
{
	char path[64], link[64];
	struct dirent *entry;
	unsigned count = 0;
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)t->server.worker);
	fds = opendir(path);
	while (fds != NULL && (entry = readdir(fds)) != NULL) {
		if (!isdigit((unsigned char)*entry->d_name))
			continue;
		count++;
		memset(link, 0, sizeof(link));
		if (t->server.epoll < 0 &&
		    readlinkat(dirfd(fds), entry->d_name, link,
			sizeof(link) - 1) > 0 &&
		    strcmp(link, "anon_inode:[eventpoll]") == 0)
			t->server.epoll = atoi(entry->d_name);
	}
	if (fds != NULL)
		closedir(fds);
	return count;
}

/* A reload gives the slot new processes, memory and descriptors. */
static bool
know_worker(struct test *t)
{
	struct server *s = &t->server;

	if (s->known == s->worker)
		return true;
	if (!read_maps(t))
		return false;
	s->epoll = -1;
	count_fds(t);
	s->known = s->worker;
	return true;
}

/* Nothing is under way: the pair is complete, and all three wait. */
static bool
is_at_rest(struct test *t)
{
	uint64_t begun = 0, done = 1;

	return find_pair(t) && know_worker(t) && all_wait(&t->server) &&
	    PEEK(t, begun, &begun) && PEEK(t, done, &done) && begun == done &&
	    is_armed(t);
}

static bool
rest(struct test *t)
{
	const struct server *s = &t->server;

	if (wait_until(t, is_at_rest))
		return true;
	return fail(t,
	    "after %d ms the server does not rest: worker %d in system call "
	    "%ld, standby %d in %ld, master in %ld, listener %s",
	    (int)PATIENCE_MS, (int)s->worker, waits_in(s->worker),
	    (int)s->standby, waits_in(s->standby), waits_in(s->master),
	    is_armed(t) ? "armed" : "not armed");
}

static bool
master_waits(struct test *t)
{
	return is_epoll_wait(waits_in(t->server.master));
}

static bool
open_bystanders(struct test *t)
{
	for (int i = 0; i < BYSTANDERS; i++)
		if (!conn_open(t, &t->bystanders[i], 0) ||
		    !conn_echo(t, &t->bystanders[i], MESSAGE))
			return false;
	return true;
}

static bool
server_start(struct test *t)
{
	struct server *s = &t->server;
	pid_t parent = getpid();

	*t->failure = '\0';
	s->epoll = -1;
	s->log = memfd_create("log", MFD_CLOEXEC);
	s->master = fork();
	if (s->log < 0 || s->master < 0)
		die(EXIT_WRONG, "fork", "too many processes");
	if (s->master == 0)
		become_server(t, parent);
	if (!wait_until(t, is_ready) || !wait_until(t, find_pair))
		return fail(t, "%s does not start", t->options.server);
	count_fds(t);
	if (!open_memory(t) || !open_bystanders(t) || !rest(t))
		return false;
	s->fds = count_fds(t);
	return true;
}

/* Reaps a master or somebody who is traced. */
static void
reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) == pid && !WIFSIGNALED(status) &&
	    !WIFEXITED(status))
		continue;
}

/* Its workers die with it; those that we trace, too, but we must see it. */
static void
server_kill(struct test *t)
{
	kill(t->server.master, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0 || errno == EINTR)
		continue;
	close(t->server.log);
	close(t->server.mem);
	for (int i = 0; i < BYSTANDERS; i++)
		conn_close(&t->bystanders[i]);
	for (int i = 0; i < CLIENTS; i++)
		conn_close(&t->clients[i]);
}

/* ---- tracing ------------------------------------------------------------- */

/* So that a wait for a process that hangs ends. */
static void
on_alarm(int number)
{
	(void)number;
}

static bool
is_continue(int status)
{
	return WIFSTOPPED(status) && WSTOPSIG(status) == SIGCONT;
}

/* The master's SIGCONT, which whoever is to take over gets, goes no further. */
static bool
wait_for_stop(struct test *t, pid_t pid, enum __ptrace_request request)
{
	int status;
	pid_t waited;

	while ((waited = waitpid(pid, &status, __WALL)) == pid &&
	    is_continue(status) && ptrace(request, pid, NULL, NULL) == 0)
		;
	if (waited != pid)
		return fail(t, "process %d does not get on: it waits in %ld",
		    (int)pid, waits_in(pid));
	if (!WIFSTOPPED(status))
		return fail(t, "process %d died of itself: status %#x",
		    (int)pid, (unsigned)status);
	if ((WSTOPSIG(status) & 0x7f) != SIGTRAP)
		return fail(
		    t, "process %d got signal %d", (int)pid, WSTOPSIG(status));
	return true;
}

static bool
resume(struct test *t, pid_t pid, enum __ptrace_request request)
{
	if (ptrace(request, pid, NULL, NULL) < 0)
		return fail(
		    t, "ptrace of process %d: %s", (int)pid, strerror(errno));
	return wait_for_stop(t, pid, request);
}

static bool
seize(struct test *t, pid_t pid)
{
	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0) {
		if (errno == EPERM)
			die(EXIT_IMPOSSIBLE, "ptrace",
			    "expected the right to trace processes of the "
			    "same user (see ptrace(2), ptrace_scope)");
		return fail(
		    t, "ptrace of process %d: %s", (int)pid, strerror(errno));
	}
	t->entered = -1;
	return wait_for_stop(t, pid, PTRACE_CONT);
}

/* Lets a process run until it enters a system call, any of those that IS_IT
 * says, or (LEAVES) until it leaves one, with success. */
static bool
run_to(struct test *t, pid_t pid, bool (*is_it)(long number, long wanted),
    long wanted, bool leaves)
{
	struct __ptrace_syscall_info info = { .op = 0 };

	for (;;) {
		if (!resume(t, pid, PTRACE_SYSCALL))
			return false;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <
		    0)
			die(EXIT_IMPOSSIBLE, "PTRACE_GET_SYSCALL_INFO",
			    "Linux 5.3 or later is expected");
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			t->entered = (long)info.entry.nr;
		if (is_it(t->entered, wanted) &&
		    (leaves ? info.op == PTRACE_SYSCALL_INFO_EXIT &&
				info.exit.rval >= 0
			    : info.op == PTRACE_SYSCALL_INFO_ENTRY))
			return true;
	}
}

static bool
is_number(long number, long wanted)
{
	return number == wanted;
}

static bool
is_wait(long number, long wanted)
{
	(void)wanted;
	return is_epoll_wait(number);
}

static bool
run_to_wait(struct test *t, pid_t pid)
{
	return run_to(t, pid, is_wait, 0, false);
}

static bool
is_at_syscall(pid_t pid, const struct user_regs_struct *regs)
{
	const long syscall_instruction = 0x050f;

	return (ptrace(PTRACE_PEEKTEXT, pid, regs->rip, NULL) & 0xffff) ==
	    syscall_instruction;
}

/* True where the next instruction is a system call that ends a path. */
static bool
is_at_end(pid_t pid, const struct user_regs_struct *regs)
{
	return (is_epoll_wait((long)regs->rax) ||
		   regs->rax == SYS_exit_group) &&
	    is_at_syscall(pid, regs);
}

static bool
is_at_clone(pid_t pid, const struct user_regs_struct *regs)
{
	return (regs->rax == SYS_clone || regs->rax == SYS_clone3 ||
		   regs->rax == SYS_fork || regs->rax == SYS_vfork) &&
	    is_at_syscall(pid, regs);
}

static void
note_place(struct test *t, const struct user_regs_struct *regs)
{
	t->rip = regs->rip;
	if (regs->rip >= t->server.text && regs->rip < t->server.text_end)
		t->own_rip = regs->rip;
}

/* One instruction. Returns the stops that it took, 0 where it failed. */
static uint32_t
step(struct test *t, pid_t pid, struct user_regs_struct *regs)
{
	uint64_t before = regs->rip;
	uint32_t stops = 0;

	do {
		if (!resume(t, pid, PTRACE_SINGLESTEP) ||
		    ptrace(PTRACE_GETREGS, pid, NULL, regs) < 0) {
			fail(t, "process %d is gone", (int)pid);
			return 0;
		}
		stops++;
	} while (regs->rip == before); /* a `rep` */
	note_place(t, regs);
	return stops;
}

/* Counts how often each address came by up to each place of the path. */
static void
count_visits(struct path *path)
{
	static struct {
		uint64_t rip;
		uint32_t count;
	} table[TABLE];
	uint64_t entry;

	memset(table, 0, sizeof(table));
	path->visit[0] = 0;
	for (uint64_t i = 1; i <= path->length; i++) {
		entry = mix(path->rip[i]) % TABLE;
		while (
		    table[entry].rip != 0 && table[entry].rip != path->rip[i])
			entry = (entry + 1) % TABLE;
		table[entry].rip = path->rip[i];
		path->visit[i] = ++table[entry].count;
		/* A `rep` would be stepped over once for each repetition, and
		 * the process starts from the first address. */
		if (path->stops[i] > 1 || path->rip[i] == path->rip[0])
			path->visit[i] = 0;
	}
}

/* Steps to the path's end and keeps it. */
static bool
record_path(struct test *t, pid_t pid)
{
	struct path *path = &t->path;
	struct user_regs_struct regs;
	uint64_t i = 0;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
		return fail(t, "process %d is gone", (int)pid);
	path->clones = false;
	for (path->rip[0] = regs.rip; !is_at_end(pid, &regs);
	     path->rip[++i] = regs.rip) {
		path->clones |= is_at_clone(pid, &regs);
		path->stops[i] = step(t, pid, &regs);
		if (path->stops[i] == 0)
			return false;
		if (i + 2 == PATH)
			return fail(t, "no end after %d instructions", PATH);
	}
	path->stops[i] = 1;
	path->length = i;
	count_visits(path);
	return true;
}

/* The place to stop at on the way to K with the fewest stops; 0: none. */
static uint64_t
best_stop(const struct path *path, uint64_t k)
{
	uint64_t best = 0, best_cost = UINT64_MAX, steps = 0;

	for (uint64_t i = k; i > 0 && steps < best_cost; i--) {
		if (path->visit[i] > 0 && path->visit[i] + steps < best_cost) {
			best = i;
			best_cost = path->visit[i] + steps;
		}
		steps += path->stops[i - 1];
	}
	return steps < best_cost ? 0 : best;
}

/* An `int3` in the text of one process, which copies the page for it. Debug
 * registers would do the same, but some virtual machines never stop at them. */
struct breakpoint {
	uint64_t address;
	long word; /* what stood there */
};

static bool
breakpoint_set(pid_t pid, struct breakpoint *b, uint64_t address)
{
	const long int3 = 0xcc;

	b->address = address;
	errno = 0;
	b->word = ptrace(PTRACE_PEEKTEXT, pid, address, NULL);
	return errno == 0 &&
	    ptrace(PTRACE_POKETEXT, pid, address, (b->word & ~0xffL) | int3) ==
	    0;
}

static bool
breakpoint_clear(pid_t pid, const struct breakpoint *b)
{
	return ptrace(PTRACE_POKETEXT, pid, b->address, b->word) == 0;
}

/*
 * Runs to the place or the path's end, whichever comes first, and leaves the
 * process before the instruction there. The two words may overlap, so they are
 * put back in the other order.
 */
static bool
run_to_either(struct test *t, pid_t pid, uint64_t place, uint64_t end,
    struct user_regs_struct *regs)
{
	struct breakpoint at_end, at_place;

	if (!breakpoint_set(pid, &at_end, end) ||
	    !breakpoint_set(pid, &at_place, place))
		return fail(t, "no breakpoint in process %d", (int)pid);
	if (!resume(t, pid, PTRACE_CONT))
		return false;
	if (!breakpoint_clear(pid, &at_place) ||
	    !breakpoint_clear(pid, &at_end) ||
	    ptrace(PTRACE_GETREGS, pid, NULL, regs) < 0)
		return fail(t, "process %d is gone", (int)pid);
	regs->rip--;
	if (ptrace(PTRACE_SETREGS, pid, NULL, regs) < 0)
		return fail(t, "process %d is gone", (int)pid);
	return true;
}

/* Lets the process run to place I of the path. */
static bool
run_to_place(struct test *t, pid_t pid, uint64_t i)
{
	const struct path *path = &t->path;
	const uint64_t place = path->rip[i], end = path->rip[path->length];
	struct user_regs_struct regs = { .rip = 0 };

	for (uint32_t visit = 1;; visit++) {
		if (!run_to_either(t, pid, place, end, &regs))
			return false;
		note_place(t, &regs);
		t->strayed = regs.rip != place;
		if (t->strayed || visit == path->visit[i])
			return true;
		if (!resume(t, pid, PTRACE_SINGLESTEP))
			return false;
	}
}

/* Brings the process K instructions on, or to the path's end. */
static bool
go_to(struct test *t, pid_t pid, uint64_t k)
{
	struct user_regs_struct regs;
	uint64_t i =
	    t->steps_only || t->path.clones ? 0 : best_stop(&t->path, k);

	if (i > 0 && !run_to_place(t, pid, i))
		return false;
	if (t->strayed)
		return true;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
		return fail(t, "process %d is gone", (int)pid);
	note_place(t, &regs);
	for (; i < k && !is_at_end(pid, &regs); i++)
		if (step(t, pid, &regs) == 0)
			return false;
	t->strayed = !t->steps_only && regs.rip != t->path.rip[k];
	return true;
}

static void
kill_traced(pid_t pid)
{
	kill(pid, SIGKILL);
	reap(pid);
}

/* ---- whose instructions are counted ---------------------------------------
 */

/* The worker is stopped before its epoll_wait; now it wakes. */
static bool
wake_up(struct test *t, pid_t pid)
{
	struct user_regs_struct regs = { .rip = 0 };

	do {
		if (!run_to(t, pid, is_wait, 0, true) ||
		    ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
			return fail(t, "process %d is gone", (int)pid);
	} while (regs.rax == 0); /* a time-out */
	return true;
}

/* Lets the worker, which is about to wait, run to where it is to die. */
static bool
run_to_death(struct test *t, const struct scenario *s, pid_t pid)
{
	struct user_regs_struct regs;
	uint32_t phase = 0;

	if (!run_to(t, pid, is_number, s->after, true))
		return false;
	while (s->phase != 0 && PEEK(t, transaction.phase, &phase) &&
	    phase != s->phase)
		if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0 ||
		    step(t, pid, &regs) == 0)
			return fail(
			    t, "phase %s does not come", phase_names[s->phase]);
	return true;
}

/* Kills the worker, which is traced, and follows the standby up to after its
 * own clone. */
static bool
kill_and_follow(struct test *t, pid_t worker, pid_t standby)
{
	if (!seize(t, standby) ||
	    !run_to(t, standby, is_number, SYS_recvmsg, false))
		return false;
	kill_traced(worker);
	return run_to(t, standby, is_number, SYS_clone, true);
}

static pid_t
reach_successor(struct test *t, const struct scenario *s)
{
	pid_t worker = t->server.worker, standby = t->server.standby;

	if (!seize(t, worker) || !run_to_wait(t, worker) || !s->act(t) ||
	    !run_to_death(t, s, worker) || !kill_and_follow(t, worker, standby))
		return 0;
	return standby;
}

/* The master briefs a successor once that has taken over. */
static pid_t
reach_ordered(struct test *t, const struct scenario *s)
{
	pid_t worker = t->server.worker, standby = t->server.standby;

	if (!seize(t, worker) || !run_to_wait(t, worker) ||
	    !kill_and_follow(t, worker, standby) || !run_to_wait(t, standby) ||
	    !wait_until(t, master_waits) || !s->act(t) || !wake_up(t, standby))
		return 0;
	return standby;
}

/* The worker is told to clone a standby once that has died. */
static pid_t
reach_cloning(struct test *t, const struct scenario *s)
{
	pid_t worker = t->server.worker;

	if (!seize(t, worker) || !run_to_wait(t, worker))
		return 0;
	kill(t->server.standby, SIGKILL);
	if (!s->act(t) || !run_to(t, worker, is_number, SYS_clone, true))
		return 0;
	return worker;
}

static pid_t
reach_worker(struct test *t, const struct scenario *s)
{
	pid_t worker = t->server.worker;

	if (!seize(t, worker) || !run_to_wait(t, worker) || !s->act(t) ||
	    !wake_up(t, worker))
		return 0;
	return worker;
}

/* Brings the process that is to die to where its instructions are counted.
 * Returns its pid, or 0. */
static pid_t
reach_victim(struct test *t, const struct scenario *s)
{
	switch (s->victim) {
	case SUCCESSOR:
		return reach_successor(t, s);
	case ORDERED:
		return reach_ordered(t, s);
	case CLONING:
		return reach_cloning(t, s);
	default:
		return reach_worker(t, s);
	}
}

/* ---- scenarios ----------------------------------------------------------- */

static bool
nothing(struct test *t)
{
	(void)t;
	return true;
}

static bool
prepare_one(struct test *t)
{
	return conn_open(t, &t->clients[0], 0) &&
	    conn_echo(t, &t->clients[0], 1);
}

static bool
prepare_all(struct test *t)
{
	for (int i = 0; i < CLIENTS; i++)
		if (!conn_open(t, &t->clients[i], 0) ||
		    !conn_echo(t, &t->clients[i], 1))
			return false;
	return true;
}

/* An echo. */
static bool
act_send(struct test *t)
{
	return conn_send(t, &t->clients[0], MESSAGE);
}

/* The master, having nothing to watch, has gone to sleep: whoever works next
 * tells it (worker.c, begin_batch). */
static bool
act_send_unwatched(struct test *t)
{
	const uint32_t unwatched = 0;
	off_t address = (off_t)(t->server.slot_memory +
	    offsetof(struct slot_memory, watched));

	if (pwrite(t->server.mem, &unwatched, sizeof(unwatched), address) ==
	    (ssize_t)sizeof(unwatched))
		return act_send(t);
	return fail(t, "cannot write slot memory: %s", strerror(errno));
}

static bool
act_send_all(struct test *t)
{
	for (int i = 0; i < CLIENTS; i++)
		if (!conn_send(t, &t->clients[i], MESSAGE))
			return false;
	return true;
}

/* An accept: a connection comes, with bytes behind it already. */
static bool
act_connect(struct test *t)
{
	return conn_open(t, &t->clients[0], 0) &&
	    conn_send(t, &t->clients[0], MESSAGE);
}

static bool
act_finish(struct test *t)
{
	shutdown(t->clients[0].fd, SHUT_WR);
	return true;
}

/* The last bytes and the FIN come together. */
static bool
act_send_and_finish(struct test *t)
{
	return act_send(t) && act_finish(t);
}

static bool
verify_end(struct test *t)
{
	return conn_end(t, &t->clients[0]);
}

static bool
act_reset(struct test *t)
{
	const struct linger reset = { .l_onoff = 1 };

	setsockopt(
	    t->clients[0].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	conn_close(&t->clients[0]);
	return true;
}

/* An urgent byte stops a recv short, and has more behind it. */
static bool
act_urgent(struct test *t)
{
	struct conn *c = &t->clients[0];
	unsigned char byte;

	if (!conn_send(t, c, MESSAGE))
		return false;
	byte = code(c->id, c->sent);
	if (send(c->fd, &byte, 1, MSG_OOB | MSG_NOSIGNAL) != 1)
		return fail(t, "send MSG_OOB: %s", strerror(errno));
	c->sent++;
	return conn_send(t, c, MESSAGE);
}

/* More than the worker reads in one turn. Only a receive window that has grown
 * takes it in one piece. */
static bool
prepare_turn(struct test *t)
{
	if (!prepare_one(t))
		return false;
	for (int sent = 0; sent < WARM_BYTES; sent += WARM_STEP)
		if (!conn_echo(t, &t->clients[0], WARM_STEP))
			return false;
	return true;
}

static bool
act_turn(struct test *t)
{
	uint64_t before = t->clients[0].sent;

	if (!conn_push(t, &t->clients[0], TURN_BYTES))
		return false;
	if (t->clients[0].sent - before > CONNECTION_READ)
		return true;
	return fail(t, "the point is void: only %" PRIu64 " bytes were sent",
	    t->clients[0].sent - before);
}

/* A duplicate of the server's end of a connection. */
static int
duplicate(struct test *t, const struct conn *c)
{
	struct connection found;
	int process = (int)syscall(SYS_pidfd_open, t->server.worker, 0);
	int fd = find_connection(t, c, &found), copy;

	copy = (int)syscall(SYS_pidfd_getfd, process, fd, 0);
	if (copy < 0 && errno == EPERM)
		die(EXIT_IMPOSSIBLE, "pidfd_getfd",
		    "expected the right to trace processes of the same user");
	if (copy < 0)
		fail(t, "cannot copy the server's fd %d: %s", fd,
		    strerror(errno));
	close(process);
	return copy;
}

/* A connection whose buffers are so small that FULL_BYTES are a write that
 * takes part of them. */
static bool
prepare_small(struct test *t)
{
	struct conn *c = &t->clients[0];
	int size = SMALL_SEND, copy;

	if (!conn_open(t, c, SMALL_RECEIVE) || !conn_echo(t, c, 1))
		return false;
	copy = duplicate(t, c);
	if (copy < 0)
		return false;
	setsockopt(copy, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	close(copy);
	return true;
}

static bool
act_fill(struct test *t)
{
	return conn_send(t, &t->clients[0], FULL_BYTES);
}

static bool
is_stuck(struct test *t)
{
	if (pending(t, &t->clients[0]) > 0)
		return true;
	return fail(t, "the point is void: the write was not partial");
}

static bool
verify_full(struct test *t)
{
	return rest(t) && is_stuck(t);
}

static bool
prepare_full(struct test *t)
{
	return prepare_small(t) && act_fill(t) && rest(t) && is_stuck(t);
}

/* The client reads until the server's end can be written to. */
static bool
act_drain(struct test *t)
{
	struct pollfd p = { .fd = duplicate(t, &t->clients[0]),
		.events = POLLOUT };
	int64_t end = clock_ms() + PATIENCE_MS;

	while (p.fd >= 0 && conn_read(t, &t->clients[0]) && poll(&p, 1, 1) == 0)
		if (clock_ms() > end)
			fail(t, "the point is void: the socket stays full");
	if (p.fd >= 0)
		close(p.fd);
	return *t->failure == '\0';
}

/* The client's FIN waits behind what it does not take. */
static bool
act_drain_and_finish(struct test *t)
{
	return act_finish(t) && act_drain(t);
}

/* A client of a service that closes at once: the FINs may cross. */
static bool
act_ask_time(struct test *t)
{
	return conn_open_at(t, &t->clients[0], t->server.time_port, 0);
}

static bool
verify_time(struct test *t)
{
	struct conn *c = &t->clients[0];
	unsigned char bytes[TIME_BYTES + 1];
	ssize_t count = -1;

	while (conn_wait(t, c, POLLIN) &&
	    (count = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		c->verified += (uint64_t)count;
	if (*t->failure == '\0' && (count < 0 || c->verified != TIME_BYTES))
		return fail(t, "%" PRIu64 " bytes instead of %d, then %s",
		    c->verified, (int)TIME_BYTES,
		    count < 0 ? strerror(errno) : "the end");
	conn_close(c);
	return *t->failure == '\0';
}

/* A reload: the worker gives its connections to a new one, and ends. */
static bool
act_reload(struct test *t)
{
	kill(t->server.master, SIGHUP);
	return true;
}

static const struct scenario scenarios[] = {
	{ "echo", prepare_one, act_send, nothing, .victim = WORKER },
	{ "unwatched", prepare_one, act_send_unwatched, nothing,
	    .victim = WORKER },
	{ "batch", prepare_all, act_send_all, nothing, .victim = WORKER },
	{ "turn", prepare_turn, act_turn, nothing, .victim = WORKER },
	{ "urgent", prepare_one, act_urgent, nothing, .victim = WORKER },
	{ "accept", nothing, act_connect, nothing, .victim = WORKER },
	{ "close", prepare_one, act_finish, verify_end, .victim = WORKER },
	{ "last-words", prepare_one, act_send_and_finish, verify_end,
	    .victim = WORKER },
	{ "reset", prepare_one, act_reset, nothing, .victim = WORKER },
	{ "partial", prepare_small, act_fill, verify_full, .victim = WORKER },
	{ "flush", prepare_full, act_drain, nothing, .victim = WORKER },
	{ "flush-close", prepare_full, act_drain_and_finish, verify_end,
	    .victim = WORKER },
	{ "server-ends", nothing, act_ask_time, verify_time, .victim = WORKER },
	{ "reload", prepare_one, act_reload, nothing, .victim = WORKER },
	{ "orders", prepare_one, nothing, nothing, .victim = ORDERED },
	{ "clone", prepare_one, act_send, nothing, .victim = CLONING },
	{ "takeover-batch", prepare_all, act_send_all, nothing,
	    .after = SYS_epoll_wait, .victim = SUCCESSOR },
	{ "takeover-read", prepare_one, act_send, nothing,
	    .after = SYS_recvfrom, .victim = SUCCESSOR },
	{ "takeover-run", prepare_one, act_send, nothing, .after = SYS_recvfrom,
	    .phase = PHASE_RUN, .victim = SUCCESSOR },
	{ "takeover-write", prepare_one, act_send, nothing, .after = SYS_sendto,
	    .victim = SUCCESSOR },
	{ "takeover-accept", nothing, act_connect, nothing,
	    .after = SYS_accept4, .victim = SUCCESSOR },
	{ "takeover-open", nothing, act_connect, nothing, .after = SYS_accept4,
	    .phase = PHASE_OPEN, .victim = SUCCESSOR },
	{ "takeover-close", prepare_one, act_finish, verify_end,
	    .after = SYS_recvfrom, .phase = PHASE_CLOSE, .victim = SUCCESSOR },
	{ "takeover-closed", prepare_one, act_finish, verify_end,
	    .after = SYS_close, .victim = SUCCESSOR },
	{ "takeover-partial", prepare_small, act_fill, verify_full,
	    .after = SYS_sendto, .victim = SUCCESSOR },
	{ "takeover-flush", prepare_full, act_drain, nothing,
	    .after = SYS_sendto, .victim = SUCCESSOR },
	{ "late-fin-echo", prepare_one, act_send, verify_end,
	    .late = act_finish },
	{ "late-fin-early", prepare_one, act_send, verify_end,
	    .late = act_finish, .fate = DIES_LATER },
	{ "late-fin-words", prepare_one, act_send, verify_end,
	    .late = act_send_and_finish, .fate = DIES_LATER },
	{ "late-fin-turn", prepare_turn, act_turn, verify_end,
	    .late = act_finish, .fate = DIES_LATER },
	{ "late-fin-accept", nothing, act_connect, verify_end,
	    .late = act_finish, .fate = DIES_LATER },
	{ "late-fin-partial", prepare_small, act_fill, verify_end,
	    .late = act_finish, .fate = DIES_LATER },
	{ "late-fin-flush", prepare_full, act_drain, verify_end,
	    .late = act_finish, .fate = DIES_LATER },
	{ "late-fin-crossing", nothing, act_ask_time, verify_time,
	    .late = act_finish, .fate = DIES_LATER },
	{ "late-fin-takeover-read", prepare_one, act_send, verify_end,
	    .after = SYS_recvfrom, .victim = SUCCESSOR, .late = act_finish,
	    .fate = LIVES },
	{ "late-fin-takeover-run", prepare_one, act_send, verify_end,
	    .after = SYS_recvfrom, .phase = PHASE_RUN, .victim = SUCCESSOR,
	    .late = act_send_and_finish, .fate = LIVES },
	{ "late-fin-takeover-write", prepare_one, act_send, verify_end,
	    .after = SYS_sendto, .victim = SUCCESSOR, .late = act_finish,
	    .fate = LIVES },
	{ "late-fin-takeover-accept", nothing, act_connect, verify_end,
	    .after = SYS_accept4, .victim = SUCCESSOR, .late = act_finish,
	    .fate = LIVES },
	{ "late-fin-takeover-partial", prepare_small, act_fill, verify_end,
	    .after = SYS_sendto, .victim = SUCCESSOR, .late = act_finish,
	    .fate = LIVES },
	{ "late-fin-takeover-crossing", nothing, act_ask_time, verify_time,
	    .after = SYS_shutdown, .victim = SUCCESSOR, .late = act_finish,
	    .fate = LIVES },
	{ "late-rst-echo", prepare_one, act_send, nothing, .late = act_reset },
	{ "late-rst-early", prepare_one, act_send, nothing, .late = act_reset,
	    .fate = DIES_LATER },
	{ "late-rst-accept", nothing, act_connect, nothing, .late = act_reset,
	    .fate = DIES_LATER },
	{ "late-rst-partial", prepare_small, act_fill, nothing,
	    .late = act_reset, .fate = DIES_LATER },
	{ "late-rst-crossing", nothing, act_ask_time, nothing,
	    .late = act_reset, .fate = DIES_LATER },
	{ "late-rst-takeover-read", prepare_one, act_send, nothing,
	    .after = SYS_recvfrom, .victim = SUCCESSOR, .late = act_reset,
	    .fate = LIVES },
	{ "late-rst-takeover-write", prepare_one, act_send, nothing,
	    .after = SYS_sendto, .victim = SUCCESSOR, .late = act_reset,
	    .fate = LIVES },
	{ "late-rst-takeover-accept", nothing, act_connect, nothing,
	    .after = SYS_accept4, .victim = SUCCESSOR, .late = act_reset,
	    .fate = LIVES },
};

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

/* ---- a point ------------------------------------------------------------- */

static bool
verify_log(struct test *t)
{
	char text[4096], *line;

	read_log(t, text, sizeof(text));
	line = strstr(text, " error ");
	if (line == NULL)
		return true;
	return fail(t, "the log says:%.*s", (int)strcspn(line, "\n"), line);
}

static bool
verify_slot(struct test *t, unsigned connections)
{
	uint64_t open;
	unsigned fds;

	if (!rest(t))
		return false;
	open = open_connections(t);
	fds = count_fds(t);
	if (open != BYSTANDERS + connections)
		return fail(t,
		    "%" PRIu64 " connections are counted instead of %u", open,
		    BYSTANDERS + connections);
	if (fds != t->server.fds + connections)
		return fail(t, "%u descriptors are open instead of %u", fds,
		    t->server.fds + connections);
	return true;
}

/* Whatever clients the scenario has left have their bytes, are still served,
 * and end in order. */
static bool
verify_clients(struct test *t)
{
	unsigned count = 0;

	for (int i = 0; i < CLIENTS; i++) {
		if (t->clients[i].fd < 0)
			continue;
		count++;
		if (!conn_collect(t, &t->clients[i]) ||
		    !conn_echo(t, &t->clients[i], 3))
			return false;
	}
	if (!verify_slot(t, count))
		return false;
	for (int i = 0; i < CLIENTS; i++) {
		if (t->clients[i].fd < 0)
			continue;
		shutdown(t->clients[i].fd, SHUT_WR);
		if (!conn_end(t, &t->clients[i]))
			return false;
	}
	return true;
}

static bool
verify_point(struct test *t, const struct scenario *s)
{
	if (!s->verify(t) || !verify_clients(t))
		return false;
	for (int i = 0; i < BYSTANDERS; i++)
		if (!conn_echo(t, &t->bystanders[i], 5))
			return false;
	return verify_slot(t, 0) && verify_log(t);
}

static void
set_alarm(int ms)
{
	const struct itimerval timer = { .it_value.tv_sec = ms / 1000,
		.it_interval.tv_sec = ms > 0 };

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Kills the victim some instructions on, at most as many as the path has left;
 * what has come meanwhile may have taken it off the path. */
static bool
kill_later(struct test *t, pid_t pid, uint64_t left)
{
	struct user_regs_struct regs;
	uint64_t steps = random_below(t, left + 1);

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
		return fail(t, "process %d is gone", (int)pid);
	while (steps-- > 0 && !is_at_end(pid, &regs))
		if (step(t, pid, &regs) == 0)
			return false;
	PEEK(t, transaction.phase, &t->phase);
	kill_traced(pid);
	return true;
}

static bool
meet_fate(struct test *t, const struct scenario *s, pid_t pid, uint64_t k)
{
	uint64_t length = t->path.length;

	if (s->late != NULL && !s->late(t))
		return false;
	if (s->fate == DIES_LATER)
		return kill_later(t, pid, k < length ? length - k : 0);
	if (s->fate == LIVES)
		return ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0;
	kill_traced(pid);
	return true;
}

/* Point K; or, where it is RECORD, the path's end, and the path is kept. */
static bool
try_point(struct test *t, const struct scenario *s, uint64_t k)
{
	pid_t victim;
	bool reached;

	*t->failure = '\0';
	t->rip = t->own_rip = 0;
	t->phase = PHASE_IDLE;
	t->strayed = false;
	if (!rest(t) || !s->prepare(t) || !rest(t))
		return false;
	set_alarm(POINT_MS);
	victim = reach_victim(t, s);
	reached = victim > 0 &&
	    (k == RECORD ? record_path(t, victim) : go_to(t, victim, k)) &&
	    PEEK(t, transaction.phase, &t->phase) && meet_fate(t, s, victim, k);
	set_alarm(0);
	if (!reached)
		return fail(t, "the point was not reached");
	return verify_point(t, s);
}

/* ---- reporting ----------------------------------------------------------- */

/* Prints where an address is, function and line, where there are addr2line(1)
 * and debug information. */
static void
print_place(struct test *t, uint64_t address)
{
	char offset[32];
	pid_t pid;

	snprintf(offset, sizeof(offset), "%#" PRIx64,
	    address - t->server.text + t->server.text_offset);
	printf("%s ", offset);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execlp("addr2line", "addr2line", "-psfe", t->options.server,
		    offset, NULL);
		_exit(EXIT_WRONG);
	}
	waitpid(pid, NULL, 0);
}

static void
report_wrong(struct test *t, const struct scenario *s, uint64_t k)
{
	if (k == RECORD)
		k = t->path.length;
	printf("WRONG %s k=%" PRIu64 ": %s\n", s->name, k, t->failure);
	printf("  killed in phase %s, ",
	    t->phase < PHASES ? phase_names[t->phase] : "?");
	if (t->rip != t->own_rip)
		printf("in a library called after ");
	if (t->own_rip != 0)
		print_place(t, t->own_rip);
	else
		printf("which began before the counting\n");
	print_log(t);
	fflush(stdout);
}

static void
show_progress(struct test *t, const struct scenario *s, uint64_t k)
{
	if (clock_ms() - t->progress_ms < PROGRESS_MS)
		return;
	t->progress_ms = clock_ms();
	printf("%-26s at %" PRIu64 " ...\n", s->name, k);
	fflush(stdout);
}

/* ---- the points of a scenario ---------------------------------------------
 */

struct tally {
	uint64_t points, wrong, strayed;
};

/* Returns false where there is no sense in going on. */
static bool
count_point(
    struct test *t, const struct scenario *s, uint64_t k, struct tally *tally)
{
	bool right = try_point(t, s, k);

	tally->points++;
	tally->strayed += t->strayed;
	show_progress(t, s, k);
	if (right)
		return true;
	tally->wrong++;
	report_wrong(t, s, k);
	server_kill(t);
	if (!server_start(t)) {
		report_wrong(t, s, k);
		return false;
	}
	/* The new server lies elsewhere in memory. */
	return k != RECORD && tally->wrong < WRONG_MAX &&
	    try_point(t, s, RECORD);
}

/* A point that was not reached as the path says is stepped to. */
static bool
count_exactly(
    struct test *t, const struct scenario *s, uint64_t k, struct tally *tally)
{
	bool steps_only = t->steps_only;

	if (!count_point(t, s, k, tally))
		return false;
	if (!t->strayed)
		return true;
	t->steps_only = true;
	if (!count_point(t, s, k, tally))
		return false;
	t->steps_only = steps_only;
	return true;
}

static void
try_in_order(struct test *t, const struct scenario *s, struct tally *tally)
{
	const struct options *o = &t->options;
	uint64_t k = o->from + random_below(t, o->sample);

	while (
	    k <= o->to && k <= t->path.length && count_exactly(t, s, k, tally))
		k += o->sample;
}

/* Here one beside the path is as good as any. */
static void
try_at_random(struct test *t, const struct scenario *s, struct tally *tally,
    int64_t end_ms)
{
	for (int i = 0; i < LEAST || clock_ms() < end_ms; i++)
		if (!count_point(
			t, s, random_below(t, t->path.length + 1), tally))
			return;
}

static void
run_scenario(struct test *t, const struct scenario *s, int64_t end_ms)
{
	struct tally tally = { 0 };
	int64_t start_ms = clock_ms();

	t->progress_ms = start_ms;
	if (!count_point(t, s, RECORD, &tally))
		t->path.length = 0;
	else if (t->options.seconds > 0)
		try_at_random(t, s, &tally, end_ms);
	else
		try_in_order(t, s, &tally);
	printf("%-26s %6" PRIu64 " points on a path of %6" PRIu64
	       " instructions (%" PRIu64 " beside it), %" PRIu64
	       " wrong, %.1f s\n",
	    s->name, tally.points, t->path.length, tally.strayed, tally.wrong,
	    (double)(clock_ms() - start_ms) / 1000);
	fflush(stdout);
	t->points += tally.points;
	t->wrong += tally.wrong;
}

static bool
is_wanted(const struct test *t, const struct scenario *s)
{
	const char *begin = t->options.scenario;
	bool others = *begin == '!';

	begin += others;
	return (strncmp(s->name, begin, strlen(begin)) == 0) != others;
}

static void
run_scenarios(struct test *t)
{
	int64_t start_ms = clock_ms();
	int wanted = 0, done = 0;

	for (int i = 0; i < SCENARIOS; i++)
		wanted += is_wanted(t, &scenarios[i]);
	for (int i = 0; i < SCENARIOS; i++)
		if (is_wanted(t, &scenarios[i]))
			run_scenario(t, &scenarios[i],
			    start_ms +
				(int64_t)t->options.seconds * 1000 * ++done /
				    wanted);
	printf("%" PRIu64 " points, %" PRIu64 " wrong\n", t->points, t->wrong);
	if (wanted > 0)
		return;
	printf("every_instruction: no scenario \"%s\": see --scenario list\n",
	    t->options.scenario);
	exit(EXIT_MISUSE);
}

/* ---- the command line ---------------------------------------------------- */

/* On one CPU, a stop wakes nobody on another; the server inherits it. */
static void
stay_on_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
}

static uint64_t
option_number(const char *name)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(optarg, &end, 10);
	if (end != optarg && *end == '\0' && errno == 0 && *optarg != '-')
		return number;
	printf("every_instruction: --%s: invalid value \"%s\": expected a "
	       "number\n",
	    name, optarg);
	exit(EXIT_MISUSE);
}

static void
read_options(struct options *o, int argc, char *argv[])
{
	static const struct option names[] = {
		{ "scenario", required_argument, NULL, 'c' },
		{ "service", required_argument, NULL, 'e' },
		{ "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 't' },
		{ "sample", required_argument, NULL, 's' },
		{ "seconds", required_argument, NULL, 'S' },
		{ NULL, 0, NULL, 0 },
	};
	int letter, index;

	*o = (struct options) {
		.scenario = "", .service = "echo", .to = RECORD - 1, .sample = 1
	};
	while ((letter = getopt_long(argc, argv, "", names, &index)) >= 0)
		if (letter == 'c')
			o->scenario = optarg;
		else if (letter == 'e')
			o->service = optarg;
		else if (letter == 'f')
			o->from = option_number(names[index].name);
		else if (letter == 't')
			o->to = option_number(names[index].name);
		else if (letter == 's')
			o->sample = option_number(names[index].name);
		else if (letter == 'S')
			o->seconds = option_number(names[index].name);
		else
			exit(EXIT_MISUSE);
	if (optind + 1 == argc && o->sample > 0) {
		o->server = argv[optind];
		return;
	}
	printf("every_instruction: expected one argument, the server's path, "
	       "and --sample of at least 1\n");
	exit(EXIT_MISUSE);
}

static void
list_scenarios(void)
{
	for (int i = 0; i < SCENARIOS; i++)
		puts(scenarios[i].name);
}

int
main(int argc, char *argv[])
{
	static struct test t;
	const struct sigaction interrupt = { .sa_handler = on_alarm };

	read_options(&t.options, argc, argv);
	if (strcmp(t.options.scenario, "list") == 0) {
		list_scenarios();
		return 0;
	}
	stay_on_one_cpu();
	sigaction(SIGALRM, &interrupt, NULL);
	if (getrandom(&t.random, sizeof(t.random), 0) != sizeof(t.random))
		die(EXIT_WRONG, "getrandom", "Linux 3.17 or later is expected");
	for (int i = 0; i < CLIENTS; i++)
		t.clients[i].fd = -1;
	if (!server_start(&t)) {
		printf("every_instruction: %s\n", t.failure);
		print_log(&t);
		return EXIT_WRONG;
	}
	run_scenarios(&t);
	server_kill(&t);
	return t.wrong > 0 ? EXIT_WRONG : 0;
}

#endif

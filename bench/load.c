/*
 * load: a client for measuring, which checks every byte that comes back.
 *
 *     load echo PORT CONNECTIONS MS [WATCHED | MASTER KILLS]
 *
 * Each connection sends 64 bytes, waits for them, sends the next. After a
 * warm-up of a fourth it prints, of MS milliseconds, "echoes N ms MS": and "cpu
 * NS", the processor time that process WATCHED took for one echo; or "kills N",
 * how often a random worker of MASTER was killed, KILLS times a second.
 *
 *     load takeover TIMES PORT CONNECTIONS MASTER [PORT CONNECTIONS MASTER]...
 *
 * Opens the connections to each server, of one worker each. Then, TIMES times
 * and to one server after the other, it kills the worker, sends 64 bytes on a
 * random connection, and prints "CONNECTIONS US PLAIN": the microseconds from
 * just before the kill until the echo is here, and those of an echo on another
 * random connection before, with nobody killed.
 *
 * All servers are on 127.0.0.1. Whatever is lost, wrong or closed ends it with
 * exit status 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	WORDS = 8,
	BYTES = WORDS * 8, /* of a message */
	EVENTS = 256,
	WORKERS_MAX = 64,
	SERVERS_MAX = 8,
};

struct conn {
	int fd;
	uint64_t key;	/* what it sends is made of that and its round */
	uint64_t round; /* messages that came back */
	size_t got;	/* bytes of the present one */
};

struct server {
	in_port_t port;
	pid_t master;
	size_t count;
	struct conn *conns;
};

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t
random_below(uint64_t limit)
{
	static uint64_t state = 1;

	return mix(state += 0x9e3779b97f4a7c15u) % limit;
}

static uint64_t
number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end != '\0') {
		fprintf(stderr, "load: \"%s\": expected a number\n", text);
		exit(2);
	}
	return value;
}

/* ---- one connection ------------------------------------------------------ */

static void
conn_message(const struct conn *c, uint64_t words[WORDS])
{
	uint64_t first = mix(c->key ^ c->round * 0x9e3779b97f4a7c15u);

	for (unsigned i = 0; i < WORDS; i++)
		words[i] = first + i;
}

static void
conn_send(const struct conn *c)
{
	uint64_t words[WORDS];

	conn_message(c, words);
	if (send(c->fd, words, BYTES, MSG_NOSIGNAL) != BYTES)
		die("send: the server has closed a connection");
}

/* Returns true when the whole message is here. */
static bool
conn_read(struct conn *c)
{
	unsigned char got[BYTES];
	uint64_t words[WORDS];
	ssize_t n = recv(c->fd, got, BYTES - c->got, 0);

	if (n == 0)
		errno = ECONNRESET;
	if (n <= 0)
		die("recv: the server has closed a connection");
	conn_message(c, words);
	if (memcmp(got, (unsigned char *)words + c->got, (size_t)n) != 0) {
		errno = EPROTO;
		die("wrong bytes came back");
	}
	c->got += (size_t)n;
	if (c->got < BYTES)
		return false;
	c->got = 0;
	c->round++;
	return true;
}

static void
conn_open(struct conn *c, in_port_t port)
{
	static uint64_t keys;
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	c->key = mix(++keys);
	if (c->fd < 0)
		die("socket: raise ulimit -Hn");
	if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void
raise_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* Opened, and each has been answered once. */
static void
open_all(struct server *s)
{
	raise_limit();
	s->conns = calloc(s->count, sizeof *s->conns);
	if (!s->conns)
		die("no memory");
	for (size_t i = 0; i < s->count; i++) {
		conn_open(&s->conns[i], s->port);
		conn_send(&s->conns[i]);
		while (!conn_read(&s->conns[i]))
			continue;
	}
}

/* ---- killing ------------------------------------------------------------- */

static bool
is_worker(int pid)
{
	char path[64], title[32] = "";
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(title, sizeof title, file))
		*title = '\0';
	fclose(file);
	return strncmp(title, "preforkd: worker", 16) == 0;
}

static size_t
find_workers(pid_t master, pid_t workers[WORKERS_MAX])
{
	char path[64];
	size_t count = 0;
	FILE *file;
	int pid;

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)master,
	    (int)master);
	file = fopen(path, "r");
	if (!file)
		die("no master of that pid");
	while (count < WORKERS_MAX && fscanf(file, "%d", &pid) == 1)
		if (is_worker(pid))
			workers[count++] = pid;
	fclose(file);
	return count;
}

/* Kills random workers at RATE until it is killed itself. */
static _Noreturn void
kill_on(pid_t master, uint64_t rate, volatile uint64_t *kills)
{
	uint64_t next_ns = clock_ns();

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		pid_t workers[WORKERS_MAX];
		size_t count = find_workers(master, workers);
		struct timespec next;

		if (count > 0 &&
		    kill(workers[random_below(count)], SIGKILL) == 0)
			(*kills)++;
		next_ns += 1000000000u / rate;
		next.tv_sec = (time_t)(next_ns / 1000000000u);
		next.tv_nsec = (long)(next_ns % 1000000000u);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
}

static pid_t
start_killing(pid_t master, uint64_t rate, volatile uint64_t *kills)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0)
		kill_on(master, rate, kills);
	return pid;
}

/* ---- echo ---------------------------------------------------------------- */

static uint64_t
cpu_ns(pid_t pid)
{
	char path[64];
	uint64_t ns;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
	file = fopen(path, "r");
	if (!file || fscanf(file, "%" SCNu64, &ns) != 1)
		die("no schedstat of that pid");
	fclose(file);
	return ns;
}

static uint64_t
echo_for(int epoll, uint64_t ns)
{
	struct epoll_event events[EVENTS];
	uint64_t end_ns = clock_ns() + ns, echoes = 0;

	while (clock_ns() < end_ns) {
		int count = epoll_wait(epoll, events, EVENTS, 10000);

		if (count <= 0)
			die("no echo for 10 s");
		for (int i = 0; i < count; i++) {
			struct conn *c = events[i].data.ptr;

			if (!conn_read(c))
				continue;
			echoes++;
			conn_send(c);
		}
	}
	return echoes;
}

static int
watch_all(const struct server *s)
{
	int epoll = epoll_create1(0);

	for (size_t i = 0; i < s->count; i++) {
		struct epoll_event event = { .events = EPOLLIN,
			.data.ptr = &s->conns[i] };

		if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->conns[i].fd, &event) < 0)
			die("epoll_ctl");
		conn_send(&s->conns[i]);
	}
	return epoll;
}

static int
run_echo(int argc, char **argv)
{
	struct server s = { .port = (in_port_t)number(argv[0]),
		.count = number(argv[1]) };
	uint64_t ns = number(argv[2]) * 1000000u;
	pid_t watched = argc == 4 ? (pid_t)number(argv[3]) : 0, killer = 0;
	uint64_t *kills = mmap(NULL, sizeof *kills, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t echoes, begun_ns, cpu = 0;
	int epoll;

	if (kills == MAP_FAILED)
		die("no memory");
	open_all(&s);
	epoll = watch_all(&s);
	if (argc == 5)
		killer = start_killing(
		    (pid_t)number(argv[3]), number(argv[4]), kills);
	echo_for(epoll, ns / 4);
	*kills = 0;
	if (watched)
		cpu = cpu_ns(watched);
	begun_ns = clock_ns();
	echoes = echo_for(epoll, ns);
	ns = clock_ns() - begun_ns;
	printf("echoes %" PRIu64 " ms %" PRIu64, echoes, ns / 1000000);
	if (watched)
		printf(" cpu %" PRIu64, (cpu_ns(watched) - cpu) / echoes);
	if (killer)
		printf(" kills %" PRIu64, *kills);
	printf("\n");
	free(s.conns);
	if (killer) {
		kill(killer, SIGKILL);
		waitpid(killer, NULL, 0);
	}
	return 0;
}

/* ---- takeover ------------------------------------------------------------ */

static uint64_t
echo_us(struct conn *c, uint64_t begun_ns)
{
	conn_send(c);
	while (!conn_read(c))
		continue;
	return (clock_ns() - begun_ns) / 1000;
}

/* The worker is asleep, and never comes back from epoll_wait after the kill: so
 * the echo is its successor's. */
static void
measure(const struct server *s)
{
	struct conn *plain = &s->conns[random_below(s->count)];
	struct conn *struck = &s->conns[random_below(s->count)];
	pid_t workers[WORKERS_MAX];
	uint64_t plain_us, begun_ns;

	usleep(20000); /* until the last take-over is over */
	plain_us = echo_us(plain, clock_ns());
	while (find_workers(s->master, workers) != 1)
		usleep(1000);
	usleep(1000);
	begun_ns = clock_ns();
	if (kill(workers[0], SIGKILL) < 0)
		die("kill");
	printf("%zu %" PRIu64 " %" PRIu64 "\n", s->count,
	    echo_us(struck, begun_ns), plain_us);
}

static int
run_takeover(int argc, char **argv)
{
	struct server servers[SERVERS_MAX];
	size_t count = 0;
	uint64_t times = number(argv[0]);

	for (int i = 1; i + 2 < argc && count < SERVERS_MAX; i += 3) {
		servers[count] =
		    (struct server) { .port = (in_port_t)number(argv[i]),
			    .count = number(argv[i + 1]),
			    .master = (pid_t)number(argv[i + 2]) };
		open_all(&servers[count++]);
	}
	for (uint64_t i = 0; i < times; i++)
		for (size_t n = 0; n < count; n++)
			measure(&servers[n]);
	for (size_t n = 0; n < count; n++)
		free(servers[n].conns);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc >= 5 && argc <= 7 && strcmp(argv[1], "echo") == 0)
		return run_echo(argc - 2, argv + 2);
	if (argc >= 6 && argc % 3 == 0 && strcmp(argv[1], "takeover") == 0)
		return run_takeover(argc - 2, argv + 2);
	fprintf(stderr, "load: see the head of its source\n");
	return 2;
}

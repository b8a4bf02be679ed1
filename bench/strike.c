/*
 * strike: kills workers of a server, and measures what the clients get to feel.
 *
 *     strike kill TITLE MASTER RATE MS
 *
 * For MS milliseconds, RATE times a second, SIGKILLs a random child of MASTER
 * whose command line begins with TITLE. Prints "kills N".
 *
 *     strike reload MASTER RATE MS
 *
 * The same with a SIGHUP to MASTER. Prints "reloads N".
 *
 *     strike takeover TIMES PORT CONNECTIONS MASTER [PORT CONNECTIONS
 * MASTER]...
 *
 * Opens the connections to each server, of one worker each. Then, TIMES times
 * and to one server after the other, it kills the worker, sends 64 bytes on a
 * random connection, and prints "CONNECTIONS US PLAIN": the microseconds from
 * just before the kill until the echo is here, and those of an echo on another
 * random connection before, with nobody killed. Whatever is lost, wrong or
 * closed ends it with exit status 1.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"
#include "tree.h"

enum {
	BYTES = 64, /* of a message */
	CHILDREN_MAX = 1024,
	SERVERS_MAX = 8,
};

struct server {
	in_port_t port;
	pid_t master;
	size_t count;
	struct conn *conns;
};

static uint64_t
random_below(uint64_t limit)
{
	static uint64_t state = 1;

	return mix(state += 0x9e3779b97f4a7c15u) % limit;
}

/* ---- killing ------------------------------------------------------------- */

static bool
has_title(pid_t pid, const char *title)
{
	char path[64], line[64] = "";
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(line, sizeof line, file))
		*line = '\0';
	fclose(file);
	return strncmp(line, title, strlen(title)) == 0;
}

static size_t
find_workers(pid_t master, const char *title, pid_t workers[CHILDREN_MAX])
{
	pid_t children[CHILDREN_MAX];
	size_t among = tree_children(master, children, CHILDREN_MAX);
	size_t count = 0;

	for (size_t i = 0; i < among; i++)
		if (has_title(children[i], title))
			workers[count++] = children[i];
	return count;
}

static bool
kill_one(pid_t master, const char *title)
{
	pid_t workers[CHILDREN_MAX];
	size_t count = find_workers(master, title, workers);

	return count > 0 && kill(workers[random_below(count)], SIGKILL) == 0;
}

static bool
reload(pid_t master, const char *unused)
{
	(void)unused;
	return kill(master, SIGHUP) == 0;
}

/* Returns how often BLOW fell. The first waits, too: a server that has just
 * begun to listen may not be ready for a signal. */
static uint64_t
beat(bool (*blow)(pid_t, const char *), const char *title, char **argv)
{
	pid_t master = (pid_t)number(argv[0]);
	uint64_t period_ns = 1000000000u / number(argv[1]), blows = 0;
	uint64_t next_ns = clock_ns();
	uint64_t end_ns = next_ns + number(argv[2]) * 1000000u;

	while (next_ns < end_ns) {
		next_ns += period_ns;
		clock_sleep_until(next_ns);
		blows += blow(master, title);
	}
	return blows;
}

/* ---- takeover ------------------------------------------------------------ */

/* Opened, and each has been answered once. */
static void
open_all(struct server *s, struct script *script)
{
	s->conns = calloc(s->count, sizeof *s->conns);
	if (!s->conns)
		die("no memory");
	for (size_t i = 0; i < s->count; i++) {
		if (!conn_open(script, &s->conns[i], s->port, 0))
			die("connect");
		conn_converse(script, &s->conns[i]);
	}
}

static uint64_t
echo_us(const struct script *script, struct conn *c, uint64_t begun_ns)
{
	conn_converse(script, c);
	return (clock_ns() - begun_ns) / 1000;
}

/* The worker is asleep, and never comes back from epoll_wait after the kill: so
 * the echo is its successor's. */
static void
measure(const struct server *s, const struct script *script)
{
	struct conn *plain = &s->conns[random_below(s->count)];
	struct conn *struck = &s->conns[random_below(s->count)];
	pid_t workers[CHILDREN_MAX];
	uint64_t plain_us, begun_ns;

	usleep(20000); /* until the last take-over is over */
	plain_us = echo_us(script, plain, clock_ns());
	while (find_workers(s->master, "preforkd: worker", workers) != 1)
		usleep(1000);
	usleep(1000);
	begun_ns = clock_ns();
	if (kill(workers[0], SIGKILL) < 0)
		die("kill");
	printf("%zu %" PRIu64 " %" PRIu64 "\n", s->count,
	    echo_us(script, struck, begun_ns), plain_us);
}

static void
run_takeover(int argc, char **argv)
{
	struct script script = script_make(BYTES, NULL, 0);
	struct server servers[SERVERS_MAX];
	size_t count = 0;
	uint64_t times = number(argv[0]);

	client_raise_limit();
	for (int i = 1; i + 2 < argc && count < SERVERS_MAX; i += 3) {
		servers[count] =
		    (struct server) { .port = (in_port_t)number(argv[i]),
			    .count = number(argv[i + 1]),
			    .master = (pid_t)number(argv[i + 2]) };
		open_all(&servers[count++], &script);
	}
	for (uint64_t i = 0; i < times; i++)
		for (size_t n = 0; n < count; n++)
			measure(&servers[n], &script);
	for (size_t n = 0; n < count; n++)
		free(servers[n].conns);
	free(script.pattern);
}

static _Noreturn void
misuse(void)
{
	fprintf(stderr, "strike: see the head of its source\n");
	exit(2);
}

int
main(int argc, char **argv)
{
	if (argc == 6 && strcmp(argv[1], "kill") == 0)
		printf(
		    "kills %" PRIu64 "\n", beat(kill_one, argv[2], argv + 3));
	else if (argc == 5 && strcmp(argv[1], "reload") == 0)
		printf("reloads %" PRIu64 "\n", beat(reload, NULL, argv + 2));
	else if (argc >= 6 && argc % 3 == 0 && strcmp(argv[1], "takeover") == 0)
		run_takeover(argc - 2, argv + 2);
	else
		misuse();
	return 0;
}

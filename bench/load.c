/*
 * load: keeps connections to a server on 127.0.0.1 busy, checks every byte that
 * comes back, and tells what that cost.
 *
 *     load [OPTIONS] PORT
 *
 * Each connection sends a message, waits for all of the answer, and sends the
 * next at once (a closed loop). After a warm-up of a fourth it prints, of the
 * milliseconds that were measured, one line of names and numbers:
 *
 *     echoes N   answered messages
 *     ms N       in that time
 *     cpu N      ns of processor time that the watched process and all that
 *                descend from it took for one of them
 *     p50 p99 p99.9 max
 *                of the latency, ns
 *     server N   thousandths of a CPU that these processes were busy
 *     load N     the same of the busiest process of the load: near 1,000 it
 *                is the load that was measured
 *     failed N   requests whose connection ended without an answer
 *     closed N   connections that the server closed, asked by one or not, with
 *                the warm-up
 *     all N      answered messages, with the opening and the warm-up
 *
 * With --rate the messages have times at which they are due, and the latency
 * counts from those, however late they were sent (an open loop): a server that
 * stands still makes all that were due meanwhile late. What is not answered in
 * the end counts with the time that it has waited so far.
 *
 * Without --failures it ends at the first connection that the server closes,
 * with exit status 1. Each process of the load has its own connections, and
 * nothing is shared between them but memory that is written by one only.
 */
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traffic.h"
#include "tree.h"

/* ---- its processes ------------------------------------------------------- */

/* How the first process and those that do the work talk: a byte up means "I am
 * so far", a byte down means "go", and its end means "that was all". */
struct line {
	int up[2];
	int down[2];
};

/* False: the other end is gone. */
static bool
hear(int fd)
{
	char byte;

	return read(fd, &byte, 1) == 1;
}

static void
say(int fd)
{
	if (write(fd, "", 1) != 1)
		die("write");
}

static _Noreturn void
work(struct traffic *t, const struct line *line)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_TIMERSLACK, 1);
	close(line->down[1]);
	client_raise_limit();
	traffic_open(t);
	say(line->up[1]);
	if (!hear(line->down[0]))
		exit(1);
	if (t->options->ms > 0)
		traffic_run(t);
	say(line->up[1]);
	(void)hear(line->down[0]);
	exit(0);
}

static void
fork_all(const struct options *o, struct board *board, const struct line *line,
    pid_t *pids)
{
	for (size_t i = 0; i < o->processes; i++) {
		struct traffic t = traffic_make(o, board, i);

		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0)
			work(&t, line);
		free(t.script.pattern);
	}
	close(line->up[1]);
	close(line->down[0]);
}

static void
hear_all(const struct options *o, const struct line *line)
{
	for (size_t i = 0; i < o->processes; i++)
		if (!hear(line->up[0]))
			exit(1); /* it has said why */
}

static void
go_all(const struct options *o, const struct line *line)
{
	for (size_t i = 0; i < o->processes; i++)
		say(line->down[1]);
}

static void
wait_all(const struct options *o, const pid_t *pids)
{
	for (size_t i = 0; i < o->processes; i++) {
		int status;

		if (waitpid(pids[i], &status, 0) < 0 || status != 0)
			exit(1);
	}
}

/* ---- what is measured ---------------------------------------------------- */

/* Processor time: of the server, and of each process of the load. */
struct cpu {
	uint64_t server_ns;
	uint64_t load_ns[PROCESSES_MAX];
};

static struct cpu
cpu_now(const struct options *o, const pid_t *pids)
{
	struct cpu cpu = { 0 };

	if (o->watched > 0)
		cpu.server_ns = tree_cpu_ns(o->watched);
	for (size_t i = 0; i < o->processes; i++)
		cpu.load_ns[i] = tree_cpu_ns(pids[i]);
	return cpu;
}

static struct cpu
cpu_between(const struct options *o, struct cpu from, struct cpu to)
{
	to.server_ns -= from.server_ns;
	for (size_t i = 0; i < o->processes; i++)
		to.load_ns[i] -= from.load_ns[i];
	return to;
}

/* The time that is measured begins and ends when this process has the CPU to
 * say so, and the load goes on while it looks at what was used: so that echoes
 * and processor time are of the same span on a busy machine, and of a server of
 * a thousand processes. */
static struct cpu
measure_span(const struct options *o, struct board *board, const pid_t *pids)
{
	struct cpu before;
	struct cpu after;

	clock_sleep_until(clock_ns() + o->ms * 1000000u / 4);
	board->begin_ns = clock_ns();
	before = cpu_now(o, pids);
	clock_sleep_until(board->begin_ns + o->ms * 1000000u);
	board->end_ns = clock_ns();
	after = cpu_now(o, pids);
	board->over = true;
	return cpu_between(o, before, after);
}

/* ---- what is printed ----------------------------------------------------- */

static uint64_t
busiest_ns(const struct options *o, const struct cpu *cpu)
{
	uint64_t most = 0;

	for (size_t i = 0; i < o->processes; i++)
		if (cpu->load_ns[i] > most)
			most = cpu->load_ns[i];
	return most;
}

static void
sum_up(const struct options *o, const struct board *board, struct result *sum)
{
	for (size_t i = 0; i < o->processes; i++) {
		const struct result *r = &board->results[i];

		sum->all += r->all;
		sum->echoes += r->echoes;
		sum->failed += r->failed;
		sum->closed += r->closed;
		histogram_add(&sum->latency, &r->latency);
	}
}

static void
print(const struct options *o, uint64_t ns, const struct result *sum,
    const struct cpu *cpu)
{
	printf("echoes %" PRIu64 " ms %" PRIu64, sum->echoes, ns / 1000000);
	if (o->watched > 0 && sum->echoes > 0)
		printf(" cpu %" PRIu64, cpu->server_ns / sum->echoes);
	printf(" p50 %" PRIu64 " p99 %" PRIu64 " p99.9 %" PRIu64
	       " max %" PRIu64,
	    histogram_quantile(&sum->latency, 0.5),
	    histogram_quantile(&sum->latency, 0.99),
	    histogram_quantile(&sum->latency, 0.999),
	    histogram_quantile(&sum->latency, 1));
	printf(" server %" PRIu64 " load %" PRIu64 " failed %" PRIu64
	       " closed %" PRIu64 " all %" PRIu64 "\n",
	    cpu->server_ns * 1000 / ns, busiest_ns(o, cpu) * 1000 / ns,
	    sum->failed, sum->closed, sum->all);
	fflush(stdout);
}

static void
measure(const struct options *o, struct board *board)
{
	static struct result sum;
	pid_t pids[PROCESSES_MAX];
	struct line line;
	struct cpu cpu;

	if (pipe2(line.up, O_CLOEXEC) < 0 || pipe2(line.down, O_CLOEXEC) < 0)
		die("pipe");
	fork_all(o, board, &line, pids);
	hear_all(o, &line);
	go_all(o, &line);
	cpu = measure_span(o, board, pids);
	hear_all(o, &line);
	sum_up(o, board, &sum);
	print(o, board->end_ns - board->begin_ns, &sum, &cpu);
	while (o->holds && hear(STDIN_FILENO))
		continue;
	close(line.down[1]);
	wait_all(o, pids);
}

/* ---- options ------------------------------------------------------------- */

static const char usage[] =
    "usage: load [OPTIONS] PORT\n"
    "      --connections N   at the same time (50)\n"
    "      --bytes N         of a message (64)\n"
    "      --ms N            measured, after a fourth of that (1000); with 0\n"
    "                        the connections are opened, and no more\n"
    "      --rate N          messages that are due a second: an open loop\n"
    "      --processes N     that share the connections (1)\n"
    "      --watch PID       processor time of that and its descendants\n"
    "      --http BODY       GET / on kept connections, expects that body\n"
    "      --connect         a connection for each message\n"
    "      --failures        are counted; else the first is the end\n"
    "      --hold            keeps the connections open after the line is\n"
    "                        printed, until the standard input ends\n";

static _Noreturn void
misuse(void)
{
	fputs(usage, stderr);
	exit(2);
}

static void
set_option(struct options *o, int which, const char *value)
{
	switch (which) {
	case 'c':
		o->connections = number(value);
		break;
	case 'b':
		o->bytes = number(value);
		break;
	case 'm':
		o->ms = number(value);
		break;
	case 'r':
		o->rate = number(value);
		break;
	case 'p':
		o->processes = number(value);
		break;
	case 'w':
		o->watched = (pid_t)number(value);
		break;
	case 'h':
		o->body = value;
		break;
	case 0: /* a flag, which is set */
		break;
	default:
		misuse();
	}
}

static struct options
parse_options(int argc, char **argv)
{
	static struct options o = {
		.connections = 50, .bytes = 64, .ms = 1000, .processes = 1
	};
	static const struct option names[] = {
		{ "connections", required_argument, NULL, 'c' },
		{ "bytes", required_argument, NULL, 'b' },
		{ "ms", required_argument, NULL, 'm' },
		{ "rate", required_argument, NULL, 'r' },
		{ "processes", required_argument, NULL, 'p' },
		{ "watch", required_argument, NULL, 'w' },
		{ "http", required_argument, NULL, 'h' },
		{ "connect", no_argument, &o.connects, 1 },
		{ "failures", no_argument, &o.failures, 1 },
		{ "hold", no_argument, &o.holds, 1 },
		{ NULL, 0, NULL, 0 },
	};
	int which;

	while ((which = getopt_long(argc, argv, "", names, NULL)) >= 0)
		set_option(&o, which, optarg);
	if (optind != argc - 1 || o.processes < 1 || o.bytes < 1 ||
	    o.processes > PROCESSES_MAX || o.connections < o.processes)
		misuse();
	o.port = (in_port_t)number(argv[optind]);
	return o;
}

int
main(int argc, char **argv)
{
	struct options o = parse_options(argc, argv);
	struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (board == MAP_FAILED)
		die("no memory");
	board->begin_ns = board->end_ns = UINT64_MAX;
	measure(&o, board);
	return 0;
}

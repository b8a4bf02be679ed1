/*
 * chaos: kills the workers and standbys of a server while clients check every
 * byte that comes back.
 *
 * It starts the server and, beside it, the loads: runs of the verifying client
 * (tests/stream), which say ten times a second how far they are. Every few
 * milliseconds it sends a signal to a process of the server chosen at random,
 * and in between it has the server reload. One live line on a terminal says
 * what has come of it; the summary at the end names all that is wrong, and the
 * exit status is the verdict: 0 nobody has noticed, 1 somebody has, 2 misuse.
 *
 * One thing is left out: two deaths in one slot at once, which are not
 * survived, by design. So a process is killed only where its slot has both a
 * worker and a standby, by their titles, and none of the two is one that was
 * killed before and is not quite dead yet.
 *
 * With --master PID it kills the processes of a server that somebody else has
 * started and loads; of the summary only what concerns that remains.
 */
#include <sys/prctl.h>
#include <sys/signalfd.h>

#include <signal.h>
#include <string.h>

#include "tests/chaos/chaos.h"
#include "tests/common/clock.h"
#include "tests/common/die.h"

static void
prepare(struct chaos *c, char *program)
{
	char *slash = strrchr(program, '/');
	sigset_t set;

	if (slash != NULL)
		*slash = '\0';
	c->directory = slash == NULL ? "." : program;
	c->random = c->opt.seed;
	for (int kind = 0; kind < LOADS; kind++)
		c->loads[kind].out = -1;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	c->signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (c->signals < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		die("signalfd and prctl", "Linux 3.4 or later is needed");
}

int
main(int argc, char *argv[])
{
	static struct chaos c = { .opt = { .server = "./preforkd",
				      .service = "echo",
				      .workers = 4,
				      .seconds = 20,
				      .interval_ms = 10,
				      .reloads = 20,
				      .connections = { [STREAMS] = 200 },
				      .by = { [BY_KILL] = true },
				      .whom = ALL } };

	c.opt.seed = (uint64_t)clock_ms();
	options_read(&c.opt, argc, argv);
	prepare(&c, argv[0]);
	c.master = (pid_t)c.opt.master;
	if (c.master == 0) {
		start_server(&c);
		start_loads(&c);
	}
	rage(&c);
	return finish(&c) > 0;
}

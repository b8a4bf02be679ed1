#include <sys/wait.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/common/clock.h"

void
complain(struct chaos *c, const char *what)
{
	printf("  wrong: %s\n", what);
	c->complaints++;
}

/* A slot keeps some descriptors back: it is mostly full before accept(2) fails
 * for want of one. */
static bool
lacks_shortage(const struct chaos *c, const char *log)
{
	return c->opt.emfile && strstr(log, " workers full, ") == NULL &&
	    strstr(log, "accepting paused") == NULL;
}

static bool
lacks_reload(const struct chaos *c, const char *log)
{
	return c->opt.reloads > 0 && strstr(log, " reloaded: ") == NULL;
}

/* What must have happened for a verdict, however slow the machine is. */
bool
lacks_evidence(const struct chaos *c)
{
	char *log;
	bool lacks;

	if (c->opt.whom != 0 && kills_of_all(c) == 0)
		return true;
	if (c->opt.master != 0)
		return false;
	log = read_log(c);
	lacks = lacks_shortage(c, log) || lacks_reload(c, log);
	free(log);
	return lacks;
}

static unsigned
count_lines(const char *log, const char *text)
{
	unsigned count = 0;

	while ((log = strstr(log, text)) != NULL) {
		count++;
		log += strlen(text);
	}
	return count;
}

static void
judge_load(struct chaos *c, enum load_kind kind)
{
	const struct load *load = &c->loads[kind];
	const char *counts = load->counts;
	char text[2 * LINE];

	if (c->opt.connections[kind] == 0)
		return;
	if (strncmp(counts, "progress ", 9) == 0)
		counts += 9;
	printf("  %s: %s\n", load_kinds[kind].what, counts);
	if (load->status == 0 && load_count(load, "bytes") > 0)
		return;
	snprintf(text, sizeof text, "%s: the client's verdict is %s %d",
	    load_kinds[kind].what,
	    WIFEXITED(load->status) ? "status" : "signal",
	    WIFEXITED(load->status) ? WEXITSTATUS(load->status)
				    : WTERMSIG(load->status));
	complain(c, text);
}

/* A new worker that dies of a fault is a reload that failed, and said so. */
static bool
is_expected(const struct chaos *c, const char *line)
{
	return (c->opt.whom & STANDBYS) &&
	    strstr(line, "reload failed: new worker ") != NULL;
}

static void
judge_log(struct chaos *c)
{
	char *log = read_log(c), *line, *rest = log;
	unsigned shown = 0;

	printf("  server: %u take-overs, %u standbys cloned anew, "
	       "%u reloads done, %u failed\n",
	    count_lines(log, "its standby takes over"),
	    count_lines(log, "the worker clones another"),
	    count_lines(log, " reloaded: "), count_lines(log, "reload failed"));
	if (lacks_shortage(c, log))
		complain(c, "the server was never out of descriptors");
	if (lacks_reload(c, log))
		complain(c, "no reload was ever done");
	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, "Z error ") == NULL || is_expected(c, line))
			continue;
		c->complaints++;
		if (shown++ < 10)
			printf("  wrong: the server's log: %s\n", line);
	}
	free(log);
}

static void
judge_descriptors(struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 20000000 };
	int64_t end = clock_ms() + SETTLE_MS;
	uint64_t now;

	while ((now = count_descriptors(c, false)) != c->descriptors &&
	    clock_ms() < end)
		nanosleep(&moment, NULL);
	printf("  descriptors of the workers: %" PRIu64 " before, %" PRIu64
	       " after\n",
	    c->descriptors, now);
	if (now == c->descriptors)
		return;
	count_descriptors(c, true);
	complain(c, "descriptors have leaked");
}

static int
judge_kills(struct chaos *c)
{
	printf("  kills: %" PRIu64 " of workers, %" PRIu64
	       " of standbys, %" PRIu64 " of leaving ones, %" PRIu64
	       " of loaders",
	    c->kills[WORKER], c->kills[STANDBY], c->kills[LEAVING],
	    c->kills[LOADER]);
	if (c->opt.by[BY_TERM])
		printf(
		    ", %" PRIu64 " TERM, which they ignore", c->kills[OTHER]);
	printf("; never both of a slot at once\n");
	if (c->opt.whom != 0 && kills_of_all(c) == 0)
		complain(c, "nobody was killed");
	if (c->master_died)
		complain(c, "the master died");
	else if (!settle(c))
		complain(c,
		    "after the last kill the slots did not become a "
		    "worker and a standby each");
	return c->complaints;
}

int
finish(struct chaos *c)
{
	if (c->opt.master != 0)
		return judge_kills(c);
	if (!c->master_died)
		settle(c); /* the last kill's consequences, under load */
	stop_loads(c);
	show(c, isatty(STDOUT_FILENO) ? "\033[K\n" : "\n");
	judge_kills(c);
	for (int kind = 0; kind < LOADS; kind++)
		judge_load(c, (enum load_kind)kind);
	if (!c->master_died)
		judge_descriptors(c);
	stop_server(c);
	judge_log(c);
	puts(c->complaints == 0 ? "  nobody has noticed: no connection closed, "
				  "no byte lost or wrong"
				: "  FAILED");
	return c->complaints;
}

/*
 * chaos: kills the workers and standbys of a server while clients check every
 * byte that comes back.
 *
 * It starts the server and, beside it, the loads: runs of the verifying client
 * (stream.c), which say ten times a second how far they are. Every few
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
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	SLOTS = 64,
	CREW = 256, /* processes of one server, the most */
	MARKED = 256,
	LINE = 1024,
	DOUBTED = 8,
	REST_MS = 1000,	    /* see note_kill */
	SLOW_MS = 100,	    /* of a take-over, see note_mended */
	START_MS = 60000,   /* for the server and the clients to begin */
	MISSING_MS = 60000, /* beyond --seconds, see lacks_evidence */
	SETTLE_MS = 60000,  /* for the server to be whole after the last kill */
	FINISH_MS = 60000,  /* for the clients to get what is due to them */
	SHOW_MS = 100,
	EMFILE_SPARE = 40, /* descriptors of a worker beside its streams */
};

enum signal_set { BY_KILL, BY_SEGV, BY_ABRT, BY_TERM, SIGNALS };

static const struct {
	const char *name;
	int number;
} signals[SIGNALS] = {
	[BY_KILL] = { "KILL", SIGKILL },
	[BY_SEGV] = { "SEGV", SIGSEGV },
	[BY_ABRT] = { "ABRT", SIGABRT },
	[BY_TERM] = { "TERM", SIGTERM },
};

enum whom { WORKERS = 1, STANDBYS = 2 };

/* What runs beside the server; an option each, which says how many connections
 * of it there are at a time. */
enum load_kind {
	STREAMS,
	CHURN,
	SHORT,
	HALF_CLOSED,
	URGENT,
	RESETS,
	HOGS,
	LOADS
};

static const struct {
	const char *name;
	const char *what;
	const char *options[12]; /* of stream */
} load_kinds[LOADS] = {
	[STREAMS] = { "streams", "streams",
	    { "--bytes", "1000000G", "--message", "1-256K", "--mixed" } },
	[CHURN] = { "churn", "connect, echo, close",
	    { "--rounds", "0", "--bytes", "64" } },
	[SHORT] = { "short", "short, with a FIN at a random moment",
	    { "--rounds", "0", "--bytes", "200", "--fin-at-random" } },
	[HALF_CLOSED] = { "half-closed", "half-closed",
	    { "--rounds", "0", "--bytes", "600K", "--message", "1-256K",
		"--mixed", "--half-close" } },
	[URGENT] = { "urgent", "urgent data",
	    { "--bytes", "1000000G", "--message", "1-256K", "--mixed",
		"--oob" } },
	[RESETS] = { "resets", "reset by clients",
	    { "--rounds", "0", "--bytes", "300K", "--message", "1-256K",
		"--mixed", "--reset-at-random" } },
	[HOGS] = { "hogs", "out of descriptors",
	    { "--rounds", "0", "--bytes", "2K", "--message", "1K", "--interval",
		"300" } },
};

struct load {
	pid_t pid; /* 0: not running */
	int out;   /* what it says */
	int status;
	char text[LINE]; /* read, no whole line yet */
	size_t length;
	char counts[LINE]; /* its last line */
};

struct options {
	const char *server;
	const char *service; /* that answers with its input's own bytes */
	const char *log;     /* the server's; NULL: not kept */
	pid_t master;	     /* somebody else's; 0: ours */
	uint64_t workers;
	uint64_t seconds;
	uint64_t kills; /* ends after so many; 0: by time alone */
	uint64_t interval_ms;
	uint64_t reloads; /* in ten seconds */
	uint64_t connections[LOADS];
	bool by[SIGNALS];
	unsigned whom;
	bool emfile;
	uint64_t seed;
};

enum role { OTHER, WORKER, STANDBY, CANDIDATE, SEED, ROLES };

static const char *const role_names[ROLES] = { [WORKER] = "worker",
	[STANDBY] = "standby",
	[CANDIDATE] = "candidate",
	[SEED] = "seed" };

struct member {
	pid_t pid;
	enum role role;
	unsigned slot;
};

/* The server's processes as they were a moment ago. */
struct crew {
	struct member members[CREW];
	unsigned count;
	unsigned have[ROLES][SLOTS]; /* that were not killed */
	unsigned sure[SLOTS];	     /* standbys beyond doubt */
	unsigned seeds;
};

struct chaos {
	struct options opt;
	const char *directory; /* where stream is */
	pid_t master;
	int log;
	char port[8];
	int signals;
	struct load loads[LOADS];
	pid_t marked[MARKED]; /* killed, maybe not dead yet */
	unsigned marked_count;
	pid_t doubted[SLOTS][DOUBTED]; /* standbys: see note_kill */
	int64_t rest_ms[SLOTS];	       /* for as long as that */
	int64_t killed_ms[SLOTS];      /* 0: mended since then */
	int64_t slowest_ms;	       /* until a slot was mended */
	int64_t next_ms[SLOTS];	       /* see note_mended */
	uint64_t kills[ROLES];
	uint64_t reloads;
	uint64_t descriptors; /* of all workers, before the clients came */
	uint64_t random;
	int64_t begun_ms, now_ms, end_ms;
	int64_t kill_ms, reload_ms, show_ms; /* when next */
	bool interrupted;
	bool master_died;
	int complaints;
};

static _Noreturn void
die(const char *what, const char *remedy)
{
	fprintf(stderr, "chaos: %s: %s: %s\n", what, strerror(errno), remedy);
	exit(1);
}

static void
complain(struct chaos *c, const char *what)
{
	printf("  wrong: %s\n", what);
	c->complaints++;
}

static int64_t
clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t
random_below(struct chaos *c, uint64_t limit)
{
	uint64_t x = c->random += 0x9e3779b97f4a7c15u; /* splitmix64 */

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return (x ^ (x >> 31)) % limit;
}

/* ---- the server's processes ---------------------------------------------- */

/* Reads a small file of a process; "" where there is none. */
static void
read_proc(char *text, size_t size, pid_t pid, const char *name)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

static bool
is_marked(const struct chaos *c, pid_t pid)
{
	unsigned i;

	for (i = 0; i < MARKED; i++)
		if (c->marked[i] == pid)
			return true;
	return false;
}

static bool
is_doubted(const struct chaos *c, const struct member *m)
{
	unsigned i;

	for (i = 0; i < DOUBTED && c->now_ms < c->rest_ms[m->slot]; i++)
		if (c->doubted[m->slot][i] == m->pid)
			return true;
	return false;
}

/* Reads the children of a process of one thread: all, also zombies. */
static void
read_children(char *text, size_t size, pid_t pid)
{
	char name[32];

	snprintf(name, sizeof(name), "task/%d/children", (int)pid);
	read_proc(text, size, pid, name);
}

/* A zombie has no title. */
static void
crew_add(const struct chaos *c, struct crew *crew, pid_t pid)
{
	struct member m = { .pid = pid };
	char title[LINE], role[16];

	read_proc(title, sizeof(title), pid, "cmdline");
	if (sscanf(title, "preforkd: %15s %u", role, &m.slot) == 2 &&
	    m.slot < SLOTS)
		for (m.role = ROLES - 1; m.role > OTHER; m.role--)
			if (strcmp(role, role_names[m.role]) == 0)
				break;
	if (!is_marked(c, pid))
		crew->have[m.role][m.slot]++;
	crew->sure[m.slot] +=
	    m.role == STANDBY && !is_marked(c, pid) && !is_doubted(c, &m);
	crew->seeds += m.role == SEED;
	if (crew->count < CREW)
		crew->members[crew->count++] = m;
}

static void
crew_read(const struct chaos *c, struct crew *crew)
{
	char text[8 * CREW], *at = text, *next;
	pid_t pid;

	*crew = (struct crew) { .count = 0 };
	read_children(text, sizeof(text), c->master);
	for (; (pid = (pid_t)strtol(at, &next, 10)) > 0; at = next)
		crew_add(c, crew, pid);
}

/* A worker and a standby for each slot, and nothing else; zombies count. */
static bool
crew_is_whole(const struct crew *crew, uint64_t workers)
{
	unsigned i;

	for (i = 0; i < workers; i++)
		if (crew->have[WORKER][i] != 1 || crew->have[STANDBY][i] != 1)
			return false;
	return crew->count == 2 * workers + crew->seeds;
}

static bool
settle(struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t end = clock_ms() + SETTLE_MS;
	struct crew crew;

	do {
		crew_read(c, &crew);
		if (crew_is_whole(&crew, c->opt.workers))
			return true;
		nanosleep(&moment, NULL);
	} while (clock_ms() < end);
	return false;
}

/* Counts the descriptors of a process; with SHOWN it prints what they are. */
static uint64_t
count_descriptors_of(const struct member *m, bool shown)
{
	char path[64], target[LINE];
	uint64_t count = 0;
	ssize_t length;
	int fd;

	for (fd = 0; fd < 65536; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)m->pid, fd);
		length = readlink(path, target, sizeof(target));
		if (length < 0)
			continue;
		count++;
		if (shown)
			printf("  worker %u: descriptor %d: %.*s\n", m->slot,
			    fd, (int)length, target);
	}
	return count;
}

static uint64_t
count_descriptors(const struct chaos *c, bool shown)
{
	uint64_t sum = 0;
	struct crew crew;
	unsigned i;

	crew_read(c, &crew);
	for (i = 0; i < crew.count; i++)
		if (crew.members[i].role == WORKER)
			sum += count_descriptors_of(&crew.members[i], shown);
	return sum;
}

/* ---- kills and reloads --------------------------------------------------- */

static bool
is_mended(const struct crew *crew, unsigned slot)
{
	return crew->have[WORKER][slot] == 1 && crew->sure[slot] > 0;
}

/* A slot that has been slow to mend then serves for as long as that took:
 * otherwise a slow machine would do nothing but take over. */
static void
note_mended(struct chaos *c, const struct crew *crew)
{
	int64_t took_ms;
	unsigned i;

	for (i = 0; i < SLOTS; i++) {
		if (c->killed_ms[i] == 0 || !is_mended(crew, i))
			continue;
		took_ms = c->now_ms - c->killed_ms[i];
		if (took_ms > c->slowest_ms)
			c->slowest_ms = took_ms;
		if (took_ms > SLOW_MS)
			c->next_ms[i] = c->now_ms + took_ms;
		c->killed_ms[i] = 0;
	}
}

static bool
may_die(const struct chaos *c, const struct crew *crew, const struct member *m)
{
	if (m->role == OTHER || m->role == SEED || is_marked(c, m->pid) ||
	    !is_mended(crew, m->slot) || c->now_ms < c->next_ms[m->slot])
		return false;
	return c->opt.whom & (m->role == WORKER ? WORKERS : STANDBYS);
}

/* In the midst of a reload one of two standbys may be on its way out, and the
 * worker may have been told to end: neither can be seen from outside. From then
 * on only a standby that comes later is one for certain, or whoever is still
 * there after a while. */
static void
note_kill(struct chaos *c, const struct crew *crew, const struct member *m)
{
	unsigned i, count = 0;

	c->kills[m->role]++;
	c->killed_ms[m->slot] = c->now_ms;
	if (c->opt.log != NULL)
		dprintf(c->log, "chaos: a signal to %s %u (pid %d)\n",
		    role_names[m->role], m->slot, (int)m->pid);
	c->marked[c->marked_count++ % MARKED] = m->pid;
	if (m->role != CANDIDATE && crew->have[STANDBY][m->slot] == 1 &&
	    crew->have[CANDIDATE][m->slot] == 0)
		return;
	for (i = 0; i < crew->count && count < DOUBTED; i++)
		if (crew->members[i].role == STANDBY &&
		    crew->members[i].slot == m->slot)
			c->doubted[m->slot][count++] = crew->members[i].pid;
	c->rest_ms[m->slot] = c->now_ms + REST_MS + 10 * c->slowest_ms;
}

static int
choose_signal(struct chaos *c)
{
	uint64_t i;

	do
		i = random_below(c, SIGNALS);
	while (!c->opt.by[i]);
	return signals[i].number;
}

static bool
kill_one(struct chaos *c)
{
	struct member *candidates[CREW];
	struct crew crew;
	unsigned count = 0, i;
	int number = choose_signal(c);

	crew_read(c, &crew);
	note_mended(c, &crew);
	for (i = 0; i < crew.count; i++)
		if (may_die(c, &crew, &crew.members[i]))
			candidates[count++] = &crew.members[i];
	if (count == 0)
		return false;
	i = (unsigned)random_below(c, count);
	if (kill(candidates[i]->pid, number) < 0)
		return false;
	if (number == SIGTERM)
		c->kills[OTHER]++; /* is to be ignored */
	else
		note_kill(c, &crew, candidates[i]);
	return true;
}

static uint64_t
kills_of_all(const struct chaos *c)
{
	return c->kills[OTHER] + c->kills[WORKER] + c->kills[STANDBY] +
	    c->kills[CANDIDATE];
}

/* Does what is due. Where nobody may be killed yet it looks again soon. */
static void
act(struct chaos *c)
{
	if (c->opt.whom != 0 && c->now_ms >= c->kill_ms && kill_one(c)) {
		c->kill_ms += (int64_t)c->opt.interval_ms;
		if (c->kill_ms <= c->now_ms) /* what was missed is missed */
			c->kill_ms = c->now_ms + (c->opt.interval_ms > 0);
	}
	if (c->opt.reloads > 0 && c->now_ms >= c->reload_ms) {
		c->reload_ms = c->now_ms + 10000 / (int64_t)c->opt.reloads;
		c->reloads += kill(c->master, SIGHUP) == 0;
	}
}

/* ---- the server ---------------------------------------------------------- */

/* Descriptors for the streams, spread unevenly, and not for much else. */
static void
limit_descriptors(const struct options *o)
{
	rlim_t n = (o->connections[STREAMS] + o->connections[URGENT]) * 4 / 3 /
		o->workers +
	    EMFILE_SPARE;
	const struct rlimit limit = { .rlim_cur = n, .rlim_max = n };

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("setrlimit", "a higher ulimit -n is needed");
}

static void
unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static _Noreturn void
become_server(const struct chaos *c)
{
	char workers[24], listen[LINE];

	snprintf(listen, sizeof(listen), "127.0.0.1:0=%s", c->opt.service);
	snprintf(workers, sizeof(workers), "%" PRIu64, c->opt.workers);
	unblock_signals();
	setpgid(0, 0); /* a Ctrl-C is for us alone */
	if (c->opt.emfile)
		limit_descriptors(&c->opt);
	dup2(c->log, STDERR_FILENO);
	execl(c->opt.server, c->opt.server, "--listen", listen, "--workers",
	    workers, NULL);
	die(c->opt.server, "build it with make, or say --server PATH");
}

static char *
read_log(const struct chaos *c)
{
	off_t size = lseek(c->log, 0, SEEK_END);
	char *text = calloc((size_t)size + 1, 1);

	if (text == NULL || pread(c->log, text, (size_t)size, 0) < 0)
		die("the server's log", "a bug in chaos");
	return text;
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

/* Until the server says that it is ready it may die, too. */
static bool
server_is_ready(struct chaos *c)
{
	char *log = read_log(c), *at = strstr(log, "starting on 127.0.0.1:");
	bool ready = at != NULL && strstr(log, "ready: ") != NULL;

	if (ready)
		sscanf(at, "starting on 127.0.0.1:%7[0-9]", c->port);
	else if (waitpid(c->master, NULL, WNOHANG) != 0) {
		fprintf(stderr, "chaos: the server ended at once:\n%s", log);
		exit(1);
	}
	free(log);
	return ready;
}

static void
start_server(struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t begin = clock_ms(), end = begin + START_MS;

	if (c->opt.log != NULL)
		c->log = open(c->opt.log,
		    O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
	else
		c->log = memfd_create("log", MFD_CLOEXEC);
	if (c->log < 0 || fcntl(c->log, F_SETFL, O_APPEND) < 0)
		die("the server's log", "say --log FILE where one can be");
	c->master = fork();
	if (c->master == 0)
		become_server(c);
	while (!server_is_ready(c)) {
		if (clock_ms() > end) {
			errno = ETIMEDOUT;
			die("the server's start", "is it preforkd?");
		}
		nanosleep(&moment, NULL);
	}
	if (!settle(c))
		complain(c, "the server does not start its processes");
	c->slowest_ms = clock_ms() - begin;
	c->descriptors = count_descriptors(c, false);
}

/* Orphans of the server become our children (PR_SET_CHILD_SUBREAPER). */
static unsigned
reap_orphans(void)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t end = clock_ms() + 2000;
	char text[LINE], *at, *next;
	unsigned count = 0;
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && clock_ms() < end)
		if (pid == 0)
			nanosleep(&moment, NULL);
	if (pid < 0)
		return 0;
	read_children(text, sizeof(text), getpid());
	for (at = text; (pid = (pid_t)strtol(at, &next, 10)) > 0; at = next) {
		kill(pid, SIGKILL);
		count++;
	}
	return count;
}

static void
stop_server(struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t end = clock_ms() + SETTLE_MS;
	int status = 0;
	pid_t pid;

	if (c->master_died)
		return;
	kill(c->master, SIGTERM);
	while ((pid = waitpid(c->master, &status, WNOHANG)) == 0 &&
	    clock_ms() < end)
		nanosleep(&moment, NULL);
	if (pid == 0) {
		complain(c, "the server does not end by TERM");
		kill(c->master, SIGKILL);
		waitpid(c->master, NULL, 0);
	} else if (status != 0) {
		complain(c, "the server did not end with status 0");
	}
	if (reap_orphans() > 0)
		complain(c, "the server left processes behind");
}

/* ---- the loads ------------------------------------------------------------
 */

static _Noreturn void
become_load(const struct chaos *c, enum load_kind kind)
{
	char path[LINE], number[24], seconds[24];
	const char *arguments[32] = { "stream", "--port", c->port,
		"--connections", number, "--seconds", seconds, "--progress" };
	size_t count = 8, i;

	snprintf(path, sizeof(path), "%s/stream", c->directory);
	snprintf(number, sizeof(number), "%" PRIu64, c->opt.connections[kind]);
	snprintf(seconds, sizeof(seconds), "%" PRIu64,
	    c->opt.seconds + (MISSING_MS + SETTLE_MS + FINISH_MS) / 1000);
	for (i = 0; load_kinds[kind].options[i] != NULL; i++)
		arguments[count++] = load_kinds[kind].options[i];
	unblock_signals();
	setpgid(0, 0);
	dup2(c->loads[kind].out, STDOUT_FILENO);
	execv(path, (char *const *)arguments);
	die(path, "build it with make chaos");
}

static void
start_load(struct chaos *c, enum load_kind kind)
{
	struct load *load = &c->loads[kind];
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe", "raise ulimit -n");
	load->out = ends[1];
	fflush(stdout);
	load->pid = fork();
	if (load->pid == 0)
		become_load(c, kind);
	if (load->pid < 0)
		die("fork", "too many processes");
	close(ends[1]);
	load->out = ends[0];
}

/* Keeps the last whole line. */
static void
hear_load(struct load *load)
{
	ssize_t n = read(load->out, load->text + load->length,
	    sizeof(load->text) - 1 - load->length);
	char *line = load->text, *end;

	if (n <= 0) {
		close(load->out);
		load->out = -1;
		return;
	}
	load->length += (size_t)n;
	load->text[load->length] = '\0';
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		if (strstr(line, " bytes ") != NULL)
			strcpy(load->counts, line);
	}
	load->length = strlen(line);
	memmove(load->text, line, load->length + 1);
}

/* The number behind WORD in what a load has said last. */
static uint64_t
load_count(const struct load *load, const char *word)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof(key), "%s ", word);
	at = strstr(load->counts, key);
	return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

static uint64_t
sum(const struct chaos *c, const char *word)
{
	uint64_t total = 0;
	int kind;

	for (kind = 0; kind < LOADS; kind++)
		total += load_count(&c->loads[kind], word);
	return total;
}

static uint64_t
worst_gap(const struct chaos *c)
{
	uint64_t worst = 0, gap;
	int kind;

	for (kind = 0; kind < LOADS; kind++) {
		gap = kind == HOGS ? 0 : load_count(&c->loads[kind], "gap");
		worst = gap > worst ? gap : worst;
	}
	return worst;
}

/* ---- the loop -------------------------------------------------------------
 */

static void
show(struct chaos *c, const char *end)
{
	printf("%5.1f s  kills %" PRIu64 "  reloads %" PRIu64
	       "  connections %" PRIu64 "  verified %.1f MB  lost %" PRIu64
	       "  wrong %" PRIu64 "  worst gap %" PRIu64 " ms%s",
	    (double)(c->now_ms - c->begun_ms) / 1000, kills_of_all(c),
	    c->reloads, sum(c, "open") + sum(c, "connections"),
	    (double)sum(c, "bytes") / 1e6, sum(c, "lost"), sum(c, "wrong"),
	    worst_gap(c), end);
	fflush(stdout);
}

static struct load *
load_by_pid(struct chaos *c, pid_t pid)
{
	int kind;

	for (kind = 0; kind < LOADS; kind++)
		if (c->loads[kind].pid == pid)
			return &c->loads[kind];
	return NULL;
}

/* Dies anybody before he was told to? Then it is over. */
static void
reap(struct chaos *c)
{
	struct load *load;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		load = load_by_pid(c, pid);
		if (load != NULL) {
			load->pid = 0;
			load->status = status;
		} else if (pid == c->master) {
			c->master_died = true;
		}
		c->end_ms = c->now_ms;
	}
}

static void
hear_signal(struct chaos *c)
{
	struct signalfd_siginfo info;

	if (read(c->signals, &info, sizeof(info)) < 0)
		die("read of the signalfd", "a bug in chaos");
	if (info.ssi_signo == SIGCHLD) {
		reap(c);
	} else {
		c->interrupted = true;
		c->end_ms = c->now_ms;
	}
}

static void
turn(struct chaos *c, int timeout_ms)
{
	struct pollfd fds[LOADS + 1];
	int kind;

	fds[LOADS] = (struct pollfd) { .fd = c->signals, .events = POLLIN };
	for (kind = 0; kind < LOADS; kind++)
		fds[kind] = (struct pollfd) { .fd = c->loads[kind].out,
			.events = POLLIN };
	if (poll(fds, LOADS + 1, timeout_ms) < 0 && errno != EINTR)
		die("poll", "a bug in chaos");
	c->now_ms = clock_ms();
	for (kind = 0; kind < LOADS; kind++)
		if (fds[kind].revents != 0)
			hear_load(&c->loads[kind]);
	if (fds[LOADS].revents != 0)
		hear_signal(c);
	if (c->now_ms >= c->show_ms) {
		c->show_ms = c->now_ms + SHOW_MS;
		if (isatty(STDOUT_FILENO))
			show(c, "\033[K\r");
	}
}

/* The streams have to be there before descriptors run out. */
static void
start_loads(struct chaos *c)
{
	int kind;

	c->now_ms = clock_ms();
	c->end_ms = c->now_ms + START_MS;
	for (kind = 0; kind < LOADS; kind++) {
		if (c->opt.connections[kind] == 0)
			continue;
		start_load(c, (enum load_kind)kind);
		while (c->now_ms < c->end_ms &&
		    load_count(&c->loads[kind], "bytes") == 0)
			turn(c, 1);
	}
}

/* What must have happened for a verdict, however slow the machine is. */
static bool
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

static void
rage(struct chaos *c)
{
	int64_t planned_ms;

	c->begun_ms = c->now_ms = clock_ms();
	c->kill_ms = c->reload_ms = c->now_ms;
	planned_ms = c->now_ms + (int64_t)c->opt.seconds * 1000;
	c->end_ms = planned_ms + MISSING_MS;
	while (c->now_ms < c->end_ms &&
	    (c->now_ms < planned_ms || lacks_evidence(c)) &&
	    (c->opt.kills == 0 || kills_of_all(c) < c->opt.kills)) {
		act(c);
		turn(c, 1);
	}
}

static void
stop_load(struct chaos *c, enum load_kind kind)
{
	struct load *load = &c->loads[kind];

	if (load->pid == 0)
		return;
	kill(load->pid, SIGTERM);
	c->now_ms = clock_ms();
	c->end_ms = c->now_ms + FINISH_MS;
	while (load->pid != 0 && c->now_ms < c->end_ms)
		turn(c, 10);
	if (load->pid == 0)
		return;
	kill(load->pid, SIGKILL);
	waitpid(load->pid, &load->status, 0);
	load->pid = 0;
}

/* Last to come, first to go. */
static void
stop_loads(struct chaos *c)
{
	int64_t ended_ms = c->now_ms;
	int kind;

	for (kind = LOADS - 1; kind >= 0; kind--)
		stop_load(c, (enum load_kind)kind);
	for (kind = 0; kind < LOADS; kind++)
		while (c->loads[kind].out >= 0)
			hear_load(&c->loads[kind]);
	c->now_ms = ended_ms;
}

/* ---- the verdict ----------------------------------------------------------
 */

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
	snprintf(text, sizeof(text), "%s: the client's verdict is %s %d",
	    load_kinds[kind].what,
	    WIFEXITED(load->status) ? "status" : "signal",
	    WIFEXITED(load->status) ? WEXITSTATUS(load->status)
				    : WTERMSIG(load->status));
	complain(c, text);
}

/* A candidate that dies of a fault is a reload that failed, and said so. */
static bool
is_expected(const struct chaos *c, const char *line)
{
	return (c->opt.whom & STANDBYS) &&
	    strstr(line, "reload failed: the candidate for worker ") != NULL;
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
	       " of standbys, %" PRIu64 " of candidates",
	    c->kills[WORKER], c->kills[STANDBY], c->kills[CANDIDATE]);
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

static int
finish(struct chaos *c)
{
	int kind;

	if (c->opt.master != 0)
		return judge_kills(c);
	if (!c->master_died)
		settle(c); /* the last kill's consequences, under load */
	stop_loads(c);
	show(c, isatty(STDOUT_FILENO) ? "\033[K\n" : "\n");
	judge_kills(c);
	for (kind = 0; kind < LOADS; kind++)
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

/* ---- options ---------------------------------------------------------------
 */

static const struct option long_options[] = {
	{ "server", required_argument, NULL, 'p' },
	{ "service", required_argument, NULL, 'v' },
	{ "master", required_argument, NULL, 'm' },
	{ "workers", required_argument, NULL, 'w' },
	{ "seconds", required_argument, NULL, 's' },
	{ "kills", required_argument, NULL, 'k' },
	{ "interval", required_argument, NULL, 'i' },
	{ "reloads", required_argument, NULL, 'r' },
	{ "signals", required_argument, NULL, 'S' },
	{ "whom", required_argument, NULL, 'W' },
	{ "emfile", no_argument, NULL, 'e' },
	{ "log", required_argument, NULL, 'l' },
	{ "seed", required_argument, NULL, 'n' },
	{ "help", no_argument, NULL, 'h' },
	{ "streams", required_argument, NULL, 256 + STREAMS },
	{ "churn", required_argument, NULL, 256 + CHURN },
	{ "short", required_argument, NULL, 256 + SHORT },
	{ "half-closed", required_argument, NULL, 256 + HALF_CLOSED },
	{ "urgent", required_argument, NULL, 256 + URGENT },
	{ "resets", required_argument, NULL, 256 + RESETS },
	{ "hogs", required_argument, NULL, 256 + HOGS },
	{ NULL, 0, NULL, 0 },
};

static const char help[] =
    "Usage: chaos [OPTION]...   kills workers while clients check every byte\n"
    "What is done\n"
    "  --seconds N       for so long (20)\n"
    "  --kills N         or until so many signals have been sent\n"
    "  --interval MS     between two of them (10)\n"
    "  --signals LIST    at random one of KILL,SEGV,ABRT,TERM (KILL)\n"
    "  --whom WHOM       workers, standbys, both or nobody (both)\n"
    "  --reloads N       SIGHUPs in ten seconds (20)\n"
    "  --emfile          the workers run out of descriptors\n"
    "Connections at a time of each load\n"
    "  --streams N       verified streams, some of whose readers pause (200)\n"
    "  --churn N         connect, echo, close at full rate (0)\n"
    "  --short N         a few bytes, and a FIN at a random moment (0)\n"
    "  --half-closed N   shut down, then read until the end (0)\n"
    "  --urgent N        streams with urgent data (0)\n"
    "  --resets N        reset at a random moment (0)\n"
    "The server\n"
    "  --server PATH     (./preforkd)   --workers N   (4)\n"
    "  --service SERVICE one that echoes, too (echo)\n"
    "  --master PID      one that runs already and has a load\n"
    "  --log FILE        keeps its log, with a line for each signal in it\n"
    "  --seed N          of the choices (the clock)\n";

static _Noreturn void
misuse(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "chaos: --%s: invalid value \"%s\": expected %s\n",
	    option, value, expected);
	exit(2);
}

static uint64_t
number(const char *option, const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end != '\0' || *text == '-')
		misuse(option, text, "a number");
	return value;
}

static void
option_signals(struct options *o, char *list)
{
	char *name;
	int i;

	memset(o->by, 0, sizeof(o->by));
	while ((name = strsep(&list, ",")) != NULL) {
		for (i = 0; i < SIGNALS; i++)
			if (strcmp(name, signals[i].name) == 0)
				break;
		if (i == SIGNALS)
			misuse("signals", name, "KILL, SEGV, ABRT or TERM");
		o->by[i] = true;
	}
}

static void
option_whom(struct options *o, const char *name)
{
	static const char *const names[] = { [0] = "nobody",
		[WORKERS] = "workers",
		[STANDBYS] = "standbys",
		[WORKERS | STANDBYS] = "both" };

	for (o->whom = 0; o->whom < 4; o->whom++)
		if (strcmp(name, names[o->whom]) == 0)
			return;
	misuse("whom", name, "workers, standbys, both or nobody");
}

static void
option_set(struct options *o, int option, const char *name)
{
	switch (option) {
	case 'p':
		o->server = optarg;
		break;
	case 'v':
		o->service = optarg;
		break;
	case 'm':
		o->master = (pid_t)number(name, optarg);
		break;
	case 'w':
		o->workers = number(name, optarg);
		break;
	case 's':
		o->seconds = number(name, optarg);
		break;
	case 'k':
		o->kills = number(name, optarg);
		break;
	case 'i':
		o->interval_ms = number(name, optarg);
		break;
	case 'r':
		o->reloads = number(name, optarg);
		break;
	case 'S':
		option_signals(o, optarg);
		break;
	case 'W':
		option_whom(o, optarg);
		break;
	case 'e':
		o->emfile = true;
		break;
	case 'l':
		o->log = optarg;
		break;
	case 'n':
		o->seed = number(name, optarg);
		break;
	case 'h':
		fputs(help, stdout);
		exit(0);
	case '?':
		fputs("chaos: see --help\n", stderr);
		exit(2);
	default:
		o->connections[option - 256] = number(name, optarg);
		break;
	}
}

static void
read_options(struct options *o, int argc, char *argv[])
{
	int option, index = 0;

	while (
	    (option = getopt_long(argc, argv, "", long_options, &index)) >= 0)
		option_set(o, option, long_options[index].name);
	if (o->workers < 1 || o->workers > SLOTS)
		misuse("workers", "", "1 to 64");
	if (o->emfile && o->connections[HOGS] == 0)
		o->connections[HOGS] = 150 * o->workers;
}

static void
prepare(struct chaos *c, char *program)
{
	char *slash = strrchr(program, '/');
	sigset_t set;
	int kind;

	if (slash != NULL)
		*slash = '\0';
	c->directory = slash == NULL ? "." : program;
	c->random = c->opt.seed;
	for (kind = 0; kind < LOADS; kind++)
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
				      .whom = WORKERS | STANDBYS } };

	c.opt.seed = (uint64_t)clock_ms();
	read_options(&c.opt, argc, argv);
	prepare(&c, argv[0]);
	c.master = c.opt.master;
	if (c.master == 0) {
		start_server(&c);
		start_loads(&c);
	}
	rage(&c);
	return finish(&c) > 0;
}

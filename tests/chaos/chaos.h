/* chaos: what its files agree on. See main.c. */
#ifndef TESTS_CHAOS_H
#define TESTS_CHAOS_H

#include <sys/types.h>

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SLOTS = 64,
	CREW = 256, /* processes of one server, the most */
	MARKED = 256,
	LINE = 1024,
	START_MS = 60000,   /* for the server and the clients to begin */
	MISSING_MS = 60000, /* beyond --seconds, see lacks_evidence */
	SETTLE_MS = 60000,  /* for the server to be whole after the last kill */
	FINISH_MS = 60000,  /* for the clients to get what is due to them */
};

enum signal_set { BY_KILL, BY_SEGV, BY_ABRT, BY_TERM, SIGNALS };

enum whom { WORKERS = 1, STANDBYS = 2, LOADERS = 4, ALL = 7 };

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
	uint64_t master;     /* somebody else's pid; 0: ours */
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

enum role { OTHER, WORKER, STANDBY, LEAVING, LOADER, ROLES };

struct member {
	pid_t pid;
	enum role role;
	unsigned slot;	 /* 0 of a loader */
	char socket[32]; /* of a loader: at which it waits */
};

/* The server's processes as they were a moment ago. */
struct crew {
	struct member members[CREW];
	unsigned count;
	unsigned have[ROLES][SLOTS]; /* that were not killed */
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
	int64_t killed_ms[SLOTS]; /* 0: mended since then */
	int64_t slowest_ms;	  /* until a slot was mended */
	int64_t next_ms[SLOTS];	  /* see note_mended */
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

void complain(struct chaos *, const char *what);

/* True where both have one table of descriptors: they are a pair. */
bool shares_files(pid_t, pid_t);

/* ---- processes.c: the server's processes, by their titles --------------- */

extern const char *const role_names[ROLES];

/* Reads the children of a process of one thread: all, also zombies. */
void read_children(char *text, size_t size, pid_t pid);

bool is_marked(const struct chaos *, pid_t pid);
void crew_read(const struct chaos *, struct crew *);

/* Waits until the server is whole. */
bool settle(const struct chaos *);

/* Of all workers; with SHOWN it prints what they are. */
uint64_t count_descriptors(const struct chaos *, bool shown);

/* ---- kills.c
 * ----------------------------------------------------------------- */

struct signal_kind {
	const char *name;
	int number;
};

extern const struct signal_kind signal_kinds[SIGNALS];

uint64_t kills_of_all(const struct chaos *);

/* Does what is due. Where nobody may be killed yet it looks again soon. */
void act(struct chaos *);

/* ---- server.c
 * ---------------------------------------------------------------- */

/* What each child of ours begins with. */
void unblock_signals(void);

void start_server(struct chaos *);
void stop_server(struct chaos *);

/* The caller frees it. */
char *read_log(const struct chaos *);

/* ---- loads.c
 * ----------------------------------------------------------------- */

struct load_form {
	const char *name;
	const char *what;
	const char *options[12]; /* of stream */
};

extern const struct load_form load_kinds[LOADS];

void start_load(struct chaos *, enum load_kind);
void hear_load(struct load *);

/* The number behind WORD in what a load, or all, have said last. */
uint64_t load_count(const struct load *, const char *word);
uint64_t loads_sum(const struct chaos *, const char *word);
uint64_t loads_worst_gap(const struct chaos *);

/* ---- loop.c
 * ------------------------------------------------------------------ */

void show(const struct chaos *, const char *end);
void start_loads(struct chaos *);
void rage(struct chaos *);
void stop_loads(struct chaos *);

/* ---- verdict.c
 * --------------------------------------------------------------- */

/* What must have happened for a verdict has not, however slow the machine is.
 */
bool lacks_evidence(const struct chaos *);

/* Ends all, and returns how many things were wrong. */
int finish(struct chaos *);

/* ---- options.c
 * --------------------------------------------------------------- */

void options_read(struct options *, int argc, char *argv[]);

#endif

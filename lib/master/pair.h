/*
 * pair: the processes of a slot, worker and standby, as the master sees them,
 * and their birth.
 */
#ifndef PREFORKD_PAIR_H
#define PREFORKD_PAIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/backoff.h"
#include "lib/base/config.h"
#include "lib/master/outbox.h"
#include "lib/master/verdict.h"
#include "lib/slot/control.h"
#include "lib/slot/slot.h"

enum pair_state {
	PAIR_STARTING, /* forked; has not said that it is ready */
	PAIR_READY,    /* listens; of a slot that a reload adds */
	PAIR_SERVING,
	PAIR_RETIRING, /* hands its connections to other slots */
	PAIR_ENDING,   /* the worker has ended as ordered, or is given up */
};

extern const char *const pair_state_names[];

enum {
	PAIR_DYING = 8,	      /* more are not killed within a moment */
	PAIR_PATIENCE = 1024, /* messages heard of a slot in one wake-up: more
				 than its sockets hold (socket(7),
				 wmem_default) */
	PAIR_DEAF_MS = 10000, /* a worker that reads nothing is killed then */
	PAIR_TEXT = sizeof(((struct control_message *)0)->text),
};

/* What the master remembers of a worker to see whether it hangs. */
struct pair_watch {
	uint64_t begun, done, base; /* slot.h */
	uint32_t phase;
	int32_t fd;
	uint64_t since_ms; /* none of these has moved since then */
	uint64_t cpu_ms;   /* that the worker had run until then */
};

struct pair {
	unsigned slot;
	unsigned fds; /* what the memory was mapped for */
	struct slot_memory *memory;
	int control;	 /* the master's ends; -1 once the slot's are gone, */
	int standby[2];	 /* which means that all its processes are */
	int nursery;	 /* the seed's */
	unsigned side;	 /* which of standby[] the standby reads */
	pid_t worker;	 /* 0: none, or dead */
	pid_t heir;	 /* the standby; 0: none known */
	pid_t candidate; /* of a reload; 0: none known */
	pid_t seed;	 /* makes candidates; 0: none, then the standby does */
	bool seed_lost;	 /* nor can the standby: it has loaded services */
	/* Killed by us and not yet reaped. Such a one may still take a message
	 * off a standby's socket: none is sent there meanwhile. */
	pid_t dying[PAIR_DYING];
	pid_t untidy; /* a dead candidate whose descriptors the worker is to
			 close; 0: none */
	pid_t leaver; /* the standby of before a reload, which calls `stop`; 0:
			 none */
	uint64_t leaver_ms; /* it is killed if it is still there then */
	enum pair_state state;
	bool taking_over;     /* the worker is dead, a standby is told */
	bool takeover_due;    /* no, it will be when nobody is dying */
	bool rescuing;	      /* there was nobody: the seed makes a successor */
	bool told_candidate;  /* it was the candidate that was told */
	uint64_t rescue_ms;   /* if nobody has taken over by then, a candidate
				 is to; 0: no candidate can be had */
	enum verdict verdict; /* what it is told */
	uint64_t takeover; /* how often one was: CONTROL_TAKE_OVER's serial */
	bool candidate_asked; /* for the reload under way */
	bool candidate_ready;
	bool switching; /* to the candidate, which is told next */
	bool hung;	/* the worker is being aborted */
	bool killed;	/* it is killed, and not for what it does */
	uint64_t started_ms;
	uint64_t worker_ms;   /* the worker works, or is told to, since then */
	uint64_t deadline_ms; /* killed if it is still so then; 0: never */
	/* What has failed for a moment is tried again: a standby is asked for,
	 * a candidate, the order to take over is sent, or the one to end. */
	struct backoff clone, birth, order, reset;
	uint64_t clone_logged_ms; /* that there is no standby; 0: never */
	uint64_t hand_ms;     /* to hand connections over again then; 0: not */
	struct outbox outbox; /* to the worker */
	uint64_t deaf_ms;     /* nothing was taken of it since then */
	unsigned lent;	      /* how many listeners it serves for others */
	uint64_t adopting;    /* connections that it was given, by number */
	uint64_t handed;      /* connections that others have from it */
	struct pair_watch watch;
	uint64_t stopped_ms; /* by a signal, since then; 0: it is not */
	bool stuck;	     /* it does not move: steered away from */
	bool others_stopped; /* one of those that wait may be */
	struct verdict_history history;
	char doing[PAIR_TEXT];	 /* "starting service ./mine.so", or "" */
	char failure[PAIR_TEXT]; /* why the worker or the candidate ends */
	bool useless;		 /* to try again, it says */
	bool overdue;		 /* it had start-timeout, and is killed */
	bool given_up;		 /* all of it are killed, or told to end */
	unsigned patience;	 /* messages that are still heard this time */
};

/* What a new process finds. */
struct pair_start {
	unsigned slot;
	pid_t master;
	const struct config *config;
	int control;	/* the slot's ends: its only descriptors beside 0, 1 */
	int standby[2]; /* and 2 */
	int seed;
	struct slot_memory *memory;
};

/*
 * Forks a worker that calls RUN, exits with its result, and dies with the
 * master. It inherits its slot's memory, the slot's ends of the control sockets
 * and nothing else. Returns the pair, in PAIR_STARTING, or NULL with errno.
 */
struct pair *pair_fork(unsigned slot, const struct config *config,
    int (*run)(const struct pair_start *));

/* Frees what the master holds of a pair. */
void pair_free(struct pair *);

/* The master's ends of its control sockets. */
enum { PAIR_ENDS = 4 };
struct pair_ends {
	int *fd[PAIR_ENDS];
};
struct pair_ends pair_ends(struct pair *);

/* Sends a message to the worker, at once or when its socket has room again. One
 * who is dead does not take it (SIGCHLD tells). */
void pair_send(struct pair *, const struct control_message *, int fd);

/* Sends what waits for room. A worker that has read nothing for PAIR_DEAF_MS is
 * killed, and its successor reads. */
void pair_send_rest(struct pair *, uint64_t now_ms);

/* Sends a message to whoever reads that end: a standby's or the seed's. False
 * where it has to be sent again in a while. */
bool pair_send_waiting(
    int end, const struct control_message *, const struct control_bytes *bytes);

/* Sends an order that needs no more than a value. */
void pair_order(struct pair *, enum control_type type, uint64_t value);

/* True until PID has been reaped: news of a birth can come after the death. */
bool pair_is_child(pid_t pid);

/* Kills a standby or candidate that is not needed, and remembers it as dying.
 */
void pair_dismiss(struct pair *, pid_t pid);
bool pair_has_dying(const struct pair *);
/* Where it is remembered, or NULL; 0 there forgets it. */
pid_t *pair_find_dying(struct pair *, pid_t pid);

/* A candidate has taken over from what this standby was made for: it is to stop
 * its services and end, at DUE_MS at the latest. */
void pair_release_standby(struct pair *, uint64_t due_ms);

/* True where PID is a process of the pair that has a name: worker, standby,
 * candidate, seed, or one that is on its way out. No process has one in two
 * pairs, or two. */
bool pair_has(struct pair *, pid_t pid);
/* True where any of these lives. */
bool pair_has_any(const struct pair *);
/* Takes PID's name away, unless it is the worker. */
void pair_forget(struct pair *, pid_t pid);

/* Closes the master's ends of the control sockets. */
void pair_hang_up(struct pair *);

/* Has those who wait go on, if somebody has stopped one: it is needed now. */
void pair_continue(struct pair *);

/* False where the worker is the last who can serve the slot's connections: it
 * is not to be killed then, and is let go on if somebody has stopped it. */
bool pair_has_heir(const struct pair *);
void pair_continue_worker(const struct pair *);

/* Kills the worker where its successor is to go on. */
void pair_kill_worker(struct pair *);

/* Kills all that is known to live. */
void pair_kill(struct pair *);

/* "SIGSEGV", or "signal 35". */
struct pair_signal {
	char text[16];
};
struct pair_signal pair_signal(int number);

/* "was killed by SIGSEGV (core dumped)", "exited with status 3"; for a status
 * from waitpid(2). */
struct pair_death {
	char text[64];
};
struct pair_death pair_death(int status);

/* Lets this process run on the MASTER's CPUs, or where it is PINNED on the Nth
 * of them, counted round. */
void pair_place(pid_t master, unsigned n, bool pinned);

/* Raises the limit of open files to what it may be. Returns how many a worker
 * may open for CONFIG: fewer than it wants where the limit is lower. */
unsigned pair_fds(const struct config *config, unsigned *wanted);

#endif

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
#include "lib/master/generation.h"
#include "lib/master/outbox.h"
#include "lib/master/verdict.h"
#include "lib/slot/birth.h"
#include "lib/slot/control.h"
#include "lib/slot/slot.h"

enum pair_state {
	PAIR_STARTING, /* forked; has not said that it is ready */
	PAIR_READY,    /* listens; for when the reload is put in force */
	PAIR_SERVING,
	PAIR_RETIRING, /* gives its connections away: its slot is to go, or
			  has a new pair since a reload */
	PAIR_ENDING,   /* the worker has ended as ordered, or is given up */
};

extern const char *const pair_state_names[];

enum {
	PAIR_DYING = 8,	      /* more are not killed within a moment */
	PAIR_PATIENCE = 1024, /* messages heard of a slot in one wake-up: more
				 than its sockets hold (socket(7),
				 wmem_default) */
	PAIR_DEAF_MS = 10000, /* a worker that reads nothing is killed then */
};

/* What the master remembers of a worker to see whether it hangs. */
struct pair_watch {
	uint64_t begun, done, base; /* slot.h */
	uint32_t phase;
	int32_t fd;
	uint64_t since_ms; /* none of these has moved since then */
	uint64_t cpu_ms;   /* that the worker had run until then */
};

/* Of a pair whose connections are to go to others (moves.c). */
struct pair_stay {
	uint64_t look_ms;  /* then to look whether any have gone; 0: not yet */
	uint64_t open;	   /* so many it had at the last look */
	const char *cause; /* of the last try to give some; or NULL */
};

struct pair {
	struct pair *next; /* of all that there are */
	unsigned slot;
	unsigned fds; /* what the memory was mapped for */
	struct slot_memory *memory;
	int control; /* the master's ends; -1 once the slot's are gone, */
	int waiting; /* which means that all its processes are */
	struct generation *generation; /* that bears it; NULL: the master did */
	pid_t worker;		       /* 0: none, dead, or not born yet */
	pid_t standby;		       /* 0: none known */
	/* Killed by us and not yet reaped. Such a one may still take a message
	 * off the standby's socket: none is sent there meanwhile. */
	pid_t dying[PAIR_DYING];
	enum pair_state state;
	bool old;	      /* its slot has a new pair since a reload, */
	uint64_t old_ms;      /* since then */
	bool gave;	      /* a move of its connections has been over */
	bool taking_over;     /* the worker is dead, a standby is told */
	bool takeover_due;    /* no, it will be when nobody is dying */
	uint64_t rescue_ms;   /* if nobody has taken over by then, whom a dead
				 one has cloned is told; 0: not */
	enum verdict verdict; /* what it is told */
	uint64_t takeover; /* how often one was: CONTROL_TAKE_OVER's serial */
	bool hung;	   /* the worker is being aborted */
	bool killed;	   /* it is killed, and not for what it does */
	uint64_t started_ms;
	uint64_t worker_ms;   /* the worker works, or is told to, since then */
	uint64_t deadline_ms; /* killed if it is still so then; 0: never */
	/* What has failed for a moment is tried again: a standby is asked for,
	 * the order to take over is sent, or the one to end. */
	struct backoff clone, order, reset;
	uint64_t clone_logged_ms; /* that there is no standby; 0: never */
	/* Of connections: to another slot, and from one; or NULL (moves.h). */
	struct move *giving, *taking;
	uint64_t give_ms; /* no move of its connections before then */
	struct pair_stay stay;
	struct outbox outbox; /* to the worker */
	uint64_t deaf_ms;     /* nothing was taken of it since then */
	unsigned lent;	      /* how many listeners it serves for others */
	bool was_lent;	      /* it has served such, ever */
	struct pair_watch watch;
	uint64_t stopped_ms;  /* by a signal, since then; 0: it is not */
	bool stuck;	      /* it does not move: steered away from */
	bool standby_stopped; /* it may be */
	struct verdict_history history;
	char failure[CONTROL_TEXT]; /* why the worker ends */
	bool useless;		    /* to try again, it says */
	bool overdue;		    /* it had start-timeout, and is killed */
	bool given_up;		    /* all of it are killed, or told to end */
	unsigned patience; /* messages that are still heard this time */
};

/*
 * Forks a worker that calls RUN, exits with its result, and dies with the
 * master. It inherits its slot's memory, the slot's ends of the control sockets
 * and nothing else; it may open as many files as CONFIG wants, and at least
 * LEAST_FDS. Returns the pair, in PAIR_STARTING, or NULL with errno.
 */
struct pair *pair_fork(unsigned slot, const struct config *config,
    unsigned least_fds, int (*run)(const struct birth *));

/* The same by the loader of a generation, whose clone it is. The worker says
 * CONTROL_BORN; if the pair's control sockets end before, it was not born. */
struct pair *pair_bear(unsigned slot, const struct config *config,
    unsigned least_fds, struct generation *);

/* Frees what the master holds of a pair. */
void pair_free(struct pair *);

/* The master's ends of its control sockets: the worker's, the standby's. */
enum { PAIR_ENDS = 2 };
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

/* Sends a message to whoever waits to take over. False where it has to be sent
 * again in a while. */
bool pair_send_waiting(const struct pair *, const struct control_message *);

/* Sends an order that needs no more than a value. */
void pair_order(struct pair *, enum control_type type, uint64_t value);

/* True until PID has been reaped: news of a birth can come after the death. */
bool pair_is_child(pid_t pid);

/* Kills a standby that is not needed, and remembers it as dying. */
void pair_dismiss(struct pair *, pid_t pid);
bool pair_has_dying(const struct pair *);
/* Where it is remembered, or NULL; 0 there forgets it. */
pid_t *pair_find_dying(struct pair *, pid_t pid);

/* True where PID is a process of the pair that has a name: worker, standby, or
 * one that is on its way out. No process has one in two
 * pairs, or two. */
bool pair_has(struct pair *, pid_t pid);
/* True where any of these lives. */
bool pair_has_any(const struct pair *);
/* Takes PID's name away, unless it is the worker. */
void pair_forget(struct pair *, pid_t pid);

/* Closes the master's ends of the control sockets. */
void pair_hang_up(struct pair *);

/* Has the standby go on, if somebody has stopped it: it is needed now. */
void pair_continue(struct pair *);

/* False where the worker is the last who can serve the slot's connections: it
 * is not to be killed then, and is let go on if somebody has stopped it. */
bool pair_has_standby(const struct pair *);
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

/* Raises the limit of open files to what it may be. Returns how many a worker
 * may open for CONFIG: fewer than it wants where the limit is lower. */
unsigned pair_fds(const struct config *config, unsigned *wanted);

#endif

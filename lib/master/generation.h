/*
 * generation: a configuration with services that are shared objects, as the
 * master sees it: its loader (lib/worker/loader.h), which has read them and
 * bears all slots of it. A configuration that names none has no generation: the
 * master bears its slots itself.
 */
#ifndef PREFORKD_GENERATION_H
#define PREFORKD_GENERATION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/base/backoff.h"
#include "lib/slot/birth.h"
#include "lib/slot/control.h"

enum generation_state {
	GENERATION_LOADING,
	GENERATION_READY,    /* it bears slots */
	GENERATION_STOPPING, /* its services stop */
	/* No process is left that matters: */
	GENERATION_FAILED, /* it has not loaded: `end` says why */
	GENERATION_LOST,   /* both loaders have died */
	GENERATION_OVER,   /* it was told to end */
};

enum {
	GENERATION_LOADERS = 2,	     /* the loader, and its spare */
	GENERATION_STOP_MS = 1000,   /* for services to stop */
	GENERATION_ANSWER_MS = 3000, /* for a loader that we do not know of */
	GENERATION_END = CONTROL_TEXT + 256,
};

struct generation {
	struct generation *next; /* of all that there are */
	enum generation_state state;
	int control;			   /* the master's end; -1: closed */
	pid_t loaders[GENERATION_LOADERS]; /* 0: none known */
	pid_t first;			   /* the one that has loaded */
	bool halted;			   /* one may be stopped by a signal */
	uint64_t start_timeout_ms;
	uint64_t began_ms;
	uint64_t deadline_ms;	  /* of loading, or of stopping; 0: none */
	uint64_t ask_ms;	  /* then to ask whether anybody lives */
	struct backoff clone;	  /* of the spare */
	char doing[CONTROL_TEXT]; /* "starting service ./mine.so", or "" */
	char cause[CONTROL_TEXT]; /* why it cannot load, as it says, or "" */
	bool useless;		  /* to try again, it says */
	bool overdue;		  /* it had start-timeout, and is killed */
	bool killed;		  /* by SIGKILL, while it was loading */
	char end[GENERATION_END];
};

/* Forks a loader that calls LOAD and exits with its result. Returns the
 * generation, in GENERATION_LOADING, or NULL with errno. */
struct generation *generation_fork(const struct config *config,
    int (*load)(const struct loader_birth *), uint64_t now_ms);
void generation_free(struct generation *);

/* True if it has come to its end, and all its processes have. */
bool generation_is_gone(const struct generation *);

/* Has it clone the first process of SLOT, at whose end of the control socket
 * the process will speak. Returns 0, or -1 with errno. */
int generation_bear(struct generation *, unsigned slot, int control);

/* Its control socket has something to hear. */
void generation_hear(struct generation *, uint64_t now_ms);

/* True if PID is one of its processes; that one has died, with a STATUS of
 * waitpid(2), or has been stopped by a signal. */
bool generation_has(const struct generation *, pid_t pid);
void
generation_died(struct generation *, pid_t pid, int status, uint64_t now_ms);

/* Acts on what is overdue, and does again what has failed for a moment. */
void generation_keep_time(struct generation *, uint64_t now_ms);
uint64_t generation_due_ms(const struct generation *);

/* It is not needed any more: its services stop, and it ends. */
void generation_stop(struct generation *, uint64_t now_ms);
void generation_kill(struct generation *);

#endif

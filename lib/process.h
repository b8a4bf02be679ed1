/*
 * process: a worker process as the master sees it, and its birth.
 */
#ifndef PREFORKD_PROCESS_H
#define PREFORKD_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"
#include "control.h"
#include "slot.h"

enum process_state {
	PROCESS_STARTING, /* forked; has not said that it is ready */
	PROCESS_READY,	  /* listens; a candidate stays so until it serves */
	PROCESS_SERVING,
	PROCESS_RETIRING, /* empties its queues; its slot's until they close */
	PROCESS_DRAINING, /* has no listener any more, serves what it has */
};

extern const char *const process_state_names[];

struct process {
	struct process *next; /* in the master's list */
	unsigned slot;
	pid_t pid;
	int control; /* the master's end; -1 once the other is gone */
	struct slot_memory *memory;
	enum process_state state;
	bool candidate; /* of a reload that is under way */
	uint64_t started_ms;
	uint64_t deadline_ms; /* killed if it is still so then; 0: never */
	char failure[sizeof(((struct control_message *)0)->text)];
};

/* What a new process finds. */
struct process_start {
	unsigned slot;
	const struct config *config;
	int control; /* the worker's end, its only fd beside 0, 1 and 2 */
	struct slot_memory *memory;
};

/*
 * Forks a worker that calls RUN, exits with its result, and dies with the
 * master. It inherits its slot's memory, one end of the control pair and
 * nothing else. Returns it, in PROCESS_STARTING, or NULL with errno.
 */
struct process *process_fork(unsigned slot, const struct config *config,
    int (*run)(const struct process_start *));

/* Sends an order. A worker that has died does not take it (SIGCHLD tells), and
 * one that has long stopped reading would miss it: it is killed. */
void process_send(struct process *, const struct control_message *, int fd);

/* Kills one that has not been reaped. */
void process_kill(struct process *);

/* "was killed by SIGSEGV (core dumped)", "exited with status 3"; for a status
 * from waitpid(2). */
struct process_death {
	char text[64];
};
struct process_death process_death(int status);

/* Frees what the master holds of a process that has been reaped. */
void process_free(struct process *);

/* Raises the limit of open files to what it may be. Returns how many a worker
 * may open for CONFIG: fewer than it wants where the limit is lower. */
unsigned process_fds(const struct config *config, unsigned *wanted);

#endif

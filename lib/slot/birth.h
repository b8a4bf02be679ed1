/*
 * birth: what a process of the server finds when it begins, and what it makes
 * of itself first. A worker is forked by the master, or cloned by its loader.
 */
#ifndef PREFORKD_BIRTH_H
#define PREFORKD_BIRTH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/base/config.h"
#include "lib/base/service.h"
#include "lib/slot/slot.h"

/* What a slot's first process finds. */
struct birth {
	unsigned slot;
	pid_t master;
	const struct config *config;
	const struct services *services; /* loaded and started; NULL: all are
					    built in */
	int control; /* the slot's ends of its control sockets */
	int waiting;
	struct slot_memory *memory;
};

/* What a loader finds. */
struct loader_birth {
	pid_t master;
	const struct config *config;
	int control; /* its end of its control socket */
};

/* Ends this process when the MASTER dies, by whatever means, or now if it is
 * dead already. */
void birth_follow(pid_t master);

/* Moves COUNT descriptors down to the first numbers behind the standard streams
 * and closes all others. The master may have so many that theirs would lie
 * beyond a slot's table. */
void birth_keep_only(int *fds[], size_t count);

/* What was the master's alone ends here: its signals, its safety from the
 * kernel's OOM killer. What is cloned from here inherits that. */
void birth_leave_master(void);

/* Lets this process open so many FDS, no more. */
void birth_limit_fds(unsigned fds);

/* Lets this process run on the MASTER's CPUs, or if it is PINNED on the Nth of
 * them, counted round. */
void birth_place(pid_t master, unsigned n, bool pinned);

/* The system call itself, as libc's fork has no FLAGS: the clone is a child of
 * the master. Nothing that libc's fork handlers would do is missed by a process
 * of one thread. Returns as fork(2) does. */
pid_t birth_clone(int flags);

#endif

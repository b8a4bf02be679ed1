/*
 * slot: the memory that a worker works in, shared with the master and with
 * whoever comes after the worker.
 *
 * It holds only shapes for which every prefix of an update is a valid state,
 * since a worker can die between any two stores (see connection.h for the
 * connections, worker.c for the events). A worker talks to strangers, so the
 * master reads from here nothing but counters.
 *
 * The connection table is indexed by file descriptor. The worker's limit of
 * file descriptors is set to the table's length, so that the kernel itself
 * keeps every descriptor inside.
 */
#ifndef PREFORKD_SLOT_H
#define PREFORKD_SLOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "connection.h"

enum {
	SLOT_EVENTS = 256,	 /* one epoll_wait's batch */
	SLOT_BUFFER = 64 * 1024, /* bytes of one read; a turn's bound */
	SLOT_FDS_BESIDE = 128,	 /* what a worker opens beside connections */
};

/* Only grow; written by the worker, read by the master at any time. */
struct slot_counters {
	uint64_t accepted; /* connections */
	uint64_t closed;   /* connections; open = accepted - closed */
	uint64_t received; /* bytes */
	uint64_t sent;	   /* bytes */
};

struct slot_memory {
	size_t size;	       /* bytes of the whole mapping */
	unsigned fds;	       /* connections[] has an entry for each fd */
	unsigned fds_used;     /* no fd at or above it was ever open here */
	uint64_t sweep_wanted; /* something may time out or be given back */
	struct slot_counters counters;
	/*
	 * The batch of events is its own journal. epoll_wait(2) writes into
	 * it; an entry is handled, then its events field set to 0. Before each
	 * epoll_wait all are 0, so whoever finds one that is not has to handle
	 * it: an edge-triggered event that the kernel has copied out does not
	 * come again. Handling one twice is harmless.
	 */
	struct epoll_event events[SLOT_EVENTS];
	_Alignas(4096) unsigned char buffer[SLOT_BUFFER]; /* of the turn */
	_Alignas(64) struct connection connections[];
};

/*
 * Maps the memory for a worker that may have FDS descriptors. The pages are the
 * kernel's until they are touched, and no child inherits the mapping unless
 * slot_inherit says so. Returns NULL with errno.
 */
struct slot_memory *slot_map(unsigned fds);
void slot_unmap(struct slot_memory *);

/* Whether the children of this process from now on inherit the mapping: a
 * worker is to see its own slot alone. Returns 0, or -1 with errno. */
int slot_inherit(struct slot_memory *, bool inherit);

/* The place of FD's connection, CONNECTION_PLACE bytes (connection.h). */
unsigned char *slot_place(struct slot_memory *, int fd);
/* Gives the memory of FD's place back to the kernel; its bytes are lost. */
void slot_release_place(struct slot_memory *, int fd);

static inline uint64_t
slot_open_connections(const struct slot_memory *memory)
{
	return memory->counters.accepted - memory->counters.closed;
}

#endif

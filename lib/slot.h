/*
 * slot: the memory that a worker leaves to its successor.
 *
 * It is shared between the master and the slot's two processes, and holds only
 * shapes for which every prefix of an update is a valid state, since a worker
 * can die between any two stores:
 *
 * - counters that only grow, each advanced by one store (connection.h);
 * - one transaction at a time, with its record: what is being done to which
 *   descriptor. Its fields are written while the phase is PHASE_IDLE, the phase
 *   last; from then on a successor can finish it (exchange.c, intake.c);
 * - the batch of events, which is its own journal.
 *
 * A worker talks to strangers, so whoever reads this memory after it checks
 * every descriptor and length before use.
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
#include <sys/socket.h>

#include "connection.h"
#include "store.h"

enum {
	SLOT_PAGE = 4096,
	SLOT_EVENTS = 256,	 /* one epoll_wait's batch */
	SLOT_BUFFER = 64 * 1024, /* bytes of one read; a turn's bound */
	SLOT_FDS_BESIDE = 256,	 /* what a worker opens beside connections */
	SLOT_LISTENERS = 192,	 /* its own, and those lent by other slots */
	SLOT_MAGIC = 0x70666b64,
};

enum slot_phase {
	PHASE_IDLE,
	PHASE_READ,    /* recv into the buffer */
	PHASE_RUN,     /* the service works on what is in the buffer */
	PHASE_WRITE,   /* the answer leaves the buffer */
	PHASE_FLUSH,   /* pending bytes leave the connection's place */
	PHASE_CLOSE,   /* the connection is closed, its entry freed */
	PHASE_ACCEPT,  /* fd is a listener: accept4 */
	PHASE_OPEN,    /* fd becomes a connection */
	PHASE_HEAR,    /* an order is read, which may bring a descriptor */
	PHASE_RELEASE, /* fd is a listener that is given up */
	PHASES
};

/* The one transaction in progress. */
struct transaction {
	uint32_t phase; /* enum slot_phase */
	int32_t fd;
	int32_t runner;	 /* RUN: the last process that called the service */
	uint64_t base;	 /* READ, RUN, WRITE: position of the buffer's first
			    byte in the stream; CLOSE: the generation */
	uint64_t count;	 /* OPEN, CLOSE: the counter's value afterwards */
	uint64_t number; /* OPEN: slot_memory.adopted afterwards, CLOSE:
			    slot_memory.handed; 0: of no other slot */
	/* ACCEPT: accept4(2) writes the peer's address before it installs the
	 * descriptor, and nothing can fail in between: where the family is not
	 * 0, there is a descriptor. */
	struct sockaddr_storage peer;
	socklen_t peer_length;
};

struct slot_listener {
	int32_t fd;	  /* 0: none */
	uint32_t closing; /* is closed when its queue is empty */
	uint64_t serial;  /* what the master calls it (control.h) */
};

/* Only grow; written by the worker, read by the master at any time. A death
 * can cost the byte counts one turn. */
struct slot_counters {
	uint64_t accepted; /* connections */
	uint64_t closed;   /* connections; open = accepted - closed */
	uint64_t received; /* bytes */
	uint64_t sent;	   /* bytes */
};

struct slot_memory {
	size_t size;	   /* bytes of the whole mapping */
	uint32_t magic;	   /* SLOT_MAGIC while nobody has written over it */
	uint32_t fds;	   /* connections[] has an entry for each fd */
	uint32_t fds_used; /* no fd at or above it was ever open here */
	uint32_t listeners_used; /* no listener at or above it was there */
	uint32_t watched; /* 0: the worker wakes the master before it works */
	uint64_t begun;	  /* batches of events */
	uint64_t done;	  /* of these; as many as begun: the worker waits */
	uint64_t sweep_wanted;	  /* something may time out or be given back */
	uint64_t pause_logged_ms; /* clock_ms(); 0: never */
	uint64_t taken;		  /* the last take-over (control.h) */
	uint64_t adopted; /* the last connection taken from another slot */
	uint64_t handed;  /* the last connection given to another slot */
	int32_t offered;  /* fd of the next one: nobody touches it; or 0 */
	struct slot_counters counters;
	struct transaction transaction;
	struct slot_listener listeners[SLOT_LISTENERS];
	/*
	 * epoll_wait(2) writes into the journal; an entry is handled, then its
	 * events field set to 0. Before each epoll_wait all are 0, so whoever
	 * finds one that is not has to handle it: an edge-triggered event that
	 * the kernel has copied out does not come again. Handling one twice is
	 * harmless.
	 */
	struct epoll_event events[SLOT_EVENTS];
	_Alignas(SLOT_PAGE) unsigned char buffer[SLOT_BUFFER]; /* of the turn */
	/* No access: a service that writes beyond the buffer faults before it
	 * reaches what belongs to others. */
	unsigned char fence[SLOT_PAGE];
	_Alignas(64) struct connection connections[];
};

/*
 * Maps the memory for a slot that may have FDS descriptors. The pages are the
 * kernel's until they are touched, and no child inherits the mapping unless
 * slot_inherit says so. Returns NULL with errno.
 */
struct slot_memory *slot_map(unsigned fds);
void slot_unmap(struct slot_memory *, unsigned fds);

/* Whether the children of this process from now on inherit the mapping: a
 * worker is to see its own slot alone. Returns 0, or -1 with errno. */
int slot_inherit(struct slot_memory *, bool inherit);

/* False where a fault has written over what the rest hangs on; FDS is what the
 * memory was mapped for, kept outside of it. */
bool slot_is_valid(const struct slot_memory *, unsigned fds);

/* Opens a transaction whose other fields are written; or ends it. */
void slot_begin(struct slot_memory *, enum slot_phase, int fd);
void slot_end(struct slot_memory *);

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

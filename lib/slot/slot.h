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

#include "lib/base/quota.h"
#include "lib/base/vigil.h"
#include "lib/slot/connection.h"
#include "lib/slot/move.h"
#include "lib/slot/store.h"

enum {
	SLOT_PAGE = 4096,
	SLOT_EVENTS = 256,		/* one epoll_wait's batch */
	SLOT_JOURNAL = SLOT_EVENTS + 1, /* with what the clock brings */
	SLOT_FDS_BESIDE = 256, /* what a worker opens beside connections */
	SLOT_LISTENERS = 192,  /* its own, and those lent by other slots */
	SLOT_COUNTS = 64,      /* counters that services name */
	SLOT_COUNT_NAME = 32,  /* bytes of such a name, with its end */
	SLOT_STATE = 256,      /* bytes; a larger state has its own pages */
	/* What a connection takes along to another slot. */
	SLOT_PARCEL = CONNECTION_PLACE + PREFORKD_STATE_MAX,
	SLOT_MAGIC = 0x70666b64,
};

enum slot_phase {
	PHASE_IDLE,
	PHASE_READ,    /* recv into the input buffer */
	PHASE_RUN,     /* a call of the service is made */
	PHASE_APPLY,   /* it is committed: its outcome is put in force */
	PHASE_WRITE,   /* the answer leaves, the rest is kept */
	PHASE_FLUSH,   /* pending bytes leave the connection's place */
	PHASE_TELL,    /* a connection ends: its service is to hear of it */
	PHASE_CLOSE,   /* the connection is closed, its entry freed */
	PHASE_ACCEPT,  /* accept4 */
	PHASE_OPEN,    /* fd becomes a connection */
	PHASE_HEAR,    /* an order is read, which may bring a descriptor */
	PHASE_RELEASE, /* fd is given up: a listener, or what was brought */
	PHASE_TAKE,    /* connections come from another slot */
	PHASES
};

/* The functions of a service (preforkd.h). */
enum slot_call {
	CALL_NONE,
	CALL_OPEN,
	CALL_INPUT,
	CALL_MORE,
	CALL_END,
	CALL_TIMER,
	CALL_CLOSE,
	CALLS
};

enum { SLOT_COUNTS_EACH = 8 }; /* different counters of one call */

/* What a call changes: values for the connection, not differences, so that it
 * can be put in force again. */
struct outcome {
	uint64_t consumed;
	uint64_t committed;
	uint64_t timer_ms;
	uint32_t limit;	     /* 0: as it was */
	uint16_t flags;	     /* enum connection_flag */
	uint16_t reason;     /* enum close_reason */
	uint32_t state_size; /* of what lies in slot_memory.state; */
	uint32_t state_version;
	bool state_used; /* false: the state is as it was */
	uint32_t counts; /* of the next */
	struct {
		uint32_t index; /* in slot_memory.counts */
		uint64_t value;
	} count[SLOT_COUNTS_EACH];
};

/* The one transaction in progress. */
struct transaction {
	uint32_t phase; /* enum slot_phase */
	int32_t fd;
	uint32_t call;	 /* RUN: enum slot_call */
	int32_t runner;	 /* RUN: the last process that made the call */
	uint64_t serial; /* RUN: of the call, the same if it is made again */
	uint64_t base;	 /* the input buffer begins at this position of the
			    stream */
	uint64_t start;	 /* READ: how much had been received before */
	uint64_t answer; /* the answer begins at this position of its stream, */
	uint64_t answer_offset; /* and there in the slot's memory */
	uint64_t accepted;	/* OPEN: the counter's value afterwards */
	/* TELL and CLOSE. No other phase reads these: so a connection's end can
	 * be written down in the midst of any, and begins with one store. */
	uint64_t closed;     /* the counter's value afterwards */
	uint32_t generation; /* of the connection */
	uint32_t reason;     /* enum close_reason */
	uint32_t after;	     /* the phase behind CLOSE: IDLE, or what the
				connection's end was found in */
	/* RELEASE, CLOSE: of the file that is to be closed (loop.h); 0 for one
	 * that the epoll instance knows until then. */
	uint64_t cookie;
	struct outcome outcome;
	/* ACCEPT: accept4(2) writes the peer's address before it installs the
	 * descriptor, and nothing can fail in between: where the family is not
	 * 0, there is a descriptor. */
	struct sockaddr_storage peer;
	socklen_t peer_length;
	int32_t listener; /* ACCEPT: on which descriptor */
};

struct slot_listener {
	int32_t fd;	   /* 0: none */
	uint32_t closing;  /* is closed when its queue is empty */
	uint64_t serial;   /* what the master calls it (control.h) */
	uint64_t cookie;   /* which socket it is (loop.h) */
	uint32_t endpoint; /* what its connections get: connection.h */
	uint32_t service;
	uint32_t inherited; /* others hold it, too: lookout.h */
	uint32_t lost;	    /* a service has closed it: enum slot_loss */
};

enum slot_loss { LOSS_NONE, LOSS_SEEN, LOSS_TOLD /* the master */ };

/*
 * HEAR: what recvmsg(2) writes beside an order's bytes. The kernel writes the
 * number here before it installs the descriptor (fs/file.c, receive_fd), so a
 * successor knows what came, also when the call was not seen to return.
 */
struct slot_brought {
	size_t length; /* a struct cmsghdr, and one descriptor: cmsg(3) */
	int32_t level, type;
	int32_t fd; /* -1: none */
	int32_t padding;
};

/* Pages of one ring of a connection's place that may hold memory. */
struct hold_ring {
	uint64_t end; /* the stream's first page that is not among them; 0: none
			 is */
	uint32_t pages;
};

/* What a connection holds while it waits: see hold.h. */
struct hold {
	struct hold_ring rest, answer;
	uint64_t since_ms; /* it waits for the same since then */
	uint32_t state_pages;
};

/* A counter that a service names; its name is written once. */
struct slot_count {
	char name[SLOT_COUNT_NAME]; /* "": free, and so are all behind it */
	uint64_t value;
};

/* Only grow; written by the worker, read by the master at any time. A death
 * can cost the byte counts one turn. */
struct slot_counters {
	uint64_t accepted; /* connections, */
	uint64_t moved;	   /* of these, from another worker */
	uint64_t closed;   /* connections; open = accepted - closed */
	uint64_t received; /* bytes */
	uint64_t sent;	   /* bytes */
	uint64_t faults;   /* connections closed for one, its own or its
			      service's */
};

struct slot_memory {
	size_t size;	   /* bytes of the whole mapping */
	uint32_t magic;	   /* SLOT_MAGIC while nobody has written over it */
	uint32_t fds;	   /* connections[] has an entry for each fd */
	uint32_t fds_used; /* no fd at or above it was ever open here */
	uint32_t listeners_used; /* no listener at or above it was there */
	uint32_t watched;  /* 0: the worker wakes the master before it works */
	uint64_t begun;	   /* batches of events */
	uint64_t done;	   /* of these; as many as begun: the worker waits */
	uint64_t timer_ms; /* no connection's timer is due before; 0: never;
			      the root of the bounds in timers.h */
	uint64_t sweep_wanted;	  /* something may time out or be given back */
	uint64_t sweep_ms;	  /* the next sweep; 0: none is due */
	struct vigil vigil;	  /* the clock of this memory's times */
	uint64_t pause_logged_ms; /* clock_ms(); 0: never */
	uint64_t full_ms; /* it takes no more connections since then; 0: it has
			     room */
	struct quota faults; /* logged, of connections closed for one */
	uint64_t claim;	     /* the last take-over's: slot_claim_takeover */
	uint64_t held;	     /* pages, all that were ever touched: hold.h */
	uint64_t held_look;  /* beyond it what is held is counted: budget.h */
	uint64_t budget;     /* pages; what held_look was reckoned for */
	struct quota budget_logged; /* connections closed for their memory */
	struct slot_counters counters;
	struct transaction transaction;
	struct slot_brought brought;
	struct slot_listener listeners[SLOT_LISTENERS];
	struct slot_give give; /* to another slot */
	struct slot_take take; /* from another slot */
	/*
	 * epoll_wait(2) writes into the journal; an entry is handled, then its
	 * events field set to 0. Before each epoll_wait all are 0, so whoever
	 * finds one that is not has to handle it: an edge-triggered event that
	 * the kernel has copied out does not come again. Handling one twice is
	 * harmless. The last entry is none of the kernel's: what the clock
	 * brings to be served stands there meanwhile (schedule.c).
	 */
	struct epoll_event events[SLOT_JOURNAL];
	struct slot_count counts[SLOT_COUNTS];
	/* The turn's buffers. No access to the fences: a service that writes
	 * beyond a buffer faults before it reaches what belongs to others. */
	_Alignas(SLOT_PAGE) unsigned char input[CONNECTION_INPUT];
	unsigned char input_fence[SLOT_PAGE];
	unsigned char answer[CONNECTION_ANSWER];
	unsigned char answer_fence[SLOT_PAGE];
	unsigned char state[PREFORKD_STATE_MAX]; /* at its end: state_buffer */
	unsigned char state_fence[SLOT_PAGE];
	/* Of a connection that is packed or unpacked: what it has left over of
	 * its input, its pending answer, its state. */
	unsigned char parcel[SLOT_PARCEL];
	_Alignas(64) struct connection connections[];
};

/*
 * Maps the memory for a slot that may have FDS descriptors. The pages are the
 * kernel's until they are touched, and no child inherits the mapping unless
 * slot_inherit says so. Returns NULL with errno.
 */
struct slot_memory *slot_map(unsigned fds);

/* The same in a FILE, a descriptor that the caller closes, for a process that
 * is not to inherit the mapping: it attaches it. NULL with errno if that fails.
 */
struct slot_memory *slot_map_file(unsigned fds, int *file);
struct slot_memory *slot_attach(unsigned fds, int file);

void slot_unmap(struct slot_memory *, unsigned fds);

/* Whether the children of this process from now on inherit the mapping of so
 * many FDS: a worker is to see its own slot alone, and what a service forks
 * none. Returns 0, or -1 with errno. */
int slot_inherit(struct slot_memory *, unsigned fds, bool inherit);

/* A copy: what is checked of it is what is used of it, whatever a process that
 * has the memory writes there meanwhile. */
struct transaction slot_transaction(const struct slot_memory *);

/* False where a fault has written over what the rest hangs on; FDS is what the
 * memory was mapped for, kept outside of it, and the transaction a copy. */
bool slot_is_valid(
    const struct slot_memory *, unsigned fds, const struct transaction *);

/*
 * Claims the take-over of that serial (control.h) for process PID, whoever
 * comes first: who is told to take over, or the master, that it may tell
 * another. False where it has been claimed, or a later one.
 */
bool slot_claim_takeover(struct slot_memory *, uint64_t serial, int32_t pid);

/* Who has claimed the take-over of that serial, or 0. */
int32_t slot_taker(const struct slot_memory *, uint64_t serial);

/* Opens a transaction whose other fields are written; or ends it. */
void slot_begin(struct slot_memory *, enum slot_phase, int fd);
void slot_end(struct slot_memory *);

/* FD's particulars, and how many bytes from the beginning they lie. */
struct particulars *slot_particulars(struct slot_memory *, int fd);
size_t slot_particulars_offset(unsigned fds, int fd);

/* The bounds of the connections' timers, all but the first (timers.h). */
uint64_t *slot_timer_bounds(struct slot_memory *);

/* The place of FD's connection, CONNECTION_PLACE bytes (connection.h). */
unsigned char *slot_place(struct slot_memory *, int fd);
/* What FD's connection holds there, and of its state. */
struct hold *slot_hold(struct slot_memory *, int fd);

/*
 * Where the state of FD's connection lies. A small one has SLOT_STATE bytes in
 * a table, a larger one pages of its own: so two versions of different size may
 * lie at two places.
 */
unsigned char *slot_state(struct slot_memory *, int fd, uint32_t size);

/* Where a call works on a state of SIZE bytes: it ends at the fence. */
unsigned char *slot_state_buffer(struct slot_memory *, uint32_t size);

/* Adds what a slot has counted; what it says is not checked. */
void slot_add_counters(const struct slot_memory *, struct slot_counters *sum);

/* Adds the counters that services name to the SUMS by these names. */
void slot_add_counts(
    const struct slot_memory *, struct slot_count sums[SLOT_COUNTS]);

/* Never more than there are descriptors, whatever damaged memory says. */
static inline uint64_t
slot_open_connections(const struct slot_memory *memory, unsigned fds)
{
	uint64_t open = memory->counters.accepted - memory->counters.closed;

	return open <= fds ? open : fds;
}

#endif

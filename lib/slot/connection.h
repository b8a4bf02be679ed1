/*
 * connection: what is kept of a client between two events, and what follows
 * from it. Pure: no system call, no clock of its own.
 *
 * A connection lies in slot memory, where a worker can die between any two
 * stores. So its state is not a set of fields that must change together: it is
 * derived from counters that only grow, each advanced by a single store.
 *
 *     received   bytes taken from the socket
 *     consumed   bytes of these that the service has done with
 *     committed  bytes of answer that the service has given
 *     sent       bytes of answer that the kernel has accepted
 *
 *     rest    = received - consumed
 *     pending = committed - sent
 *
 * What a call of the service changes (consumed, committed, the timer, the
 * flags) changes by its outcome in the transaction's record (call.h), which can
 * be applied again as often as it takes.
 *
 * The rest that waits for more input, and the pending bytes that the client
 * does not take, wait in the connection's place: two rings in which the byte at
 * position P of its stream lies at P modulo the ring's size, so no offset is
 * kept either. While any answer is pending, nothing is read: a place never
 * overflows.
 */
#ifndef PREFORKD_CONNECTION_H
#define PREFORKD_CONNECTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/preforkd.h"

enum {
	CONNECTION_READ = 64 * 1024, /* bytes of one read; a turn's bound */
	/* What a call may leave unconsumed, and a read behind it. */
	CONNECTION_INPUT = PREFORKD_INPUT_MAX + CONNECTION_READ,
	/* Calls go on until they have answered so much; then one more. */
	CONNECTION_ANSWER = CONNECTION_READ + PREFORKD_REPLY_MAX,
	CONNECTION_PLACE = CONNECTION_INPUT + CONNECTION_ANSWER,
};

/* Why a connection ends. */
enum close_reason {
	CLOSE_NOT, /* it goes on */
	CLOSE_END_OF_STREAM,
	CLOSE_RESET,
	CLOSE_LOST,
	CLOSE_IDLE_TIMEOUT,
	CLOSE_WRITE_TIMEOUT,
	CLOSE_STOPPING,
	CLOSE_DRAIN_TIMEOUT,
	CLOSE_NO_MEMORY,
	CLOSE_MEMORY,	/* it held what others need: budget.h */
	CLOSE_TAKEN,	/* its descriptor is another file's by now */
	CLOSE_HANDED,	/* to another slot: only our descriptor closes */
	CLOSE_FAULT,	/* of the service */
	CLOSE_FINISHED, /* by the service */
	CLOSE_ABORTED,	/* by the service */
	CLOSE_TOO_LONG,
	CLOSE_REPLY_TOO_LONG,
	CLOSE_BAD_COUNT,
	CLOSE_NO_SERVICE,
	CLOSE_NO_MIGRATION,
	CLOSE_REASONS
};

/* What the log says of a reason, what a service is told, and whether the
 * client sees a reset and the log an error. */
struct close_meaning {
	const char *text;
	enum preforkd_reason told;
	bool reset;
	bool logged; /* as an error */
};

extern const struct close_meaning close_meanings[CLOSE_REASONS];

/* What is due to a connection, or is over; changes with a call's outcome. */
enum connection_flag {
	CONNECTION_UNOPENED = 1, /* the service's `open` is due */
	CONNECTION_MORE = 2,	 /* its `more` is */
	CONNECTION_AGAIN = 4,	 /* its `input` is, with what is left */
	CONNECTION_ENDED = 8,	 /* the peer's FIN has come, it was told */
	CONNECTION_FINISHED = 16,
	CONNECTION_ABORTED = 32,
	CONNECTION_STATEFUL = 64, /* its particulars tell of a state */
	CONNECTION_LEAVING = 128, /* it is on its way to another slot: nobody
				     touches it (move.h) */
};

/* One cache line; times are the slot's vigil's. An entry that was never used is
 * all zero. */
struct connection {
	uint64_t received;    /* bytes */
	uint64_t consumed;    /* bytes */
	uint64_t committed;   /* bytes */
	uint64_t sent;	      /* bytes */
	uint64_t timer_ms;    /* when `timer` is due; 0: never */
	uint64_t progress_ms; /* of the last byte in or out */
	uint32_t endpoint;    /* by which it came, and whose service it has: */
	uint32_t service;     /* see service.h */
	uint32_t generation;  /* odd while open: one store opens or closes */
	uint16_t flags;	      /* enum connection_flag */
	bool place_used;      /* the place may hold memory */
	bool lingering;	      /* answered and shut down, not yet closed */
};

/* The rest of what is kept of it: seldom needed. */
struct particulars {
	uint64_t opened_ms; /* at accept */
	uint64_t taken;	    /* bytes acknowledged by the peer at a look */
	uint64_t owed_ms;   /* it has taken nothing of what it is owed since
			       that look; 0: it was owed nothing */
	struct in6_addr peer_ip;
	uint32_t limit;		/* bytes: preforkd_limit */
	uint32_t state_size;	/* bytes of the service's state; 0: none yet */
	uint32_t state_version; /* whose layout it has */
	in_port_t peer_port;	/* as on the wire */
	bool state_paged;	/* it had a page of its own (slot.h) */
};

static inline bool
connection_is_open(const struct connection *c)
{
	return c->generation & 1;
}

static inline uint64_t
connection_pending(const struct connection *c)
{
	return c->committed - c->sent;
}

static inline uint64_t
connection_rest(const struct connection *c)
{
	return c->received - c->consumed;
}

/* True where it is open and here: it can be served. */
static inline bool
connection_is_here(const struct connection *c)
{
	return connection_is_open(c) && !(c->flags & CONNECTION_LEAVING);
}

/* Fills in an entry that is not open. */
void connection_fill(
    struct connection *, uint32_t endpoint, uint32_t service, uint64_t now_ms);
void particulars_fill(struct particulars *, const struct in6_addr *peer_ip,
    in_port_t peer_port, uint64_t now_ms);

/* Opens an entry that is filled in: its generation becomes odd. */
void connection_open(struct connection *);

/* Closes an entry: events that still carry its generation are stale. */
void connection_close(struct connection *);

/* Puts into PLACE the last COUNT of the committed bytes, those that were not
 * sent; or all of the rest, which begins at BYTES. */
void connection_keep(struct connection *, unsigned char *place,
    const unsigned char *bytes, size_t count);
void connection_keep_rest(
    struct connection *, unsigned char *place, const unsigned char *bytes);

/* The first pending bytes that lie in one piece: their address, and in COUNT
 * their number, at least 1 where any are pending. */
const unsigned char *connection_kept(
    const struct connection *, const unsigned char *place, size_t *count);

/* Copies all of the rest, or of the pending bytes, out of PLACE. */
void connection_copy_rest(
    const struct connection *, const unsigned char *place, unsigned char *to);
void connection_copy_pending(
    const struct connection *, const unsigned char *place, unsigned char *to);

/* True where the place was used, is empty, and nothing has moved for QUIET_MS:
 * its memory can go back to the kernel. */
bool connection_place_is_spare(
    const struct connection *, uint64_t now_ms, uint64_t quiet_ms);

#endif

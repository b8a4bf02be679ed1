/*
 * connection: what is kept of a client between two events, and what follows
 * from it. Pure: no system call, no clock of its own.
 *
 * A connection lies in slot memory, where a worker can die between any two
 * stores. So its state is not a set of fields that must change together: it is
 * derived from counters that only grow, each advanced by a single store.
 *
 *     received   bytes taken from the socket
 *     committed  bytes of answer that the service has given
 *     sent       bytes of answer that the kernel has accepted
 *
 *     pending = committed - sent
 *
 * The pending bytes are those that the client does not take. They wait in the
 * connection's place, a ring in which the byte at position P of the answer lies
 * at P modulo the ring's size: so no offset is kept either. While any are
 * pending, nothing is read: a place never overflows.
 */
#ifndef PREFORKD_CONNECTION_H
#define PREFORKD_CONNECTION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A place's bytes: as many as one turn can leave over. */
enum { CONNECTION_PLACE = 64 * 1024 };

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
	CLOSE_HANDED, /* to another slot: only our descriptor closes */
	CLOSE_FAULT,  /* of the service; with a reset */
	CLOSE_REASONS
};

extern const char *const close_reason_texts[CLOSE_REASONS];

/* One cache line. An entry that was never used is all zero. */
struct connection {
	uint64_t received;    /* bytes */
	uint64_t committed;   /* bytes */
	uint64_t sent;	      /* bytes */
	uint64_t opened_ms;   /* clock_ms() at accept */
	uint64_t progress_ms; /* clock_ms() of the last byte in or out */
	struct in6_addr peer_ip;
	uint32_t generation; /* odd while open: one store opens or closes */
	in_port_t peer_port; /* as on the wire */
	bool place_used;     /* the place may hold memory */
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

/* Fills in an entry that is not open. */
void connection_fill(struct connection *, const struct in6_addr *peer_ip,
    in_port_t peer_port, uint64_t now_ms);

/* Opens an entry that is filled in: its generation becomes odd. */
void connection_open(struct connection *);

/* Closes an entry: events that still carry its generation are stale. */
void connection_close(struct connection *);

/*
 * Puts into PLACE the last COUNT (at most CONNECTION_PLACE) of the committed
 * bytes, those that were not sent.
 */
void connection_keep(struct connection *, unsigned char *place,
    const unsigned char *bytes, size_t count);

/* The first pending bytes that lie in one piece: their address, and in COUNT
 * their number, at least 1 where any are pending. */
const unsigned char *connection_kept(
    const struct connection *, const unsigned char *place, size_t *count);

/* True where the place was used, is empty, and nothing has moved for QUIET_MS:
 * its memory can go back to the kernel. */
bool connection_place_is_spare(
    const struct connection *, uint64_t now_ms, uint64_t quiet_ms);

/* Says whether the connection has stood still for too long. Timeouts in ms, 0
 * for never: IDLE while nothing is pending, WRITE while something is. */
enum close_reason connection_overdue(const struct connection *, uint64_t now_ms,
    uint64_t idle_timeout_ms, uint64_t write_timeout_ms);

#endif

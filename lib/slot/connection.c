#include "lib/slot/connection.h"

#include <string.h>

#include "lib/slot/store.h"

const struct close_meaning close_meanings[CLOSE_REASONS] = {
	[CLOSE_NOT] = { "open", PREFORKD_END, false, false },
	[CLOSE_END_OF_STREAM] = { "end of stream", PREFORKD_END, false, false },
	[CLOSE_RESET] = { "reset by client", PREFORKD_RESET, false, false },
	[CLOSE_LOST] = { "connection lost", PREFORKD_RESET, false, false },
	[CLOSE_IDLE_TIMEOUT] = { "idle timeout", PREFORKD_TIMEOUT, false,
	    false },
	/* By a reset: who takes nothing would not take our FIN either, and the
	 * kernel would hold the answer for as long as the peer lives. */
	[CLOSE_WRITE_TIMEOUT] = { "write timeout", PREFORKD_TIMEOUT, true,
	    false },
	[CLOSE_STOPPING] = { "server stopping", PREFORKD_STOPPING, false,
	    false },
	[CLOSE_DRAIN_TIMEOUT] = { "drain timeout", PREFORKD_STOPPING, false,
	    false },
	[CLOSE_NO_MEMORY] = { "no memory", PREFORKD_RESET, false, false },
	[CLOSE_MEMORY] = { "its memory was needed", PREFORKD_TIMEOUT, true,
	    false },
	[CLOSE_TAKEN] = { "the service has closed its descriptor",
	    PREFORKD_RESET, false, true },
	[CLOSE_HANDED] = { "handed to another worker", PREFORKD_END, false,
	    false },
	[CLOSE_FAULT] = { "the service failed on its input", PREFORKD_ABORTED,
	    true, true },
	[CLOSE_FINISHED] = { "finished", PREFORKD_FINISHED, false, false },
	[CLOSE_ABORTED] = { "aborted by the service", PREFORKD_ABORTED, true,
	    false },
	[CLOSE_TOO_LONG] = { "its message is longer than the service's limit",
	    PREFORKD_TOO_LONG, true, true },
	[CLOSE_REPLY_TOO_LONG] = { "one call has replied more than "
				   "PREFORKD_REPLY_MAX",
	    PREFORKD_TOO_LONG, true, true },
	[CLOSE_BAD_COUNT] = { "the service consumed more than there was",
	    PREFORKD_ABORTED, true, true },
	[CLOSE_NO_SERVICE] = { "its service is no longer configured",
	    PREFORKD_STOPPING, true, true },
	[CLOSE_NO_MIGRATION] = { "its state is of another version of the "
				 "service, which does not migrate it",
	    PREFORKD_ABORTED, true, true },
};

void
connection_fill(
    struct connection *c, uint32_t endpoint, uint32_t service, uint64_t now_ms)
{
	c->received = c->consumed = c->committed = c->sent = 0;
	c->timer_ms = 0;
	c->progress_ms = now_ms;
	c->endpoint = endpoint;
	c->service = service;
	c->flags = CONNECTION_UNOPENED;
	c->place_used = false;
	c->lingering = false;
}

void
particulars_fill(struct particulars *p, const struct in6_addr *peer_ip,
    in_port_t peer_port, uint64_t now_ms)
{
	p->opened_ms = now_ms;
	p->taken = p->owed_ms = 0;
	p->peer_ip = *peer_ip;
	p->limit = PREFORKD_INPUT_MAX;
	p->state_size = p->state_version = 0;
	p->peer_port = peer_port;
	p->state_paged = false;
}

void
connection_open(struct connection *c)
{
	store(c->generation, c->generation + 1);
}

void
connection_close(struct connection *c)
{
	store(c->generation, c->generation + 1);
}

/* ---- the place: the input's ring, then the answer's ---------------------- */

struct ring {
	size_t offset; /* in the place */
	size_t size;   /* bytes */
};

static const struct ring input_ring = { 0, CONNECTION_INPUT };
static const struct ring answer_ring = { CONNECTION_INPUT, CONNECTION_ANSWER };

/* Of COUNT bytes from POSITION on: where the first lies, and how many lie
 * behind it without a break. */
static size_t
ring_find(
    const struct ring *ring, uint64_t position, uint64_t count, size_t *first)
{
	size_t start = (size_t)(position % ring->size);

	*first = ring->size - start;
	if (*first > count)
		*first = (size_t)count;
	return ring->offset + start;
}

static void
ring_put(const struct ring *ring, unsigned char *place, uint64_t position,
    const unsigned char *bytes, size_t count)
{
	size_t first, at = ring_find(ring, position, count, &first);

	memcpy(place + at, bytes, first);
	memcpy(place + ring->offset, bytes + first, count - first);
}

static void
ring_get(const struct ring *ring, const unsigned char *place, uint64_t position,
    unsigned char *bytes, size_t count)
{
	size_t first, at = ring_find(ring, position, count, &first);

	memcpy(bytes, place + at, first);
	memcpy(bytes + first, place + ring->offset, count - first);
}

void
connection_keep(struct connection *c, unsigned char *place,
    const unsigned char *bytes, size_t count)
{
	c->place_used = true;
	ring_put(&answer_ring, place, c->committed - count, bytes, count);
}

void
connection_keep_rest(
    struct connection *c, unsigned char *place, const unsigned char *bytes)
{
	c->place_used = true;
	ring_put(
	    &input_ring, place, c->consumed, bytes, (size_t)connection_rest(c));
}

const unsigned char *
connection_kept(
    const struct connection *c, const unsigned char *place, size_t *count)
{
	return place +
	    ring_find(&answer_ring, c->sent, connection_pending(c), count);
}

void
connection_copy_rest(
    const struct connection *c, const unsigned char *place, unsigned char *to)
{
	ring_get(
	    &input_ring, place, c->consumed, to, (size_t)connection_rest(c));
}

void
connection_copy_pending(
    const struct connection *c, const unsigned char *place, unsigned char *to)
{
	ring_get(
	    &answer_ring, place, c->sent, to, (size_t)connection_pending(c));
}

bool
connection_place_is_spare(
    const struct connection *c, uint64_t now_ms, uint64_t quiet_ms)
{
	return c->place_used && connection_pending(c) == 0 &&
	    connection_rest(c) == 0 && now_ms - c->progress_ms >= quiet_ms;
}

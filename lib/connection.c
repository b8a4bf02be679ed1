#include "connection.h"

#include <string.h>

#include "store.h"

const char *const close_reason_texts[CLOSE_REASONS] = {
	[CLOSE_NOT] = "open",
	[CLOSE_END_OF_STREAM] = "end of stream",
	[CLOSE_RESET] = "reset by client",
	[CLOSE_LOST] = "connection lost",
	[CLOSE_IDLE_TIMEOUT] = "idle timeout",
	[CLOSE_WRITE_TIMEOUT] = "write timeout",
	[CLOSE_STOPPING] = "server stopping",
	[CLOSE_DRAIN_TIMEOUT] = "drain timeout",
	[CLOSE_NO_MEMORY] = "no memory",
	[CLOSE_HANDED] = "handed to another worker",
	[CLOSE_FAULT] = "the service failed on its input",
};

void
connection_fill(struct connection *c, const struct in6_addr *peer_ip,
    in_port_t peer_port, uint64_t now_ms)
{
	c->received = c->committed = c->sent = 0;
	c->opened_ms = c->progress_ms = now_ms;
	c->peer_ip = *peer_ip;
	c->peer_port = peer_port;
	c->place_used = false;
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

void
connection_keep(struct connection *c, unsigned char *place,
    const unsigned char *bytes, size_t count)
{
	size_t start = (c->committed - count) % CONNECTION_PLACE;
	size_t first = CONNECTION_PLACE - start;

	if (first > count)
		first = count;
	c->place_used = true;
	memcpy(place + start, bytes, first);
	memcpy(place, bytes + first, count - first);
}

const unsigned char *
connection_kept(
    const struct connection *c, const unsigned char *place, size_t *count)
{
	size_t start = c->sent % CONNECTION_PLACE;
	size_t first = CONNECTION_PLACE - start;
	uint64_t pending = connection_pending(c);

	*count = pending < first ? (size_t)pending : first;
	return place + start;
}

bool
connection_place_is_spare(
    const struct connection *c, uint64_t now_ms, uint64_t quiet_ms)
{
	return c->place_used && connection_pending(c) == 0 &&
	    now_ms - c->progress_ms >= quiet_ms;
}

enum close_reason
connection_overdue(const struct connection *c, uint64_t now_ms,
    uint64_t idle_timeout_ms, uint64_t write_timeout_ms)
{
	bool blocked = connection_pending(c) > 0;
	uint64_t timeout_ms = blocked ? write_timeout_ms : idle_timeout_ms;

	if (timeout_ms == 0 || now_ms - c->progress_ms < timeout_ms)
		return CLOSE_NOT;
	return blocked ? CLOSE_WRITE_TIMEOUT : CLOSE_IDLE_TIMEOUT;
}

/*
 * An echo by the hardest way, for clients that verify every byte: it takes so
 * many bytes a call and leaves the rest, holds them in the connection's state,
 * answers with the first half of them, and with the second when the client has
 * taken that. What comes of a call that is lost, made twice or half put in
 * force is a wrong byte.
 */
#include <string.h>

#include "include/preforkd.h"

#ifndef RELAY_VERSION
#define RELAY_VERSION 1
#endif

enum { HELD = 700 }; /* bytes a call: more than a small state has room for */

struct relay {
#if RELAY_VERSION == 2
	char moved[40]; /* so that the one layout is garbage in the other */
#endif
	uint64_t calls;
	uint32_t count; /* of what is held */
	unsigned char held[HELD];
};

static size_t
relay_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	struct relay *relay = preforkd_state(conn);

	relay->calls++;
	relay->count = (uint32_t)(count < HELD ? count : HELD);
	memcpy(relay->held, bytes, relay->count);
	preforkd_reply(conn, relay->held, relay->count / 2);
	preforkd_more(conn);
	preforkd_count(conn, "calls", 1);
	return relay->count;
}

static void
relay_more(struct preforkd_conn *conn)
{
	struct relay *relay = preforkd_state(conn);
	uint32_t half = relay->count / 2;

	preforkd_reply(conn, relay->held + half, relay->count - half);
	relay->count = 0;
}

static void
relay_close(struct preforkd_conn *conn, enum preforkd_reason reason)
{
	const struct relay *relay = preforkd_state(conn);

	(void)reason;
	preforkd_count(conn, "closed", relay->calls > 0);
}

/* Between the versions, either way: all but the first of the larger's bytes. */
static int
relay_migrate(struct preforkd_conn *conn, const void *old_state,
    uint32_t old_size, uint32_t old_version)
{
	const size_t size =
	    sizeof(struct relay) - offsetof(struct relay, calls);

	if (old_version == RELAY_VERSION || old_size < size)
		return -1;
	memcpy((char *)preforkd_state(conn) + offsetof(struct relay, calls),
	    (const char *)old_state + old_size - size, size);
	return 0;
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "relay",
	.state_size = sizeof(struct relay),
	.state_version = RELAY_VERSION,
	.input = relay_input,
	.more = relay_more,
	.close = relay_close,
	.migrate = relay_migrate,
};

/*
 * An echo that hears from the clock: each connection has a timer, which is set
 * anew whenever it comes. ARGUMENT says to how many ms. It counts the ticks,
 * the connections that have had three of them, and, in classes, how late they
 * came.
 */
#include <stdlib.h>
#include <time.h>

#include "include/preforkd.h"

struct tick {
	uint64_t due_ms;
	uint64_t ticks;
};

static uint32_t interval_ms;

static uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *
tick_start(const char *argument)
{
	interval_ms = (uint32_t)atoi(argument);
	return interval_ms > 0 ? NULL : "expected a number of ms";
}

static void
wind(struct preforkd_conn *conn)
{
	struct tick *tick = preforkd_state(conn);

	tick->due_ms = clock_ms() + interval_ms;
	preforkd_timer(conn, interval_ms);
}

static size_t
tick_input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	preforkd_reply(conn, bytes, count);
	return count;
}

static const char *
class_of(uint64_t now_ms, uint64_t due_ms)
{
	return now_ms < due_ms	     ? "ticks too early"
	    : now_ms <= due_ms + 20  ? "ticks at most 20 ms late"
	    : now_ms <= due_ms + 100 ? "ticks at most 100 ms late"
				     : "ticks later than that";
}

static void
tick_timer(struct preforkd_conn *conn)
{
	struct tick *tick = preforkd_state(conn);

	preforkd_count(conn, class_of(clock_ms(), tick->due_ms), 1);
	if (++tick->ticks == 3)
		preforkd_count(conn, "third ticks", 1);
	wind(conn);
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "tick",
	.state_size = sizeof(struct tick),
	.start = tick_start,
	.open = wind,
	.input = tick_input,
	.timer = tick_timer,
};

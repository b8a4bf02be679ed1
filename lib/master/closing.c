#include "lib/master/closing.h"

#include "lib/base/clock.h"
#include "lib/base/handshake.h"
#include "lib/base/log.h"

enum { LOOK_MS = 20 }; /* most handshakes are over sooner */

/* What was inherited does not close: whoever has passed it goes on to listen.
 */
static bool
may_go(const struct endpoint *e)
{
	return e->used && !e->inherited;
}

static bool
goes(const struct endpoint *e, const struct config *next)
{
	return may_go(e) && (!next || !endpoint_is_configured(e, next));
}

static void
for_each_listener(struct endpoint *e, void (*act)(int fd))
{
	for (unsigned slot = 0; slot < CONFIG_WORKERS_MAX; slot++)
		if (e->listeners[slot] >= 0)
			act(e->listeners[slot]);
}

static void
begin(struct closing *closing, struct endpoints *all, const struct config *next,
    uint64_t now_ms)
{
	closing->begun_ms = now_ms;
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (goes(&all->list[i], next))
			for_each_listener(
			    &all->list[i], listener_begin_no_more);
}

static unsigned
list_ports(const struct endpoints *all, const struct config *next,
    unsigned ports[CONTROL_ENDPOINTS])
{
	unsigned count = 0;

	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (goes(&all->list[i], next))
			ports[count++] = address_port(&all->list[i].bound);
	return count;
}

/* Others may listen on the same port, and go on: a handshake that is younger
 * than ours can be is theirs. Where that cannot be told nobody is waited for.
 */
static bool
look(struct closing *closing, const struct endpoints *all,
    const struct config *next, uint64_t now_ms)
{
	unsigned ports[CONTROL_ENDPOINTS];
	unsigned count = list_ports(all, next, ports);
	const uint64_t before_ms = clock_ms();
	enum handshakes found = handshake_look(
	    ports, count, now_ms - closing->begun_ms, HANDSHAKE_SLOW_MS);

	closing->look_ms =
	    handshake_again_ms(now_ms, clock_ms() - before_ms, LOOK_MS);
	return found == HANDSHAKES_SOME;
}

bool
closing_is_over(struct closing *closing, struct endpoints *all,
    const struct config *next, uint64_t now_ms)
{
	bool first = closing->begun_ms == 0;

	if (first)
		begin(closing, all, next, now_ms);
	else if (now_ms < closing->look_ms)
		return false;
	if (!look(closing, all, next, now_ms))
		return true;
	if (first)
		log_info("waiting for handshakes that are under way, "
			 "at most %d ms",
		    HANDSHAKE_SLOW_MS);
	return false;
}

void
closing_end(struct closing *closing)
{
	*closing = (struct closing) { 0 };
}

void
closing_cancel(struct closing *closing, struct endpoints *all)
{
	if (closing->begun_ms == 0)
		return;
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (may_go(&all->list[i]))
			for_each_listener(&all->list[i], listener_begin_again);
	closing_end(closing);
}

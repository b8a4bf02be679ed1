#include "lib/master/closing.h"

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

/* Others may listen on the same port, and go on: a handshake that is younger
 * than ours can be is theirs. Where that cannot be told nobody is waited for.
 */
static bool
has_handshakes(
    const struct endpoints *all, const struct config *next, uint64_t least_ms)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (goes(&all->list[i], next) &&
		    handshake_look(address_port(&all->list[i].bound), least_ms,
			HANDSHAKE_SLOW_MS) == HANDSHAKES_SOME)
			return true;
	return false;
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
	if (!has_handshakes(all, next, now_ms - closing->begun_ms))
		return true;
	if (first)
		log_info("waiting for handshakes that are under way, "
			 "at most %d ms",
		    HANDSHAKE_SLOW_MS);
	closing->look_ms = now_ms + LOOK_MS;
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

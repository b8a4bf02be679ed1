#include "lib/worker/wait.h"

#include "lib/slot/store.h"

bool
wait_is_owed(const struct connection *c, const struct particulars *p)
{
	return c->committed != p->taken;
}

/* Each time before what it is the time of: a death in between makes the wait
 * begin later, never earlier. */
void
wait_note(struct connection *c, struct particulars *p, uint64_t taken,
    uint64_t now_ms)
{
	bool waited = p->owed_ms != 0;

	if (taken == c->committed)
		store(p->owed_ms, 0);
	else if (!waited || taken != p->taken)
		store(p->owed_ms, now_ms);
	if (waited && taken != p->taken)
		c->progress_ms = now_ms;
	store(p->taken, taken);
}

static bool
is_after(uint64_t since_ms, uint64_t now_ms, uint64_t timeout_ms)
{
	return timeout_ms != 0 && now_ms - since_ms >= timeout_ms;
}

static bool
waits_for_words(const struct connection *c)
{
	return connection_pending(c) == 0 &&
	    !(c->flags & (CONNECTION_MORE | CONNECTION_AGAIN));
}

bool
wait_is_newcomer(
    const struct connection *c, const struct particulars *p, uint64_t now_ms)
{
	return c->received == 0 && c->committed == 0 &&
	    !is_after(p->opened_ms, now_ms, WAIT_NEWCOMER_MS);
}

enum close_reason
wait_overdue(const struct connection *c, const struct particulars *p,
    uint64_t now_ms, uint64_t idle_timeout_ms, uint64_t write_timeout_ms)
{
	if (p->owed_ms != 0 && is_after(p->owed_ms, now_ms, write_timeout_ms))
		return CLOSE_WRITE_TIMEOUT;
	if (c->lingering)
		return p->owed_ms == 0 &&
			is_after(c->progress_ms, now_ms, WAIT_LINGER_MS)
		    ? CLOSE_FINISHED
		    : CLOSE_NOT;
	if (waits_for_words(c) &&
	    is_after(c->progress_ms, now_ms, idle_timeout_ms))
		return CLOSE_IDLE_TIMEOUT;
	return CLOSE_NOT;
}

#include "lib/master/room.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lib/base/log.h"

enum { LOG_MS = 60000 }; /* one line of each kind in this time */

/* A slot whose processes are about to start at once is still steered to: its
 * queue waits for no more than a moment. */
static bool
is_served(const struct crew *crew, const struct slot *slot)
{
	return slot->wanted && slot->proven &&
	    !(slot->pair && slot->pair->stuck) && !crew_is_down(crew, slot);
}

/* Clients can bring it about as often as they like. */
static bool
may_log(const struct crew *crew, uint64_t *logged_ms)
{
	if (*logged_ms != 0 && crew->now_ms - *logged_ms < LOG_MS)
		return false;
	*logged_ms = crew->now_ms;
	return true;
}

static void
log_full(struct crew *crew, const struct pair *pair, unsigned full, unsigned of)
{
	bool all = full == of;
	uint64_t open = slot_open_connections(pair->memory, pair->fds);

	if (!may_log(crew, all ? &crew->all_full_ms : &crew->some_full_ms))
		return;
	log_warning("%u of %u workers full, worker %u with %" PRIu64
		    " connections: new clients %s; raise %s",
	    full, of, pair->slot, open,
	    all ? "wait in the queue" : "go to the others",
	    open < crew->config.max_connections ? "LimitNOFILE= or ulimit -Hn"
						: "max-connections or workers");
}

/* The slots that are served, and are full. PAIR becomes the last of them. */
static unsigned
count_full(const struct crew *crew, const struct pair **pair, unsigned *served)
{
	unsigned full = 0;

	*served = 0;
	for (unsigned i = 0; i < crew->slot_count; i++) {
		const struct slot *slot = &crew->slots[i];

		if (!is_served(crew, slot))
			continue;
		(*served)++;
		if (slot->pair && crew_is_full(slot->pair)) {
			*pair = slot->pair;
			full++;
		}
	}
	return full;
}

/* Where all are full each is as good as another. */
void
room_steer(struct crew *crew)
{
	const struct pair *pair = NULL;
	unsigned served, full = count_full(crew, &pair, &served);
	bool changed = false;

	for (unsigned i = 0; i < crew->slot_count; i++) {
		const struct slot *slot = &crew->slots[i];
		bool wanted = is_served(crew, slot) &&
		    (full == served || !slot->pair ||
			!crew_is_full(slot->pair));

		changed |= wanted != crew->served[i];
		crew->served[i] = wanted;
	}
	if (endpoints_steer(&crew->endpoints, crew->served, changed) < 0)
		log_warning("cannot steer connections: %s", strerror(errno));
	if (pair)
		log_full(crew, pair, full, served);
}

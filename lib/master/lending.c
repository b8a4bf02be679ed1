#include "lib/master/lending.h"

#include "lib/base/clock.h"
#include "lib/base/handshake.h"

/* A worker has SLOT_LISTENERS places, and a reload can bring it others of its
 * own: what is lent leaves room for those. */
enum { LENT_MAX = SLOT_LISTENERS - CONTROL_ENDPOINTS };

enum { LOOK_MS = 1000 }; /* between two looks for handshakes */

static struct pair *
find_helper(const struct crew *crew)
{
	struct pair *best = NULL;

	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (pair && pair->lent < LENT_MAX && !crew_is_full(pair) &&
		    !pair->stuck && crew_can_take(crew, pair))
			best = crew_less_loaded(best, pair);
	}
	return best;
}

static void
lend(struct crew *crew, struct endpoint *e, unsigned owner)
{
	struct pair *helper;

	if (e->listeners[owner] < 0 || e->lent_to[owner] != 0)
		return;
	helper = find_helper(crew);
	if (!helper)
		return; /* later, when there is one */
	e->lent_to[owner] = (unsigned short)(helper->slot + 1);
	helper->lent++;
	helper->was_lent = true;
	crew_order_listener(
	    helper, CONTROL_LISTEN, e, owner, e->listeners[owner]);
}

struct pair *
lending_end(struct crew *crew, struct endpoint *e, unsigned owner)
{
	struct pair *helper;

	if (e->lent_to[owner] == 0)
		return NULL;
	helper = crew->slots[e->lent_to[owner] - 1].pair;
	e->lent_to[owner] = 0;
	if (helper)
		helper->lent--;
	return helper;
}

/* RELEASE where the owner serves its queue, CLOSE where nobody will: then it is
 * emptied first. */
static void
take_back(struct crew *crew, struct endpoint *e, unsigned owner,
    enum control_type how)
{
	struct pair *helper = lending_end(crew, e, owner);

	if (helper)
		crew_order_listener(helper, how, e, owner, -1);
}

/* ---- the slots that need it ---------------------------------------------- */

void
lending_linger(struct crew *crew, struct slot *slot)
{
	slot->linger_ms = crew->now_ms + HANDSHAKE_MS;
	slot->look_ms = crew->now_ms + LOOK_MS;
}

bool
lending_is_over(const struct slot *slot)
{
	return !slot->wanted && slot->linger_ms == 0;
}

/* No new client comes to the queue of a worker that does not move: it is
 * steered away from. But not what was inherited. */
static bool
is_stuck(const struct endpoint *e, const struct slot *slot)
{
	return e->inherited && slot->pair->stuck;
}

static bool
serves_itself(const struct endpoint *e, const struct slot *slot)
{
	return slot->pair && slot->pair->state == PAIR_SERVING &&
	    !crew_is_full(slot->pair) && !is_stuck(e, slot);
}

/* A socket that was inherited has another slot beside one that is to go. */
static bool
needs_help(
    const struct crew *crew, const struct endpoint *e, const struct slot *slot)
{
	if (e->inherited && !slot->wanted)
		return false;
	if (crew_is_down(crew, slot))
		return true;
	if (!slot->pair)
		return slot->linger_ms != 0;
	return slot->pair->state == PAIR_RETIRING ||
	    (slot->pair->state == PAIR_SERVING &&
		(crew_is_full(slot->pair) || is_stuck(e, slot)));
}

/* Its helper is full, too: another may have room. */
static bool
is_of_no_help(const struct crew *crew, const struct endpoint *e, unsigned owner)
{
	const struct pair *helper;

	if (e->lent_to[owner] == 0)
		return false;
	helper = crew->slots[e->lent_to[owner] - 1].pair;
	return helper && crew_is_full(helper);
}

static void
reconcile_listener(struct crew *crew, struct endpoint *e, unsigned owner)
{
	const struct slot *slot = &crew->slots[owner];

	if (e->listeners[owner] < 0 ||
	    !endpoint_is_configured(e, &crew->config)) {
		take_back(crew, e, owner, CONTROL_CLOSE);
	} else if (serves_itself(e, slot) || is_of_no_help(crew, e, owner)) {
		take_back(crew, e, owner, CONTROL_RELEASE);
	} else if (needs_help(crew, e, slot)) {
		lend(crew, e, owner);
	}
}

static bool
lingers(const struct slot *slot)
{
	return slot->linger_ms != 0;
}

/* One that is still served does not go yet. */
static bool
is_looked_for(const struct crew *crew, const struct slot *slot)
{
	return lingers(slot) && !slot->pair && !slot->next &&
	    crew->now_ms < slot->linger_ms;
}

static bool
is_port_looked_for(const struct crew *crew, const struct endpoint *e)
{
	for (unsigned i = 0; e->used && i < crew->slot_count; i++)
		if (e->listeners[i] >= 0 &&
		    is_looked_for(crew, &crew->slots[i]))
			return true;
	return false;
}

static unsigned
list_ports(const struct crew *crew, unsigned ports[CONTROL_ENDPOINTS])
{
	unsigned count = 0;

	for (int n = 0; n < CONTROL_ENDPOINTS; n++) {
		const struct endpoint *e = &crew->endpoints.list[n];

		if (is_port_looked_for(crew, e))
			ports[count++] = address_port(&e->bound);
	}
	return count;
}

static void
end_lingering(struct crew *crew, struct slot *slot, unsigned owner)
{
	slot->linger_ms = slot->look_ms = 0;
	for (int n = 0; n < CONTROL_ENDPOINTS; n++)
		if (crew->endpoints.list[n].used)
			take_back(crew, &crew->endpoints.list[n], owner,
			    CONTROL_CLOSE);
	endpoints_drop(&crew->endpoints, owner);
}

static bool
is_look_due(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (lingers(&crew->slots[i]) &&
		    crew->now_ms >= crew->slots[i].look_ms)
			return true;
	return false;
}

/* What their listeners have begun is over sooner as a rule. One look is for all
 * slots: so they have the next at the same time, too. */
static void
look(struct crew *crew)
{
	unsigned ports[CONTROL_ENDPOINTS];
	unsigned count = list_ports(crew, ports);
	const uint64_t before_ms = clock_ms();
	const bool some = handshake_is_under_way(ports, count);
	const uint64_t again_ms =
	    handshake_again_ms(crew->now_ms, clock_ms() - before_ms, LOOK_MS);

	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct slot *slot = &crew->slots[i];

		if (!lingers(slot))
			continue;
		slot->look_ms = again_ms;
		if (!slot->pair && !slot->next &&
		    !(some && is_looked_for(crew, slot)))
			end_lingering(crew, slot, i);
	}
}

void
lending_reconcile(struct crew *crew)
{
	if (is_look_due(crew))
		look(crew);
	for (unsigned i = 0; i < crew->slot_count; i++)
		for (int n = 0; n < CONTROL_ENDPOINTS; n++)
			if (crew->endpoints.list[n].used)
				reconcile_listener(
				    crew, &crew->endpoints.list[n], i);
}

void
lending_forget(struct crew *crew, unsigned helper)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		for (unsigned owner = 0; owner < crew->slot_count; owner++)
			if (crew->endpoints.list[i].lent_to[owner] ==
			    helper + 1)
				crew->endpoints.list[i].lent_to[owner] = 0;
}

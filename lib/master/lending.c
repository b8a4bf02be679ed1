#include "lib/master/lending.h"

/* A worker has SLOT_LISTENERS places, and a reload can bring it others of its
 * own: what is lent leaves room for those. */
enum { LENT_MAX = SLOT_LISTENERS - CONTROL_ENDPOINTS };

static struct pair *
find_helper(const struct crew *crew)
{
	struct pair *best = NULL;

	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (pair && pair->lent < LENT_MAX && crew_can_take(crew, pair))
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

static void
take_back(struct crew *crew, struct endpoint *e, unsigned owner)
{
	struct pair *helper = lending_end(crew, e, owner);

	if (helper)
		crew_order_listener(helper, CONTROL_RELEASE, e, owner, -1);
}

void
lending_reconcile(struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++) {
		const struct slot *slot = &crew->slots[i];
		bool down = crew_is_down(crew, slot);
		bool back = slot->pair && slot->pair->state == PAIR_SERVING;

		for (int n = 0; (down || back) && n < CONTROL_ENDPOINTS; n++)
			if (!crew->endpoints.list[n].used)
				continue;
			else if (down)
				lend(crew, &crew->endpoints.list[n], i);
			else
				take_back(crew, &crew->endpoints.list[n], i);
	}
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

/*
 * budget: a bound for the memory that connections hold while they wait
 * (lib/slot/hold.h): the slot's share of `memory`. Where it is used up the
 * largest and oldest of them are closed (rank.h).
 *
 * How much is held is not kept, as a sum would drift with each killed worker:
 * it is counted over the table of connections, and only when so many pages have
 * been touched since the last time that it can be too much. An echo, and a
 * take-over, pay nothing.
 */
#ifndef PREFORKD_BUDGET_H
#define PREFORKD_BUDGET_H

#include "lib/worker/loop.h"

/* Whether it may be too much by now; asked between two transactions. */
static inline bool
budget_is_due(const struct slot_memory *memory)
{
	return memory->held > memory->held_look;
}

/* Counts what is held, and closes what is too much. */
void budget_keep(struct loop *);

/* The configuration may be another by now. */
void budget_renew(struct loop *);

#endif

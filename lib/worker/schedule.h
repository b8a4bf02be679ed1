/*
 * schedule: what is due to a slot's connections by the clock. The sweep looks
 * at all of them once a second, while one can time out or has memory to give
 * back; the timers are those that services set.
 */
#ifndef PREFORKD_SCHEDULE_H
#define PREFORKD_SCHEDULE_H

#include "lib/worker/loop.h"

/* Private to a process: a successor sweeps when it has been there a second. */
struct schedule {
	uint64_t sweep_ms; /* the next sweep; 0: none is due */
};

/*
 * Does what is due at loop->now_ms. A connection whose timer is due is served
 * as any event is: it is added to the batch in the slot's journal, of which
 * COUNT are used.
 */
void schedule_keep(struct loop *, struct schedule *, int *count);

/* When there is something to do next, as clock_ms(), or 0 for never. */
uint64_t schedule_due(const struct loop *, const struct schedule *);

#endif

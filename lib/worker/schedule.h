/*
 * schedule: what is due to a slot's connections by the clock. The sweep looks
 * at all of them once a second, while one can be late (wait.h) or has memory to
 * give back; the timers are those that services set.
 *
 * All of it comes after the batch of events, and whoever is judged is served
 * first: nobody is late who has said something in time. The clock is the slot's
 * vigil, so time in which nobody looked is nobody's.
 */
#ifndef PREFORKD_SCHEDULE_H
#define PREFORKD_SCHEDULE_H

#include "lib/worker/loop.h"

/* What time it is in this slot; also moves loop->now_ms there. */
void schedule_look(struct loop *);

/* The time in MS from now, and not from when the loop has looked: the calls of
 * others since then are none of a timer's time. */
uint64_t schedule_after(const struct loop *, uint64_t ms);

/* Does what is due at loop->now_ms; of many timers some, and the rest at the
 * next call. */
void schedule_keep(struct loop *);

/* When there is something to do next, on the slot's clock, or 0 for never. */
uint64_t schedule_due(const struct loop *);

/* Serves what all connections have sent: they are about to be closed. */
void schedule_hear_all(struct loop *);

#endif

/*
 * timers: which connection's timer is due next, without a look at the others.
 *
 * The truth is each connection's timer_ms. Beside it lies a tree of bounds:
 * connections are grouped by sixteen, these groups by sixteen, and so on; a
 * group's bound says that no timer in it is due before. The root is
 * memory->timer_ms.
 *
 * A bound may be too early, and then costs one look at its group; it is never
 * too late, after whichever store a worker dies: bounds go down from the root
 * to the group, before the connection has the timer, and go up from the group
 * to the root, after its connections were looked at. So a parent's bound is
 * never later than its child's. A timer that is put off or ended leaves its
 * bounds as they are.
 *
 * A connection without a timer has no part in it.
 */
#ifndef PREFORKD_TIMERS_H
#define PREFORKD_TIMERS_H

#include "lib/slot/slot.h"

/* Notes that FD's timer will be due at DUE_MS, before the connection says so.
 * With 0, that there is none, it has nothing to do. */
void timers_note(struct slot_memory *, int fd, uint64_t due_ms);

/* The connection whose timer is due first, or -1 while none is due at NOW_MS.
 * Those that cannot be served now are left out: timers_note brings back what
 * was on its way to another slot and stays, and what has an answer pending
 * looks at its timer when that has left (exchange.c). */
int timers_due(struct slot_memory *, uint64_t now_ms);

#endif

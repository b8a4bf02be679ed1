/*
 * vigil: a clock that leaves out time in which its owner did not look.
 *
 * A process cannot know what it would have seen while it was stopped, frozen
 * with its machine, or stuck in one call. So that time counts against nobody:
 * an owner says before each wait when it wants to look again. If it comes back
 * much later, nobody knows since when it did not look, so the whole wait counts
 * as VIGIL_LATE_MS at most: enough for time to go on where every wait is cut
 * off, too little for a deadline that nobody could keep.
 *
 * All deadlines of one owner are on its one clock.
 *
 * In slot memory it survives its owner: a successor leaves out the time in
 * which nobody was there. One store moves the clock, and with it what had been
 * missed, so a death counts nothing twice.
 */
#ifndef PREFORKD_VIGIL_H
#define PREFORKD_VIGIL_H

#include <stdint.h>

enum { VIGIL_LATE_MS = 100 /* a busy machine is no gap */ };

/* All zero at the beginning. */
struct vigil {
	uint64_t missed_ms; /* left out so far; only grows */
	uint64_t since_ms;  /* the wait began, on this clock */
	uint64_t due_ms;    /* the next look, on this clock; 0: none is due */
};

/* The time now, where clock_ms() is CLOCK_MS. Never goes back. */
uint64_t vigil_now(struct vigil *, uint64_t clock_ms);

/* Before a wait at NOW_MS: something is to be looked at when it is DUE_MS, or
 * with 0 only when something comes. */
void vigil_until(struct vigil *, uint64_t now_ms, uint64_t due_ms);

#endif

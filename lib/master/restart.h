/*
 * restart: when a dead worker's slot gets its next worker. Policy only: no
 * system call, no clock of its own.
 */
#ifndef PREFORKD_RESTART_H
#define PREFORKD_RESTART_H

#include <stdbool.h>
#include <stdint.h>

enum {
	RESTART_LIVED_MS = 5000, /* a worker that lived this long was healthy */
	RESTART_FIRST_MS = 100,	 /* the first back-off; each further doubles */
	RESTART_MOST_MS = 10000,
	RESTART_TRIES = 5, /* for what has never worked */
};

/* The deaths of one slot's workers. Zero at first. */
struct restart {
	uint64_t deaths; /* all of them, for the statistics */
	unsigned early;	 /* in a row, each before RESTART_LIVED_MS */
};

/*
 * Counts the death of a worker that had lived for LIVED_MS. Returns how long to
 * wait for the next: 0 after a first death, then 100 ms doubling up to 10 s for
 * as long as each dies again before it has lived for a while.
 */
uint64_t restart_delay_ms(struct restart *, uint64_t lived_ms);

/* Counts a start that failed. The same, but never at once: whatever was lacking
 * is lacking still. */
uint64_t restart_failed_ms(struct restart *);

/* True once there were so many early deaths in a row that a slot that has never
 * served is not tried again. */
bool restart_is_hopeless(const struct restart *);

#endif

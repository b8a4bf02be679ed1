/*
 * verdict: what becomes of the work that a worker died at. Policy only: no
 * system call, no clock.
 */
#ifndef PREFORKD_VERDICT_H
#define PREFORKD_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/slot/control.h"

/* How a worker ended, and where. */
struct death {
	int status;	   /* from waitpid(2) */
	bool hung;	   /* the master aborted it */
	bool ordered;	   /* the master killed it, for no fault of the call */
	bool valid;	   /* its slot memory validates (slot.h) */
	bool running;	   /* a call of the service is not yet committed */
	bool ran;	   /* it was this worker that called it */
	uint64_t call;	   /* which one: its serial (slot.h) */
	uint64_t progress; /* grows with whatever is done for clients */
	uint64_t waits;	   /* grows whenever the slot waits for events */
	uint64_t lived_ms; /* from its take-over */
};

/* The deaths of a slot so far. Zero at first. */
struct verdict_history {
	uint64_t call;
	unsigned kills;	 /* of this call, from outside */
	unsigned faults; /* of this call, its own */
	uint64_t progress;
	uint64_t waits;
	unsigned stalled; /* deaths in a row without progress, weighed */
};

enum {
	VERDICT_KILLS = 3,    /* so many kills of one call count as a fault */
	VERDICT_FAULTS = 2,   /* so many faults of one call close it */
	VERDICT_STALLED = 64, /* so many kills without progress reset; */
	VERDICT_OWN = 4,      /* a death by its own doing counts so much */
	VERDICT_LIVED_MS = 1000, /* to live for so long is progress */
};

/* Takes a death into the history and judges it. */
enum verdict verdict_judge(struct verdict_history *, const struct death *);

#endif

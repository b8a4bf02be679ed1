/* worker: the loop. What happens to connections. */
#ifndef PREFORKD_WORKER_H
#define PREFORKD_WORKER_H

#include "lib/slot/birth.h"

/*
 * The life of a slot's process: worker from the first, or standby until it is
 * told to take over. Returns the exit status: 0 as ordered,
 * CONTROL_EXIT_PERMANENT after the cause has been sent to the master, or 1
 * after it has been sent or logged.
 */
int worker_run(const struct birth *birth);

/* The life of a loader, and of the workers that it clones, which call
 * worker_run. Returns the exit status. */
int worker_load(const struct loader_birth *birth);

#endif

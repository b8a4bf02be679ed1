/* worker: the loop. What happens to connections. */
#ifndef PREFORKD_WORKER_H
#define PREFORKD_WORKER_H

#include "lib/process.h"

/*
 * Serves until the master says otherwise. Returns the exit status: 0, or
 * CONTROL_EXIT_PERMANENT after the cause has been sent to the master, or 1
 * after it has been logged.
 */
int worker_run(const struct process_start *start);

#endif

/*
 * loader: the process that reads a configuration's services, once, and that all
 * workers of it are cloned from. So they have the same code and data, whenever
 * they are born, and whatever lies on the disk by then.
 *
 * There are two of it: when the services are started it clones a spare, and
 * both wait for orders at one socket. So one can be killed at any time.
 */
#ifndef PREFORKD_LOADER_H
#define PREFORKD_LOADER_H

#include "lib/slot/birth.h"

/*
 * The life of a loader. It says CONTROL_READY, or CONTROL_FAILED and ends.
 * Returns the exit status; in each worker that it clones it does so, too, with
 * what RUN has returned there.
 */
int
loader_run(const struct loader_birth *, int (*run)(const struct birth *birth));

#endif

/*
 * hang: workers that are stuck in one call of the service, or that a signal has
 * stopped. The master looks for them only while any works or is stopped: an
 * idle server wakes nobody. Whoever works next wakes it (worker.c,
 * `begin_batch`).
 */
#ifndef PREFORKD_HANG_H
#define PREFORKD_HANG_H

#include "lib/master/crew.h"

/* There is work: look soon. */
void hang_wake(struct crew *);

/* Looks: new connections go elsewhere while a worker does not move, and one
 * that has not for hang-timeout is aborted. */
void hang_look(struct crew *);

/* The worker was stopped by signal NUMBER, or (0) goes on. */
void hang_stop(struct crew *, struct pair *, int number);

#endif

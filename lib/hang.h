/*
 * hang: workers that are stuck in one call of the service. The master looks for
 * them only while any works: an idle server wakes nobody. Whoever works next
 * wakes it (worker.c, `begin_batch`).
 */
#ifndef PREFORKD_HANG_H
#define PREFORKD_HANG_H

#include "crew.h"

/* There is work: look soon. */
void hang_wake(struct crew *);

/* Looks, and aborts who has not moved for hang-timeout. */
void hang_look(struct crew *);

#endif

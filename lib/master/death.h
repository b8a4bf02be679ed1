/*
 * death: processes that have died, and who comes after them. A worker has its
 * standby; a slot that has lost both begins anew.
 */
#ifndef PREFORKD_DEATH_H
#define PREFORKD_DEATH_H

#include "lib/master/crew.h"

/* Reaps all that has died, and hears of who was stopped. SIGCHLD says that
 * something has happened, not to how many; as PID 1 of a container that is also
 * what is not ours. */
void death_reap(struct crew *);

/* Frees a pair of which nothing is left. */
void death_bury_if_gone(struct crew *, struct pair *);
/* The same for each pair. */
void death_bury_all_gone(struct crew *);

#endif

/* hear: what the processes of a slot say, and what follows from it. */
#ifndef PREFORKD_HEAR_H
#define PREFORKD_HEAR_H

#include "lib/master/crew.h"

/* Takes in all that has been said. Where all processes of the pair are dead its
 * sockets are closed, and pair->control becomes -1. */
void hear_pair(struct crew *, struct pair *);

#endif

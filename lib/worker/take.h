/* take: the taking end of a move (lib/slot/move.h). */
#ifndef PREFORKD_TAKE_H
#define PREFORKD_TAKE_H

#include "lib/worker/loop.h"

struct taking {
	uint64_t again_ms; /* to answer then, as there was no room; 0: not */
};

/* Begins to take by FD. False where the move is over, or cannot be. */
bool take_begin(struct loop *, uint64_t serial, int fd);

/* Takes the next batch. False where there is none any more: the move is over.
 */
bool take_hear(struct loop *, struct taking *);

/* Gives the last answer again, where that is due. */
void take_next(struct loop *, struct taking *);

/* Finishes what a dead worker left of a batch, and answers again. */
void take_settle(struct loop *, struct taking *);

#endif

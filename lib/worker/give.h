/*
 * give: the giving end of a move (lib/slot/move.h).
 *
 * What is on its way lies in slot memory: the batch that is named there. What a
 * process knows beside, whether it has been sent, a successor need not know: it
 * sends the batch again.
 */
#ifndef PREFORKD_GIVE_H
#define PREFORKD_GIVE_H

#include "lib/slot/control.h"
#include "lib/worker/loop.h"

struct giving {
	bool fresh;	   /* nobody has sent the batch that is named yet */
	bool sent;	   /* it is sent */
	bool refused;	   /* the taker has no place, or has gone */
	uint64_t again_ms; /* to try again then what lacked something; or 0 */
};

/* Begins to give by FD, as the order says (control.h). False where the move is
 * over, or cannot be. */
bool give_begin(
    struct loop *, struct giving *, const struct control_message *, int fd);

/* Does what is next, between two batches of events: names a batch, or sends it.
 * Returns the serial of a move that is over now, or 0. STAY: nothing more is
 * given. */
uint64_t give_next(struct loop *, struct giving *, bool stay);

/* Hears the taker's answers. */
void give_hear(struct loop *, struct giving *);

/* What a dead worker had on its way stays so. */
void give_settle(struct loop *);

#endif

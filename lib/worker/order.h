/*
 * order: what the master tells a worker, by the worker's control socket, and
 * the descriptor that an order may bring.
 *
 * A descriptor has no name in slot memory until it is a listener's or a
 * connection's. Meanwhile the record says that an order is heard, and the
 * kernel itself has written down which number came with it.
 */
#ifndef PREFORKD_ORDER_H
#define PREFORKD_ORDER_H

#include "lib/slot/control.h"
#include "lib/worker/loop.h"

/*
 * Takes the next order that waits, in PHASE_HEAR. FD becomes what came with it,
 * or -1: it is to be made a listener's or a connection's, or is given to
 * order_drop, before order_end. Returns 1, 0 where the master has gone, or -1
 * with errno: EAGAIN where none waits.
 */
int order_hear(struct loop *, struct control_message *, int *fd);
void order_end(struct loop *);

/*
 * Closes FD, which no entry of slot memory names, or that of a listener which
 * the caller forgets next. A successor that finds it under way can tell whether
 * it was closed: by then the number may be another's.
 */
void order_drop(struct loop *, int fd);

/* Finishes the drop that the record tells of. */
void order_settle_drop(struct loop *);

/* What the dead worker has been brought, or -1: nothing, or what it had not yet
 * moved away from the standard streams (standard.h). That is closed. */
int order_brought(const struct loop *);

#endif

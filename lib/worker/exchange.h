/*
 * exchange: a connection's turn, from the bytes that a client sends to the
 * answer that it takes.
 *
 * A turn is made of transactions: READ -> RUN -> commit -> WRITE -> idle, or
 * FLUSH -> idle. Out of any of them, or of none, a connection's end begins with
 * one store: TELL -> RUN -> CLOSE -> idle, or CLOSE -> idle. After each store
 * in them a successor can go on; exchange_settle does, and is the place to see
 * why.
 */
#ifndef PREFORKD_EXCHANGE_H
#define PREFORKD_EXCHANGE_H

#include "lib/slot/control.h"
#include "lib/worker/loop.h"

/*
 * What a connection is watched for: edge-triggered, registered once. EPOLLPRI
 * reports an urgent byte, at which a recv stops short although there is more.
 *
 * A connection that waits for its client alone is QUIET: a socket can be
 * written to from the beginning, and tells so again at each step of its end.
 * Each would be a wake-up for nothing. It is watched for EPOLLOUT, too, from
 * when its answer does not fit into the socket.
 */
#define EXCHANGE_QUIET \
	((uint32_t)(EPOLLIN | EPOLLRDHUP | EPOLLPRI) | (uint32_t)EPOLLET)
#define EXCHANGE_EVENTS (EXCHANGE_QUIET | (uint32_t)EPOLLOUT)

/* One turn of an open connection, after EVENTS. */
void exchange_serve(struct loop *, int fd, uint32_t events);

/* Closes an open connection; for CLOSE_HANDED only our descriptor of it. */
void exchange_close(struct loop *, int fd, enum close_reason reason);

/*
 * FD has just come from the kernel. An entry there that is open is of a
 * connection whose descriptor was closed behind our back: it ends first. This
 * may be in the midst of a transaction, which goes on behind it, also in a
 * successor.
 */
void exchange_claim(struct loop *, int fd);

/* Has the kernel report FD again, if it is ready. */
void exchange_arm(struct loop *, int fd);

/* Whether FD is the number of an open connection, but not its socket's. If it
 * is its socket's, what is ready there is reported again. */
bool exchange_has_lost(struct loop *, int fd);

/* Finishes the transaction that a dead worker left, if it is one of a
 * connection's turn. VERDICT decides about a call of the service. */
void exchange_settle(struct loop *, enum verdict verdict);

#endif

/* ends: a slot's ends of moves (lib/slot/move.h): the files that they are. */
#ifndef PREFORKD_ENDS_H
#define PREFORKD_ENDS_H

#include "lib/worker/loop.h"

/* FD, brought by an order, is the memory of move SERIAL. */
void
ends_bring_parcels(struct loop *, struct move_end *, uint64_t serial, int fd);

/* FD, brought by an order, is the socket of move SERIAL. False where the move
 * is over already, or cannot be: FD is closed then. */
bool ends_open(struct loop *, struct move_end *, uint64_t serial, int fd);

/* True where that move is under way; the order was given again. */
static inline bool
ends_has(const struct move_end *end, uint64_t serial)
{
	return end->fd > 0 && end->serial == serial;
}

/*
 * Looks whether a move is under way and both are there. If a service has just
 * closed one, or put another file in its place, this process is to end (loop.h,
 * `broken`): after a take-over the master brings both anew. The memory is put
 * back as it comes, the socket by ends_put_back, which is true where that was
 * lost.
 */
bool ends_are_there(struct loop *, struct move_end *);
bool ends_put_back(struct move_end *, uint64_t serial, int fd);

void ends_close(struct loop *, struct move_end *);

/* True where FD is a file of one; forgets it where it has been closed. */
bool ends_know(const struct slot_memory *, int fd);
void ends_forget(struct slot_memory *, int fd);

#endif

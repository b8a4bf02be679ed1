/*
 * moves: connections on their way from one slot to another, as the master sees
 * them (lib/slot/move.h). It brings two workers together, and keeps what each
 * has of the move until it is over, for their successors.
 */
#ifndef PREFORKD_MOVES_H
#define PREFORKD_MOVES_H

#include "lib/master/crew.h"

/* Gives a slot that is to go, when it may, somebody who takes. */
void moves_reconcile(struct crew *);

/* Tells a new worker of the moves that its slot is part of. */
void moves_brief(struct pair *);

/* True where a giver may take longer: some of its connections have gone since
 * this was asked last, or its taker is BUSY. */
bool moves_go_on(const struct crew *, struct pair *,
    bool (*is_busy)(const struct crew *, const struct pair *));

/* An end has said that move SERIAL is over. */
void moves_over(struct crew *, struct pair *, uint64_t serial);

/* All of a pair is dead. */
void moves_forget(struct crew *, struct pair *);

#endif

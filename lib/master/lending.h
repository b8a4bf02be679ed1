/*
 * lending: another slot serves what waits in the queues of one that does not
 * serve them itself: while it is down for longer than a moment, while it is
 * full, and when it is to go, until every handshake that its listeners have
 * begun is over.
 */
#ifndef PREFORKD_LENDING_H
#define PREFORKD_LENDING_H

#include "lib/master/crew.h"

/* The slot is to go: its listeners, which get no new clients, stay for as long
 * as a handshake can last. */
void lending_linger(struct crew *, struct slot *);
/* True where a slot has gone whose listeners are needed no more. */
bool lending_is_over(const struct slot *);

/* Lends the listeners of slots that need it, and takes them back. */
void lending_reconcile(struct crew *);

/* A listener is lent no more. Returns the pair that had it, or NULL. */
struct pair *lending_end(struct crew *, struct endpoint *, unsigned owner);

/* The helper's processes are dead: what it served is to be lent anew. */
void lending_forget(struct crew *, unsigned helper);

#endif

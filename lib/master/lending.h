/*
 * lending: while a slot is down for longer than a moment, another one serves
 * what waits in its queues.
 */
#ifndef PREFORKD_LENDING_H
#define PREFORKD_LENDING_H

#include "lib/master/crew.h"

/* Lends the listeners of slots that are down, and takes them back. */
void lending_reconcile(struct crew *);

/* A listener is lent no more. Returns the pair that had it, or NULL. */
struct pair *lending_end(struct crew *, struct endpoint *, unsigned owner);

/* The helper's processes are dead: what it served is to be lent anew. */
void lending_forget(struct crew *, unsigned helper);

#endif

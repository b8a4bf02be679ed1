/*
 * lending: while a slot is down for longer than a moment, another one serves
 * what waits in its queues.
 */
#ifndef PREFORKD_LENDING_H
#define PREFORKD_LENDING_H

#include "crew.h"

/* Lends the listeners of slots that are down, and takes them back. */
void lending_reconcile(struct crew *);

/* The helper's processes are dead: what it served is to be lent anew. */
void lending_forget(struct crew *, unsigned helper);

#endif

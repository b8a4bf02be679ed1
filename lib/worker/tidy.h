/*
 * tidy: what a candidate had opened is closed where it dies before it has taken
 * over.
 *
 * A candidate shares the slot's table of descriptors, and what its services
 * open while they start nobody else can tell from what the worker's have. So it
 * notes before what is open, in slot memory. When it is dead the worker closes
 * what is there beyond that and has no name: between two events, as then
 * nothing of its own is on the way.
 */
#ifndef PREFORKD_TIDY_H
#define PREFORKD_TIDY_H

#include "lib/worker/loop.h"

/* In the candidate, before it opens anything. */
void tidy_note(struct loop *);

/* In the candidate, or a clone of it, when it is the worker: what it has opened
 * is the slot's from now on. Not before: where both die, the standby of before
 * takes over, and needs nothing of it. */
void tidy_forget(struct loop *);

/* In the worker: candidate PID is dead. Nothing where it has noted nothing. */
void tidy_after(struct loop *, int32_t pid);

#endif

/*
 * call: one call of a service, as a transaction.
 *
 * What the service asks for (include/preforkd.h) is written into the outcome in
 * the transaction's record, its answer into the turn's buffer, its state into a
 * copy. The commit is one store: PHASE_RUN becomes PHASE_APPLY. Before it
 * nothing of the call is real, and a successor makes the call again from the
 * start; after it the outcome is put in force, as often as it takes.
 */
#ifndef PREFORKD_CALL_H
#define PREFORKD_CALL_H

#include "lib/worker/loop.h"

/* Prepares the record for the first of some calls whose answer leaves as one.
 * The input buffer begins with what was not yet consumed. */
void call_prepare(struct slot_memory *, int fd);

/* Names the next call to make; then PHASE_RUN may begin. */
void call_name(struct slot_memory *, enum slot_call call);

/* PHASE_RUN, of the call that is named: makes it, and commits by the step to
 * the phase NEXT: PHASE_APPLY, or another where nothing is to be applied. */
void call_make(struct loop *, enum slot_phase next);

/* PHASE_APPLY: puts the outcome in force. Returns why the connection is to
 * close, or CLOSE_NOT. */
enum close_reason call_apply(struct loop *);

/* The service of a connection, or NULL. */
const struct preforkd_service *call_service(struct loop *, int fd);

/* Whether a call is due before the client says a word. Without a service the
 * call is what finds that out. */
bool call_has_open(struct loop *, int fd);

#endif

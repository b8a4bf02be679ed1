/*
 * hold: the memory that a connection holds, beside its entry, while it waits:
 * the pages of its place that were touched, and those of a large state.
 *
 * So many slow clients that their memory is not to be had would be the end of
 * the slot: it is shared, so to kill the worker frees nothing. That the sum has
 * a bound is lib/worker/budget.c's business. Here it is known: a page is
 * counted before it is touched, and forgotten after it was given back, so a
 * worker that dies in between leaves a sum that is too large by a page, and
 * right again when the connection's place is empty.
 */
#ifndef PREFORKD_HOLD_H
#define PREFORKD_HOLD_H

#include "lib/slot/slot.h"

/* Puts what a client has not taken, or all of the rest, into FD's place
 * (connection_keep, connection_keep_rest). */
void hold_answer(
    struct slot_memory *, int fd, const unsigned char *bytes, size_t count);
void hold_rest(struct slot_memory *, int fd, const unsigned char *bytes);

/* FD's state is to have SIZE bytes. Returns where it lies. */
unsigned char *hold_state(struct slot_memory *, int fd, uint32_t size);

/* From now on FD waits for something new. */
void hold_begins(struct slot_memory *, int fd, uint64_t now_ms);

/* Gives the memory of FD's place, or of its state, back to the kernel; its
 * bytes are lost. */
void hold_release_place(struct slot_memory *, int fd);
void hold_release_state(struct slot_memory *, int fd);

/* Both, where there is any: the next user of FD is not to find it. */
void hold_release(struct slot_memory *, int fd);

/* How much FD's connection holds, in pages. */
uint32_t hold_pages(struct slot_memory *, int fd);

#endif

/*
 * handover: connections of a retiring slot on their way to others, one at a
 * time. The source offers, we pass on, the target adopts, and only then the
 * source lets go. Each side counts: a number that comes again, because a worker
 * died before it heard the answer, is answered again and does nothing else.
 * While nobody has room for it the source keeps it, and serves it on.
 */
#ifndef PREFORKD_HANDOVER_H
#define PREFORKD_HANDOVER_H

#include "lib/master/crew.h"

/* Makes room for a parcel. Returns 0, or -1 with errno. */
int handover_init(struct handover *);

/* A slot offers a connection: FD, and a parcel in its memory. A worker that
 * took over may offer what its predecessor had offered. */
void handover_offer(struct crew *, struct pair *,
    const struct control_message *message, int fd);

/* A slot has adopted connection NUMBER. */
void handover_adopted(struct crew *, struct pair *, uint64_t number);

/* Sends it to the target that it has: anew where that one has a new worker. */
void handover_send(struct handover *);

/* A slot cannot adopt connection NUMBER. */
void handover_refused(struct crew *, struct pair *, uint64_t number);

/* What is on offer stays with its slot, unless another one may have it. */
void handover_keep(struct crew *, struct pair *source);

/* Lets a slot that had to keep its connections offer them again, from time to
 * time. */
void handover_retry(struct crew *);

/* All of a pair is dead: a target takes the connection with it. */
void handover_forget(struct crew *, const struct pair *);

#endif

/*
 * outbox: messages for which a control socket has no room yet. It prolongs the
 * socket's own queue: what was put in first is sent first, whoever reads then.
 */
#ifndef PREFORKD_OUTBOX_H
#define PREFORKD_OUTBOX_H

#include <stdbool.h>

#include "lib/slot/control.h"

struct letter;

/* Starts as all zero. */
struct outbox {
	struct letter *first; /* NULL: empty */
	struct letter *last;
	unsigned count;
};

/* More than any worker has to be told at once: of each listener that it can
 * have, several times. */
enum { OUTBOX_MAX = 1024 };

/* Keeps a message, and a duplicate of FD unless that is -1. False, with errno,
 * where there is no memory or no descriptor for it, or ENOBUFS where OUTBOX_MAX
 * wait. */
bool outbox_put(struct outbox *, const struct control_message *, int fd);

/* Sends what CONTROL takes now. Returns whether it took any; what is for nobody
 * any more is dropped. */
bool outbox_send(struct outbox *, int control);

/* Drops all. */
void outbox_clear(struct outbox *);

#endif

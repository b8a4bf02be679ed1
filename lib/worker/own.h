/*
 * own: the server's own descriptors, in a table in which a service can close
 * what it likes.
 *
 * The kernel gives the lowest number that is free. So the slot's epoll instance
 * and its ends of the control sockets lie at the end of the table: a service
 * never had one of these numbers, and a `close` too many does not hit them. If
 * one is closed nevertheless, or another file put in its place, a duplicate
 * goes on for it, which lies at the number that it began with.
 */
#ifndef PREFORKD_OWN_H
#define PREFORKD_OWN_H

#include "lib/worker/loop.h"

/* Makes the duplicates of what the slot begins with, before a service runs, and
 * watches the control socket. Returns 0, or -1 with errno. */
int own_keep(struct loop *);

/*
 * Looks whether all are there, and puts back what is not. True where one was
 * put back: what has failed for it can be done again. Some system calls: it is
 * for what is seldom done, and for what has failed.
 */
bool own_look(struct loop *);

/* The name of the service that is the likeliest to have closed something. */
const char *own_suspect(struct loop *);

#endif

/*
 * lookout: how the epoll instance watches the slot's listeners.
 *
 * They are level-triggered: while they are armed the kernel repeats that
 * connections wait, while they are not the queue just holds them.
 *
 * One that the server has inherited can be other slots', too, and its queue is
 * whoever's who has passed it: its options and its backlog are left as they
 * are. A client is to wake one worker and not all of them, so it is watched
 * with EPOLLEXCLUSIVE (epoll_ctl(2)). The kernel wakes the first in the line
 * who waits; it would be the same one each time, were it not for
 * lookout_step_back. A worker that was woken and takes nobody has woken nobody
 * else: where it has no room, or does not move, its listener is lent
 * (lib/master/lending.h), and whoever begins to watch looks at once.
 */
#ifndef PREFORKD_LOOKOUT_H
#define PREFORKD_LOOKOUT_H

#include "lib/worker/loop.h"

/* Begins to watch a new listener; it is not armed. Returns 0, or -1 with errno.
 */
int lookout_begin(struct loop *, const struct slot_listener *);

/* Arms it, or disarms. Returns 0, or -1 with errno: then it is not armed. */
int lookout_arm(struct loop *, const struct slot_listener *, bool arm);

/* Lets other slots have the next client of an armed listener. */
int lookout_step_back(struct loop *, const struct slot_listener *);

/* In a successor: watches it anew, not armed. */
void lookout_renew(struct loop *, const struct slot_listener *);

/* Has one listen again that somebody has shut down: a service can. Returns 0,
 * or -1 with errno. */
int lookout_listen(struct loop *, const struct slot_listener *);

#endif

/*
 * standby: the second process of a slot.
 *
 * Worker and standby have separate memory and one table of file descriptors, so
 * that nothing closes when either dies; both are the master's children. The
 * standby sleeps until it is told to take over; the first thing it does then is
 * to clone the next standby, from an image that no client's byte has touched.
 */
#ifndef PREFORKD_STANDBY_H
#define PREFORKD_STANDBY_H

#include <sys/types.h>

#include "lib/slot/control.h"
#include "lib/worker/loop.h"

/*
 * Lets the table of descriptors grow to its full size at once. A table that
 * grows while it is shared waits for an RCU grace period each time.
 */
void standby_size_table(unsigned fds);

/*
 * Clones this process, as fork(2) does but for the descriptors, which both
 * share, and the parent, which is this one's: MASTER; the clone dies with it.
 * Returns the pid, 0 in the clone, or -1 with errno.
 *
 * It alone inherits slot memory. What a service has forked, in spite of
 * preforkd.h, has none: if it comes back into the loop it dies at the first
 * access, and has neither written there nor served anybody.
 */
pid_t standby_clone(const struct loop *, pid_t master);

#endif

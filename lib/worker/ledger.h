/*
 * ledger: what the kernel knows of a connection's bytes. From it a successor
 * tells how far an interrupted recv or send went.
 */
#ifndef PREFORKD_LEDGER_H
#define PREFORKD_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Both are of a TCP socket that was connected, that nobody else reads from or
 * writes to meanwhile, with SO_OOBINLINE on and not shut down by us. Both
 * return false where it cannot be told: the socket is none of that, or the
 * kernel is older than Linux 5.1. Then the connection is to be closed; a guess
 * would corrupt it.
 */

/* How many bytes recv has taken out of the socket, since the connection began.
 * ERROR is what has ended the connection, or 0. Where it is not, nothing waits
 * any more, and recv does not tell it again. */
bool ledger_consumed(int fd, uint64_t *consumed, int *error);

/* How many bytes send has taken from us, since the connection began. */
bool ledger_accepted(int fd, uint64_t *accepted);

/* How much of the SENT bytes that the kernel has accepted the peer has
 * acknowledged; SENT itself where that cannot be told. */
uint64_t ledger_taken(int fd, uint64_t sent);

#endif

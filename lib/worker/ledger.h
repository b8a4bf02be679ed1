/*
 * ledger: what the kernel knows of a connection's bytes. From it a successor
 * tells how far an interrupted recv or send went.
 */
#ifndef PREFORKD_LEDGER_H
#define PREFORKD_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes since the connection began. */
struct ledger {
	uint64_t consumed; /* taken out of the socket by recv */
	uint64_t accepted; /* taken from us by send */
};

/*
 * Reads the ledger of an established TCP socket that nobody else reads from or
 * writes to meanwhile, with SO_OOBINLINE on and not shut down by us. Returns
 * false where it cannot be told: the connection is over, or the kernel is older
 * than Linux 4.1. Then the connection is to be closed; a guess would corrupt
 * it.
 */
bool ledger_read(int fd, struct ledger *);

/* How much of the SENT bytes that the kernel has accepted the peer has
 * acknowledged; SENT itself where that cannot be told. */
uint64_t ledger_taken(int fd, uint64_t sent);

#endif

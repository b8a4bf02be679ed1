/*
 * activation: the listening sockets that the server was started with (socket
 * activation), and which slot accepts from which of them.
 *
 * Each belongs to the configured address that it is bound to. One socket for an
 * address is shared by all slots; of several the Nth is slot N's, and where
 * there are more slots, they begin again with the first. Whoever has passed the
 * sockets holds them, too, and keeps them over our end: so they are never shut
 * down, and their queues are left as they were made.
 */
#ifndef PREFORKD_ACTIVATION_H
#define PREFORKD_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/base/config.h"
#include "lib/base/inherited.h"

struct activation_socket {
	int fd;
	struct address bound;
};

/* Starts as all zero: none. */
struct activation {
	const struct inherited *from;
	struct activation_socket *sockets;
	unsigned count;
};

/* Takes the sockets over. False where one is of no use to this CONFIG, all of
 * which are logged. */
bool activation_begin(struct activation *, const struct inherited *from,
    const struct config *config);
void activation_free(struct activation *);

/* How many sockets there are for an address that is ASKED for; where there is
 * one, BOUND becomes what they are bound to. */
unsigned activation_count(const struct activation *,
    const struct address *asked, struct address *bound);

/* The socket from which SLOT accepts, of those that are BOUND there: at least
 * one. */
const struct activation_socket *activation_of(
    const struct activation *, const struct address *bound, unsigned slot);

/* True where CONFIG has an address that this socket is for. */
bool activation_is_wanted(const struct activation *,
    const struct activation_socket *, const struct config *config);

/* The least number of workers with which each socket that CONFIG wants has one.
 */
unsigned
activation_workers(const struct activation *, const struct config *config);

/* Warns of sockets that CONFIG does not want: they are kept, should an address
 * come back. */
void activation_warn(const struct activation *, const struct config *config);

#endif

/*
 * handshake: whether clients are about to connect: their SYN has come, the
 * third segment has not. A listener that is closed resets these, too, and
 * nothing else than the kernel's table of sockets tells of them (sock_diag(7)).
 */
#ifndef PREFORKD_HANDSHAKE_H
#define PREFORKD_HANDSHAKE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
	/* The last SYN-ACK is sent after 31 s, and answered within 32 s or
	 * never (tcp(7), tcp_synack_retries). */
	HANDSHAKE_MS = 64000,
	/* Two SYN-ACKs that are lost take 3 s. What is older is as a rule a
	 * scan, which is never answered. */
	HANDSHAKE_SLOW_MS = 5000,
};

enum handshakes { HANDSHAKES_NONE, HANDSHAKES_SOME, HANDSHAKES_UNKNOWN };

/* Whether there are any to PORT whose SYN came at least LEAST_MS and at most
 * MOST_MS ago. */
enum handshakes
handshake_look(unsigned port, uint64_t least_ms, uint64_t most_ms);

/* Whether there is one to PORT; true, too, where that cannot be told. */
bool handshake_is_under_way(unsigned port);

#endif

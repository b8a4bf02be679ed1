/*
 * handshake: whether clients are about to connect: their SYN has come, the
 * third segment has not. A listener that is closed resets these, too, and
 * nothing else than the kernel's table of sockets tells of them (sock_diag(7)).
 *
 * The kernel walks the whole table for each question, all connections of the
 * machine: some milliseconds, many times that where it is busy. Its asker does
 * nothing else meanwhile. So one look is for all ports, and looks keep apart.
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

/* Whether there are any to one of COUNT PORTS whose SYN came at least LEAST_MS
 * and at most MOST_MS ago. */
enum handshakes handshake_look(
    const unsigned *ports, unsigned count, uint64_t least_ms, uint64_t most_ms);

/* Whether there is one to any of them; true, too, where that cannot be told. */
bool handshake_is_under_way(const unsigned *ports, unsigned count);

/* When to look again after a look that began at BEGUN_MS and took TOOK_MS: not
 * before PAUSE_MS are over, nor as long as it took. Half the time is left. */
uint64_t
handshake_again_ms(uint64_t begun_ms, uint64_t took_ms, uint64_t pause_ms);

#endif

/*
 * handshake: whether clients are about to connect: their SYN has come, the
 * third segment has not. A listener that is closed resets these, too, and
 * nothing else than the kernel's table of sockets tells of them (sock_diag(7)).
 */
#ifndef PREFORKD_HANDSHAKE_H
#define PREFORKD_HANDSHAKE_H

#include <netinet/in.h>
#include <stdbool.h>

/* The last SYN-ACK is sent after 31 s, and answered within 32 s or never
 * (tcp(7), tcp_synack_retries). */
enum { HANDSHAKE_MS = 64000 };

/* Whether there is one to PORT; true, too, where that cannot be told. */
bool handshake_is_under_way(unsigned port);

#endif

/* socket: what a socket says of itself (socket(7), SOL_SOCKET). */
#ifndef PREFORKD_SOCKET_H
#define PREFORKD_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>

/* False where FD is no socket, or has no such OPTION. */
static inline bool
socket_option(int fd, int level, int option, int *value)
{
	socklen_t length = sizeof *value;

	return getsockopt(fd, level, option, value, &length) == 0;
}

static inline bool
socket_has(int fd, int level, int option, int wanted)
{
	int value = 0;

	return socket_option(fd, level, option, &value) && value == wanted;
}

#endif

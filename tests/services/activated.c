/*
 * A service for tests/activation.bats. At the line "environment" it says how
 * many variables tell of inherited descriptors; at "shutdown" it shuts down
 * every socket of its process that listens.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "include/preforkd.h"

extern char **environ;

static unsigned
count_variables(void)
{
	unsigned count = 0;

	for (char **variable = environ; *variable; variable++)
		count += strncmp(*variable, "LISTEN_", 7) == 0;
	return count;
}

static unsigned
shut_down(void)
{
	unsigned count = 0;

	for (int fd = 3; fd < 1024; fd++) {
		int listens = 0;
		socklen_t length = sizeof listens;

		if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens,
			&length) == 0 &&
		    listens)
			count += shutdown(fd, SHUT_RD) == 0;
	}
	return count;
}

static size_t
activated_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	const unsigned char *end = memchr(bytes, '\n', count);
	char answer[32];
	int length;

	if (!end)
		return 0;
	length = snprintf(answer, sizeof answer, "%u\n",
	    *bytes == 'e' ? count_variables() : shut_down());
	preforkd_reply(conn, answer, (size_t)length);
	return (size_t)(end + 1 - bytes);
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "activated",
	.input = activated_input,
};

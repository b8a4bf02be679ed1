#include "lib/master/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/text.h"

enum {
	MESSAGE_BYTES = 1024,
	/* For a manager whose queue is full: a READY=1 that got lost would
	 * leave the unit reloading, a longer wait would be ours. */
	WAIT_US = 500000,
};

/* Fills in the manager's address. Returns its length, or 0 without one. */
static socklen_t
manager_address(struct sockaddr_un *manager)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t length = path ? strlen(path) : 0;

	if (length == 0 || length >= sizeof manager->sun_path)
		return 0;
	memset(manager, 0, sizeof *manager);
	manager->sun_family = AF_UNIX;
	memcpy(manager->sun_path, path, length);
	if (path[0] == '@') /* an abstract socket: unix(7) */
		manager->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

int
notify_send(const char *message)
{
	struct sockaddr_un manager;
	socklen_t length = manager_address(&manager);
	const struct timeval wait = { .tv_usec = WAIT_US };
	ssize_t sent;
	int fd, saved_errno;

	if (length == 0)
		return 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	sent = sendto(fd, message, strlen(message), MSG_NOSIGNAL,
	    (struct sockaddr *)&manager, length);
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return sent < 0 ? -1 : 0;
}

int
notify_status(const char *assignments, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	size_t length =
	    (size_t)snprintf(message, sizeof message, "%sSTATUS=", assignments);
	va_list arguments;

	va_start(arguments, format);
	text_format(
	    message + length, sizeof message - length, format, arguments);
	va_end(arguments);
	return notify_send(message);
}

int
notify_reloading(void)
{
	char message[64];
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	return notify_send(message);
}

uint64_t
notify_watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t usec_count;
	char *end;

	if (!usec || *usec < '0' || *usec > '9' ||
	    (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	usec_count = strtoull(usec, &end, 10);
	if (*end != '\0' || usec_count == 0)
		return 0;
	return usec_count < 2000 ? 1 : usec_count / 2000;
}

#include "lib/worker/loop.h"

#include <errno.h>

#include <sys/socket.h>
#include <sys/stat.h>

int
loop_watch(const struct loop *loop, int operation, int fd, uint32_t events,
    uint32_t generation)
{
	struct epoll_event event = { .events = events };

	loop_name(&event, fd, generation);
	if (epoll_ctl(loop->epoll, operation, fd, &event) == 0)
		return 0;
	/* Memory can be short for a moment. */
	return errno == ENOMEM || errno == ENOSPC
	    ? epoll_ctl(loop->epoll, operation, fd, &event)
	    : -1;
}

uint64_t
loop_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof cookie;
	struct stat file;

	if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0)
		return cookie;
	return fstat(fd, &file) == 0 ? (uint64_t)file.st_ino : 0;
}

bool
loop_owns(const struct loop *loop, int fd)
{
	return fd == loop->epoll || fd == loop->control || fd == loop->waiting;
}

#include "lib/worker/loop.h"

#include <errno.h>

#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/worker/own.h"

/* Whether to do again what has failed: memory can be short for a moment, and a
 * service can have closed the epoll instance. */
static bool
may_help(struct loop *loop, int error)
{
	bool helps;

	if (error == ENOMEM || error == ENOSPC)
		return true;
	helps = error != EEXIST && own_look(loop);
	errno = error;
	return helps;
}

int
loop_watch(struct loop *loop, int operation, int fd, uint32_t events,
    uint32_t generation)
{
	struct epoll_event event = { .events = events };

	loop_name(&event, fd, generation);
	if (epoll_ctl(loop->epoll, operation, fd, &event) == 0)
		return 0;
	return may_help(loop, errno)
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
	if (fd == loop->epoll || fd == loop->control || fd == loop->waiting)
		return true;
	for (enum own which = 0; which < OWNS; which++)
		if (fd == loop->own[which].kept)
			return true;
	return false;
}

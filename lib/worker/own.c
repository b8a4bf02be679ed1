#include "lib/worker/own.h"

#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/worker/call.h"

static int *
number_of(struct loop *loop, enum own which)
{
	int *const numbers[] = {
		[OWN_CONTROL] = &loop->control,
		[OWN_WAITING] = &loop->waiting,
		[OWN_EPOLL] = &loop->epoll,
	};

	return numbers[which];
}

/* Which instance it is, no file can tell: all have the same inode. But only
 * ours knows the control socket by its number (epoll_ctl(2), ENOENT). */
static bool
watches_control(const struct loop *loop, int epoll, int operation)
{
	struct epoll_event event = { .events = EPOLLIN };

	loop_name(&event, loop->control, LOOP_CONTROL);
	return epoll_ctl(epoll, operation, loop->control, &event) == 0;
}

static bool
is_ours(const struct loop *loop, enum own which, int fd)
{
	if (which == OWN_EPOLL)
		return watches_control(loop, fd, EPOLL_CTL_MOD);
	return loop_cookie(fd) == loop->own[which].cookie;
}

/* In a successor nothing has been called yet: then it is that of the last
 * transaction, whose record has its connection. */
const char *
own_suspect(struct loop *loop)
{
	const unsigned fd = (unsigned)loop->memory->transaction.fd;
	const struct preforkd_service *service =
	    fd < loop->fds ? call_service(loop, (int)fd) : NULL;

	return service ? service->name : services_running;
}

static void
tell(struct loop *loop, enum own which)
{
	static const char *const names[] = {
		[OWN_CONTROL] = "the worker's control socket",
		[OWN_WAITING] = "the standby's control socket",
		[OWN_EPOLL] = "the epoll instance",
	};
	uint64_t withheld;

	if (quota_take(&loop->memory->faults, loop->now_ms, &withheld))
		log_error("a service (the last that was called: %s) has closed "
			  "%s, which is the server's: putting it back",
		    own_suspect(loop), names[which]);
}

/* FD is to be the duplicate's other number, if nobody else has that by now. */
static bool
duplicate(int duplicate, int fd)
{
	int copy = fcntl(duplicate, F_DUPFD_CLOEXEC, fd);

	if (copy >= 0 && copy != fd)
		close(copy);
	return copy == fd;
}

/* Its duplicate goes on for it where another's file has the number: that is the
 * service's, or a client. */
static bool
look_at(struct loop *loop, enum own which)
{
	int *fd = number_of(loop, which), *kept = &loop->own[which].kept;
	bool has_one = is_ours(loop, which, *fd);

	if (*kept <= 0 || (has_one && is_ours(loop, which, *kept)) ||
	    (!has_one && !is_ours(loop, which, *kept)))
		return false;
	tell(loop, which);
	if (has_one && !duplicate(*fd, *kept))
		*kept = 0;
	if (!has_one && !duplicate(*kept, *fd))
		*fd = *kept;
	if (which == OWN_CONTROL) /* under a new number, if it has one */
		watches_control(loop, loop->epoll, EPOLL_CTL_ADD);
	return !has_one;
}

bool
own_look(struct loop *loop)
{
	bool put_back = false;

	for (enum own which = 0; which < OWNS; which++)
		put_back |= look_at(loop, which);
	return put_back;
}

/* Takes a number at the end of the table. */
static int
keep(struct loop *loop, enum own which)
{
	int *fd = number_of(loop, which);
	int end = fcntl(*fd, F_DUPFD_CLOEXEC, (int)loop->fds - OWNS);

	if (end < 0)
		return -1;
	loop->own[which].kept = *fd;
	loop->own[which].cookie = loop_cookie(end);
	*fd = end;
	return 0;
}

/* Its lines go on where a service closes stderr. */
static void
keep_log(const struct loop *loop)
{
	int end =
	    fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)loop->fds - OWNS - 1);

	if (end >= 0)
		log_to(end);
}

int
own_keep(struct loop *loop)
{
	keep_log(loop);
	for (enum own which = 0; which < OWNS; which++)
		if (keep(loop, which) < 0)
			return -1;
	return watches_control(loop, loop->epoll, EPOLL_CTL_ADD) ? 0 : -1;
}

#include "lib/worker/lookout.h"

#include <fcntl.h>
#include <sys/socket.h>

/* A service can have it block, in another slot, too: then accept4 waits for a
 * client, and for ever where the listener is to go. */
static void
unblock(const struct slot_listener *listener)
{
	fcntl(listener->fd, F_SETFL, O_NONBLOCK);
}

int
lookout_begin(struct loop *loop, const struct slot_listener *listener)
{
	unblock(listener);
	if (listener->inherited)
		return 0; /* until it is armed */
	return loop_watch(loop, EPOLL_CTL_ADD, listener->fd, 0, 0);
}

/* What is watched exclusively cannot be modified: epoll_ctl(2), EINVAL. */
static int
arm_inherited(struct loop *loop, const struct slot_listener *listener, bool arm)
{
	loop_watch(loop, EPOLL_CTL_DEL, listener->fd, 0, 0); /* if it is */
	return arm ? loop_watch(loop, EPOLL_CTL_ADD, listener->fd,
			 EPOLLIN | EPOLLEXCLUSIVE, 0)
		   : 0;
}

int
lookout_arm(struct loop *loop, const struct slot_listener *listener, bool arm)
{
	if (listener->inherited)
		return arm_inherited(loop, listener, arm);
	/* Cannot fail: it is registered, and nothing is allocated. */
	return loop_watch(
	    loop, EPOLL_CTL_MOD, listener->fd, arm ? EPOLLIN : 0, 0);
}

int
lookout_step_back(struct loop *loop, const struct slot_listener *listener)
{
	return listener->inherited ? arm_inherited(loop, listener, true) : 0;
}

void
lookout_renew(struct loop *loop, const struct slot_listener *listener)
{
	unblock(listener);
	if (listener->inherited) {
		arm_inherited(loop, listener, false);
		return;
	}
	if (loop_watch(loop, EPOLL_CTL_MOD, listener->fd, 0, 0) < 0)
		loop_watch(loop, EPOLL_CTL_ADD, listener->fd, 0, 0);
	/* A reload may have changed the backlog: listen(2). */
	listen(listener->fd, (int)loop->config->backlog);
}

int
lookout_listen(struct loop *loop, const struct slot_listener *listener)
{
	return listen(listener->fd, (int)loop->config->backlog);
}

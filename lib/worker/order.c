#include "lib/worker/order.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/worker/standard.h"

_Static_assert(offsetof(struct slot_brought, fd) == CMSG_LEN(0) &&
	sizeof(struct slot_brought) == CMSG_SPACE(sizeof(int)),
    "the descriptor stands where cmsg(3) has it");

/* Returns as recvmsg(2) does. */
static ssize_t
receive(struct loop *loop, struct control_message *message)
{
	struct slot_brought *brought = &loop->memory->brought;
	struct iovec part = { message, sizeof *message };
	struct msghdr header = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = brought,
		.msg_controllen = sizeof *brought };
	ssize_t received;

	do
		received = recvmsg(
		    loop->control, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	return received;
}

int
order_hear(struct loop *loop, struct control_message *message, int *fd)
{
	struct slot_memory *memory = loop->memory;
	ssize_t received;

	store(memory->brought.fd, -1);
	slot_begin(memory, PHASE_HEAR, loop->control);
	received = receive(loop, message);
	*fd = standard_leave(memory->brought.fd);
	store(memory->brought.fd, *fd);
	if (received == (ssize_t)sizeof *message)
		return 1;
	if (received < 0) /* ECONNRESET: gone with our messages unread */
		return errno == ECONNRESET ? 0 : -1;
	if (*fd >= 0)
		order_drop(loop, *fd);
	*fd = -1;
	errno = EPROTO;
	return received == 0 ? 0 : -1;
}

void
order_end(struct loop *loop)
{
	slot_end(loop->memory);
}

int
order_brought(const struct loop *loop)
{
	int fd = loop->memory->brought.fd;

	if (fd >= 0 && fd <= STDERR_FILENO)
		standard_drop(fd);
	return fd > STDERR_FILENO && (unsigned)fd < loop->memory->fds ? fd : -1;
}

void
order_settle_drop(struct loop *loop)
{
	const struct transaction *t = &loop->memory->transaction;

	if (loop_cookie(t->fd) != t->cookie)
		return; /* it is closed */
	/* The epoll instance first, as the master's duplicate keeps a listener
	 * open (epoll(7), "Questions and answers"). */
	loop_watch(loop, EPOLL_CTL_DEL, t->fd, 0, 0);
	close(t->fd);
}

void
order_drop(struct loop *loop, int fd)
{
	loop->memory->transaction.cookie = loop_cookie(fd);
	slot_begin(loop->memory, PHASE_RELEASE, fd);
	order_settle_drop(loop);
}

#include "lib/slot/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	AGAIN_MS = 10, /* between two tries */
	FDS = 253,     /* the most of one message: SCM_MAX_FD, unix(7) */
};

/* Room for all that a message can bring: what does not fit the kernel drops in
 * our name, and we would not know of it. Aligned as cmsg(3) wants it. */
union ancillary {
	char bytes[CMSG_SPACE(sizeof(struct ucred)) +
	    CMSG_SPACE(FDS * sizeof(int))];
	struct cmsghdr align;
};

/* The kernel says who sends what the master reads: SO_PASSCRED, unix(7). */
int
control_pair(int pair[2])
{
	const int on = 1;
	int error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	if (setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0)
		return 0;
	error = errno;
	close(pair[0]);
	close(pair[1]);
	errno = error;
	return -1;
}

static void
attach_fd(struct msghdr *header, union ancillary *ancillary, int fd)
{
	struct cmsghdr *rights;

	header->msg_control = ancillary;
	header->msg_controllen = CMSG_SPACE(sizeof fd);
	rights = CMSG_FIRSTHDR(header);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(rights), &fd, sizeof fd);
}

static int
send_flagged(
    int control, const struct control_message *message, int fd, int flags)
{
	union ancillary ancillary = { { 0 } };
	struct iovec part = { (void *)message, sizeof *message };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd >= 0)
		attach_fd(&header, &ancillary, fd);
	do
		sent = sendmsg(control, &header, MSG_NOSIGNAL | flags);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

/* What a send can lack for a moment: sendmsg(2), unix(7). */
static bool
is_scarcity(int error)
{
	return error == EAGAIN || error == ENOBUFS || error == ENOMEM ||
	    error == ETOOMANYREFS;
}

int
control_send(int control, const struct control_message *message, int fd)
{
	int result = send_flagged(control, message, fd, MSG_DONTWAIT);

	return result < 0 && is_scarcity(errno)
	    ? send_flagged(control, message, fd, MSG_DONTWAIT)
	    : result;
}

bool
control_is_over(int error)
{
	return error == EPIPE || error == ECONNRESET;
}

int
control_tell(int control, const struct control_message *message, int fd)
{
	int result;

	while ((result = send_flagged(control, message, fd, 0)) < 0 &&
	    is_scarcity(errno))
		poll(NULL, 0, AGAIN_MS);
	return result;
}

void
control_disarm(int fd)
{
	const struct linger none = { 0 };

	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

/* Whoever waits for a message waits on. The other side can have gone with
 * messages of ours unread: that comes first, once, and what it had said before
 * lies behind it (net/unix/af_unix.c, unix_release_sock). */
static bool
is_passing(int error, int flags)
{
	if (error == EINTR || error == ECONNRESET)
		return true;
	if ((flags & MSG_DONTWAIT) || !is_scarcity(error))
		return false;
	poll(NULL, 0, AGAIN_MS);
	return true;
}

void
control_discard(int fd)
{
	if (fd < 0)
		return;
	control_disarm(fd);
	close(fd);
}

/* What came beside a message's bytes. */
struct arrival {
	pid_t sender; /* 0: the kernel did not say */
	int fd;	      /* the last of them; -1: none */
	unsigned fds;
};

static void
take_rights(struct arrival *arrival, struct cmsghdr *rights)
{
	size_t bytes = rights->cmsg_len - CMSG_LEN(0);
	int fd;

	for (size_t at = 0; at + sizeof fd <= bytes; at += sizeof fd) {
		control_discard(arrival->fd);
		memcpy(&arrival->fd, CMSG_DATA(rights) + at, sizeof fd);
		arrival->fds++;
	}
}

/* musl's macro mixes signs. */
static struct cmsghdr *
next_part(struct msghdr *header, struct cmsghdr *part)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
	return CMSG_NXTHDR(header, part);
#pragma GCC diagnostic pop
}

static struct arrival
open_ancillary(struct msghdr *header)
{
	struct arrival arrival = { .fd = -1 };
	struct ucred sender;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part;
	     part = next_part(header, part)) {
		if (part->cmsg_level != SOL_SOCKET)
			continue;
		if (part->cmsg_type == SCM_RIGHTS)
			take_rights(&arrival, part);
		if (part->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&sender, CMSG_DATA(part), sizeof sender);
			arrival.sender = sender.pid;
		}
	}
	return arrival;
}

/* False for what no process of ours sends. */
static bool
is_message(
    const struct msghdr *header, size_t received, const struct arrival *arrival)
{
	return received == sizeof(struct control_message) &&
	    arrival->fds <= 1 &&
	    (header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
}

int
control_receive(
    int control, struct control_message *message, int *fd, int flags)
{
	union ancillary ancillary;
	struct iovec part = { message, sizeof *message };
	struct msghdr header = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &ancillary,
		.msg_controllen = sizeof ancillary };
	struct arrival arrival;
	ssize_t received;

	*fd = -1;
	do
		received = recvmsg(control, &header, flags | MSG_CMSG_CLOEXEC);
	while (received < 0 && is_passing(errno, flags));
	if (received < 0)
		return -1;
	arrival = open_ancillary(&header);
	if (received == 0 && arrival.sender == 0 && arrival.fds == 0)
		return 0;
	if (!is_message(&header, (size_t)received, &arrival)) {
		control_discard(arrival.fd);
		errno = EPROTO;
		return -1;
	}
	*fd = arrival.fd;
	if (arrival.sender != 0)
		message->pid = arrival.sender;
	message->text[sizeof message->text - 1] = '\0';
	return 1;
}

#include "lib/slot/control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AGAIN_MS = 10 }; /* between two tries */

/* Aligned as cmsg(3) wants it. */
union ancillary {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int
control_pair(int pair[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static void
attach_fd(struct msghdr *header, union ancillary *ancillary, int fd)
{
	struct cmsghdr *rights;

	header->msg_control = ancillary;
	header->msg_controllen = sizeof *ancillary;
	rights = CMSG_FIRSTHDR(header);
	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(rights), &fd, sizeof fd);
}

static int
send_flagged(int control, const struct control_message *message, int fd,
    const struct control_bytes *bytes, int flags)
{
	union ancillary ancillary = { { 0 } };
	struct iovec parts[2] = { { (void *)message, sizeof *message } };
	struct msghdr header = { .msg_iov = parts, .msg_iovlen = 1 };
	ssize_t sent;

	if (bytes) {
		parts[1] = (struct iovec) { bytes->bytes, bytes->size };
		header.msg_iovlen = 2;
	}
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
control_send(int control, const struct control_message *message, int fd,
    const struct control_bytes *bytes)
{
	int result = send_flagged(control, message, fd, bytes, MSG_DONTWAIT);

	return result < 0 && is_scarcity(errno)
	    ? send_flagged(control, message, fd, bytes, MSG_DONTWAIT)
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

	while ((result = send_flagged(control, message, fd, NULL, 0)) < 0 &&
	    is_scarcity(errno))
		poll(NULL, 0, AGAIN_MS);
	return result;
}

static int
received_fd(struct msghdr *header)
{
	struct cmsghdr *rights = CMSG_FIRSTHDR(header);
	int fd = -1;

	if (rights && rights->cmsg_level == SOL_SOCKET &&
	    rights->cmsg_type == SCM_RIGHTS &&
	    rights->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(rights), sizeof fd);
	return fd;
}

/* Whoever waits for a message waits on. */
static bool
is_passing(int error, int flags)
{
	if (error == EINTR)
		return true;
	if ((flags & MSG_DONTWAIT) || !is_scarcity(error))
		return false;
	poll(NULL, 0, AGAIN_MS);
	return true;
}

static int
reject(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = EPROTO;
	return -1;
}

int
control_receive(int control, struct control_message *message, int *fd,
    struct control_bytes *bytes, int flags)
{
	union ancillary ancillary = { { 0 } };
	struct iovec parts[2] = { { message, sizeof *message } };
	struct msghdr header = { .msg_iov = parts,
		.msg_iovlen = 1,
		.msg_control = &ancillary,
		.msg_controllen = sizeof ancillary };
	ssize_t received;

	*fd = -1;
	if (bytes) {
		parts[1] = (struct iovec) { bytes->bytes, bytes->size };
		header.msg_iovlen = 2;
	}
	do
		received = recvmsg(control, &header, flags | MSG_CMSG_CLOEXEC);
	while (received < 0 && is_passing(errno, flags));
	if (received <= 0) /* ECONNRESET: gone with our messages unread */
		return received < 0 && errno != ECONNRESET ? -1 : 0;
	*fd = received_fd(&header);
	if ((size_t)received < sizeof *message ||
	    (header.msg_flags & MSG_TRUNC))
		return reject(fd);
	message->text[sizeof message->text - 1] = '\0';
	if (bytes)
		bytes->length = (size_t)received - sizeof *message;
	return 1;
}

/*
 * floor: the least epoll echo that can be written, as what the kernel takes for
 * it. Edge-triggered, one read and one write an event, one process.
 *
 *     floor PORT WORKERS [ANSWER]
 *
 * WORKERS is not heeded. With an ANSWER it says that in place of an echo, and
 * so is the floor of a protocol whose requests it does not even look at.
 *
 * It is no server: a client that does not read its echoes stops all others, and
 * one that sends more than BYTES before it reads does not get the rest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"

enum { EVENTS = 256, BYTES = 64 * 1024 };

static void
watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		exit(1);
}

static void
accept_one(int epoll, int listener)
{
	int fd = accept4(listener, NULL, NULL, 0);

	if (fd >= 0)
		watch(epoll, fd, EPOLLIN | EPOLLET);
}

static void
serve(int fd, const char *answer)
{
	static char buffer[BYTES];
	ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);

	if (n > 0 && answer)
		send(fd, answer, strlen(answer), MSG_NOSIGNAL);
	else if (n > 0)
		send(fd, buffer, (size_t)n, MSG_NOSIGNAL);
	else if (n == 0 || errno != EAGAIN)
		close(fd);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	const char *answer = argc > 3 ? argv[3] : NULL;
	int listener = listener_open(argc > 1 ? argv[1] : "8080");
	int epoll = epoll_create1(0);

	watch(epoll, listener, EPOLLIN);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.fd == listener)
				accept_one(epoll, listener);
			else
				serve(events[i].data.fd, answer);
	}
}

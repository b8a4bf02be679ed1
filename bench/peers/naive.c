/*
 * naive: the epoll example of the tutorials. Edge-triggered, one process, a
 * buffer of 1 KiB, prints each message.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"

enum { EVENTS = 64, BYTES = 1024 };

static void
watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET,
		.data.fd = fd };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
		perror("epoll_ctl");
		exit(1);
	}
}

static void
accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		watch(epoll, fd);
}

static void
echo(int fd)
{
	char buffer[BYTES];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof buffer)) > 0) {
		printf("received from %d: %.*s\n", fd, (int)n, buffer);
		if (write(fd, buffer, (size_t)n) < 0)
			perror("write");
	}
	if (n == 0)
		close(fd);
}

int
main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];
	int listener = listener_open(argc > 1 ? argv[1] : "8080");
	int epoll = epoll_create1(0);

	watch(epoll, listener);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++)
			if (events[i].data.fd == listener)
				accept_all(epoll, listener);
			else
				echo(events[i].data.fd);
	}
}

/*
 * hoard: clients that send to an echo server and read nothing. Their windows
 * and segments are small, and the kernel's buffers with them
 * (tcp_sndbuf_expand): what is not taken waits in the server.
 *
 * hoard HOST PORT COUNT says "stuck N" when none of the COUNT can send any
 * more, N of which are still open; and waits for SIGTERM.
 */
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLIENTS = 4096, PART = 64 * 1024, QUIET_MS = 300 };

static int
dial(const struct sockaddr_in *server)
{
	const int window = 2304, segment = 536;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment) <
		0 ||
	    connect(fd, (const struct sockaddr *)server, sizeof *server) < 0) {
		perror("hoard");
		exit(2);
	}
	return fd;
}

/* Sends what the kernel takes; a connection that is closed becomes -1. */
static void
fill(struct pollfd *client)
{
	static const char bytes[PART];
	ssize_t sent;

	do
		sent = send(client->fd, bytes, sizeof bytes,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent > 0);
	if (errno != EAGAIN) {
		close(client->fd);
		client->fd = -1;
	}
}

int
main(int argc, char **argv)
{
	static struct pollfd clients[CLIENTS];
	struct sockaddr_in server = { .sin_family = AF_INET };
	unsigned count = argc == 4 ? (unsigned)atoi(argv[3]) : 0, open = 0;

	if (count == 0 || count > CLIENTS ||
	    inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		return 2;
	server.sin_port = htons((in_port_t)atoi(argv[2]));
	for (unsigned i = 0; i < count; i++) {
		clients[i].fd = dial(&server);
		clients[i].events = POLLOUT;
		fill(&clients[i]);
	}
	while (poll(clients, count, QUIET_MS) > 0)
		for (unsigned i = 0; i < count; i++)
			if (clients[i].fd >= 0 && clients[i].revents)
				fill(&clients[i]);
	for (unsigned i = 0; i < count; i++)
		open += clients[i].fd >= 0;
	printf("stuck %u\n", open);
	fflush(stdout);
	pause();
}

/*
 * provoke: a client that says something to the server and tells what came of
 * it.
 *
 *     provoke HOST PORT COUNT MESSAGE
 *
 * It opens COUNT connections from HOST's own address, then sends MESSAGE and a
 * newline on each, and prints "sent COUNT". Then it prints, for each, its local
 * port and what happened: "echoed" (all came back, byte-exact), "reset",
 * "closed" (in order, without the answer), "wrong", or "late" after 60 s; and
 * at the end "waited MS", the longest of these times.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/common/clock.h"

enum { COUNT_MAX = 4096, LATE_MS = 60000, BYTES = 1024 };

struct provoked {
	int fd;
	unsigned port; /* ours */
	size_t got;    /* bytes of the answer */
	const char *outcome;
};

static void
die(const char *what)
{
	fprintf(stderr, "provoke: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct provoked
open_one(const struct sockaddr_in *to)
{
	struct provoked p = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	struct sockaddr_in own = { .sin_family = AF_INET };
	socklen_t length = sizeof own;

	if (p.fd < 0 ||
	    connect(p.fd, (const struct sockaddr *)to, sizeof *to) < 0 ||
	    getsockname(p.fd, (struct sockaddr *)&own, &length) < 0)
		die("cannot connect");
	p.port = ntohs(own.sin_port);
	return p;
}

static const char *
outcome_of(struct provoked *p, ssize_t n, const char *got, const char *all,
    size_t size)
{
	if (n == 0)
		return "closed";
	if (n < 0)
		return errno == ECONNRESET ? "reset" : strerror(errno);
	if ((size_t)n > size - p->got ||
	    memcmp(got, all + p->got, (size_t)n) != 0)
		return "wrong";
	p->got += (size_t)n;
	return p->got == size ? "echoed" : NULL;
}

static void
read_one(struct provoked *p, const char *all, size_t size)
{
	char got[BYTES];
	ssize_t n = recv(p->fd, got, sizeof got, 0);

	p->outcome = outcome_of(p, n, got, all, size);
	if (!p->outcome)
		return;
	printf("%u %s\n", p->port, p->outcome);
	fflush(stdout);
}

/* Waits for what becomes of all, and tells how long that took. */
static void
await(struct provoked *all, size_t count, const char *message, size_t size)
{
	static struct pollfd polled[COUNT_MAX];
	int64_t begun = clock_ms();
	size_t open = count;

	while (open > 0 && clock_ms() - begun < LATE_MS) {
		for (size_t i = 0; i < count; i++)
			polled[i] =
			    (struct pollfd) { .fd = all[i].outcome ? -1
								   : all[i].fd,
				    .events = POLLIN };
		poll(polled, count, 1000);
		for (size_t i = 0; i < count; i++) {
			if (polled[i].fd < 0 || polled[i].revents == 0)
				continue;
			read_one(&all[i], message, size);
			open -= all[i].outcome != NULL;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (!all[i].outcome)
			printf("%u late\n", all[i].port);
	printf("waited %lld\n", (long long)(clock_ms() - begun));
}

int
main(int argc, char **argv)
{
	static struct provoked all[COUNT_MAX];
	struct sockaddr_in to = { .sin_family = AF_INET };
	char message[BYTES];
	size_t count, size;

	if (argc != 5 || inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
	    (count = strtoul(argv[3], NULL, 10)) == 0 || count > COUNT_MAX) {
		fprintf(stderr, "usage: provoke IPV4 PORT 1..%d MESSAGE\n",
		    COUNT_MAX);
		return 2;
	}
	to.sin_port = htons((in_port_t)strtoul(argv[2], NULL, 10));
	snprintf(message, sizeof message, "%.1000s\n", argv[4]);
	size = strlen(message);
	for (size_t i = 0; i < count; i++)
		all[i] = open_one(&to);
	for (size_t i = 0; i < count; i++)
		if (send(all[i].fd, message, size, MSG_NOSIGNAL) !=
		    (ssize_t)size)
			die("cannot send");
	printf("sent %zu\n", count);
	fflush(stdout);
	await(all, count, message, size);
	return 0;
}

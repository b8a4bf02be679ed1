/*
 * notify_socket: stands in for systemd at NOTIFY_SOCKET.
 *
 * Binds the datagram socket NAME (a path, or @abstract) and prints what comes:
 *
 *	listening PORT SOCKETS	before a message with READY=1: how many sockets
 *				listened on each port at that moment
 *	PID USEC A=1|B=2	a message: its sender, the monotonic clock, and
 *				its assignments
 */
#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PORTS = 65536, TCP_LISTENING = 0x0a };

static void
count_listening(const char *path, unsigned int sockets[])
{
	char line[512];
	unsigned int port, state;
	FILE *table = fopen(path, "r");

	if (table == NULL)
		return;
	while (fgets(line, sizeof(line), table) != NULL)
		if (sscanf(line, " %*u: %*[^:]:%4x %*[^:]:%*4x %2x", &port,
			&state) == 2 &&
		    state == TCP_LISTENING)
			sockets[port]++;
	fclose(table);
}

static void
print_listening(void)
{
	static unsigned int sockets[PORTS];

	memset(sockets, 0, sizeof(sockets));
	count_listening("/proc/net/tcp", sockets);
	count_listening("/proc/net/tcp6", sockets);
	for (unsigned int port = 0; port < PORTS; port++)
		if (sockets[port] > 0)
			printf("listening %u %u\n", port, sockets[port]);
}

static int
bind_name(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(name);
	socklen_t size =
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	int on = 1;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (length >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, size) < 0)
		return -1;
	return fd;
}

/* One line for one datagram; false when there is no more to come. */
static int
print_message(int fd)
{
	char text[4096];
	union {
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr aligned;
	} control;
	struct iovec part = { text, sizeof(text) - 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	struct ucred sender = { .pid = 0 };
	struct timespec now;
	ssize_t length = recvmsg(fd, &message, 0);

	if (length < 0)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	text[length] = '\0';
	header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_type == SCM_CREDENTIALS)
		memcpy(&sender, CMSG_DATA(header), sizeof(sender));
	if (strstr(text, "READY=1") != NULL)
		print_listening();
	for (char *end = text; (end = strchr(end, '\n')) != NULL;)
		*end = '|';
	printf("%d %lld %s\n", (int)sender.pid,
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000, text);
	fflush(stdout);
	return 1;
}

int
main(int argc, char *argv[])
{
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: notify_socket PATH|@NAME\n");
		return 2;
	}
	if ((fd = bind_name(argv[1])) < 0) {
		fprintf(stderr, "notify_socket: %s: %s\n", argv[1],
		    strerror(errno));
		return 1;
	}
	printf("bound\n");
	fflush(stdout);
	while (print_message(fd))
		continue;
	return 0;
}

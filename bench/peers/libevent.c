/* libevent: the echo as one writes it with bufferevents. */
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BACKLOG = 4096 };

static void
echo(struct bufferevent *client, void *unused)
{
	(void)unused;
	bufferevent_write_buffer(client, bufferevent_get_input(client));
}

static void
end(struct bufferevent *client, short what, void *unused)
{
	(void)what;
	(void)unused;
	bufferevent_free(client);
}

static void
greet(struct evconnlistener *listener, evutil_socket_t fd,
    struct sockaddr *address, int length, void *unused)
{
	struct event_base *base = evconnlistener_get_base(listener);
	struct bufferevent *client =
	    bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)address;
	(void)length;
	(void)unused;
	bufferevent_setcb(client, echo, NULL, end, NULL);
	bufferevent_enable(client, EV_READ | EV_WRITE);
}

int
main(int argc, char **argv)
{
	const char *port = argc > 1 ? argv[1] : "8080";
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((in_port_t)strtoul(port, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct event_base *base = event_base_new();
	struct evconnlistener *listener = evconnlistener_new_bind(base, greet,
	    NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, BACKLOG,
	    (struct sockaddr *)&address, sizeof address);
	int one = 1;

	if (!listener) {
		perror("libevent");
		return 1;
	}
	/* What is accepted inherits it. */
	setsockopt(evconnlistener_get_fd(listener), IPPROTO_TCP, TCP_NODELAY,
	    &one, sizeof one);
	return event_base_dispatch(base);
}

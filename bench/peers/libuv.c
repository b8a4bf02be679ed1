/* libuv: the echo as its own guide shows it, with a buffer for each read that
 * lives until its write is done. */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum { BACKLOG = 4096 };

static void
lend(uv_handle_t *client, size_t suggested, uv_buf_t *buffer)
{
	(void)client;
	buffer->base = malloc(suggested);
	buffer->len = buffer->base ? suggested : 0;
}

static void
end(uv_handle_t *client)
{
	free(client);
}

static void
written(uv_write_t *request, int status)
{
	(void)status;
	free(request->data);
	free(request);
}

static void
answer(uv_stream_t *client, char *bytes, size_t count)
{
	uv_write_t *request = malloc(sizeof *request);
	uv_buf_t buffer = uv_buf_init(bytes, (unsigned)count);

	if (!request)
		abort();
	request->data = bytes;
	if (uv_write(request, client, &buffer, 1, written) < 0)
		written(request, 0);
}

static void
echo(uv_stream_t *client, ssize_t count, const uv_buf_t *buffer)
{
	if (count > 0) {
		answer(client, buffer->base, (size_t)count);
		return;
	}
	free(buffer->base);
	if (count < 0)
		uv_close((uv_handle_t *)client, end);
}

static void
greet(uv_stream_t *listener, int status)
{
	uv_tcp_t *client = malloc(sizeof *client);

	if (status < 0 || !client) {
		free(client);
		return;
	}
	uv_tcp_init(listener->loop, client);
	if (uv_accept(listener, (uv_stream_t *)client) < 0) {
		uv_close((uv_handle_t *)client, end);
		return;
	}
	uv_tcp_nodelay(client, 1);
	uv_read_start((uv_stream_t *)client, lend, echo);
}

int
main(int argc, char **argv)
{
	const char *port = argc > 1 ? argv[1] : "8080";
	uv_loop_t *loop = uv_default_loop();
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons((in_port_t)strtoul(port, NULL, 10)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uv_tcp_t listener;

	uv_tcp_init(loop, &listener);
	if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) < 0 ||
	    uv_listen((uv_stream_t *)&listener, BACKLOG, greet) < 0) {
		fputs("libuv: cannot listen\n", stderr);
		return 1;
	}
	return uv_run(loop, UV_RUN_DEFAULT);
}

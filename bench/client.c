#include "client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PLACES = 64 * 1024, /* where in the pattern a message may begin */
	READ_BYTES = 64 * 1024,
	REPLY_MAX = 4096, /* of an HTTP reply */
	/* That are taken of an address: the kernel looks for a free one among
	 * the 14,000 even ones first, and one by one. */
	PORTS = 8192,
	ADDRESSES = 1 << 16,	  /* before they are taken again */
	ADDRESSES_EACH = 1 << 10, /* for a process of the load */
};

static const char http_request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

_Noreturn void
die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
	    strerror(errno));
	exit(1);
}

uint64_t
clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct timespec
clock_timespec(uint64_t ns)
{
	return (struct timespec) { .tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u) };
}

void
clock_sleep_until(uint64_t ns)
{
	struct timespec until = clock_timespec(ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
		continue;
}

uint64_t
mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

uint64_t
number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end != '\0') {
		fprintf(stderr, "%s: \"%s\": expected a number\n",
		    program_invocation_short_name, text);
		exit(2);
	}
	return value;
}

/* ---- what is said -------------------------------------------------------- */

struct script
script_make(size_t bytes, const char *body, size_t index)
{
	struct script s = { .bytes = bytes,
		.body = body,
		.serial = (uint64_t)index * PORTS * ADDRESSES_EACH };

	if (body) {
		s.bytes = sizeof http_request - 1;
		s.pattern = (unsigned char *)strdup(http_request);
	} else {
		s.pattern = malloc(PLACES + bytes);
	}
	if (!s.pattern)
		die("no memory");
	for (size_t i = 0; !body && i < PLACES + bytes; i++)
		s.pattern[i] = (unsigned char)mix(i + 1);
	return s;
}

static const unsigned char *
message(const struct script *s, const struct conn *c)
{
	if (s->body)
		return s->pattern;
	return s->pattern +
	    mix(c->key ^ c->round * 0x9e3779b97f4a7c15u) % PLACES;
}

/* ---- opening ------------------------------------------------------------- */

void
client_raise_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* The first come from 127.0.0.1, whose name every machine knows: there are
 * servers that ask for it. */
static uint32_t
own_address(uint64_t serial)
{
	return (uint32_t)(INADDR_LOOPBACK + serial / PORTS % ADDRESSES);
}

static bool
connect_from(int fd, uint64_t serial, in_port_t port)
{
	struct sockaddr_in from = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(own_address(serial)) };
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1;

	/* The port is chosen at connect, when both ends are known. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0)
		return false;
	return connect(fd, (struct sockaddr *)&to, sizeof to) == 0 ||
	    errno == EINPROGRESS;
}

bool
conn_open(struct script *s, struct conn *c, in_port_t port, int flags)
{
	c->key = mix(s->serial + 1);
	c->sent = c->got = 0;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	if (c->fd < 0)
		die("socket: raise ulimit -Hn");
	if (connect_from(c->fd, s->serial++, port))
		return true;
	conn_close(c);
	return false;
}

void
conn_close(struct conn *c)
{
	int saved = errno;

	close(c->fd);
	free(c->reply);
	c->fd = -1;
	c->reply = NULL;
	errno = saved;
}

/* ---- talking ------------------------------------------------------------- */

bool
conn_send(const struct script *s, struct conn *c)
{
	const unsigned char *bytes = message(s, c);

	while (c->sent < s->bytes) {
		ssize_t n = send(
		    c->fd, bytes + c->sent, s->bytes - c->sent, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
	}
	return true;
}

static _Noreturn void
wrong_bytes(void)
{
	errno = EPROTO;
	die("wrong bytes came back");
}

/* recv: what came, 0 if nothing did for now, less if nothing will. */
static ssize_t
receive(struct conn *c, void *buffer, size_t room)
{
	ssize_t n = recv(c->fd, buffer, room, 0);

	if (n > 0)
		return n;
	if (n == 0)
		errno = ECONNRESET;
	else if (errno == EAGAIN)
		return 0;
	return -1;
}

static enum answer
answered(struct conn *c, enum answer answer)
{
	c->round++;
	c->sent = c->got = 0;
	return answer;
}

static enum answer
read_echo(const struct script *s, struct conn *c)
{
	unsigned char buffer[READ_BYTES];
	const unsigned char *expected = message(s, c);

	while (c->got < s->bytes) {
		size_t left = s->bytes - c->got;
		ssize_t n = receive(
		    c, buffer, left < sizeof buffer ? left : sizeof buffer);

		if (n <= 0)
			return n < 0 ? ANSWER_LOST : ANSWER_PARTIAL;
		if (memcmp(buffer, expected + c->got, (size_t)n) != 0)
			wrong_bytes();
		c->got += (size_t)n;
	}
	return answered(c, ANSWER_WHOLE);
}

static enum answer
read_http(const struct script *s, struct conn *c)
{
	const char *body;
	ssize_t n;

	if (!c->reply && !(c->reply = malloc(REPLY_MAX + 1)))
		die("no memory");
	n = receive(c, c->reply + c->got, REPLY_MAX - c->got);
	if (n <= 0)
		return n < 0 ? ANSWER_LOST : ANSWER_PARTIAL;
	c->got += (size_t)n;
	c->reply[c->got] = '\0';
	body = strstr(c->reply, "\r\n\r\n");
	if (!body || strlen(body + 4) < strlen(s->body))
		return ANSWER_PARTIAL;
	if (strncmp(c->reply, "HTTP/1.1 200 ", 13) != 0 ||
	    strcmp(body + 4, s->body) != 0)
		wrong_bytes();
	if (strcasestr(c->reply, "\r\nConnection: close\r\n"))
		return answered(c, ANSWER_LAST);
	return answered(c, ANSWER_WHOLE);
}

enum answer
conn_read(const struct script *s, struct conn *c)
{
	return s->body ? read_http(s, c) : read_echo(s, c);
}

void
conn_converse(const struct script *s, struct conn *c)
{
	enum answer answer = ANSWER_PARTIAL;

	if (!conn_send(s, c))
		die("send: the server has closed a connection");
	while (answer == ANSWER_PARTIAL)
		answer = conn_read(s, c);
	if (answer == ANSWER_LOST)
		die("recv: the server has closed a connection");
}

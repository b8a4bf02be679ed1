/*
 * client: a connection to the server that is measured, which checks every byte
 * that comes back.
 *
 * A connection sends a message, waits for all of the answer, sends the next.
 * What it sends is a place in a table of random bytes that follows from the
 * connection and the number of the message: bytes that are lost, doubled, late
 * or of another connection are found where they happen, at the cost of a
 * memcmp.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What is said on all connections. */
struct script {
	size_t bytes;		/* of a message */
	unsigned char *pattern; /* messages are cut from that */
	const char *body;	/* of the HTTP reply; NULL: echo */
	uint64_t serial;	/* of the next connection that is opened */
};

struct conn {
	int fd;
	uint64_t key;	/* what it says follows from that and the round */
	uint64_t round; /* messages that were answered */
	size_t sent;	/* bytes of the present one */
	size_t got;	/* bytes of the present answer */
	char *reply;	/* with HTTP: what they are */
};

enum answer {
	ANSWER_PARTIAL, /* more is to come */
	ANSWER_WHOLE,
	ANSWER_LAST, /* whole, and the server says that it is the last one */
	ANSWER_LOST, /* the connection is gone: errno */
};

/* The message is printed with errno's, and the exit status is 1. */
_Noreturn void die(const char *what);

uint64_t clock_ns(void);

struct timespec clock_timespec(uint64_t ns);

void clock_sleep_until(uint64_t ns);

uint64_t mix(uint64_t x);

uint64_t number(const char *text);

/* BODY is NULL for an echo of so many bytes. Processes with another INDEX have
 * other connections: they come from elsewhere and say something else. */
struct script script_make(size_t bytes, const char *body, size_t index);

/* As many descriptors as are allowed. */
void client_raise_limit(void);

/* Connects; with SOCK_NONBLOCK in FLAGS, begins to. Each some thousand
 * connections come from another address of 127/8, as one address has only that
 * many ports. False: errno. */
bool conn_open(struct script *s, struct conn *c, in_port_t port, int flags);

void conn_close(struct conn *c);

/* Sends what the kernel takes of the present message. False: errno. */
bool conn_send(const struct script *s, struct conn *c);

/* Reads what there is of the answer. After a whole one the next conn_send is of
 * the next message. Ends the program on a wrong byte. */
enum answer conn_read(const struct script *s, struct conn *c);

/* Sends a message, and waits on a blocking connection until it is answered.
 * Ends the program if it is not. */
void conn_converse(const struct script *s, struct conn *c);

#endif

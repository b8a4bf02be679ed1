/*
 * control: what master and worker say to each other, over one SOCK_SEQPACKET
 * pair for each worker. This header is the whole contract between them.
 */
#ifndef PREFORKD_CONTROL_H
#define PREFORKD_CONTROL_H

#include <stdint.h>

#include "config.h"

/* Endpoints are numbered below this: those of a configuration and, during a
 * reload, of the next. */
enum { CONTROL_ENDPOINTS = 2 * CONFIG_LISTEN_MAX };

/* In CONTROL_CLOSE: every endpoint. */
enum { CONTROL_ALL = CONTROL_ENDPOINTS };

enum control_type {
	/* master to worker */
	CONTROL_LISTEN,	 /* [fd] serve this endpoint: with the listener that an
			    earlier worker of the slot left, or open one */
	CONTROL_SERVE,	 /* begin to accept */
	CONTROL_RELEASE, /* give up this endpoint's listener at once: another
			    worker serves the same one */
	CONTROL_CLOSE,	 /* empty this endpoint's queue, then close it */
	CONTROL_DRAIN,	 /* serve until the clients have gone, for value ms at
			    the most, then end */
	CONTROL_STOP,	 /* answer what has come, then end, in value ms at the
			    most */

	/* worker to master */
	CONTROL_LISTENING, /* fd: a duplicate of a listener just opened */
	CONTROL_READY,	   /* all endpoints listen */
	CONTROL_CLOSED,	   /* this endpoint's queue is empty, its listener
			      closed */
	CONTROL_FAILED,	   /* text: the cause; the exit status follows */
};

/* How a worker ends, beside 0: done. */
enum { CONTROL_EXIT_PERMANENT = 78 }; /* EX_CONFIG: trying again is useless */

struct control_message {
	uint32_t type;	   /* enum control_type */
	uint32_t endpoint; /* which listener is meant */
	uint64_t serial;   /* of the endpoint, as in CONTROL_LISTEN: by it the
			      master tells what is out of date */
	uint64_t value;
	struct address address; /* of the endpoint, its port resolved */
	char text[256];		/* a string, cut if need be */
};

/* Makes a pair of control sockets, close-on-exec. Returns 0, or -1 with
 * errno. */
int control_pair(int pair[2]);

/* Sends a message, with a duplicate of FD unless that is -1, and never waits.
 * Returns 0, or -1 with errno: EPIPE where the other side has gone, EAGAIN
 * where it has left a hundred messages unread. */
int control_send(int control, const struct control_message *, int fd);

/*
 * Receives a message; FD becomes the descriptor that came with it, owned by the
 * caller, or -1. FLAGS as for recvmsg(2). Returns 1, 0 where the other side has
 * gone, or -1 with errno: EAGAIN where nothing waits, EPROTO for what is no
 * message.
 */
int control_receive(int control, struct control_message *, int *fd, int flags);

#endif

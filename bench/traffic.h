/*
 * traffic: what one process of the load does: its connections, and when they
 * speak.
 */
#ifndef BENCH_TRAFFIC_H
#define BENCH_TRAFFIC_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "client.h"
#include "histogram.h"

enum { PROCESSES_MAX = 64 };

struct options {
	in_port_t port;
	size_t connections;
	size_t bytes;  /* of a message */
	uint64_t ms;   /* measured; 0: the connections are opened, no more */
	uint64_t rate; /* messages a second; 0: a closed loop */
	size_t processes;
	pid_t watched;	  /* 0: none */
	const char *body; /* of the HTTP reply; NULL: echo */
	int connects;	  /* a connection for each message */
	int failures;	  /* are counted and the request is made again */
	int holds;	  /* the connections until the standard input ends */
};

/* What a process of the load has seen. */
struct result {
	uint64_t all;	 /* messages answered, ever */
	uint64_t closed; /* connections, ever, that the server did not keep */
	uint64_t echoes; /* in the time that is measured, as the rest is */
	uint64_t failed;
	struct histogram latency;
};

/* Shared by all processes of the load, and written by the first. */
struct board {
	_Atomic uint64_t begin_ns; /* of what is measured; far off until then */
	_Atomic uint64_t end_ns;
	_Atomic bool over; /* the load ends */
	struct result results[PROCESSES_MAX];
};

/* A connection, and since when it waits for an answer; if it does not, when its
 * next message is due. */
struct client {
	struct conn conn;
	bool busy;
	uint64_t since_ns;
};

struct traffic {
	const struct options *options;
	struct script script;
	const struct board *board;
	struct result *result;
	int epoll;
	struct client *clients;
	size_t count;
	uint64_t period_ns;  /* of one connection; 0: a closed loop */
	uint64_t due;	     /* messages whose time has come */
	uint64_t started_ns; /* when the first was due */
};

/* The share of the load that process number INDEX has. */
struct traffic
traffic_make(const struct options *options, struct board *board, size_t index);

/* Opens its connections, and each is answered once: none waits in a queue. */
void traffic_open(struct traffic *t);

/* Until the board says that it is over. */
void traffic_run(struct traffic *t);

#endif

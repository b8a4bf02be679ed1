/* stream: what its files agree on. See main.c. */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stdint.h>

enum {
	TURN_BYTES = 64 * 1024, /* read or sent for one event */
};

#define NO_ROUNDS UINT64_MAX

struct options {
	const char *host;
	const char *port;
	uint64_t connections; /* at the same time */
	uint64_t bytes;	      /* to send on each connection */
	uint64_t message_min; /* bytes in one message */
	uint64_t message_max;
	uint64_t interval_ms; /* between two messages of a connection */
	uint64_t rounds;      /* connections in all; 0: until SIGTERM */
	uint64_t seconds;     /* all must be over by then */
	bool in_rounds;	      /* connect, echo, close, again and again */
	bool ping_pong;	      /* a message waits for the last one's echo */
	bool half_close;      /* shut down after sending, expect EOF */
	bool hold;	      /* keep connections open until SIGTERM */
	bool never_read;      /* read nothing until SIGTERM */
	bool oob;	      /* every second message ends urgently */
	bool fin_at_random;   /* shut down a moment after sending */
	bool reset_at_random; /* end with RST at a random moment */
	bool allow_cut;	      /* the server may cut connections */
	bool mixed;	      /* see main.c */
	bool progress;
};

struct conn {
	int fd;		      /* -1: not open */
	uint32_t interest;    /* events asked of epoll */
	uint64_t id;	      /* never used twice */
	uint64_t sent;	      /* bytes the kernel took */
	uint64_t verified;    /* bytes that came back, right or wrong */
	uint64_t goal;	      /* bytes to send in all */
	uint64_t message_end; /* position where the current message ends */
	uint64_t messages;    /* begun so far */
	uint64_t reset_after; /* bytes moved before the RST */
	int64_t next_ms;      /* no new message before that time */
	int64_t resume_ms;    /* reads nothing before that time */
	int64_t waiting_ms;   /* since when it waits for what comes next */
	int64_t fin_us;	      /* no FIN before that time; 0: not known yet */
	bool connected;
	bool answered;
	bool shut; /* our FIN has been sent */
};

enum outcome { ENDED, REFUSED, RESET, CLOSED, LATE, OUTCOMES };

struct stream {
	struct options opt;
	struct sockaddr_storage address;
	socklen_t address_len;
	struct conn *conns;
	uint64_t count[OUTCOMES];
	uint64_t bytes; /* that came back as they should */
	uint64_t wrong;
	uint64_t lost;
	uint64_t opened; /* connections begun */
	uint64_t target; /* connections to begin in all */
	uint64_t open;	 /* of them, open now */
	uint64_t connected;
	uint64_t answered;
	uint64_t random;
	uint64_t seed;
	int64_t now_ms;
	int64_t sent_ms;     /* when anybody could send last */
	int64_t progress_ms; /* when to say how far it is */
	int64_t gap_ms;	     /* the longest that one waited for its bytes */
	int epoll;
	int signals;
	bool reading; /* in spite of --never-read */
	bool stopping;
	bool stuck; /* and it has been said */
};

/* ---- conn.c: one connection --------------------------------------------- */

void conns_open(struct stream *);
void conn_open(struct stream *, struct conn *);
void conn_event(struct stream *, struct conn *, uint32_t events);

/* After anything has happened to a connection: is it over, what is next? */
void conn_settle(struct stream *, struct conn *);

/* Tells epoll what the connection waits for now. */
void conn_watch(struct stream *, struct conn *);
void conn_note_gap(struct stream *, const struct conn *);
void conn_stop(struct stream *, struct conn *);
void conn_finish(struct stream *, struct conn *, enum outcome);

/* ---- loop.c ------------------------------------------------------------- */

void stream_run(struct stream *);

/* ---- report.c: what is said --------------------------------------------- */

/* The lines that tests wait for: connected, answered, stuck. */
void report_milestones(struct stream *);
void report_progress(struct stream *);

/* The summary. Returns the exit status. */
int report_end(const struct stream *);

/* ---- options.c ---------------------------------------------------------- */

void options_read(struct options *, int argc, char *argv[]);

#endif

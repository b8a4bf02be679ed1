/*
 * preforkd: a service of your own, in one C file.
 *
 *     cc -shared -fPIC -I/usr/local/include -o mine.so mine.c
 *     preforkd --listen :7000=./mine.so
 *
 * A service is a table of functions, exported as `preforkd_service`. preforkd
 * calls them with what a client has sent, on one connection at a time, in one
 * thread; they answer with preforkd_reply and return. There are several worker
 * processes, each with a copy of the service: what one keeps in variables the
 * others do not see. A connection stays with its worker, but after the worker's
 * death, a reload or a change of the number of workers another process has it.
 *
 * Each call is a transaction. What it replies, what it writes to the
 * connection's state, its timer, its limit, its counts, and that it has
 * finished or aborted, all become real together when it returns, or not at all:
 *
 * - a call that crashes (SIGSEGV, abort, exit, ...) is made once more, in a
 *   process whose memory no client has touched; if it crashes again, that
 *   connection is closed with a reset, and no other one notices;
 * - a call that takes longer than `hang-timeout` costs its connection, too, and
 *   the others of its worker wait for so long;
 * - a call whose process is killed from outside is made again, on the same
 *   bytes and the state from before; if it is killed in it for the fourth time,
 *   that is taken for the call's own fault, and the connection is closed.
 *
 * So a call may be made more than once, and only the last one counts. What it
 * does beside (a write to a file, a message to another server) is not undone.
 *
 * What survives the death of a worker, and a reload: the connection, the bytes
 * that were not consumed, its state, its timer, its limit, the counts. What
 * does not: the service's own variables and heap, which are as `start` left
 * them.
 *
 * The object is read once, at the start of the server and at each reload, by a
 * process of its own, the loader, which then calls `start`; every worker is a
 * clone of it, whenever it is born. So a worker has
 *
 * - the code and the data that `start` has left, which all share until one of
 *   them writes (copy on write): a table of a gigabyte is in memory once;
 * - what `start` has mapped with MAP_SHARED, which all workers of the server
 *   read and write, at once: use atomic operations, and no lock, as a worker
 *   can be killed while it holds it. A call that is made once more writes once
 *   more. A reload begins with a mapping of its own;
 * - the descriptors that `start` has opened, which are one file for all, with
 *   one position (fork(2)). Nobody closes them but `stop`, or the end of the
 *   last process that was loaded with them.
 *
 * It has no threads: a service that has one after `start`, of its own or of a
 * library, is refused.
 *
 * The file may be replaced or written over while it runs, as a copy of it is
 * loaded. One whose libraries lie beside it ($ORIGIN, ld.so(8)) is loaded where
 * it lies: replace such a file by renaming, or its code changes under the
 * workers.
 *
 * A function may not block, start threads, fork a process that outlives the
 * call (one that is forked has no connection, and dies where it touches any;
 * posix_spawn(3) and system(3) are safe), keep a pointer to its arguments, to
 * the state or to a connection beyond its return, or leave a descriptor open
 * that it has opened (`start` may). It may not change what a process has but
 * once: its signals, its directory, its limits. exit() in a call is a crash.
 */
#ifndef PREFORKD_H
#define PREFORKD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this interface. A service says for which it was compiled, and
 * one for another is refused. */
#define PREFORKD_ABI 1

enum {
	/* Bytes: the most that may be left unconsumed; see preforkd_limit. */
	PREFORKD_INPUT_MAX = 64 * 1024,
	/* Bytes: the most that one call may reply. */
	PREFORKD_REPLY_MAX = 256 * 1024,
	/* Bytes: the most that a connection's state may take. */
	PREFORKD_STATE_MAX = 64 * 1024
};

/* A connection, for as long as a call lasts. */
struct preforkd_conn;

/* Why a connection ends. */
enum preforkd_reason {
	PREFORKD_END,	   /* the peer has sent its last byte */
	PREFORKD_FINISHED, /* by preforkd_finish */
	PREFORKD_ABORTED,  /* by preforkd_abort */
	PREFORKD_RESET,	   /* by the peer, or the network lost it */
	PREFORKD_TIMEOUT,  /* idle-timeout, write-timeout, or `memory` */
	PREFORKD_TOO_LONG, /* preforkd_limit or PREFORKD_REPLY_MAX */
	PREFORKD_STOPPING  /* the server ends */
};

/* Severity of a log line. */
enum preforkd_level {
	PREFORKD_ERROR,
	PREFORKD_WARNING,
	PREFORKD_INFO,
	PREFORKD_DEBUG
};

/* All functions but `input` may be NULL. */
struct preforkd_service {
	uint32_t abi;	  /* PREFORKD_ABI */
	const char *name; /* for the log; another name is another service */

	/* Of each connection's state: bytes, 0 to PREFORKD_STATE_MAX, and a
	 * number that you raise whenever its layout changes. */
	uint32_t state_size;
	uint32_t state_version;

	int duplex; /* not 0: `input` is called, too, while `more` is due */

	/*
	 * Once for a start of the server and for each reload, before any
	 * client: read files, make tables. ARGUMENT is what stands behind the
	 * service's name in `listen`, or "". Returns NULL, or why it cannot be:
	 * that message is logged, and the start or the reload fails, everything
	 * being as before. It has `start-timeout`, 90 s by default; what takes
	 * longer, crashes or exits is logged with the service's name. A server
	 * that has been ready once tries again; a first start is given up after
	 * five crashes.
	 */
	const char *(*start)(const char *argument);

	/* Once for each `start`, in a process whose variables are as that left
	 * them, when no worker of it is left: after a reload, or with the
	 * server. It has a second, and one try. */
	void (*stop)(void);

	/* A client has connected; its state is all zero. */
	void (*open)(struct preforkd_conn *conn);

	/*
	 * The client has sent BYTES, COUNT (at least 1) of them, the first
	 * being the first that was not consumed. Returns how many are consumed:
	 *
	 * - 0: no whole message yet. They come again with more behind them.
	 * - some: what is left comes again at once, so one call may take one
	 *   message and leave the next to the next call.
	 *
	 * While `more` is due there is no such call, and nothing is read: so
	 * messages are answered in their order. A service whose answer is none
	 * to a message sets `duplex`; then only what a call has left waits.
	 *
	 * A number above COUNT aborts the connection.
	 */
	size_t (*input)(struct preforkd_conn *conn, const unsigned char *bytes,
	    size_t count);

	/* After a call that has called preforkd_more, when the client has taken
	 * the whole answer. */
	void (*more)(struct preforkd_conn *conn);

	/*
	 * The peer has sent its last byte (a half-close); bytes that were not
	 * consumed will not come again. What is replied here still leaves; then
	 * the connection closes, but not before a pending preforkd_more.
	 */
	void (*end)(struct preforkd_conn *conn);

	/* The time of preforkd_timer has come. */
	void (*timer)(struct preforkd_conn *conn);

	/*
	 * The connection ends; replies go nowhere. Not called after a crash of
	 * this connection's call, and not where the worker dies with its slot.
	 */
	void (*close)(struct preforkd_conn *conn, enum preforkd_reason reason);

	/*
	 * Before the first call for a connection whose state is of another
	 * version: fills in the new state (preforkd_state, all zero) from
	 * OLD_STATE, which may not be written, OLD_SIZE bytes. Returns 0, or
	 * anything else where it cannot. Then, and where there is no such
	 * function, the connection is closed, and the log says why.
	 */
	int (*migrate)(struct preforkd_conn *conn, const void *old_state,
	    uint32_t old_size, uint32_t old_version);
};

/* What your file defines. */
extern const struct preforkd_service preforkd_service;

/* ---- what a service calls ------------------------------------------------ */

/*
 * Answers: all COUNT BYTES are taken, in order. They leave when the call
 * returns, as fast as the client takes them; until it has taken all there is no
 * further call but `close`. Bytes that point into `input`'s own are not copied
 * where they are the whole answer. Above PREFORKD_REPLY_MAX in one call the
 * connection is closed, with a line in the log: reply a part, and call
 * preforkd_more.
 */
void
preforkd_reply(struct preforkd_conn *conn, const void *bytes, size_t count);

/* The same, as printf(3) writes it. Returns how many bytes that were, or -1
 * where the format is wrong; above 4096 bytes the rest is cut off. */
int preforkd_replyf(struct preforkd_conn *conn, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Has `more` called as soon as the client has taken what was replied. */
void preforkd_more(struct preforkd_conn *conn);

/* Closes the connection once what was replied has left, `more` or not. What the
 * client still sends is thrown away; what is replied later in this call still
 * counts. */
void preforkd_finish(struct preforkd_conn *conn);

/* Closes the connection with a reset; what this call replied is dropped. */
void preforkd_abort(struct preforkd_conn *conn);

/* The connection's state: state_size bytes, aligned for anything; written in
 * place. NULL where state_size is 0. */
void *preforkd_state(struct preforkd_conn *conn);

/* The client's address, and the one it has connected to: "192.0.2.1:5000",
 * "[2001:db8::1]:5000". Valid until the call returns. */
const char *preforkd_peer(struct preforkd_conn *conn);
const char *preforkd_local(struct preforkd_conn *conn);

/* Has `timer` called once, in MS milliseconds or a little later; while an
 * answer waits for the client it waits, too. Replaces the last time; 0 is
 * never. At most 30 days. */
void preforkd_timer(struct preforkd_conn *conn, uint32_t ms);

/*
 * The longest message that is waited for, 1 to PREFORKD_INPUT_MAX bytes (the
 * most is the default; other values are brought into that range): where `input`
 * consumes nothing of so many bytes or more, the connection is closed, with a
 * line in the log. Holds for the connection until it is changed.
 */
void preforkd_limit(struct preforkd_conn *conn, size_t bytes);

/* Adds N to the counter NAME (at most 31 bytes, 64 names), which SIGUSR1 has
 * the server log, over all workers. */
void preforkd_count(struct preforkd_conn *conn, const char *name, uint64_t n);

/* Logs a line that begins with the service and the connection; CONN may be NULL
 * in `start` and `stop`. What is printed to stdout or stderr becomes a line,
 * too (info, or warning), with the service's name alone. What would not print
 * shows as `?`. Logged at once, so once more if the call is made once more. */
void preforkd_log(struct preforkd_conn *conn, enum preforkd_level level,
    const char *format, ...) __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif

#endif

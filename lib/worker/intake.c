#include "lib/worker/intake.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/listener.h"
#include "lib/base/log.h"
#include "lib/base/socket.h"
#include "lib/worker/call.h"
#include "lib/worker/ends.h"
#include "lib/worker/exchange.h"
#include "lib/worker/lookout.h"
#include "lib/worker/order.h"
#include "lib/worker/own.h"
#include "lib/worker/standard.h"

enum {
	ACCEPT_BATCH = 64,    /* connections, before others have their turn */
	ACCEPT_SOON = 16,     /* events, after fewer of which is soon */
	PAUSE_MS = 100,	      /* without accepting, when resources lack */
	PAUSE_LOG_MS = 60000, /* at most one line about it in this time */
	ROOM_MS = 100, /* full for so long, however soon a place comes free */
	/* Descriptors that connections leave to others: to a reload, which
	 * loads services, and to what those open. */
	RESERVE_FDS = 16,
};

/* ---- listeners that a service closes ------------------------------------ */

static int
count_listeners(const struct loop *loop)
{
	return (int)loop->memory->listeners_used;
}

static struct slot_listener *
find_fd(const struct loop *loop, int fd)
{
	struct slot_listener *listeners = loop->memory->listeners;

	for (int i = 0; i < count_listeners(loop); i++)
		if (listeners[i].fd == fd)
			return &listeners[i];
	return NULL;
}

/* By a service: the number is nobody's by now, or another's. */
static bool
is_closed(const struct slot_listener *listener)
{
	return loop_cookie(listener->fd) != listener->cookie;
}

/* True where a service has closed the listener that had this number. */
static bool
note_loss(struct loop *loop, int fd)
{
	struct slot_memory *memory = loop->memory;
	struct slot_listener *listener = find_fd(loop, fd);
	uint64_t withheld;

	if (!listener || !is_closed(listener))
		return false;
	if (listener->lost != LOSS_NONE)
		return true;
	store(listener->lost, LOSS_SEEN);
	if (quota_take(&memory->faults, loop->now_ms, &withheld))
		log_error("the service has closed a listener (the last that "
			  "was called: %s): the master has it still",
		    own_suspect(loop));
	return true;
}

void
intake_claim(struct loop *loop, int fd)
{
	note_loss(loop, fd);
}

/* ---- OPEN --------------------------------------------------------------- */

static void
log_opened(const struct particulars *p)
{
	if (log_wants(LOG_DEBUG))
		log_debug("connection %s opened",
		    address_format_peer(&p->peer_ip, p->peer_port).text);
}

/* Something is due to a connection before its client says a word. */
static uint32_t
first_events(const struct connection *c)
{
	return c->flags & CONNECTION_UNOPENED ? EXCHANGE_EVENTS
					      : EXCHANGE_QUIET;
}

/* The entry is filled in; each step may have been done before. Returns false,
 * and closes the connection, where the kernel cannot watch it. */
static bool
finish_open(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	const struct transaction *t = &memory->transaction;
	struct connection *c = &memory->connections[t->fd];
	int fd = t->fd, error = 0;

	if ((unsigned)fd >= memory->fds_used)
		store(memory->fds_used, (uint32_t)fd + 1);
	if (loop->stopping || loop->config->idle_timeout_ms > 0)
		store(memory->sweep_wanted, 1);
	if (!connection_is_open(c)) {
		log_opened(slot_particulars(memory, fd));
		connection_open(c);
	}
	store(memory->counters.accepted, t->accepted);
	if (loop_watch(
		loop, EPOLL_CTL_ADD, fd, first_events(c), c->generation) < 0 &&
	    errno != EEXIST)
		error = errno; /* ENOMEM, ENOSPC */
	if (error == 0) {
		slot_end(memory);
		return true;
	}
	/* Of no transaction it would be open, and heard by nobody. */
	exchange_close(loop, fd, CLOSE_NO_MEMORY);
	errno = error;
	return false;
}

/* FD's entry is filled in: from here on it has a name in slot memory. */
static bool
open_connection(struct loop *loop, int fd)
{
	struct transaction *t = &loop->memory->transaction;

	t->accepted = loop->memory->counters.accepted + 1;
	store(t->fd, fd);
	store(t->phase, PHASE_OPEN);
	return finish_open(loop);
}

/* ---- listeners ---------------------------------------------------------- */

static struct slot_listener *
find_serial(const struct loop *loop, uint64_t serial)
{
	struct slot_listener *listeners = loop->memory->listeners;

	for (int i = 0; i < count_listeners(loop); i++)
		if (listeners[i].fd > 0 && listeners[i].serial == serial)
			return &listeners[i];
	return NULL;
}

/* An entry whose fd is 0: one given up, or the next; NULL where all are used.
 */
static struct slot_listener *
find_free(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	struct slot_listener *listener = find_fd(loop, 0);

	if (listener || memory->listeners_used == SLOT_LISTENERS)
		return listener;
	listener = &memory->listeners[memory->listeners_used];
	store(memory->listeners_used, memory->listeners_used + 1);
	return listener;
}

bool
intake_has(const struct loop *loop, uint64_t serial)
{
	return find_serial(loop, serial) != NULL;
}

/* Its connections get the service that its endpoint has; one that is configured
 * no more keeps what it had. */
static void
name_service(const struct loop *loop, struct slot_listener *listener)
{
	const struct service *service =
	    services_at(loop->services, listener->endpoint);

	if (service)
		listener->service = service->hash;
}

static void
release(struct loop *loop, struct slot_listener *listener)
{
	if (!is_closed(listener))
		order_drop(loop, listener->fd);
	store(listener->fd, 0);
	order_end(loop);
}

int
intake_add(struct loop *loop, const struct control_message *order, int fd)
{
	struct slot_listener *listener = find_free(loop);
	int error;

	if (!listener) {
		order_drop(loop, fd);
		order_end(loop);
		errno = ENOSPC;
		return -1;
	}
	listener->serial = order->serial;
	listener->endpoint = (uint32_t)order->value;
	listener->inherited = order->inherited;
	listener->service = 0;
	name_service(loop, listener);
	listener->closing = 0;
	listener->lost = LOSS_NONE;
	listener->cookie = loop_cookie(fd);
	store(listener->fd, fd);
	if (lookout_begin(loop, listener) == 0)
		return 0;
	error = errno;
	release(loop, listener);
	errno = error;
	return -1;
}

/* The listener is watched under a number that is another's by now, and only
 * under it the epoll instance forgets it. */
static void
forget_number(struct loop *loop, int number, int fd)
{
	int other = fcntl(number, F_DUPFD_CLOEXEC, 0);

	if (other < 0)
		return;
	if (dup3(fd, number, O_CLOEXEC) == number) {
		loop_watch(loop, EPOLL_CTL_DEL, number, 0, 0);
		dup3(other, number, O_CLOEXEC);
	}
	close(other);
}

/* FD is a duplicate of it. Under its own number, where that is free, it is
 * watched as ever; else FD is its number from now on. */
static void
put_back(struct loop *loop, struct slot_listener *listener, int fd)
{
	int number = listener->fd, copy;

	copy = fcntl(fd, F_DUPFD_CLOEXEC, number);
	if (copy == number)
		return;
	if (copy >= 0)
		close(copy);
	forget_number(loop, number, fd);
	store(listener->fd, fd);
	if (lookout_begin(loop, listener) < 0)
		log_error("cannot watch a listener: %s", strerror(errno));
}

void
intake_restore(struct loop *loop, uint64_t serial, int fd)
{
	struct slot_listener *listener = find_serial(loop, serial);

	if (is_closed(listener))
		put_back(loop, listener, fd);
	store(listener->lost, LOSS_NONE);
	if (listener->fd != fd)
		order_drop(loop, fd);
	order_end(loop);
}

void
intake_release(struct loop *loop, uint64_t serial)
{
	struct slot_listener *listener = find_serial(loop, serial);

	if (listener)
		release(loop, listener);
}

void
intake_release_others(struct loop *loop)
{
	for (int i = 0; i < count_listeners(loop); i++) {
		struct slot_listener *listener = &loop->memory->listeners[i];

		if (listener->fd > 0 && !listener->closing)
			release(loop, listener);
	}
}

void
intake_close(struct loop *loop, uint64_t serial)
{
	struct slot_listener *listener = find_serial(loop, serial);

	if (!listener)
		return;
	/* An address that is no more, maybe for one that covers it. */
	if (!listener->inherited && !is_closed(listener))
		listener_begin_no_more(listener->fd);
	store(listener->closing, 1);
}

void
intake_close_all(struct loop *loop)
{
	for (int i = 0; i < count_listeners(loop); i++)
		if (loop->memory->listeners[i].fd > 0)
			store(loop->memory->listeners[i].closing, 1);
}

bool
intake_is_empty(const struct loop *loop)
{
	for (int i = 0; i < count_listeners(loop); i++)
		if (loop->memory->listeners[i].fd > 0)
			return false;
	return true;
}

/* ---- accepting ---------------------------------------------------------- */

/* The table may be smaller than the configuration wants. */
bool
intake_has_place(const struct loop *loop, uint64_t count)
{
	const struct slot_memory *memory = loop->memory;
	uint64_t open = slot_open_connections(memory, loop->fds);

	return open + count + RESERVE_FDS + memory->listeners_used <=
	    memory->fds;
}

static bool
has_room(const struct loop *loop)
{
	return slot_open_connections(loop->memory, loop->fds) <
	    loop->config->max_connections &&
	    intake_has_place(loop, 1);
}

/* That it is full is said at once, that it has room only after a while: a slot
 * that is at its limit changes with each connection. */
bool
intake_note_room(struct loop *loop, struct intake *intake)
{
	struct slot_memory *memory = loop->memory;
	bool full = intake->open && (!has_room(loop) || intake->resume_ms != 0);

	intake->room_ms = 0;
	if (full == (memory->full_ms != 0))
		return false;
	if (!full && loop->now_ms < memory->full_ms + ROOM_MS) {
		intake->room_ms = memory->full_ms + ROOM_MS;
		return false;
	}
	store(memory->full_ms, full ? loop->now_ms : 0);
	return true;
}

static void
end_pause(const struct loop *loop, struct intake *intake)
{
	if (intake->resume_ms != 0 && loop->now_ms >= intake->resume_ms)
		intake->resume_ms = 0;
}

static bool
may_log(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;

	if (memory->pause_logged_ms != 0 &&
	    loop->now_ms - memory->pause_logged_ms < PAUSE_LOG_MS)
		return false;
	store(memory->pause_logged_ms, loop->now_ms);
	return true;
}

/* Without descriptors or memory the connections stay in the queue for a
 * moment; a listener left armed would wake us without end. */
static void
pause_accepting(struct loop *loop, struct intake *intake, int error)
{
	intake->resume_ms = loop->now_ms + PAUSE_MS;
	if (may_log(loop))
		log_warning("accepting paused: %s", strerror(error));
}

/* accept4 has said EINVAL: it does not listen. Where others have it as well,
 * one of them may have been first. */
static void
listen_again(struct loop *loop, struct intake *intake,
    const struct slot_listener *listener)
{
	if (lookout_listen(loop, listener) < 0)
		pause_accepting(loop, intake, errno);
	else if (may_log(loop))
		log_warning("a listener had been shut down; it listens again");
}

void
intake_arm(struct loop *loop, struct intake *intake)
{
	const struct slot_listener *listeners = loop->memory->listeners;
	bool arm;

	end_pause(loop, intake);
	arm = intake->open && has_room(loop) && intake->resume_ms == 0;
	if (arm == intake->armed)
		return;
	intake->armed = arm;
	for (int i = 0; i < count_listeners(loop); i++)
		if (listeners[i].fd > 0 && listeners[i].lost == LOSS_NONE &&
		    lookout_arm(loop, &listeners[i], arm) < 0 &&
		    !note_loss(loop, listeners[i].fd))
			pause_accepting(loop, intake, errno);
}

/* The errors of a connection that died in the queue or of the network it came
 * by (accept(2), ERRORS); the next in the queue is not concerned. */
static bool
concerns_one_connection(int error)
{
	switch (error) {
	case ECONNABORTED:
	case EINTR:
	case EPROTO:
	case EPERM:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

/* FD has been accepted from the listener and the peer that the record names. */
static bool
open_accepted(struct loop *loop, int fd)
{
	struct slot_memory *memory = loop->memory;
	const struct transaction *t = &memory->transaction;
	const struct slot_listener *listener = find_fd(loop, t->listener);
	struct in6_addr ip;
	in_port_t port;

	exchange_claim(loop, fd);
	/* It can have begun before the server did. Cannot fail. */
	if (listener && listener->inherited && !listener_has_equipped(fd))
		listener_equip(fd);
	note_loss(loop, fd);
	address_peer(&t->peer, &ip, &port);
	connection_fill(&memory->connections[fd],
	    listener ? listener->endpoint : 0, listener ? listener->service : 0,
	    loop->now_ms);
	particulars_fill(slot_particulars(memory, fd), &ip, port, loop->now_ms);
	if (!call_has_open(loop, fd))
		memory->connections[fd].flags = 0;
	return open_connection(loop, fd);
}

/* Takes one connection off the queue. Returns 0, or what kept it from that:
 * EAGAIN where the queue is empty, EINVAL where there is none. */
static int
accept_one(struct loop *loop, struct intake *intake, int listener)
{
	struct transaction *t = &loop->memory->transaction;
	int fd, error;

	t->peer.ss_family = 0;
	t->peer_length = sizeof t->peer;
	t->listener = listener;
	slot_begin(loop->memory, PHASE_ACCEPT, listener);
	fd = standard_leave(accept4(listener, (struct sockaddr *)&t->peer,
	    &t->peer_length, SOCK_NONBLOCK | SOCK_CLOEXEC));
	error = errno;
	if (fd >= 0 && open_accepted(loop, fd))
		return 0;
	if (fd >= 0)
		error = errno;
	else
		slot_end(loop->memory);
	if (fd < 0 && note_loss(loop, listener))
		return EBADF;
	if (concerns_one_connection(error))
		return 0;
	if (error != EAGAIN && error != EINVAL)
		pause_accepting(loop, intake, error);
	return error;
}

static int
accept_some(
    struct loop *loop, struct intake *intake, int listener, unsigned count)
{
	int error = 0;

	for (unsigned i = 0; i < count && error == 0; i++)
		error =
		    has_room(loop) ? accept_one(loop, intake, listener) : EBUSY;
	return error;
}

/* How many to accept before other events have their turn. An accept4 that finds
 * none has made a socket and a file before it looks (net/socket.c, do_accept):
 * so either one, and epoll_wait says soon whether there are more, or, where
 * that takes long, as many as wait. */
static unsigned
accept_count(const struct loop *loop, int listener)
{
	unsigned queue;

	if (loop->batch < ACCEPT_SOON)
		return 1;
	queue = listener_queue(listener);
	if (queue == 0)
		return 1;
	return queue < ACCEPT_BATCH ? queue : ACCEPT_BATCH;
}

void
intake_accept(struct loop *loop, struct intake *intake, int fd)
{
	const struct slot_listener *listener = find_fd(loop, fd);

	if (!intake->armed || fd <= 0 || !listener ||
	    listener->lost != LOSS_NONE)
		return;
	if (accept_some(loop, intake, fd, accept_count(loop, fd)) == EINVAL)
		listen_again(loop, intake, listener);
	if (listener->lost != LOSS_NONE)
		return;
	if (lookout_step_back(loop, listener) < 0)
		pause_accepting(loop, intake, errno);
}

/* True where all is accepted that is this slot's. A queue that was inherited
 * goes on: what comes to it from now on is for whoever listens next. */
static bool
is_emptied(struct loop *loop, struct intake *intake,
    const struct slot_listener *listener)
{
	unsigned count =
	    listener->inherited ? listener_queue(listener->fd) : ACCEPT_BATCH;
	int error = accept_some(loop, intake, listener->fd, count);

	return listener->inherited || error == EAGAIN || error == EINVAL;
}

/* A lost listener is the master's to bring, or to close. */
static uint64_t
tell_loss(struct loop *loop)
{
	struct slot_listener *listeners = loop->memory->listeners;

	for (int i = 0; i < count_listeners(loop); i++)
		if (listeners[i].fd > 0 && listeners[i].lost == LOSS_SEEN) {
			store(listeners[i].lost, LOSS_TOLD);
			if (listeners[i].closing)
				release(loop, &listeners[i]);
			return listeners[i].serial;
		}
	return 0;
}

uint64_t
intake_finish(struct loop *loop, struct intake *intake)
{
	struct slot_listener *listeners = loop->memory->listeners;

	/* Else nobody would look again: what closes is not armed, and the pause
	 * was all that we would wake for. */
	end_pause(loop, intake);
	for (int i = 0; i < count_listeners(loop) && intake->resume_ms == 0;
	     i++)
		if (listeners[i].fd > 0 && listeners[i].closing &&
		    is_emptied(loop, intake, &listeners[i])) {
			release(loop, &listeners[i]);
			return listeners[i].serial;
		}
	return tell_loss(loop);
}

/* ---- settling ----------------------------------------------------------- */

bool
intake_knows(const struct loop *loop, int fd)
{
	const struct slot_listener *listener = find_fd(loop, fd);

	return connection_is_open(&loop->memory->connections[fd]) ||
	    (listener && !is_closed(listener)) || loop_owns(loop, fd) ||
	    ends_know(loop->memory, fd);
}

static bool
is_tcp(int fd)
{
	int domain;

	return socket_has(fd, SOL_SOCKET, SO_PROTOCOL, IPPROTO_TCP) &&
	    socket_option(fd, SOL_SOCKET, SO_DOMAIN, &domain) &&
	    (domain == AF_INET || domain == AF_INET6);
}

/* Which end of a socket: getsockname(2) or getpeername(2). */
typedef int name_end(int fd, struct sockaddr *, socklen_t *);

struct end {
	struct in6_addr ip;
	in_port_t port;
};

static bool
read_end(int fd, name_end *name, struct end *end)
{
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t length = sizeof address;

	if (name(fd, (struct sockaddr *)&address, &length) < 0)
		return false;
	address_peer(&address, &end->ip, &end->port);
	return true;
}

/* One that accept4 can have made of the listener in the record. */
static bool
is_accepted(const struct loop *loop, int fd)
{
	struct end ours, listeners;
	int listens;

	return is_tcp(fd) &&
	    socket_option(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens) &&
	    !listens && read_end(fd, getsockname, &ours) &&
	    read_end(
		loop->memory->transaction.listener, getsockname, &listeners) &&
	    ours.port == listeners.port;
}

/* The one that it has made: no two have both ends in common. */
static bool
is_peers(const struct loop *loop, int fd)
{
	struct end recorded, actual;

	address_peer(
	    &loop->memory->transaction.peer, &recorded.ip, &recorded.port);
	return is_accepted(loop, fd) && read_end(fd, getpeername, &actual) &&
	    recorded.port == actual.port &&
	    memcmp(&recorded.ip, &actual.ip, sizeof actual.ip) == 0;
}

/* The same where the peer has reset it already, so that it has lost its name.
 */
static bool
is_reset(const struct loop *loop, int fd)
{
	struct end actual;

	return is_accepted(loop, fd) && !read_end(fd, getpeername, &actual);
}

/*
 * The descriptor that a dead worker had got from accept4 and put down nowhere,
 * or -1. The one walk over the table that a takeover knows, and only where the
 * death hit an accept. The kernel gives the lowest number that is free, so it
 * is not far, but behind all that a service has opened for itself.
 */
static int
find_unknown(
    const struct loop *loop, bool (*is_it)(const struct loop *loop, int fd))
{
	for (int fd = STDERR_FILENO + 1; (unsigned)fd < loop->memory->fds; fd++)
		if (!intake_knows(loop, fd) && is_it(loop, fd))
			return fd;
	return -1;
}

/* The same where the number was a connection's, closed behind our back. */
static int
find_taken(struct loop *loop, bool (*is_it)(const struct loop *loop, int fd))
{
	for (int fd = STDERR_FILENO + 1; (unsigned)fd < loop->memory->fds; fd++)
		if (connection_is_open(&loop->memory->connections[fd]) &&
		    is_it(loop, fd) && exchange_has_lost(loop, fd))
			return fd;
	return -1;
}

static int
find_stray(struct loop *loop)
{
	int fd = find_unknown(loop, is_peers);

	if (fd < 0)
		fd = find_unknown(loop, is_reset);
	if (fd < 0)
		fd = find_taken(loop, is_peers);
	if (fd < 0)
		fd = find_taken(loop, is_reset);
	return fd;
}

/* The death may have hit its way out of the standard streams' numbers: it was
 * found elsewhere, FD, or not yet. */
static int
leave_standard(const struct loop *loop, int fd)
{
	for (int at = 0; at <= STDERR_FILENO; at++) {
		if (!is_peers(loop, at) && !is_reset(loop, at))
			continue;
		if (fd < 0)
			fd = standard_leave(at);
		else
			standard_drop(at);
	}
	return fd;
}

static void
settle_accept(struct loop *loop)
{
	int fd = -1;

	if (loop->memory->transaction.peer.ss_family != 0)
		fd = leave_standard(loop, find_stray(loop));
	if (fd >= 0)
		open_accepted(loop, fd);
	else
		slot_end(loop->memory);
}

/* The master sends an order again that was not carried out. */
static void
settle_hear(struct loop *loop)
{
	int fd = order_brought(loop);

	if (fd >= 0)
		exchange_claim(loop, fd);
	if (fd >= 0 && !intake_knows(loop, fd))
		order_drop(loop, fd);
	order_end(loop);
}

static void
settle_release(struct loop *loop)
{
	struct slot_listener *listener =
	    find_fd(loop, loop->memory->transaction.fd);

	order_settle_drop(loop);
	if (listener)
		store(listener->fd, 0);
	ends_forget(loop->memory, loop->memory->transaction.fd);
	order_end(loop);
}

static void
watch_listeners(struct loop *loop)
{
	for (int i = 0; i < count_listeners(loop); i++) {
		struct slot_listener *listener = &loop->memory->listeners[i];

		if (listener->fd <= 0)
			continue;
		/* The dead worker may not have told of a loss. */
		store(listener->lost, LOSS_NONE);
		if (note_loss(loop, listener->fd))
			continue;
		name_service(loop, listener);
		lookout_renew(loop, listener);
	}
}

void
intake_settle(struct loop *loop)
{
	switch (loop->memory->transaction.phase) {
	case PHASE_ACCEPT:
		settle_accept(loop);
		break;
	case PHASE_OPEN:
		finish_open(loop);
		break;
	case PHASE_HEAR:
		settle_hear(loop);
		break;
	case PHASE_RELEASE:
		settle_release(loop);
		break;
	default:
		break; /* not one of ours */
	}
	watch_listeners(loop);
}

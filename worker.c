/*
 * A worker: one epoll instance, one listener for each endpoint, and the
 * connections it has accepted. A byte enters in `echo`, waits (only where its
 * client does not read) in the connection's place, and leaves in `echo` or
 * `flush`.
 *
 * All that is known of a connection lies in slot memory, so that it can outlive
 * this process; lib/slot.h and lib/connection.h say why it has the shape it
 * has. `struct worker` holds only what a successor finds out anew.
 */
#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/listener.h"
#include "lib/log.h"

enum {
	ACCEPT_BATCH = 64,    /* connections, before others have their turn */
	PAUSE_MS = 100,	      /* without accepting, when resources lack */
	PAUSE_LOG_MS = 60000, /* at most one line about it in this time */
	SWEEP_MS = 1000,
};

/* Edge-triggered, registered once. EPOLLPRI reports an urgent byte, at which a
 * recv stops short although there is more. */
static const uint32_t CONNECTION_EVENTS =
    EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;

enum mode {
	SERVING,
	DRAINING, /* until the clients have gone */
	STOPPING, /* until what has come is answered */
};

struct listener {
	int fd;		 /* -1: none */
	uint64_t serial; /* of its endpoint */
	bool closing;	 /* is closed when its queue is empty */
};

struct worker {
	const struct config *config;
	struct slot_memory *memory;
	int control;
	int epoll;
	enum mode mode;
	struct listener listeners[CONTROL_ENDPOINTS];
	bool accepting;	    /* CONTROL_SERVE has come */
	bool armed;	    /* the listeners' events are on */
	uint64_t now_ms;    /* taken once after each epoll_wait */
	uint64_t resume_ms; /* accept again then; 0: not paused */
	uint64_t pause_logged_ms;
	uint64_t sweep_ms;    /* the next sweep; 0: none is due */
	uint64_t deadline_ms; /* of draining or stopping; 0: none */
	bool ended;
};

/* What an event belongs to: an fd, and the generation of its connection, which
 * is odd; 0 for what is no connection. An event of a connection that was closed
 * (and whose fd may be another's by now) carries an old generation. */
static uint64_t
event_tag(int fd, uint32_t generation)
{
	return (uint64_t)generation << 32 | (uint32_t)fd;
}

static int
watch(struct worker *w, int operation, int fd, uint32_t events,
    uint32_t generation)
{
	struct epoll_event event = { .events = events };

	event.data.u64 = event_tag(fd, generation);
	return epoll_ctl(w->epoll, operation, fd, &event);
}

/* ---- accepting ---------------------------------------------------------- */

static bool
has_room(const struct worker *w)
{
	return slot_open_connections(w->memory) < w->config->max_connections;
}

/* Listeners are level-triggered: while they are armed the kernel repeats that
 * connections wait, while they are not the queue just holds them. */
static void
arm_listeners(struct worker *w)
{
	bool arm = w->accepting && has_room(w) && w->resume_ms == 0;

	if (arm == w->armed)
		return;
	w->armed = arm;
	for (size_t i = 0; i < CONTROL_ENDPOINTS; i++)
		/* Cannot fail: it is registered, and nothing is allocated. */
		if (w->listeners[i].fd >= 0)
			watch(w, EPOLL_CTL_MOD, w->listeners[i].fd,
			    arm ? EPOLLIN : 0, 0);
}

/* Without descriptors or memory the connections stay in the queue for a
 * moment; a listener left armed would wake us without end. */
static void
pause_accepting(struct worker *w)
{
	w->resume_ms = w->now_ms + PAUSE_MS;
	if (w->pause_logged_ms != 0 &&
	    w->now_ms - w->pause_logged_ms < PAUSE_LOG_MS)
		return;
	w->pause_logged_ms = w->now_ms;
	log_warning("accepting paused: %s", strerror(errno));
}

static void
log_opened(const struct connection *c)
{
	if (log_wants(LOG_DEBUG))
		log_debug("connection %s opened",
		    address_format_peer(&c->peer_ip, c->peer_port).text);
}

static void
log_closed(
    const struct connection *c, uint64_t now_ms, enum close_reason reason)
{
	if (log_wants(LOG_DEBUG))
		log_debug("connection %s closed: %s, %" PRIu64
			  " bytes in, %" PRIu64 " bytes out, %" PRIu64 " ms",
		    address_format_peer(&c->peer_ip, c->peer_port).text,
		    close_reason_texts[reason], c->received, c->sent,
		    now_ms - c->opened_ms);
}

static void
close_connection(struct worker *w, int fd, enum close_reason reason)
{
	struct connection *c = &w->memory->connections[fd];

	log_closed(c, w->now_ms, reason);
	if (c->place_used)
		slot_release_place(w->memory, fd);
	close(fd); /* leaves the epoll instance with it: epoll(7) */
	connection_close(c);
	w->memory->counters.closed++;
}

static void
open_connection(struct worker *w, int fd, const struct sockaddr_storage *peer)
{
	struct connection *c = &w->memory->connections[fd];
	struct in6_addr ip;
	in_port_t port;

	address_peer(peer, &ip, &port);
	connection_open(c, &ip, port, w->now_ms);
	w->memory->counters.accepted++;
	if ((unsigned)fd >= w->memory->fds_used)
		w->memory->fds_used = (unsigned)fd + 1;
	if (w->config->idle_timeout_ms > 0)
		w->memory->sweep_wanted = true;
	log_opened(c);
	if (watch(w, EPOLL_CTL_ADD, fd, CONNECTION_EVENTS, c->generation) < 0) {
		pause_accepting(w); /* ENOMEM, ENOSPC */
		close_connection(w, fd, CLOSE_NO_MEMORY);
	}
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

/* Takes one connection off the queue. Returns 0, or what kept it from that:
 * EAGAIN where the queue is empty. */
static int
accept_one(struct worker *w, int listener)
{
	struct sockaddr_storage peer;
	socklen_t length = sizeof peer;
	int fd = accept4(listener, (struct sockaddr *)&peer, &length,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd >= 0)
		open_connection(w, fd, &peer);
	else if (errno == EAGAIN)
		return EAGAIN;
	else if (!concerns_one_connection(errno))
		pause_accepting(w);
	return w->resume_ms != 0 ? EBUSY : 0;
}

static void
give_up_listener(struct worker *w, uint32_t endpoint)
{
	/* The master holds a duplicate, so closing ours leaves it registered
	 * with epoll: remove it first (epoll(7), "Questions and answers"). */
	watch(w, EPOLL_CTL_DEL, w->listeners[endpoint].fd, 0, 0);
	close(w->listeners[endpoint].fd);
	w->listeners[endpoint].fd = -1;
}

static void
tell_master(struct worker *w, enum control_type type, uint32_t endpoint, int fd)
{
	struct control_message message = { .type = type, .endpoint = endpoint };

	message.serial = w->listeners[endpoint].serial;
	/* Only a master that has gone does not take it: then so do we. */
	if (control_send(w->control, &message, fd) < 0)
		w->ended = true;
}

static void
accept_batch(struct worker *w, uint32_t endpoint)
{
	struct listener *listener = &w->listeners[endpoint];
	int error = 0;

	for (int i = 0; i < ACCEPT_BATCH && has_room(w) && error == 0; i++)
		error = accept_one(w, listener->fd);
	if (error == EAGAIN && listener->closing) {
		give_up_listener(w, endpoint);
		tell_master(w, CONTROL_CLOSED, endpoint, -1);
	}
}

/* Listeners that are to be closed once their queue is empty: looked at after
 * every batch, as an empty queue is no event. */
static void
empty_queues(struct worker *w)
{
	for (uint32_t i = 0; i < CONTROL_ENDPOINTS; i++)
		if (w->listeners[i].fd >= 0 && w->listeners[i].closing &&
		    w->resume_ms == 0)
			accept_batch(w, i);
}

/* ---- a connection's turn ------------------------------------------------ */

/* Counts N bytes that the kernel has accepted. */
static void
count_sent(struct worker *w, struct connection *c, size_t n)
{
	c->sent += n;
	c->progress_ms = w->now_ms;
	w->memory->counters.sent += n;
}

static ssize_t
send_bytes(int fd, const unsigned char *bytes, size_t count)
{
	ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

	return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static enum close_reason
reason_of(int error)
{
	return error == ECONNRESET || error == EPIPE ? CLOSE_RESET : CLOSE_LOST;
}

/* Sends what is pending. */
static enum close_reason
flush(struct worker *w, int fd)
{
	struct connection *c = &w->memory->connections[fd];
	const unsigned char *bytes;
	size_t count;
	ssize_t sent;

	while (connection_pending(c) > 0) {
		bytes = connection_kept(c, slot_place(w->memory, fd), &count);
		sent = send_bytes(fd, bytes, count);
		if (sent < 0)
			return reason_of(errno);
		count_sent(w, c, (size_t)sent);
		if ((size_t)sent < count)
			return CLOSE_NOT; /* EPOLLOUT will tell */
	}
	return c->finished ? CLOSE_END_OF_STREAM : CLOSE_NOT;
}

/* The service (RFC 862): the answer to the COUNT bytes in the buffer is
 * themselves. What the client does not take is kept. */
static enum close_reason
answer(struct worker *w, int fd, size_t count)
{
	struct connection *c = &w->memory->connections[fd];
	const unsigned char *bytes = w->memory->buffer;
	size_t rest;
	ssize_t sent;

	c->committed += count;
	sent = send_bytes(fd, bytes, count);
	if (sent < 0)
		return reason_of(errno);
	count_sent(w, c, (size_t)sent);
	rest = count - (size_t)sent;
	if (rest > 0) {
		w->memory->sweep_wanted = true;
		connection_keep(
		    c, slot_place(w->memory, fd), bytes + sent, rest);
	}
	return CLOSE_NOT;
}

/*
 * Reads and answers, a buffer at the most; LEFT says that there may be more. A
 * read that comes back short has emptied the socket (epoll(7)), unless it
 * stopped at an urgent byte (tcp(7)) or the client's FIN is behind it.
 */
static enum close_reason
echo(struct worker *w, int fd, uint32_t events, bool *left)
{
	struct connection *c = &w->memory->connections[fd];
	bool beyond = events & (EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR);
	enum close_reason reason;
	size_t turn = SLOT_BUFFER, asked;
	ssize_t count;

	do {
		asked = turn;
		count = recv(fd, w->memory->buffer, asked, 0);
		if (count < 0)
			return errno == EAGAIN ? CLOSE_NOT : reason_of(errno);
		if (count == 0) {
			c->finished = true;
			return CLOSE_END_OF_STREAM;
		}
		c->received += (size_t)count;
		w->memory->counters.received += (size_t)count;
		reason = answer(w, fd, (size_t)count);
		if (reason != CLOSE_NOT || connection_pending(c) > 0)
			return reason;
		if ((size_t)count < asked && !beyond)
			return CLOSE_NOT;
		turn -= (size_t)count;
	} while (turn > 0);
	*left = true;
	return CLOSE_NOT;
}

/* One turn of a connection. Where it ends with bytes left, the connection is
 * armed anew, which reports it again: its edge has been used up. */
static void
serve(struct worker *w, int fd, uint32_t events)
{
	struct connection *c = &w->memory->connections[fd];
	enum close_reason reason = flush(w, fd);
	bool left = false;

	if (reason == CLOSE_NOT && connection_pending(c) == 0) {
		reason = echo(w, fd, events, &left);
		if (reason == CLOSE_NOT && left)
			/* Cannot fail: it is registered (epoll_ctl(2)). */
			watch(w, EPOLL_CTL_MOD, fd, CONNECTION_EVENTS,
			    c->generation);
	}
	if (reason == CLOSE_NOT && w->mode == STOPPING && !left &&
	    connection_pending(c) == 0)
		reason = CLOSE_STOPPING;
	if (reason != CLOSE_NOT)
		close_connection(w, fd, reason);
}

/* ---- time --------------------------------------------------------------- */

/* Closes what has stood still for too long and gives unused places back. */
static void
sweep(struct worker *w)
{
	const struct config *config = w->config;
	bool wanted = false;

	for (unsigned fd = 0; fd < w->memory->fds_used; fd++) {
		struct connection *c = &w->memory->connections[fd];
		enum close_reason reason;

		if (!connection_is_open(c))
			continue;
		reason = connection_overdue(c, w->now_ms,
		    config->idle_timeout_ms, config->write_timeout_ms);
		if (reason != CLOSE_NOT) {
			close_connection(w, (int)fd, reason);
			continue;
		}
		if (connection_place_is_spare(c, w->now_ms, SWEEP_MS))
			slot_release_place(w->memory, (int)fd);
		wanted |= config->idle_timeout_ms > 0 || c->place_used;
	}
	w->memory->sweep_wanted = wanted;
}

static void
close_all(struct worker *w, enum close_reason reason)
{
	for (unsigned fd = 0; fd < w->memory->fds_used; fd++)
		if (connection_is_open(&w->memory->connections[fd]))
			close_connection(w, (int)fd, reason);
}

static void
end_draining(struct worker *w)
{
	uint64_t left = slot_open_connections(w->memory);

	if (left > 0)
		log_warning(
		    "drain timeout: closing %" PRIu64 " connections", left);
	close_all(w, CLOSE_DRAIN_TIMEOUT);
	w->ended = true;
}

/* Does what is due by the clock. */
static void
keep_time(struct worker *w)
{
	w->now_ms = clock_ms();
	if (w->resume_ms != 0 && w->now_ms >= w->resume_ms)
		w->resume_ms = 0;
	if (!w->memory->sweep_wanted) {
		w->sweep_ms = 0;
	} else if (w->sweep_ms == 0) {
		w->sweep_ms = w->now_ms + SWEEP_MS;
	} else if (w->now_ms >= w->sweep_ms) {
		w->sweep_ms = w->now_ms + SWEEP_MS;
		sweep(w);
	}
	if (w->deadline_ms != 0 && w->now_ms >= w->deadline_ms)
		end_draining(w);
}

static uint64_t
earlier(uint64_t a_ms, uint64_t b_ms)
{
	if (a_ms == 0 || b_ms == 0)
		return a_ms + b_ms;
	return a_ms < b_ms ? a_ms : b_ms;
}

/* For epoll_wait: ms until something is due, or -1 for never. */
static int
time_left(const struct worker *w)
{
	uint64_t due_ms =
	    earlier(earlier(w->sweep_ms, w->resume_ms), w->deadline_ms);
	uint64_t left_ms = due_ms > w->now_ms ? due_ms - w->now_ms : 0;

	if (due_ms == 0)
		return -1;
	return left_ms > 3600000 ? 3600000 : (int)left_ms;
}

/* ---- the master's word -------------------------------------------------- */

/* Registers a listener; unarmed, until the master says CONTROL_SERVE. */
static int
add_listener(struct worker *w, uint32_t endpoint, int fd)
{
	w->listeners[endpoint].fd = fd;
	return watch(w, EPOLL_CTL_ADD, fd, w->armed ? EPOLLIN : 0, 0);
}

static void
begin_to_end(struct worker *w, enum mode mode, uint64_t timeout_ms)
{
	w->mode = mode;
	w->deadline_ms = w->now_ms + timeout_ms;
	if (mode != STOPPING)
		return;
	for (unsigned fd = 0; fd < w->memory->fds_used; fd++)
		if (connection_is_open(&w->memory->connections[fd]))
			serve(w, (int)fd, EPOLLIN | EPOLLPRI | EPOLLRDHUP);
}

static void
release_listener(struct worker *w, uint32_t endpoint)
{
	if (endpoint < CONTROL_ENDPOINTS && w->listeners[endpoint].fd >= 0)
		give_up_listener(w, endpoint);
}

static void
close_listeners(struct worker *w, uint32_t endpoint)
{
	for (uint32_t i = 0; i < CONTROL_ENDPOINTS; i++)
		if (i == endpoint || endpoint == CONTROL_ALL)
			w->listeners[i].closing = true;
}

static void
obey(struct worker *w, const struct control_message *message)
{
	switch (message->type) {
	case CONTROL_SERVE:
		w->accepting = true;
		break;
	case CONTROL_RELEASE:
		release_listener(w, message->endpoint);
		break;
	case CONTROL_CLOSE:
		close_listeners(w, message->endpoint);
		break;
	case CONTROL_DRAIN:
		begin_to_end(w, DRAINING, message->value);
		break;
	case CONTROL_STOP:
		begin_to_end(w, STOPPING, message->value);
		break;
	}
}

static void
read_control(struct worker *w)
{
	struct control_message message;
	int fd, result;

	while ((result = control_receive(
		    w->control, &message, &fd, MSG_DONTWAIT)) > 0) {
		if (fd >= 0)
			close(fd); /* none is expected while serving */
		obey(w, &message);
	}
	if (result == 0)
		w->ended = true; /* without a master there is no server */
}

/* ---- the loop ----------------------------------------------------------- */

static void
handle_beside(struct worker *w, int fd)
{
	if (fd == w->control) {
		read_control(w);
		return;
	}
	for (uint32_t i = 0; i < CONTROL_ENDPOINTS; i++)
		if (w->listeners[i].fd == fd && w->armed)
			accept_batch(w, i);
}

static void
handle(struct worker *w, const struct epoll_event *event)
{
	int fd = (int)(uint32_t)event->data.u64;
	uint32_t generation = (uint32_t)(event->data.u64 >> 32);

	if (generation == 0)
		handle_beside(w, fd);
	else if (w->memory->connections[fd].generation == generation)
		serve(w, fd, event->events);
}

/* Handles what the journal holds: see lib/slot.h. */
static void
handle_batch(struct worker *w, int count)
{
	struct epoll_event *events = w->memory->events;

	for (int i = 0; i < count; i++) {
		if (events[i].events == 0)
			continue;
		handle(w, &events[i]);
		events[i].events = 0;
	}
}

static bool
has_listener(const struct worker *w)
{
	for (size_t i = 0; i < CONTROL_ENDPOINTS; i++)
		if (w->listeners[i].fd >= 0)
			return true;
	return false;
}

static bool
is_done(const struct worker *w)
{
	return w->ended ||
	    (w->mode != SERVING && !has_listener(w) &&
		slot_open_connections(w->memory) == 0);
}

static int
loop(struct worker *w)
{
	int count = SLOT_EVENTS; /* a predecessor's, if there was one */

	for (;;) {
		keep_time(w);
		handle_batch(w, count);
		if (w->mode != SERVING)
			empty_queues(w);
		if (is_done(w))
			return 0;
		arm_listeners(w);
		count = epoll_wait(
		    w->epoll, w->memory->events, SLOT_EVENTS, time_left(w));
		if (count < 0 && errno != EINTR) {
			log_error("epoll_wait: %s", strerror(errno));
			return 1;
		}
	}
}

/* ---- the start ---------------------------------------------------------- */

/* Errors that trying again does not mend. */
static bool
is_permanent(int error)
{
	return error == EADDRINUSE || error == EACCES || error == EPERM ||
	    error == EADDRNOTAVAIL || error == EAFNOSUPPORT;
}

/* Sends the cause to the master, which decides who hears of it. Returns the
 * exit status. */
static int
fail(struct worker *w, int error, const char *cause)
{
	struct control_message message = { .type = CONTROL_FAILED };

	snprintf(message.text, sizeof message.text, "%s", cause);
	control_send(w->control, &message, -1); /* or it reads the status */
	return is_permanent(error) ? CONTROL_EXIT_PERMANENT : 1;
}

static int
fail_at(struct worker *w, const char *what)
{
	char cause[LISTENER_ERROR];
	int error = errno;

	snprintf(cause, sizeof cause, "%s: %s", what, strerror(error));
	return fail(w, error, cause);
}

/* Takes the listener that an earlier worker of the slot left, or opens one and
 * leaves a duplicate with the master, for whoever comes after. */
static int
start_listening(struct worker *w, const struct control_message *message, int fd)
{
	char cause[LISTENER_ERROR];

	if (message->endpoint >= CONTROL_ENDPOINTS) {
		errno = EPROTO;
		return fail_at(w, "endpoint out of range");
	}
	w->listeners[message->endpoint].serial = message->serial;
	if (fd < 0) {
		fd =
		    listener_open(&message->address, w->config->backlog, cause);
		if (fd < 0)
			return fail(w, errno, cause);
		tell_master(w, CONTROL_LISTENING, message->endpoint, fd);
	} else if (listen(fd, (int)w->config->backlog) < 0) {
		/* Again, as the backlog may be another by now: listen(2). */
		return fail_at(w, "cannot listen again");
	}
	if (add_listener(w, message->endpoint, fd) < 0)
		return fail_at(w, "cannot watch a listener");
	return 0;
}

/* The master first says CONTROL_LISTEN for every endpoint. Returns 0 or the
 * exit status. */
static int
start_endpoints(struct worker *w)
{
	struct control_message message;
	int fd, status = 0;

	for (unsigned i = 0; i < w->config->listen_count && status == 0; i++) {
		if (control_receive(w->control, &message, &fd, 0) <= 0)
			return 1; /* the master has gone */
		status = start_listening(w, &message, fd);
	}
	return status;
}

static int
start_watching(struct worker *w)
{
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0)
		return fail_at(w, "cannot create an epoll instance");
	if (watch(w, EPOLL_CTL_ADD, w->control, EPOLLIN, 0) < 0)
		return fail_at(w, "cannot watch the control socket");
	return 0;
}

int
worker_run(const struct process_start *start)
{
	struct worker w = {
		.config = start->config,
		.memory = start->memory,
		.control = start->control,
	};
	int status;

	for (size_t i = 0; i < CONTROL_ENDPOINTS; i++)
		w.listeners[i].fd = -1;
	status = start_watching(&w);
	if (status == 0)
		status = start_endpoints(&w);
	if (status != 0)
		return status;
	tell_master(&w, CONTROL_READY, 0, -1);
	return loop(&w);
}

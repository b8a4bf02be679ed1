#include "exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../services/service.h"
#include "ledger.h"
#include "log.h"

static struct connection *
connection_of(const struct loop *loop, int fd)
{
	return &loop->memory->connections[fd];
}

/* ---- CLOSE -------------------------------------------------------------- */

static void
log_closed(
    const struct connection *c, uint64_t now_ms, enum close_reason reason)
{
	struct address_text peer =
	    address_format_peer(&c->peer_ip, c->peer_port);

	if (reason == CLOSE_FAULT)
		log_error("connection %s: %s: closing it", peer.text,
		    close_reason_texts[reason]);
	log_debug("connection %s closed: %s, %" PRIu64 " bytes in, %" PRIu64
		  " bytes out, %" PRIu64 " ms",
	    peer.text, close_reason_texts[reason], c->received, c->sent,
	    now_ms - c->opened_ms);
}

/* By the generation one knows whether the descriptor is still this
 * connection's: nothing else is opened before that has moved on. One that was
 * handed over leaves the epoll instance by hand, as its socket does not close
 * with our descriptor (epoll(7)). */
static void
finish_close(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;
	struct connection *c = connection_of(loop, t->fd);

	if (c->generation == (uint32_t)t->base) {
		if (c->place_used)
			slot_release_place(memory, t->fd);
		if (t->number != 0)
			loop_watch(loop, EPOLL_CTL_DEL, t->fd, 0, 0);
		close(t->fd);
		connection_close(c);
	}
	store(memory->counters.closed, t->count);
	if (t->number != 0) {
		store(memory->handed, t->number);
		store(memory->offered, 0);
	}
	slot_end(memory);
}

static void
begin_close(struct loop *loop, int fd, uint64_t number)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;

	t->base = memory->connections[fd].generation;
	t->count = memory->counters.closed + 1;
	t->number = number;
	slot_begin(memory, PHASE_CLOSE, fd);
	finish_close(loop);
}

static void
reset_on_close(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	/* Fails only for what is no socket. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

void
exchange_close(struct loop *loop, int fd, enum close_reason reason)
{
	const struct connection *c = connection_of(loop, fd);

	if (log_wants(LOG_DEBUG) || reason == CLOSE_FAULT)
		log_closed(c, loop->now_ms, reason);
	if (reason == CLOSE_FAULT)
		reset_on_close(fd);
	begin_close(loop, fd, 0);
}

void
exchange_hand(struct loop *loop, int fd, uint64_t number)
{
	if (log_wants(LOG_DEBUG))
		log_closed(connection_of(loop, fd), loop->now_ms, CLOSE_HANDED);
	begin_close(loop, fd, number);
}

static enum close_reason
reason_of(int error)
{
	return error == ECONNRESET || error == EPIPE ? CLOSE_RESET : CLOSE_LOST;
}

/* ---- FLUSH -------------------------------------------------------------- */

static ssize_t
send_bytes(int fd, const unsigned char *bytes, size_t count)
{
	ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);

	return sent < 0 && errno == EAGAIN ? 0 : sent;
}

/* Counts that the kernel has accepted the stream up to POSITION. */
static void
count_sent(struct loop *loop, struct connection *c, uint64_t position)
{
	struct slot_counters *counters = &loop->memory->counters;

	store(counters->sent, counters->sent + position - c->sent);
	c->progress_ms = loop->now_ms;
	store(c->sent, position);
}

/* Sends what is pending in the connection's place. */
static enum close_reason
flush(struct loop *loop, int fd)
{
	struct connection *c = connection_of(loop, fd);
	const unsigned char *place = slot_place(loop->memory, fd);
	enum close_reason reason = CLOSE_NOT;
	size_t count = 0;
	ssize_t sent;

	slot_begin(loop->memory, PHASE_FLUSH, fd);
	do {
		const unsigned char *bytes = connection_kept(c, place, &count);

		sent = send_bytes(fd, bytes, count);
		if (sent < 0)
			reason = reason_of(errno);
		else
			count_sent(loop, c, c->sent + (size_t)sent);
	} while ((size_t)sent == count && connection_pending(c) > 0);
	slot_end(loop->memory);
	return reason;
}

/* ---- READ, RUN, WRITE --------------------------------------------------- */

/* Sends the answer, which is the buffer's bytes from t->base to c->committed;
 * some may have left before. What the client does not take is kept. */
static enum close_reason
finish_write(struct loop *loop, struct connection *c)
{
	struct slot_memory *memory = loop->memory;
	const struct transaction *t = &memory->transaction;
	const unsigned char *bytes = memory->buffer + (c->sent - t->base);
	size_t count = (size_t)connection_pending(c);
	ssize_t sent = send_bytes(t->fd, bytes, count);

	if (sent < 0)
		return reason_of(errno);
	count_sent(loop, c, c->sent + (size_t)sent);
	if ((size_t)sent < count) {
		store(memory->sweep_wanted, 1);
		connection_keep(c, slot_place(memory, t->fd), bytes + sent,
		    count - (size_t)sent);
	}
	return CLOSE_NOT;
}

/* Calls the service on what has been received and not yet committed: all that
 * is in the buffer. */
static enum close_reason
finish_run(struct loop *loop, struct connection *c)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;

	store(t->runner, loop->pid);
	service_input(memory->buffer, (size_t)(c->received - t->base));
	store(c->committed, c->received);
	store(t->phase, PHASE_WRITE);
	return finish_write(loop, c);
}

static void
count_received(struct loop *loop, struct connection *c, uint64_t position)
{
	struct slot_counters *counters = &loop->memory->counters;

	store(counters->received, counters->received + position - c->received);
	c->progress_ms = loop->now_ms;
	store(c->received, position);
}

/* One transaction. Returns how much was read, 0 at the client's FIN, or -1 with
 * errno; REASON says whether the answer could leave. */
static ssize_t
exchange(struct loop *loop, int fd, size_t asked, enum close_reason *reason)
{
	struct slot_memory *memory = loop->memory;
	struct connection *c = connection_of(loop, fd);
	ssize_t count;

	store(memory->transaction.base, c->received);
	slot_begin(memory, PHASE_READ, fd);
	count = recv(fd, memory->buffer, asked, 0);
	if (count > 0) {
		count_received(loop, c, c->received + (size_t)count);
		store(memory->transaction.phase, PHASE_RUN);
		*reason = finish_run(loop, c);
	}
	store(memory->transaction.phase, PHASE_IDLE);
	return count;
}

/*
 * Reads and answers, a buffer at the most; LEFT says that there may be more. A
 * read that comes back short has emptied the socket (epoll(7)), unless it
 * stopped at an urgent byte (tcp(7)) or the client's FIN is behind it.
 */
static enum close_reason
read_and_answer(struct loop *loop, int fd, uint32_t events, bool *left)
{
	struct connection *c = connection_of(loop, fd);
	bool beyond = events & (EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR);
	enum close_reason reason = CLOSE_NOT;
	size_t turn = SLOT_BUFFER, asked;
	ssize_t count;

	do {
		asked = turn;
		count = exchange(loop, fd, asked, &reason);
		if (count < 0)
			return errno == EAGAIN ? CLOSE_NOT : reason_of(errno);
		if (count == 0)
			return CLOSE_END_OF_STREAM;
		if (reason != CLOSE_NOT || connection_pending(c) > 0)
			return reason;
		if ((size_t)count < asked && !beyond)
			return CLOSE_NOT;
		turn -= (size_t)count;
	} while (turn > 0);
	*left = true;
	return CLOSE_NOT;
}

/* Where a turn ends with bytes left, the connection is armed anew, which
 * reports it again: its edge has been used up. */
void
exchange_serve(struct loop *loop, int fd, uint32_t events)
{
	struct connection *c = connection_of(loop, fd);
	enum close_reason reason = CLOSE_NOT;
	bool left = false;

	if (connection_pending(c) > 0)
		reason = flush(loop, fd);
	if (reason == CLOSE_NOT && connection_pending(c) == 0)
		reason = read_and_answer(loop, fd, events, &left);
	if (reason == CLOSE_NOT && left)
		/* Cannot fail: it is registered (epoll_ctl(2)). */
		loop_watch(
		    loop, EPOLL_CTL_MOD, fd, EXCHANGE_EVENTS, c->generation);
	else if (reason == CLOSE_NOT && loop->stopping &&
	    connection_pending(c) == 0)
		reason = CLOSE_STOPPING;
	if (reason != CLOSE_NOT)
		exchange_close(loop, fd, reason);
}

/* ---- settling ----------------------------------------------------------- */

/* A recv may have taken bytes that nobody counted; they are in the buffer. A
 * send may have given the kernel bytes that nobody counted. */
static bool
settle_counters(struct loop *loop, struct connection *c)
{
	const struct transaction *t = &loop->memory->transaction;
	struct ledger ledger;

	if (!ledger_read(t->fd, &ledger) || ledger.consumed < c->received ||
	    ledger.accepted < c->sent || ledger.accepted > c->committed ||
	    (t->phase != PHASE_FLUSH &&
		(t->base > c->received ||
		    ledger.consumed - t->base > SLOT_BUFFER)))
		return false;
	if (ledger.consumed > c->received) {
		if (t->phase != PHASE_READ)
			return false;
		count_received(loop, c, ledger.consumed);
	}
	if (ledger.accepted > c->sent)
		count_sent(loop, c, ledger.accepted);
	return true;
}

/* Goes on from wherever the counters say that it stopped. */
static enum close_reason
settle_exchange(struct loop *loop, struct connection *c, enum verdict verdict)
{
	struct transaction *t = &loop->memory->transaction;

	if (!settle_counters(loop, c))
		return CLOSE_LOST;
	if (t->phase == PHASE_FLUSH)
		return CLOSE_NOT;
	if (c->committed < c->received) {
		if (t->phase == PHASE_RUN && verdict == VERDICT_CLOSE)
			return CLOSE_FAULT;
		store(t->phase, PHASE_RUN);
		return finish_run(loop, c);
	}
	return connection_pending(c) > 0 ? finish_write(loop, c) : CLOSE_NOT;
}

void
exchange_settle(struct loop *loop, enum verdict verdict)
{
	struct transaction *t = &loop->memory->transaction;
	struct connection *c = connection_of(loop, t->fd);
	enum close_reason reason;

	switch (t->phase) {
	case PHASE_CLOSE:
		finish_close(loop);
		break;
	case PHASE_READ:
	case PHASE_RUN:
	case PHASE_WRITE:
	case PHASE_FLUSH:
		reason = settle_exchange(loop, c, verdict);
		slot_end(loop->memory);
		if (reason != CLOSE_NOT)
			exchange_close(loop, t->fd, reason);
		break;
	default:
		break; /* not a connection's turn */
	}
}

#include "lib/worker/exchange.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/slot/hold.h"
#include "lib/worker/call.h"
#include "lib/worker/ledger.h"
#include "lib/worker/wait.h"

static struct connection *
connection_of(const struct loop *loop, int fd)
{
	return &loop->memory->connections[fd];
}

/* ---- CLOSE -------------------------------------------------------------- */

static struct address_text
peer_of(const struct loop *loop, int fd)
{
	const struct particulars *p = slot_particulars(loop->memory, fd);

	return address_format_peer(&p->peer_ip, p->peer_port);
}

/* Clients can cause as many of these as they like. */
static void
note_fault(struct loop *loop, int fd, enum close_reason reason)
{
	struct slot_memory *memory = loop->memory;
	const struct preforkd_service *service = call_service(loop, fd);
	uint64_t withheld;

	store(memory->counters.faults, memory->counters.faults + 1);
	if (!quota_take(&memory->faults, loop->now_ms, &withheld))
		return;
	if (withheld > 0)
		log_warning("%" PRIu64 " more connections closed for such a "
			    "reason were not logged",
		    withheld);
	log_error("connection %s: %s: closing it%s%s%s", peer_of(loop, fd).text,
	    close_meanings[reason].text, service ? " (service " : "",
	    service ? service->name : "", service ? ")" : "");
}

static void
log_closed(const struct loop *loop, int fd, enum close_reason reason)
{
	const struct connection *c = connection_of(loop, fd);
	const struct particulars *p = slot_particulars(loop->memory, fd);

	log_debug("connection %s closed: %s, %" PRIu64 " bytes in, %" PRIu64
		  " bytes out, %" PRIu64 " ms",
	    peer_of(loop, fd).text, close_meanings[reason].text, c->received,
	    c->sent, loop->now_ms - p->opened_ms);
}

static void
reset_on_close(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	/* Fails only for what is no socket. */
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

/* A death behind it has it logged once more. */
static void
announce_close(struct loop *loop, int fd, enum close_reason reason)
{
	if (close_meanings[reason].logged)
		note_fault(loop, fd, reason);
	if (log_wants(LOG_DEBUG))
		log_closed(loop, fd, reason);
	if (close_meanings[reason].reset)
		reset_on_close(fd);
}

/* The descriptor is this connection's until the generation has moved on. One
 * that another slot has leaves the epoll instance by hand, as its socket does
 * not close with our descriptor (epoll(7)). */
static void
finish_close(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;
	struct connection *c = connection_of(loop, t->fd);

	if (c->generation == t->generation) {
		announce_close(loop, t->fd, (enum close_reason)t->reason);
		hold_release(memory, t->fd);
		if (t->reason == CLOSE_HANDED)
			loop_watch(loop, EPOLL_CTL_DEL, t->fd, 0, 0);
		if (t->reason != CLOSE_TAKEN)
			close(t->fd);
		connection_close(c);
	}
	store(memory->counters.closed, t->closed);
	store(t->phase, t->after);
}

/* A service hears of the end of what it has heard the beginning of, and not
 * after it has failed on it. */
static bool
is_told(struct loop *loop, int fd, enum close_reason reason)
{
	const struct preforkd_service *service = call_service(loop, fd);

	return service && service->close && reason != CLOSE_FAULT &&
	    reason != CLOSE_HANDED && reason != CLOSE_NO_MIGRATION &&
	    !(connection_of(loop, fd)->flags & CONNECTION_UNOPENED);
}

/* The commit of the call is the step to CLOSE: there is nothing to apply. */
static void
finish_tell(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;

	call_prepare(memory, memory->transaction.fd);
	call_name(memory, CALL_CLOSE);
	store(memory->transaction.phase, PHASE_RUN);
	call_make(loop, PHASE_CLOSE);
	finish_close(loop);
}

/* Out of whatever transaction the connection is in, or of none, its end begins
 * with one store. Between two a connection that is to be closed would live on,
 * with a rest that was kept nowhere, or watched by nobody. */
static void
begin_close(struct loop *loop, int fd, enum close_reason reason, uint32_t after)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;
	bool told = is_told(loop, fd, reason);

	t->after = after;
	t->generation = memory->connections[fd].generation;
	t->reason = reason;
	t->closed = memory->counters.closed + 1;
	t->cookie = 0;
	if (reason == CLOSE_HANDED || reason == CLOSE_NO_MEMORY)
		t->cookie = loop_cookie(fd);
	slot_begin(memory, told ? PHASE_TELL : PHASE_CLOSE, fd);
	if (told)
		finish_tell(loop);
	else
		finish_close(loop);
}

/* A service may have closed the descriptor, and its number be a file of its own
 * by now, which is left alone. */
void
exchange_close(struct loop *loop, int fd, enum close_reason reason)
{
	if (reason != CLOSE_NO_MEMORY && exchange_has_lost(loop, fd))
		reason = CLOSE_TAKEN;
	begin_close(loop, fd, reason, PHASE_IDLE);
}

void
exchange_claim(struct loop *loop, int fd)
{
	if (connection_is_open(connection_of(loop, fd)))
		begin_close(
		    loop, fd, CLOSE_TAKEN, loop->memory->transaction.phase);
}

/* A transaction ends in none, or in the connection's end: its reason would be
 * forgotten between the two. */
static void
end_transaction(struct slot_memory *memory, enum close_reason reason)
{
	if (reason == CLOSE_NOT)
		slot_end(memory);
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
	ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);

	return sent < 0 && errno == EAGAIN ? 0 : sent;
}

/* Counts that the kernel has accepted the stream up to POSITION. */
static void
count_sent(struct loop *loop, struct connection *c, uint64_t position)
{
	struct slot_counters *counters = &loop->memory->counters;

	store(counters->sent, counters->sent + position - c->sent);
	c->progress_ms = loop->now_ms;
	store(loop->memory->sweep_wanted, 1); /* until it is acknowledged */
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
	end_transaction(loop->memory, reason);
	return reason;
}

/* ---- READ, RUN, APPLY, WRITE -------------------------------------------- */

/* What the service has left over waits for what comes behind it. */
static void
keep_rest(struct loop *loop, const struct connection *c)
{
	struct slot_memory *memory = loop->memory;
	const struct transaction *t = &memory->transaction;

	if (c->consumed > t->base || t->start == t->base)
		hold_begins(memory, t->fd, loop->now_ms);
	hold_rest(memory, t->fd, memory->input + (c->consumed - t->base));
	store(memory->sweep_wanted, 1);
}

void
exchange_arm(struct loop *loop, int fd)
{
	const struct connection *c = connection_of(loop, fd);

	loop_watch(loop, EPOLL_CTL_MOD, fd,
	    c->lingering ? EXCHANGE_QUIET : EXCHANGE_EVENTS, c->generation);
}

/* The epoll instance knows each file by its number and itself (epoll_ctl(2)):
 * it is asked by watching for what is watched for already. */
bool
exchange_has_lost(struct loop *loop, int fd)
{
	const struct connection *c = connection_of(loop, fd);
	bool quiet =
	    c->lingering || (connection_pending(c) == 0 && c->flags == 0);

	return connection_is_open(c) &&
	    loop_watch(loop, EPOLL_CTL_MOD, fd,
		quiet ? EXCHANGE_QUIET : EXCHANGE_EVENTS, c->generation) < 0;
}

/* Sends the answer, which lies from t->answer_offset on and is t->answer to
 * c->committed; some may have left before. What the client does not take is
 * kept. */
static enum close_reason
finish_answer(struct loop *loop, struct connection *c)
{
	struct slot_memory *memory = loop->memory;
	const struct transaction *t = &memory->transaction;
	const unsigned char *bytes = (const unsigned char *)memory +
	    t->answer_offset + (c->sent - t->answer);
	size_t count = (size_t)connection_pending(c);
	ssize_t sent = send_bytes(t->fd, bytes, count);

	if (sent < 0)
		return reason_of(errno);
	count_sent(loop, c, c->sent + (size_t)sent);
	if ((size_t)sent < count) {
		hold_begins(memory, t->fd, loop->now_ms);
		hold_answer(memory, t->fd, bytes + sent, count - (size_t)sent);
		/* Before the transaction ends: what is pending is watched. */
		exchange_arm(loop, t->fd);
	}
	return CLOSE_NOT;
}

/* A call that ends the connection has no answer of its own, but those before it
 * may have: what the client takes of them leaves first. */
static enum close_reason
finish_write(struct loop *loop, struct connection *c)
{
	const struct transaction *t = &loop->memory->transaction;
	enum close_reason ends = (enum close_reason)t->outcome.reason;
	enum close_reason reason = CLOSE_NOT;

	/* Beside an INPUT call it lies in its place, not in the buffer. */
	if (ends == CLOSE_NOT && t->call == CALL_INPUT &&
	    connection_rest(c) > 0)
		keep_rest(loop, c);
	if (connection_pending(c) > 0)
		reason = finish_answer(loop, c);
	return ends == CLOSE_NOT ? reason : ends;
}

/*
 * What a step of a turn and each call in it cost beside the bytes that they
 * move, in bytes that take as long to copy: 64 KiB take some 12 us, a call 15
 * ns, and what is around it 45 ns. Without that a connection whose calls move
 * nothing has 64 K of them in a turn, and nobody else is served meanwhile.
 */
enum { STEP_COST = 256, CALL_COST = 64 };

enum { CALLS_A_STEP = CONNECTION_READ / CALL_COST };

/* The service has taken one message of several: the next call follows at once,
 * and their answers leave together. */
static bool
goes_on(const struct connection *c, const struct transaction *t)
{
	const unsigned over = CONNECTION_MORE | CONNECTION_FINISHED;

	return t->call == CALL_INPUT && (c->flags & CONNECTION_AGAIN) &&
	    !(c->flags & over) && c->committed - t->answer < CONNECTION_READ;
}

static enum close_reason
finish_apply(struct loop *loop, struct connection *c)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;
	enum close_reason reason = call_apply(loop);

	for (int calls = 1;
	     calls < CALLS_A_STEP && reason == CLOSE_NOT && goes_on(c, t);
	     calls++) {
		call_name(memory, CALL_INPUT);
		store(t->phase, PHASE_RUN);
		call_make(loop, PHASE_APPLY);
		reason = call_apply(loop);
	}
	store(t->phase, PHASE_WRITE);
	return finish_write(loop, c);
}

/* Makes the call that is named. */
static enum close_reason
finish_run(struct loop *loop, struct connection *c)
{
	call_make(loop, PHASE_APPLY);
	return finish_apply(loop, c);
}

/* The call has crashed again: it has had no outcome but this. */
static enum close_reason
fail_run(struct loop *loop, struct connection *c)
{
	struct transaction *t = &loop->memory->transaction;

	t->outcome.reason = CLOSE_FAULT;
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

/* Puts what was left over to the beginning of the input buffer. */
static void
load_rest(struct slot_memory *memory, int fd)
{
	const struct connection *c = &memory->connections[fd];

	if (connection_rest(c) > 0)
		connection_copy_rest(c, slot_place(memory, fd), memory->input);
	call_prepare(memory, fd);
}

/* One transaction: reads, and has the service answer. Returns how much was
 * read, 0 at the client's FIN, or -1 with errno. */
static ssize_t
exchange(struct loop *loop, int fd, size_t asked, enum close_reason *reason)
{
	struct slot_memory *memory = loop->memory;
	struct connection *c = connection_of(loop, fd);
	ssize_t count;

	load_rest(memory, fd);
	slot_begin(memory, PHASE_READ, fd);
	count =
	    recv(fd, memory->input + connection_rest(c), asked, MSG_DONTWAIT);
	if (count > 0) {
		count_received(loop, c, c->received + (size_t)count);
		call_name(memory, CALL_INPUT);
		store(memory->transaction.phase, PHASE_RUN);
		*reason = finish_run(loop, c);
	}
	end_transaction(memory, *reason);
	return count;
}

/* One transaction without a read. */
static enum close_reason
call(struct loop *loop, int fd, enum slot_call which)
{
	struct slot_memory *memory = loop->memory;
	struct connection *c = connection_of(loop, fd);
	enum close_reason reason;

	if (which == CALL_INPUT)
		load_rest(memory, fd);
	else
		call_prepare(memory, fd);
	call_name(memory, which);
	slot_begin(memory, PHASE_RUN, fd);
	reason = finish_run(loop, c);
	end_transaction(memory, reason);
	return reason;
}

/* ---- a turn -------------------------------------------------------------- */

struct turn {
	size_t left;	     /* bytes, of what is read and what is answered */
	bool beyond;	     /* a short read may not have been the last */
	bool readable;	     /* there may be more */
	bool begun;	     /* a step has been made that was not plain */
	enum slot_call last; /* that was made */
};

static void
spend(struct turn *turn, uint64_t bytes, uint64_t calls)
{
	uint64_t cost = bytes + STEP_COST + calls * CALL_COST;

	turn->left -= cost < turn->left ? (size_t)cost : turn->left;
}

/* The call, but the timer's, that is due where nothing is pending. */
static enum slot_call
due_call(struct loop *loop, int fd)
{
	struct connection *c = connection_of(loop, fd);

	if (c->flags & CONNECTION_UNOPENED) {
		if (call_has_open(loop, fd))
			return CALL_OPEN;
		c->flags &= (uint16_t)~CONNECTION_UNOPENED;
	}
	if (c->flags & CONNECTION_MORE)
		return CALL_MORE;
	if (c->flags & CONNECTION_AGAIN)
		return CALL_INPUT;
	return CALL_NONE;
}

/* At the client's FIN. What the service has still to say leaves first. */
static enum close_reason
hear_end(struct loop *loop, int fd)
{
	const struct preforkd_service *service = call_service(loop, fd);

	if (service && !service->end &&
	    !(connection_of(loop, fd)->flags & CONNECTION_MORE))
		return CLOSE_END_OF_STREAM;
	return call(loop, fd, CALL_END);
}

/*
 * Reads once, and answers. A read that comes back short has emptied the socket
 * (epoll(7)), unless it stopped at an urgent byte (tcp(7)) or the client's FIN
 * is behind it.
 */
static enum close_reason
read_and_answer(struct loop *loop, int fd, struct turn *turn)
{
	enum close_reason reason = CLOSE_NOT;
	size_t asked = turn->left;
	ssize_t count = exchange(loop, fd, asked, &reason);

	if (count == 0) {
		turn->readable = false;
		return hear_end(loop, fd);
	}
	if (count < 0 && errno != EAGAIN)
		return reason_of(errno);
	if (count < 0 || ((size_t)count < asked && !turn->beyond))
		turn->readable = false;
	return reason;
}

/* Makes the call that is due, or else reads. */
static enum close_reason
take_step(struct loop *loop, int fd, enum slot_call due, struct turn *turn)
{
	const struct connection *c = connection_of(loop, fd);
	const uint64_t *serial = &loop->memory->transaction.serial;
	uint64_t bytes = c->received + c->committed, calls = *serial;
	enum close_reason reason = due != CALL_NONE
	    ? call(loop, fd, due)
	    : read_and_answer(loop, fd, turn);

	spend(turn, c->received + c->committed - bytes, *serial - calls);
	return reason;
}

/* Why a connection ends of which nothing is pending. */
static enum close_reason
ending(const struct connection *c)
{
	const unsigned due = CONNECTION_MORE | CONNECTION_AGAIN;

	if (c->flags & CONNECTION_ABORTED)
		return CLOSE_ABORTED;
	if (c->flags & CONNECTION_FINISHED)
		return CLOSE_FINISHED;
	return (c->flags & CONNECTION_ENDED) && !(c->flags & due)
	    ? CLOSE_END_OF_STREAM
	    : CLOSE_NOT;
}

/* A client is heard, too, while the service has more to say. */
static bool
is_duplex(struct loop *loop, int fd)
{
	const struct preforkd_service *service = call_service(loop, fd);

	return service && service->duplex &&
	    !(connection_of(loop, fd)->flags & CONNECTION_AGAIN);
}

static bool
is_timer_due(const struct loop *loop, int fd)
{
	const struct connection *c = &loop->memory->connections[fd];

	return c->timer_ms != 0 && loop->now_ms >= c->timer_ms;
}

/* The timer comes behind one step of whatever else is due: what the client has
 * sent in time is heard first, and one that sends without end cannot hold the
 * timer off. */
static enum slot_call
next_call(struct loop *loop, int fd, struct turn *turn)
{
	enum slot_call due = due_call(loop, fd);

	if (due == CALL_MORE && turn->last == CALL_MORE && turn->readable &&
	    is_duplex(loop, fd))
		due = CALL_NONE;
	if (is_timer_due(loop, fd) &&
	    (turn->begun || (due == CALL_NONE && !turn->readable)))
		due = CALL_TIMER;
	turn->begun = true;
	turn->last = due;
	return due;
}

/* Nothing is due but what may be read: most turns of most services. */
static bool
is_plain(const struct connection *c)
{
	return (c->flags & ~CONNECTION_STATEFUL) == 0 && c->timer_ms == 0;
}

/* Calls and reads, for as long as the client takes each answer. */
static enum close_reason
take_turn(struct loop *loop, int fd, struct turn *turn)
{
	struct connection *c = connection_of(loop, fd);
	enum close_reason reason = CLOSE_NOT;
	enum slot_call due = CALL_NONE;

	while (reason == CLOSE_NOT && connection_pending(c) == 0) {
		if (!is_plain(c)) {
			reason = ending(c);
			due = next_call(loop, fd, turn);
		}
		if (reason != CLOSE_NOT ||
		    (turn->left == 0 && due != CALL_TIMER))
			break;
		if (due == CALL_NONE && !turn->readable)
			break;
		reason = take_step(loop, fd, due, turn);
		due = CALL_NONE;
	}
	return reason;
}

/* The client's kernel has acknowledged all that we have sent. */
static bool
is_taken(const struct loop *loop, int fd)
{
	const struct connection *c = connection_of(loop, fd);

	return ledger_taken(fd, c->sent) == c->sent;
}

/* Throws away what a client still sends that has got its whole answer: closing
 * on unread bytes would reset the connection, and the answer with it
 * (RFC 2525, 2.17). So would a byte that comes after the close, as long as the
 * answer is in our kernel: a server that stops waits for that, and no longer.
 */
static void
linger(struct loop *loop, int fd)
{
	struct slot_memory *memory = loop->memory;
	const struct connection *c = connection_of(loop, fd);
	ssize_t count = recv(fd, memory->input, CONNECTION_READ, MSG_DONTWAIT);

	if (count > 0)
		exchange_arm(loop, fd);
	else if (count == 0 || errno != EAGAIN ||
	    (loop->stopping && is_taken(loop, fd)))
		exchange_close(loop, fd,
		    c->flags & CONNECTION_FINISHED ? CLOSE_FINISHED
						   : CLOSE_STOPPING);
}

static void
begin_to_linger(struct loop *loop, int fd, bool readable)
{
	struct connection *c = connection_of(loop, fd);

	c->progress_ms = loop->now_ms;
	store(loop->memory->sweep_wanted, 1);
	/* Before it is known to have been done: a successor does it again. */
	shutdown(fd, SHUT_WR); /* where it fails, recv does, too */
	store(c->lingering, true);
	if (readable)
		linger(loop, fd);
}

/* At the end of the server, of one that nothing is due to. A newcomer is looked
 * at again by the sweep, if it has said nothing by then. */
static void
stop_serving(struct loop *loop, int fd, bool readable)
{
	if (wait_is_newcomer(connection_of(loop, fd),
		slot_particulars(loop->memory, fd), loop->now_ms))
		store(loop->memory->sweep_wanted, 1);
	else if (is_taken(loop, fd))
		exchange_close(loop, fd, CLOSE_STOPPING);
	else
		begin_to_linger(loop, fd, readable);
}

/* Does what the turn has led to. */
static void
end_turn(struct loop *loop, int fd, const struct turn *turn,
    enum close_reason reason)
{
	const struct connection *c = connection_of(loop, fd);
	bool waits = reason == CLOSE_NOT && connection_pending(c) > 0;

	if (waits)
		return;
	if (reason == CLOSE_NOT && turn->left == 0)
		exchange_arm(loop, fd);
	else if (reason == CLOSE_FINISHED)
		begin_to_linger(loop, fd, turn->readable);
	else if (reason != CLOSE_NOT)
		exchange_close(loop, fd, reason);
	else if (loop->stopping)
		stop_serving(loop, fd, turn->readable);
}

void
exchange_serve(struct loop *loop, int fd, uint32_t events)
{
	const uint32_t beyond = EPOLLRDHUP | EPOLLPRI | EPOLLHUP | EPOLLERR;
	const struct connection *c = connection_of(loop, fd);
	/* What comes later has an event of its own. */
	bool readable = events & (EPOLLIN | beyond);
	struct turn turn = { .left = CONNECTION_READ,
		.beyond = events & beyond,
		.readable = readable && !(c->flags & CONNECTION_ENDED) };
	enum close_reason reason = CLOSE_NOT;

	if (c->lingering) {
		if (readable)
			linger(loop, fd);
		return;
	}
	if (connection_pending(c) > 0)
		reason = flush(loop, fd);
	if (reason == CLOSE_NOT && connection_pending(c) == 0)
		reason = take_turn(loop, fd, &turn);
	end_turn(loop, fd, &turn, reason);
}

/* ---- settling ----------------------------------------------------------- */

/* A recv may have taken bytes that nobody counted; they are in the buffer. */
static bool
settle_received(struct loop *loop, struct connection *c, int *error)
{
	const struct transaction *t = &loop->memory->transaction;
	uint64_t consumed;

	if (!ledger_consumed(t->fd, &consumed, error) ||
	    consumed < c->received || consumed - t->base > CONNECTION_INPUT)
		return false;
	if (consumed > c->received)
		count_received(loop, c, consumed);
	return true;
}

/* A request that has been taken is answered to whatever has become of its
 * client, as it would have been without a death in between. */
static enum close_reason
settle_read(struct loop *loop, struct connection *c)
{
	struct transaction *t = &loop->memory->transaction;
	enum close_reason reason = CLOSE_NOT;
	int error;

	if (!settle_received(loop, c, &error))
		return CLOSE_LOST;
	if (c->received != t->start) {
		call_name(loop->memory, CALL_INPUT);
		store(t->phase, PHASE_RUN);
		reason = finish_run(loop, c);
	}
	return reason == CLOSE_NOT && error != 0 ? reason_of(error) : reason;
}

/* A send may have given the kernel bytes that nobody counted. */
static bool
settle_sent(struct loop *loop, struct connection *c)
{
	uint64_t accepted;

	if (!ledger_accepted(loop->memory->transaction.fd, &accepted) ||
	    accepted < c->sent || accepted > c->committed)
		return false;
	if (accepted > c->sent)
		count_sent(loop, c, accepted);
	return true;
}

/* Goes on from wherever the record and the counters say that it stopped. The
 * kernel is asked only in the midst of a recv or a send. */
static enum close_reason
settle_exchange(struct loop *loop, struct connection *c, enum verdict verdict)
{
	switch (loop->memory->transaction.phase) {
	case PHASE_READ:
		return settle_read(loop, c);
	case PHASE_RUN:
		return verdict == VERDICT_CLOSE ? fail_run(loop, c)
						: finish_run(loop, c);
	case PHASE_APPLY:
		return finish_apply(loop, c);
	case PHASE_WRITE:
		return settle_sent(loop, c) ? finish_write(loop, c)
					    : CLOSE_LOST;
	default: /* FLUSH: what is left is in the place */
		return settle_sent(loop, c) ? CLOSE_NOT : CLOSE_LOST;
	}
}

/* The connection may have more due to it that no event tells of: what its turn
 * would have done next. */
static void
settle_turn(struct loop *loop, enum verdict verdict)
{
	int fd = loop->memory->transaction.fd;
	enum close_reason reason =
	    settle_exchange(loop, connection_of(loop, fd), verdict);

	if (reason != CLOSE_NOT) {
		exchange_close(loop, fd, reason);
		return;
	}
	exchange_arm(loop, fd);
	slot_end(loop->memory);
}

/* The dead worker may have closed the descriptor, and the number be another's
 * by now. The epoll instance knows each file by its number and itself: another
 * file is ENOENT. */
static bool
is_still_open(struct loop *loop)
{
	const struct transaction *t = &loop->memory->transaction;

	if (t->cookie != 0)
		return loop_cookie(t->fd) == t->cookie;
	return loop_watch(loop, EPOLL_CTL_MOD, t->fd, 0, t->generation) == 0;
}

static void
settle_close(struct loop *loop)
{
	const struct transaction *t = &loop->memory->transaction;
	struct connection *c = connection_of(loop, t->fd);

	if (c->generation == t->generation && t->reason != CLOSE_TAKEN &&
	    !is_still_open(loop))
		connection_close(c);
	finish_close(loop);
}

static void
settle_close_call(struct loop *loop, enum verdict verdict)
{
	if (verdict == VERDICT_CLOSE)
		store(loop->memory->transaction.phase, PHASE_CLOSE);
	else
		call_make(loop, PHASE_CLOSE);
	finish_close(loop);
}

void
exchange_settle(struct loop *loop, enum verdict verdict)
{
	const struct transaction *t = &loop->memory->transaction;

	if (t->phase == PHASE_CLOSE)
		settle_close(loop);
	else if (t->phase == PHASE_TELL)
		finish_tell(loop);
	else if (t->phase == PHASE_RUN && t->call == CALL_CLOSE)
		settle_close_call(loop, verdict);
	else if (t->phase >= PHASE_READ && t->phase <= PHASE_FLUSH)
		settle_turn(loop, verdict);
}

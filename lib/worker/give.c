#include "lib/worker/give.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/slot/parcel.h"
#include "lib/slot/timers.h"
#include "lib/worker/ends.h"
#include "lib/worker/exchange.h"
#include "lib/worker/order.h"

enum { AGAIN_MS = 10 };

bool
give_begin(struct loop *loop, struct giving *giving,
    const struct control_message *order, int fd)
{
	struct slot_give *give = &loop->memory->give;

	if (ends_put_back(&give->end, order->serial, fd))
		return true;
	if (ends_has(&give->end, order->serial)) {
		if (fd >= 0)
			order_drop(loop, fd);
		return true;
	}
	if (give->end.fd <= 0) {
		give->answered = 0;
		give->keep = order->value;
		give->all = order->all;
		*giving = (struct giving) { .sent = false };
	}
	return ends_open(loop, &give->end, order->serial, fd);
}

/* ---- a batch is named ---------------------------------------------------- */

/* How many connections a message can have: the socket's buffer has to hold it,
 * and what the kernel keeps beside (socket(7), SO_SNDBUF). */
static uint64_t
most_of_message(int fd)
{
	int room = 0;
	socklen_t length = sizeof room;
	size_t most;

	/* Cannot fail: it is a socket of the master's. */
	getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, &length);
	most = (size_t)room / 4 / sizeof(struct parcel_label);
	if (most < 1)
		return 1;
	return most < MOVE_BATCH ? most : MOVE_BATCH;
}

static uint64_t
most_to_give(const struct loop *loop)
{
	const struct slot_give *give = &loop->memory->give;
	uint64_t open = slot_open_connections(loop->memory, loop->fds);
	uint64_t most = most_of_message(give->end.fd);

	if (open <= give->keep)
		return 0;
	return open - give->keep < most ? open - give->keep : most;
}

static size_t
parcel_bytes(struct slot_memory *memory, int fd)
{
	const struct connection *c = &memory->connections[fd];

	return (size_t)(connection_rest(c) + connection_pending(c)) +
	    slot_particulars(memory, fd)->state_size;
}

/* From the store of their number on the connections are on their way. */
static void
name_batch(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	struct slot_give *give = &memory->give;
	uint64_t most = most_to_give(loop);
	size_t bytes = 0;
	uint32_t count = 0;

	for (int fd = 0; (unsigned)fd < memory->fds_used && count < most;
	     fd++) {
		struct connection *c = &memory->connections[fd];

		if (!connection_is_here(c) ||
		    (!give->all && (c->flags & CONNECTION_MORE)) ||
		    bytes + parcel_bytes(memory, fd) > MOVE_PARCELS_BYTES)
			continue;
		bytes += parcel_bytes(memory, fd);
		give->batch[count].fd = fd;
		give->batch[count].generation = c->generation;
		count++;
	}
	store(give->count, count);
}

/* The Nth connection of the batch, or NULL where it has gone. */
static struct connection *
connection_of_batch(const struct loop *loop, uint32_t n, int *fd)
{
	struct slot_memory *memory = loop->memory;
	struct connection *c;

	*fd = memory->give.batch[n].fd;
	if (*fd < 0 || (unsigned)*fd >= loop->fds)
		return NULL; /* damaged */
	c = &memory->connections[*fd];
	return connection_is_open(c) &&
		c->generation == memory->give.batch[n].generation
	    ? c
	    : NULL;
}

/* Its events are left out meanwhile. One that the epoll instance does not know
 * is no connection any more: a service has closed its descriptor. */
static void
mark(struct loop *loop, int fd, struct connection *c)
{
	if (loop_watch(loop, EPOLL_CTL_MOD, fd, EPOLLET, c->generation) == 0)
		c->flags |= CONNECTION_LEAVING;
	else
		exchange_claim(loop, fd);
}

static void
mark_batch(struct loop *loop)
{
	for (uint32_t n = 0; n < loop->memory->give.count; n++) {
		int fd;
		struct connection *c = connection_of_batch(loop, n, &fd);

		if (c)
			mark(loop, fd, c);
	}
}

/* ---- a batch is sent ----------------------------------------------------- */

union sockets {
	char bytes[CMSG_SPACE(MOVE_BATCH * sizeof(int))];
	struct cmsghdr align;
};

/* Writes what the connection takes along, from OFFSET on. Returns how many
 * bytes, or -1 with errno. */
static ssize_t
put_parcel(struct loop *loop, int fd, struct parcel_label *label, off_t offset)
{
	struct slot_memory *memory = loop->memory;
	size_t size = parcel_bytes(memory, fd);
	ssize_t written = 0;

	*label = parcel_pack(memory, fd);
	if (size > 0)
		written = pwrite(
		    memory->give.end.parcels, memory->parcel, size, offset);
	if (written >= 0 && (size_t)written < size) {
		errno = ENOMEM; /* it is memory */
		return -1;
	}
	return written;
}

/* Fills in the message. Returns false with errno where a parcel finds no
 * memory. */
static bool
pack_batch(struct loop *loop, struct move_batch *batch, int fds[MOVE_BATCH])
{
	const struct slot_give *give = &loop->memory->give;
	off_t offset = 0;

	batch->serial = give->end.serial;
	batch->number = give->answered + 1;
	batch->count = 0;
	for (uint32_t n = 0; n < give->count; n++) {
		ssize_t size;
		int fd;

		if (!connection_of_batch(loop, n, &fd))
			continue;
		size =
		    put_parcel(loop, fd, &batch->labels[batch->count], offset);
		if (size < 0)
			return false;
		offset += size;
		fds[batch->count++] = fd;
	}
	return true;
}

static bool
send_packed(int end, struct move_batch *batch, const int fds[MOVE_BATCH])
{
	union sockets sockets = { { 0 } };
	const size_t fds_bytes = (size_t)batch->count * sizeof *fds;
	struct iovec part = { batch, move_batch_bytes(batch->count) };
	struct msghdr header = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &sockets,
		.msg_controllen = (socklen_t)CMSG_SPACE(fds_bytes) };
	struct cmsghdr *rights = CMSG_FIRSTHDR(&header);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = (socklen_t)CMSG_LEN(fds_bytes);
	memcpy(CMSG_DATA(rights), fds, fds_bytes);
	return sendmsg(end, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/* The batch is over, whatever has become of it. A death between the two stores
 * leaves the connections of before named under the next number: they have gone,
 * or are sent. */
static void
end_batch(struct loop *loop)
{
	struct slot_give *give = &loop->memory->give;

	store(give->answered, give->answered + 1);
	store(give->count, 0);
}

/* What happened meanwhile was not heeded: the kernel reports it anew. */
static void
keep(struct loop *loop, struct giving *giving)
{
	giving->refused = true;
	if (loop->memory->give.count == 0)
		return;
	for (uint32_t n = 0; n < loop->memory->give.count; n++) {
		int fd;
		struct connection *c = connection_of_batch(loop, n, &fd);

		if (!c)
			continue;
		c->flags &= (uint16_t)~CONNECTION_LEAVING;
		exchange_arm(loop, fd);
		timers_note(loop->memory, fd, c->timer_ms);
	}
	store(loop->memory->sweep_wanted, 1);
	end_batch(loop);
}

/* What the kernel lacks it may have soon. A predecessor may have sent the
 * batch: then it is sent again, and stays on its way until it is. Where the
 * socket is full, or the taker has gone, there is something to read at it. */
static void
send_batch(struct loop *loop, struct giving *giving)
{
	static struct move_batch batch; /* too large for the stack */
	int fds[MOVE_BATCH];

	if (!ends_are_there(loop, &loop->memory->give.end))
		return;
	giving->again_ms = 0;
	mark_batch(loop);
	giving->sent = pack_batch(loop, &batch, fds);
	if (!giving->sent && giving->fresh) {
		keep(loop, giving); /* they are served while memory lacks */
		return;
	}
	giving->fresh = false;
	if (giving->sent && batch.count == 0)
		end_batch(loop); /* all were let go before a death */
	else if (giving->sent)
		giving->sent =
		    send_packed(loop->memory->give.end.fd, &batch, fds) ||
		    errno == EPIPE || errno == ECONNRESET;
	if (!giving->sent)
		giving->again_ms = loop->now_ms + AGAIN_MS;
}

/* ---- the answer ---------------------------------------------------------- */

static void
let_go(struct loop *loop)
{
	for (uint32_t n = 0; n < loop->memory->give.count; n++) {
		int fd;

		if (connection_of_batch(loop, n, &fd))
			exchange_close(loop, fd, CLOSE_HANDED);
	}
	end_batch(loop);
}

static bool
is_answer(const struct slot_give *give, const struct move_answer *answer,
    ssize_t received)
{
	return received == (ssize_t)sizeof *answer && give->count > 0 &&
	    answer->serial == give->end.serial &&
	    answer->number == give->answered + 1;
}

void
give_hear(struct loop *loop, struct giving *giving)
{
	struct slot_give *give = &loop->memory->give;
	struct move_answer answer;
	ssize_t received;

	if (!ends_are_there(loop, &give->end))
		return;
	/* Behind an error that came with the taker's end, as of messages that
	 * it has not read, may lie what it said before (unix(7)). */
	do
		received =
		    recv(give->end.fd, &answer, sizeof answer, MSG_DONTWAIT);
	while (received < 0 && (errno == EINTR || errno == ECONNRESET));
	if (is_answer(give, &answer, received) && answer.taken)
		let_go(loop);
	else if (is_answer(give, &answer, received) || received == 0)
		keep(loop, giving);
}

/* ---- both ---------------------------------------------------------------- */

uint64_t
give_next(struct loop *loop, struct giving *giving, bool stay)
{
	struct slot_give *give = &loop->memory->give;

	if (give->end.fd <= 0)
		return 0;
	if (give->count == 0 && !stay && !giving->refused &&
	    give->end.parcels > 0) {
		giving->sent = false;
		giving->fresh = true;
		name_batch(loop);
	}
	if (give->count == 0) {
		ends_close(loop, &give->end);
		giving->again_ms = 0;
		return give->end.serial;
	}
	if (!giving->sent &&
	    (giving->again_ms == 0 || loop->now_ms >= giving->again_ms))
		send_batch(loop, giving);
	return 0;
}

void
give_settle(struct loop *loop)
{
	mark_batch(loop);
}

#include "lib/worker/take.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/socket.h"
#include "lib/slot/control.h"
#include "lib/slot/hold.h"
#include "lib/slot/parcel.h"
#include "lib/slot/timers.h"
#include "lib/worker/ends.h"
#include "lib/worker/exchange.h"
#include "lib/worker/intake.h"
#include "lib/worker/order.h"
#include "lib/worker/standard.h"

enum { AGAIN_MS = 10 };

_Static_assert(offsetof(struct slot_take, brought.fd) -
	    offsetof(struct slot_take, brought) ==
	CMSG_LEN(0),
    "the descriptors stand where cmsg(3) has them");
_Static_assert(
    (size_t)SLOT_PARCEL <= MOVE_PARCELS_BYTES, "the largest parcel has room");

bool
take_begin(struct loop *loop, uint64_t serial, int fd)
{
	struct slot_take *take = &loop->memory->take;

	if (ends_put_back(&take->end, serial, fd))
		return true;
	if (ends_has(&take->end, serial)) {
		if (fd >= 0)
			order_drop(loop, fd);
		return true;
	}
	/* The master begins another only when it has heard that this is over.
	 */
	if (take->end.fd > 0 && fd >= 0) {
		order_drop(loop, fd);
		return false;
	}
	take->decided = 0;
	return ends_open(loop, &take->end, serial, fd);
}

/* ---- what came ----------------------------------------------------------- */

enum { DROPPED = -1 }; /* in place of a descriptor that came */

/* The Nth descriptor that came, or DROPPED. */
static int
brought(const struct loop *loop, unsigned n)
{
	int fd = loop->memory->take.brought.fd[n];

	return fd > STDERR_FILENO && (unsigned)fd < loop->fds ? fd : DROPPED;
}

static unsigned
count_brought(const struct loop *loop)
{
	const struct slot_take *take = &loop->memory->take;
	unsigned count = 0;

	while (count < MOVE_BATCH && take->brought.fd[count] != 0)
		count++;
	return count;
}

static ssize_t
receive(struct loop *loop)
{
	struct slot_take *take = &loop->memory->take;
	struct iovec part = { &take->batch, sizeof take->batch };
	struct msghdr header = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &take->brought,
		.msg_controllen = CMSG_SPACE(MOVE_BATCH * sizeof(int)) };
	ssize_t received;

	standard_fill(); /* or a client gets such a number */
	memset(&take->brought, 0, sizeof take->brought);
	take->batch.count = 0; /* of none that came, which has some */
	store(take->step, TAKE_RECEIVE);
	slot_begin(loop->memory, PHASE_TAKE, take->end.fd);
	do
		received = recvmsg(
		    take->end.fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	return received;
}

/* ---- deciding ------------------------------------------------------------ */

/* The giver is another process that talks to strangers. */
static bool
is_connection(int fd)
{
	return socket_has(fd, SOL_SOCKET, SO_PROTOCOL, IPPROTO_TCP) &&
	    socket_has(fd, SOL_SOCKET, SO_ACCEPTCONN, 0);
}

/* A copy of the label: what is checked of it is what is used. */
static bool
read_parcel(struct loop *loop, const struct parcel_label *label, off_t *offset)
{
	struct slot_memory *memory = loop->memory;
	size_t size;

	if (!parcel_size(label, &size) ||
	    (size > 0 &&
		pread(memory->take.end.parcels, memory->parcel, size,
		    *offset) != (ssize_t)size))
		return false;
	*offset += (off_t)size;
	return true;
}

/* Makes FD a connection that is not open. It is watched already, as that is
 * what could fail. Each step may have been done before. */
static bool
prepare_one(
    struct loop *loop, int fd, const struct parcel_label *label, off_t *offset)
{
	struct slot_memory *memory = loop->memory;
	const struct connection *c = &memory->connections[fd];

	exchange_claim(loop, fd);
	intake_claim(loop, fd);
	if (!is_connection(fd) || !read_parcel(loop, label, offset))
		return false;
	control_disarm(fd);
	if ((unsigned)fd >= memory->fds_used)
		store(memory->fds_used, (uint32_t)fd + 1);
	parcel_unpack(memory, fd, label);
	timers_note(memory, fd, c->timer_ms);
	return loop_watch(loop, EPOLL_CTL_ADD, fd, EXCHANGE_EVENTS,
		   c->generation + 1) == 0 ||
	    errno == EEXIST;
}

static bool
prepare(struct loop *loop, unsigned count)
{
	const struct slot_take *take = &loop->memory->take;
	off_t offset = 0;

	if (count != take->batch.count || !intake_has_place(loop, count) ||
	    !ends_are_there(loop, &loop->memory->take.end))
		return false;
	for (unsigned n = 0; n < count; n++) {
		const struct parcel_label label = take->batch.labels[n];

		if (brought(loop, n) == DROPPED ||
		    !prepare_one(loop, brought(loop, n), &label, &offset))
			return false;
	}
	return true;
}

/* Puts down what becomes of the batch. From then on a successor does the same.
 */
static void
decide(struct loop *loop, unsigned count)
{
	struct slot_take *take = &loop->memory->take;

	if (take->step == TAKE_RECEIVE &&
	    (take->batch.serial != take->end.serial ||
		take->batch.number <= take->decided / 2))
		store(take->step, TAKE_REPEAT);
	if (take->step == TAKE_RECEIVE)
		store(take->step, TAKE_PREPARE);
	if (take->step != TAKE_PREPARE)
		return;
	take->accepted = loop->memory->counters.accepted;
	take->moved = loop->memory->counters.moved;
	store(take->step, prepare(loop, count) ? TAKE_OPEN : TAKE_REFUSE);
}

/* ---- doing so ------------------------------------------------------------ */

static void
open_all(struct loop *loop, unsigned count)
{
	struct slot_memory *memory = loop->memory;
	struct slot_take *take = &memory->take;

	for (unsigned n = 0; n < count; n++) {
		int fd = brought(loop, n);

		if (fd > 0 && !connection_is_open(&memory->connections[fd]))
			connection_open(&memory->connections[fd]);
		store(memory->counters.moved, take->moved + n + 1);
		store(memory->counters.accepted, take->accepted + n + 1);
	}
	store(memory->sweep_wanted, 1);
	store(take->decided, take->batch.number * 2 + 1);
}

/* The giver has the same sockets: they do not leave the epoll instance by
 * themselves (epoll(7)). */
static void
drop(struct loop *loop, int fd)
{
	struct slot_memory *memory = loop->memory;

	if (!connection_is_open(&memory->connections[fd]))
		hold_release(memory, fd);
	loop_watch(loop, EPOLL_CTL_DEL, fd, 0, 0);
	control_disarm(fd);
	close(fd);
}

static void
drop_all(struct loop *loop, unsigned count)
{
	struct slot_take *take = &loop->memory->take;

	for (unsigned n = 0; n < count; n++) {
		if (brought(loop, n) != DROPPED)
			drop(loop, brought(loop, n));
		store(take->brought.fd[n], DROPPED);
	}
	if (take->step == TAKE_REFUSE)
		store(take->decided, take->batch.number * 2);
}

static void
answer(struct loop *loop, struct taking *taking)
{
	const struct slot_take *take = &loop->memory->take;
	const struct move_answer said = { .serial = take->end.serial,
		.number = take->decided / 2,
		.taken = take->decided % 2 };

	taking->again_ms = 0;
	if (take->end.fd == 0)
		return;
	/* A giver that has gone wants none. */
	if (!ends_are_there(loop, &loop->memory->take.end) ||
	    (send(take->end.fd, &said, sizeof said,
		 MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		errno != EPIPE && errno != ECONNRESET))
		taking->again_ms = loop->now_ms + AGAIN_MS;
}

/* From wherever the record says that it stopped. */
static void
finish(struct loop *loop, struct taking *taking)
{
	unsigned count = count_brought(loop);

	if (count > 0 || loop->memory->take.batch.count > 0) {
		decide(loop, count);
		if (loop->memory->take.step == TAKE_OPEN)
			open_all(loop, count);
		else
			drop_all(loop, count);
		answer(loop, taking);
	}
	slot_end(loop->memory);
}

/* ---- the loop's word ----------------------------------------------------- */

bool
take_hear(struct loop *loop, struct taking *taking)
{
	ssize_t received;
	bool over;

	if (!ends_are_there(loop, &loop->memory->take.end))
		return true;
	received = receive(loop);
	over = received == 0 ||
	    (received < 0 && errno != EAGAIN && errno != ENOMEM &&
		errno != ENOBUFS && errno != ECONNRESET);
	finish(loop, taking);
	if (!over)
		return true;
	taking->again_ms = 0;
	ends_close(loop, &loop->memory->take.end);
	return false;
}

void
take_next(struct loop *loop, struct taking *taking)
{
	if (taking->again_ms != 0 && loop->now_ms >= taking->again_ms)
		answer(loop, taking);
}

void
take_settle(struct loop *loop, struct taking *taking)
{
	const struct slot_memory *memory = loop->memory;

	if (memory->transaction.phase == PHASE_TAKE)
		finish(loop, taking);
	else if (memory->take.end.fd != 0 && memory->take.decided > 0)
		answer(loop, taking);
}

#include "lib/worker/ends.h"

#include "lib/base/log.h"
#include "lib/worker/order.h"
#include "lib/worker/own.h"

/* ---- what a service closes ----------------------------------------------- */

enum { LOST = -1 };

static bool
is_there(int fd, uint64_t cookie)
{
	return fd > 0 && loop_cookie(fd) == cookie;
}

/* True where it was there until now. */
static bool
is_lost_now(int32_t *fd, uint64_t cookie)
{
	if (*fd <= 0 || is_there(*fd, cookie))
		return false;
	store(*fd, LOST);
	return true;
}

bool
ends_are_there(struct loop *loop, struct move_end *end)
{
	bool lost = is_lost_now(&end->fd, end->cookie);

	if (is_lost_now(&end->parcels, end->parcels_cookie))
		lost = true;
	if (lost && !loop->broken)
		log_error("a service (the last that was called: %s) has closed "
			  "what connections move by, which is the server's: "
			  "ending, as a successor is brought it anew",
		    own_suspect(loop));
	loop->broken |= lost;
	return end->fd > 0 && end->parcels != LOST;
}

/* The epoll instance has it still, under the number that it had: the master's
 * duplicate keeps it open. */
bool
ends_put_back(struct move_end *end, uint64_t serial, int fd)
{
	if (end->fd != LOST || end->serial != serial || fd < 0)
		return false;
	store(end->fd, fd);
	return true;
}

/* ---- the beginning of a move, and its end -------------------------------- */

void
ends_bring_parcels(
    struct loop *loop, struct move_end *end, uint64_t serial, int fd)
{
	if (fd < 0)
		return; /* out of descriptors: ends_open refuses the move */
	if (end->parcels == LOST && end->parcels_serial == serial) {
		store(end->parcels, fd);
		return;
	}
	/* It was sent again, maybe for a move that is over. */
	if (serial <= end->serial ||
	    (end->parcels > 0 && end->parcels_serial == serial)) {
		order_drop(loop, fd);
		return;
	}
	if (end->parcels > 0) { /* of a move that never began */
		if (is_there(end->parcels, end->parcels_cookie))
			order_drop(loop, end->parcels);
		store(end->parcels, 0);
	}
	end->parcels_serial = serial;
	end->parcels_cookie = loop_cookie(fd);
	store(end->parcels, fd);
}

bool
ends_open(struct loop *loop, struct move_end *end, uint64_t serial, int fd)
{
	uint32_t name = end == &loop->memory->give.end ? LOOP_GIVE : LOOP_TAKE;

	if (fd < 0)
		return false;
	if (end->fd > 0 || serial <= end->serial || end->parcels <= 0 ||
	    end->parcels_serial != serial ||
	    loop_watch(loop, EPOLL_CTL_ADD, fd, EPOLLIN, name) < 0) {
		order_drop(loop, fd);
		return false;
	}
	end->serial = serial;
	end->cookie = loop_cookie(fd);
	store(end->fd, fd);
	return true;
}

/* The socket last: a successor sees by it that there is something to close. */
void
ends_close(struct loop *loop, struct move_end *end)
{
	if (is_there(end->parcels, end->parcels_cookie))
		order_drop(loop, end->parcels);
	store(end->parcels, 0);
	if (is_there(end->fd, end->cookie))
		order_drop(loop, end->fd);
	store(end->fd, 0);
	order_end(loop);
}

static bool
is_of(const struct move_end *end, int fd)
{
	return (fd == end->fd && is_there(fd, end->cookie)) ||
	    (fd == end->parcels && is_there(fd, end->parcels_cookie));
}

bool
ends_know(const struct slot_memory *memory, int fd)
{
	return is_of(&memory->give.end, fd) || is_of(&memory->take.end, fd);
}

static void
forget(struct move_end *end, int fd)
{
	if (end->fd == fd)
		store(end->fd, 0);
	if (end->parcels == fd)
		store(end->parcels, 0);
}

void
ends_forget(struct slot_memory *memory, int fd)
{
	forget(&memory->give.end, fd);
	forget(&memory->take.end, fd);
}

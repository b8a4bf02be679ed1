#include "lib/worker/ends.h"

#include "lib/worker/order.h"

void
ends_bring_parcels(
    struct loop *loop, struct move_end *end, uint64_t serial, int fd)
{
	if (fd < 0)
		return; /* out of descriptors: ends_open refuses the move */
	/* It was sent again, maybe for a move that is over. */
	if (serial <= end->serial ||
	    (end->parcels > 0 && end->parcels_serial == serial)) {
		order_drop(loop, fd);
		return;
	}
	if (end->parcels > 0) { /* of a move that never began */
		order_drop(loop, end->parcels);
		store(end->parcels, 0);
	}
	end->parcels_serial = serial;
	store(end->parcels, fd);
}

bool
ends_open(struct loop *loop, struct move_end *end, uint64_t serial, int fd)
{
	if (fd < 0)
		return false;
	if (end->fd > 0 || serial <= end->serial || end->parcels <= 0 ||
	    end->parcels_serial != serial ||
	    loop_watch(loop, EPOLL_CTL_ADD, fd, EPOLLIN, 0) < 0) {
		order_drop(loop, fd);
		return false;
	}
	end->serial = serial;
	store(end->fd, fd);
	return true;
}

/* The socket last: a successor sees by it that there is something to close. */
void
ends_close(struct loop *loop, struct move_end *end)
{
	if (end->parcels > 0)
		order_drop(loop, end->parcels);
	store(end->parcels, 0);
	if (end->fd > 0)
		order_drop(loop, end->fd);
	store(end->fd, 0);
	order_end(loop);
}

bool
ends_know(const struct slot_memory *memory, int fd)
{
	const struct move_end *give = &memory->give.end;
	const struct move_end *take = &memory->take.end;

	return fd > 0 &&
	    (fd == give->fd || fd == give->parcels || fd == take->fd ||
		fd == take->parcels);
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

#include "lib/slot/hold.h"

#include <sys/mman.h>

_Static_assert(
    CONNECTION_INPUT % SLOT_PAGE == 0 && CONNECTION_ANSWER % SLOT_PAGE == 0,
    "a page of the stream is a page of the ring");

/* Counts ADDED pages beside the HELD, as far as there are MOST in all. */
static void
count(struct slot_memory *memory, uint32_t *held, uint64_t added, uint32_t most)
{
	if (added > most - *held)
		added = most - *held;
	store(*held, *held + (uint32_t)added);
	store(memory->held, memory->held + added);
}

/* COUNT bytes from POSITION on are about to be put into the ring. Positions
 * only grow, so what lies before the last end was counted. */
static void
touch(struct slot_memory *memory, struct hold_ring *ring, uint32_t ring_bytes,
    uint64_t position, uint64_t bytes)
{
	uint64_t first = position / SLOT_PAGE;
	uint64_t end = (position + bytes + SLOT_PAGE - 1) / SLOT_PAGE;

	if (first < ring->end)
		first = ring->end;
	if (end <= first)
		return;
	count(memory, &ring->pages, end - first, ring_bytes / SLOT_PAGE);
	store(ring->end, end);
}

void
hold_answer(
    struct slot_memory *memory, int fd, const unsigned char *bytes, size_t n)
{
	struct connection *c = &memory->connections[fd];

	touch(memory, &slot_hold(memory, fd)->answer, CONNECTION_ANSWER,
	    c->committed - n, n);
	connection_keep(c, slot_place(memory, fd), bytes, n);
}

void
hold_rest(struct slot_memory *memory, int fd, const unsigned char *bytes)
{
	struct connection *c = &memory->connections[fd];

	touch(memory, &slot_hold(memory, fd)->rest, CONNECTION_INPUT,
	    c->consumed, connection_rest(c));
	connection_keep_rest(c, slot_place(memory, fd), bytes);
}

unsigned char *
hold_state(struct slot_memory *memory, int fd, uint32_t size)
{
	struct hold *hold = slot_hold(memory, fd);
	uint32_t pages = (size + SLOT_PAGE - 1) / SLOT_PAGE;

	if (size > SLOT_STATE) {
		if (pages > hold->state_pages)
			count(memory, &hold->state_pages,
			    pages - hold->state_pages,
			    PREFORKD_STATE_MAX / SLOT_PAGE);
		slot_particulars(memory, fd)->state_paged = true;
	}
	return slot_state(memory, fd, size);
}

void
hold_begins(struct slot_memory *memory, int fd, uint64_t now_ms)
{
	slot_hold(memory, fd)->since_ms = now_ms;
}

/* The end first: without one each page is counted anew. */
static void
forget(struct hold_ring *ring)
{
	store(ring->end, 0);
	store(ring->pages, 0);
}

void
hold_release_place(struct slot_memory *memory, int fd)
{
	/* Punches a hole into the shared mapping; MADV_DONTNEED would only
	 * drop our view of it. Where it fails the memory stays, no more. */
	madvise(slot_place(memory, fd), CONNECTION_PLACE, MADV_REMOVE);
	forget(&slot_hold(memory, fd)->rest);
	forget(&slot_hold(memory, fd)->answer);
	store(memory->connections[fd].place_used, false);
}

void
hold_release_state(struct slot_memory *memory, int fd)
{
	madvise(slot_state(memory, fd, PREFORKD_STATE_MAX), PREFORKD_STATE_MAX,
	    MADV_REMOVE); /* as above */
	store(slot_hold(memory, fd)->state_pages, 0);
	store(slot_particulars(memory, fd)->state_paged, false);
}

void
hold_release(struct slot_memory *memory, int fd)
{
	if (memory->connections[fd].place_used)
		hold_release_place(memory, fd);
	if (slot_particulars(memory, fd)->state_paged)
		hold_release_state(memory, fd);
}

uint32_t
hold_pages(struct slot_memory *memory, int fd)
{
	const struct hold *hold = slot_hold(memory, fd);

	return hold->rest.pages + hold->answer.pages + hold->state_pages;
}

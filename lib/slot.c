#include "slot.h"

#include <sys/mman.h>

/* The places lie behind the table, on a page of their own. */
static size_t
places_offset(unsigned fds)
{
	size_t end = sizeof(struct slot_memory) +
	    (size_t)fds * sizeof(struct connection);

	return (end + SLOT_PAGE - 1) / SLOT_PAGE * SLOT_PAGE;
}

/* Never taken from the memory itself, which may say anything. */
static size_t
size_of(unsigned fds)
{
	return places_offset(fds) + (size_t)fds * CONNECTION_PLACE;
}

struct slot_memory *
slot_map(unsigned fds)
{
	size_t size = size_of(fds);
	struct slot_memory *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* The other connections' bytes do not belong into a core dump. A
	 * failure leaves only the dump larger. */
	madvise(memory, size, MADV_DONTDUMP);
	memory->size = size;
	memory->fds = fds;
	memory->magic = SLOT_MAGIC;
	if (mprotect(memory->fence, sizeof memory->fence, PROT_NONE) < 0 ||
	    slot_inherit(memory, false) < 0) {
		slot_unmap(memory, fds);
		return NULL;
	}
	return memory;
}

void
slot_unmap(struct slot_memory *memory, unsigned fds)
{
	munmap(memory, size_of(fds));
}

int
slot_inherit(struct slot_memory *memory, bool inherit)
{
	return madvise(
	    memory, memory->size, inherit ? MADV_DOFORK : MADV_DONTFORK);
}

/* What holds of a connection for as long as its turn lasts. */
static bool
turn_is_valid(const struct slot_memory *memory)
{
	const struct transaction *t = &memory->transaction;
	const struct connection *c;

	if (t->phase != PHASE_READ && t->phase != PHASE_RUN &&
	    t->phase != PHASE_WRITE)
		return true;
	c = &memory->connections[t->fd];
	return connection_is_open(c) && t->base <= c->received &&
	    c->received - t->base <= SLOT_BUFFER;
}

bool
slot_is_valid(const struct slot_memory *memory, unsigned fds)
{
	const struct transaction *t = &memory->transaction;

	return memory->magic == SLOT_MAGIC && memory->fds == fds &&
	    memory->size == size_of(fds) && memory->fds_used <= fds &&
	    memory->listeners_used <= SLOT_LISTENERS &&
	    slot_open_connections(memory) <= fds && t->phase < PHASES &&
	    (t->phase == PHASE_IDLE || (t->fd >= 0 && (unsigned)t->fd < fds)) &&
	    turn_is_valid(memory);
}

void
slot_begin(struct slot_memory *memory, enum slot_phase phase, int fd)
{
	store(memory->transaction.fd, fd);
	store(memory->transaction.phase, phase);
}

void
slot_end(struct slot_memory *memory)
{
	store(memory->transaction.phase, PHASE_IDLE);
}

unsigned char *
slot_place(struct slot_memory *memory, int fd)
{
	return (unsigned char *)memory + places_offset(memory->fds) +
	    (size_t)fd * CONNECTION_PLACE;
}

void
slot_release_place(struct slot_memory *memory, int fd)
{
	/* Punches a hole into the shared mapping; MADV_DONTNEED would only
	 * drop our view of it. Where it fails the memory stays, no more. */
	madvise(slot_place(memory, fd), CONNECTION_PLACE, MADV_REMOVE);
	memory->connections[fd].place_used = false;
}

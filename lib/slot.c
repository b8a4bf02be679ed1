#include "slot.h"

#include <sys/mman.h>

enum { PAGE = 4096 };

/* The places lie behind the table, on a page of their own. */
static size_t
places_offset(unsigned fds)
{
	size_t end = sizeof(struct slot_memory) +
	    (size_t)fds * sizeof(struct connection);

	return (end + PAGE - 1) / PAGE * PAGE;
}

struct slot_memory *
slot_map(unsigned fds)
{
	size_t size = places_offset(fds) + (size_t)fds * CONNECTION_PLACE;
	struct slot_memory *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* The other connections' bytes do not belong into a core dump. A
	 * failure leaves only the dump larger. */
	madvise(memory, size, MADV_DONTDUMP);
	memory->size = size;
	memory->fds = fds;
	if (slot_inherit(memory, false) < 0) {
		slot_unmap(memory);
		return NULL;
	}
	return memory;
}

void
slot_unmap(struct slot_memory *memory)
{
	munmap(memory, memory->size);
}

int
slot_inherit(struct slot_memory *memory, bool inherit)
{
	return madvise(
	    memory, memory->size, inherit ? MADV_DOFORK : MADV_DONTFORK);
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

#include "lib/worker/tidy.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/base/close.h"
#include "lib/worker/intake.h"

/* A death in between leaves `loader` 0: then nothing is closed. */
void
tidy_note(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	unsigned char *noted = slot_noted(memory);

	store(memory->loader, 0);
	for (unsigned fd = 0; fd < memory->fds; fd++)
		if (fcntl((int)fd, F_GETFD) >= 0)
			noted[fd / 8] |= (unsigned char)(1u << fd % 8);
		else
			noted[fd / 8] &= (unsigned char)~(1u << fd % 8);
	loop->loader = loop->pid;
	store(memory->loader, loop->loader);
}

void
tidy_forget(struct loop *loop)
{
	if (loop->memory->loader == loop->loader)
		store(loop->memory->loader, 0);
}

static bool
is_to_stay(struct loop *loop, unsigned fd)
{
	return slot_noted(loop->memory)[fd / 8] & (1u << fd % 8) ||
	    intake_knows(loop, (int)fd);
}

/* In as few calls as there are gaps between those that stay. */
void
tidy_after(struct loop *loop, int32_t pid)
{
	struct slot_memory *memory = loop->memory;
	unsigned first = STDERR_FILENO + 1;

	if (memory->loader != pid)
		return;
	for (unsigned fd = first; fd <= memory->fds; fd++) {
		if (fd < memory->fds && !is_to_stay(loop, fd))
			continue;
		if (fd > first)
			close_between(first, fd - 1);
		first = fd + 1;
	}
	store(memory->loader, 0);
}

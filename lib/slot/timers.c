#include "lib/slot/timers.h"

#include "lib/base/clock.h"

enum { GROUP = 16, LEVELS = 8 /* 16 to the 8th covers any descriptor */ };

/* The bounds of one level, from the groups of connections up to the root. */
struct level {
	uint64_t *bounds;
	unsigned count;
};

struct tree {
	struct level levels[LEVELS];
	unsigned height;
};

static struct tree
tree_of(struct slot_memory *memory)
{
	struct tree tree = { .height = 0 };
	uint64_t *next = slot_timer_bounds(memory);
	unsigned count = memory->fds;

	do {
		struct level *level = &tree.levels[tree.height++];

		count = (count + GROUP - 1) / GROUP;
		level->count = count;
		level->bounds = count > 1 ? next : &memory->timer_ms;
		next += count;
	} while (count > 1);
	return tree;
}

static void
lower(uint64_t *bound, uint64_t due_ms)
{
	if (*bound == 0 || due_ms < *bound)
		store(*bound, due_ms);
}

void
timers_note(struct slot_memory *memory, int fd, uint64_t due_ms)
{
	unsigned path[LEVELS], index = (unsigned)fd;
	struct tree tree;

	if (due_ms == 0)
		return;
	tree = tree_of(memory);
	for (unsigned i = 0; i < tree.height; i++)
		path[i] = index /= GROUP;
	for (unsigned i = tree.height; i-- > 0;)
		lower(&tree.levels[i].bounds[path[i]], due_ms);
}

/* A timer that is due counts only where it can be served. */
static bool
counts(const struct slot_memory *memory, unsigned fd, uint64_t now_ms)
{
	const struct connection *c = &memory->connections[fd];

	if (c->timer_ms == 0 || !connection_is_here(c) || c->lingering)
		return false;
	return c->timer_ms > now_ms || connection_pending(c) == 0;
}

/* The connection of that group whose timer is the first, or -1. */
static int
first_of_group(const struct slot_memory *memory, unsigned group, uint64_t now)
{
	const struct connection *connections = memory->connections;
	int first = -1;

	for (unsigned fd = group * GROUP;
	     fd < (group + 1) * GROUP && fd < memory->fds_used; fd++)
		if (counts(memory, fd, now) &&
		    (first < 0 ||
			connections[fd].timer_ms < connections[first].timer_ms))
			first = (int)fd;
	return first;
}

/* Of the children of a group at LEVEL, the one with the first bound. */
static unsigned
first_child(const struct level *level, unsigned group)
{
	unsigned first = group * GROUP;

	for (unsigned i = first; i < (group + 1) * GROUP && i < level->count;
	     i++)
		if (level->bounds[i] != 0 &&
		    (level->bounds[first] == 0 ||
			level->bounds[i] < level->bounds[first]))
			first = i;
	return first;
}

/* Nothing in GROUP is due: its bound becomes what it is, and so do those above
 * it. */
static void
raise(const struct tree *tree, unsigned group, uint64_t bound)
{
	store(tree->levels[0].bounds[group], bound);
	for (unsigned i = 1; i < tree->height; i++) {
		const struct level *below = &tree->levels[i - 1];

		group /= GROUP;
		bound = below->bounds[first_child(below, group)];
		store(tree->levels[i].bounds[group], bound);
	}
}

int
timers_due(struct slot_memory *memory, uint64_t now_ms)
{
	struct tree tree;

	if (memory->timer_ms == 0 || memory->timer_ms > now_ms)
		return -1;
	tree = tree_of(memory);
	while (memory->timer_ms != 0 && memory->timer_ms <= now_ms) {
		unsigned group = 0;
		uint64_t due_ms = 0;
		int fd;

		for (unsigned i = tree.height - 1; i-- > 0;)
			group = first_child(&tree.levels[i], group);
		fd = first_of_group(memory, group, now_ms);
		if (fd >= 0)
			due_ms = memory->connections[fd].timer_ms;
		if (fd >= 0 && due_ms <= now_ms)
			return fd;
		raise(&tree, group, due_ms);
	}
	return -1;
}

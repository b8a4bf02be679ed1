#include "lib/slot/parcel.h"

#include <string.h>

#include "lib/slot/hold.h"

/* Counters never come near their end, where they would be less than what they
 * have passed. */
static bool
are_counters(uint64_t done, uint64_t all, size_t most)
{
	return done <= all && all <= UINT64_MAX / 2 && all - done <= most;
}

/* As long as a rest has no call due to it a read may go behind it. */
static size_t
most_rest(const struct connection *c)
{
	const unsigned no_read =
	    CONNECTION_AGAIN | CONNECTION_FINISHED | CONNECTION_ABORTED;

	return c->flags & no_read ? CONNECTION_INPUT : PREFORKD_INPUT_MAX;
}

bool
parcel_size(const struct parcel_label *label, size_t *size)
{
	const struct connection *c = &label->connection;
	const struct particulars *p = &label->particulars;

	if (!are_counters(c->consumed, c->received, most_rest(c)) ||
	    !are_counters(c->sent, c->committed, CONNECTION_ANSWER) ||
	    p->state_size > PREFORKD_STATE_MAX || p->limit > PREFORKD_INPUT_MAX)
		return false;
	*size = (size_t)(connection_rest(c) + connection_pending(c)) +
	    p->state_size;
	return true;
}

static uint64_t
shifted(uint64_t time_ms, uint64_t by_ms)
{
	return time_ms == 0 ? 0 : time_ms + by_ms;
}

/* Each slot has a clock of its own; in a label times are clock_ms(), which is
 * the vigil's time and what that has missed. */
static void
shift_times(struct parcel_label *label, uint64_t by_ms)
{
	struct connection *c = &label->connection;
	struct particulars *p = &label->particulars;

	c->timer_ms = shifted(c->timer_ms, by_ms);
	c->progress_ms = shifted(c->progress_ms, by_ms);
	p->opened_ms = shifted(p->opened_ms, by_ms);
	p->owed_ms = shifted(p->owed_ms, by_ms);
}

struct parcel_label
parcel_pack(struct slot_memory *memory, int fd)
{
	struct parcel_label label = { memory->connections[fd],
		*slot_particulars(memory, fd) };
	const struct connection *c = &label.connection;
	uint32_t state = label.particulars.state_size;
	unsigned char *to = memory->parcel;

	connection_copy_rest(c, slot_place(memory, fd), to);
	to += connection_rest(c);
	connection_copy_pending(c, slot_place(memory, fd), to);
	to += connection_pending(c);
	memcpy(to, slot_state(memory, fd, state), state);
	label.connection.flags &= (uint16_t)~CONNECTION_LEAVING;
	shift_times(&label, memory->vigil.missed_ms);
	return label;
}

static void
unpack_place(struct slot_memory *memory, int fd, const unsigned char *rest)
{
	struct connection *c = &memory->connections[fd];
	const unsigned char *pending = rest + connection_rest(c);

	c->place_used = false;
	hold_begins(memory, fd, c->progress_ms);
	if (connection_rest(c) > 0)
		hold_rest(memory, fd, rest);
	if (connection_pending(c) > 0)
		hold_answer(memory, fd, pending, (size_t)connection_pending(c));
	if (c->place_used)
		store(memory->sweep_wanted, 1);
}

void
parcel_unpack(
    struct slot_memory *memory, int fd, const struct parcel_label *packed)
{
	struct parcel_label label = *packed;
	struct connection *c = &memory->connections[fd];
	struct particulars *p = slot_particulars(memory, fd);
	uint32_t state = label.particulars.state_size;
	size_t size;

	if (!parcel_size(&label, &size))
		return; /* see parcel.h */
	shift_times(&label, -memory->vigil.missed_ms);
	/* At no moment is the entry open: a death may be in between. */
	label.connection.generation = c->generation;
	label.connection.flags &= (uint16_t)~CONNECTION_LEAVING;
	*c = label.connection;
	*p = label.particulars;
	p->state_paged = false;
	unpack_place(memory, fd, memory->parcel);
	memcpy(hold_state(memory, fd, state), memory->parcel + size - state,
	    state);
}

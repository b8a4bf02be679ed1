#include "lib/slot/slot.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/memfd.h"

/* Behind the table of connections lie, each on a page of its own: */
struct areas {
	size_t particulars;
	size_t timer_bounds;
	size_t holds;
	size_t states;
	size_t places;
	size_t paged_states;
	size_t end;
};

static size_t
next_page(size_t offset)
{
	return (offset + SLOT_PAGE - 1) / SLOT_PAGE * SLOT_PAGE;
}

/* By FDS, which is never taken from the memory itself: that may say anything.
 */
static struct areas
areas_of(unsigned fds)
{
	struct areas a;

	a.particulars = next_page(sizeof(struct slot_memory) +
	    (size_t)fds * sizeof(struct connection));
	a.timer_bounds =
	    next_page(a.particulars + (size_t)fds * sizeof(struct particulars));
	/* A sixteenth, and a sixteenth of that, and so on: timers.c. */
	a.holds = next_page(
	    a.timer_bounds + (size_t)(fds / 8 + 8) * sizeof(uint64_t));
	a.states = next_page(a.holds + (size_t)fds * sizeof(struct hold));
	a.places = next_page(a.states + (size_t)fds * SLOT_STATE);
	a.paged_states = a.places + (size_t)fds * CONNECTION_PLACE;
	a.end = a.paged_states + (size_t)fds * PREFORKD_STATE_MAX;
	return a;
}

static size_t
size_of(unsigned fds)
{
	return areas_of(fds).end;
}

static bool
raise_fences(struct slot_memory *memory)
{
	return mprotect(memory->input_fence, SLOT_PAGE, PROT_NONE) == 0 &&
	    mprotect(memory->answer_fence, SLOT_PAGE, PROT_NONE) == 0 &&
	    mprotect(memory->state_fence, SLOT_PAGE, PROT_NONE) == 0;
}

/* Maps memory for FDS descriptors: of its own, or of a file. */
static struct slot_memory *
map(unsigned fds, int flags, int file)
{
	size_t size = size_of(fds);
	struct slot_memory *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE | flags, file, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* The other connections' bytes do not belong into a core dump. A
	 * failure leaves only the dump larger. */
	madvise(memory, size, MADV_DONTDUMP);
	if (!raise_fences(memory) || slot_inherit(memory, fds, false) < 0) {
		slot_unmap(memory, fds);
		return NULL;
	}
	return memory;
}

static struct slot_memory *
fill_in(struct slot_memory *memory, unsigned fds)
{
	if (!memory)
		return NULL;
	memory->size = size_of(fds);
	memory->fds = fds;
	memory->magic = SLOT_MAGIC;
	return memory;
}

struct slot_memory *
slot_map(unsigned fds)
{
	return fill_in(map(fds, MAP_ANONYMOUS, -1), fds);
}

struct slot_memory *
slot_map_file(unsigned fds, int *file)
{
	struct slot_memory *memory = NULL;

	*file = memfd_of_size("preforkd-slot", (off_t)size_of(fds));
	if (*file < 0)
		return NULL;
	memory = map(fds, 0, *file);
	if (!memory)
		close(*file);
	return fill_in(memory, fds);
}

struct slot_memory *
slot_attach(unsigned fds, int file)
{
	return map(fds, 0, file);
}

void
slot_unmap(struct slot_memory *memory, unsigned fds)
{
	munmap(memory, size_of(fds));
}

int
slot_inherit(struct slot_memory *memory, unsigned fds, bool inherit)
{
	return madvise(
	    memory, size_of(fds), inherit ? MADV_DOFORK : MADV_DONTFORK);
}

/* What holds of a connection for as long as its turn lasts. */
static bool
turn_is_valid(const struct slot_memory *memory, const struct transaction *t)
{
	struct connection c;

	if (t->phase < PHASE_READ || t->phase > PHASE_WRITE)
		return true;
	c = memory->connections[t->fd];
	return connection_is_open(&c) && t->call < CALLS &&
	    t->base <= c.consumed && c.consumed <= c.received &&
	    c.received - t->base <= CONNECTION_INPUT && t->answer <= c.sent &&
	    c.sent <= c.committed &&
	    c.committed - t->answer <= CONNECTION_ANSWER;
}

struct transaction
slot_transaction(const struct slot_memory *memory)
{
	struct transaction copy = memory->transaction;

	/* So the compiler cannot go back to the original for a field. */
	__asm__ volatile("" : "+m"(copy) : : "memory");
	return copy;
}

bool
slot_is_valid(
    const struct slot_memory *memory, unsigned fds, const struct transaction *t)
{
	return memory->magic == SLOT_MAGIC && memory->fds == fds &&
	    memory->size == size_of(fds) && memory->fds_used <= fds &&
	    memory->listeners_used <= SLOT_LISTENERS &&
	    memory->give.count <= MOVE_BATCH &&
	    memory->take.step < TAKE_STEPS &&
	    memory->counters.accepted - memory->counters.closed <= fds &&
	    t->phase < PHASES && t->reason < CLOSE_REASONS &&
	    t->after < PHASES &&
	    (t->phase == PHASE_IDLE || (t->fd >= 0 && (unsigned)t->fd < fds)) &&
	    turn_is_valid(memory, t);
}

/* Serial and process in one word, as one store has to tell both. */
enum { CLAIM_PID_BITS = 32 };

bool
slot_claim_takeover(struct slot_memory *memory, uint64_t serial, int32_t pid)
{
	uint64_t last = memory->claim;
	uint64_t claim = serial << CLAIM_PID_BITS | (uint32_t)pid;

	return serial > last >> CLAIM_PID_BITS &&
	    __atomic_compare_exchange_n(&memory->claim, &last, claim, false,
		__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

int32_t
slot_taker(const struct slot_memory *memory, uint64_t serial)
{
	uint64_t claim = memory->claim;

	return claim >> CLAIM_PID_BITS == serial ? (int32_t)(uint32_t)claim : 0;
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

static unsigned char *
area(struct slot_memory *memory, size_t offset)
{
	return (unsigned char *)memory + offset;
}

size_t
slot_particulars_offset(unsigned fds, int fd)
{
	return areas_of(fds).particulars +
	    (size_t)fd * sizeof(struct particulars);
}

struct particulars *
slot_particulars(struct slot_memory *memory, int fd)
{
	void *at = area(memory, slot_particulars_offset(memory->fds, fd));

	return at;
}

uint64_t *
slot_timer_bounds(struct slot_memory *memory)
{
	void *at = area(memory, areas_of(memory->fds).timer_bounds);

	return at;
}

unsigned char *
slot_place(struct slot_memory *memory, int fd)
{
	return area(memory,
	    areas_of(memory->fds).places + (size_t)fd * CONNECTION_PLACE);
}

struct hold *
slot_hold(struct slot_memory *memory, int fd)
{
	void *at = area(memory,
	    areas_of(memory->fds).holds + (size_t)fd * sizeof(struct hold));

	return at;
}

unsigned char *
slot_state(struct slot_memory *memory, int fd, uint32_t size)
{
	struct areas a = areas_of(memory->fds);

	return size <= SLOT_STATE
	    ? area(memory, a.states + (size_t)fd * SLOT_STATE)
	    : area(memory, a.paged_states + (size_t)fd * PREFORKD_STATE_MAX);
}

unsigned char *
slot_state_buffer(struct slot_memory *memory, uint32_t size)
{
	const size_t alignment = _Alignof(max_align_t);
	size_t room = (size + alignment - 1) / alignment * alignment;

	return memory->state + sizeof memory->state - room;
}

void
slot_add_counters(const struct slot_memory *memory, struct slot_counters *sum)
{
	sum->accepted += memory->counters.accepted;
	sum->moved += memory->counters.moved;
	sum->closed += memory->counters.closed;
	sum->received += memory->counters.received;
	sum->sent += memory->counters.sent;
	sum->faults += memory->counters.faults;
}

static void
add_count(struct slot_count sums[SLOT_COUNTS], const struct slot_count *count)
{
	unsigned i = 0;

	while (i < SLOT_COUNTS && *sums[i].name &&
	    strcmp(sums[i].name, count->name) != 0)
		i++;
	if (i == SLOT_COUNTS)
		return;
	strcpy(sums[i].name, count->name);
	sums[i].value += count->value;
}

/* A name comes from a process that talks to strangers: it may have no end. */
void
slot_add_counts(
    const struct slot_memory *memory, struct slot_count sums[SLOT_COUNTS])
{
	for (unsigned i = 0; i < SLOT_COUNTS && *memory->counts[i].name; i++) {
		struct slot_count count = memory->counts[i];

		count.name[sizeof count.name - 1] = '\0';
		add_count(sums, &count);
	}
}

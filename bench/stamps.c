/*
 * stamps: linked with --wrap for three functions, makes of preforkd a server
 * that logs when each batch of a move (lib/slot/move.h) is given and taken:
 *
 *     gave move N batch N count N from N to N cpu N
 *     took move N batch N count N from N to N cpu N
 *
 * in nanoseconds: of a clock that all processes share, and of the processor
 * time that giving or taking it had. A connection of the batch stands still
 * from the one's beginning to the other's end. That span has in it what the two
 * had to wait for a CPU and whom they served meanwhile; the sum of their
 * processor times has not, and is what the move itself took.
 */
#include <inttypes.h>
#include <time.h>

#include "lib/base/log.h"
#include "lib/worker/give.h"
#include "lib/worker/take.h"

/* The linker gives them these names. */
/* NOLINTBEGIN(cert-dcl51-cpp) */
void __real_give_hear(struct loop *, struct giving *);
void __wrap_give_hear(struct loop *, struct giving *);
uint64_t __real_give_next(struct loop *, struct giving *, bool stay);
uint64_t __wrap_give_next(struct loop *, struct giving *, bool stay);
bool __real_take_hear(struct loop *, struct taking *);
bool __wrap_take_hear(struct loop *, struct taking *);
/* NOLINTEND(cert-dcl51-cpp) */

/* What is measured of a batch. */
struct work {
	uint64_t from_ns;  /* 0: it has not begun */
	uint64_t begun_ns; /* processor time at the beginning of this part */
	uint64_t cpu_ns;   /* of all parts */
};

static uint64_t
read_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void
begin(struct work *work)
{
	if (work->from_ns == 0)
		work->from_ns = read_ns(CLOCK_MONOTONIC);
	work->begun_ns = read_ns(CLOCK_THREAD_CPUTIME_ID);
}

static void
end(struct work *work)
{
	work->cpu_ns += read_ns(CLOCK_THREAD_CPUTIME_ID) - work->begun_ns;
}

static void
say(const char *what, uint64_t move, uint64_t batch, uint64_t count,
    const struct work *work)
{
	log_info("%s move %" PRIu64 " batch %" PRIu64 " count %" PRIu64
		 " from %" PRIu64 " to %" PRIu64 " cpu %" PRIu64,
	    what, move, batch, count, work->from_ns, read_ns(CLOCK_MONOTONIC),
	    work->cpu_ns);
}

/* ---- the giver ----------------------------------------------------------- */

static struct work given; /* of the batch that comes next */

static bool
is_on_its_way(const struct loop *loop, const struct giving *giving)
{
	return loop->memory->give.count > 0 && giving->sent;
}

/* The last batch is let go, and meanwhile nobody is served who may be in the
 * next. */
void
__wrap_give_hear(struct loop *loop, struct giving *giving)
{
	begin(&given);
	__real_give_hear(loop, giving);
	end(&given);
}

/* A batch that finds no room for its message is tried again, and stands still
 * from the first time on. */
uint64_t
__wrap_give_next(struct loop *loop, struct giving *giving, bool stay)
{
	const struct slot_give *give = &loop->memory->give;
	const bool before = is_on_its_way(loop, giving);
	uint64_t over;

	if (give->end.fd <= 0 || before)
		return __real_give_next(loop, giving, stay);
	begin(&given);
	over = __real_give_next(loop, giving, stay);
	end(&given);
	if (is_on_its_way(loop, giving))
		say("gave", give->end.serial, give->answered + 1, give->count,
		    &given);
	if (give->count == 0 || giving->sent)
		given = (struct work) { 0 };
	return over;
}

/* ---- the taker ----------------------------------------------------------- */

bool
__wrap_take_hear(struct loop *loop, struct taking *taking)
{
	const struct slot_take *take = &loop->memory->take;
	const uint64_t before = take->decided;
	struct work taken = { 0 };
	bool more;

	begin(&taken);
	more = __real_take_hear(loop, taking);
	end(&taken);
	if (take->decided != before && take->decided % 2 == 1)
		say("took", take->end.serial, take->decided / 2,
		    take->batch.count, &taken);
	return more;
}

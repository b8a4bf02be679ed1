#include "lib/master/moves.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/log.h"
#include "lib/base/memfd.h"
#include "lib/slot/move.h"

enum {
	AGAIN_MS = 1000,       /* until what nobody could take is given again */
	STAY_MS = 5000,	       /* until it is told that none of them goes, */
	STAY_AGAIN_MS = 60000, /* and told again */
};

struct move {
	uint64_t serial;
	struct pair *giver; /* NULL: it has done its part, or is dead */
	struct pair *taker;
	bool all;	/* those in the midst of an answer, too */
	uint64_t keep;	/* so many stay with the giver */
	uint64_t had;	/* so many it had before */
	uint64_t seen;	/* so many it had at the last look */
	int give, take; /* the ends of its socket: our duplicates, as is */
	int parcels;	/* the memory */
};

/* ---- what a move is made of ---------------------------------------------- */

static void
close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void
close_duplicates(struct move *move)
{
	close_one(&move->give);
	close_one(&move->take);
	close_one(&move->parcels);
}

/* Returns NULL with errno. */
static struct move *
make_move(void)
{
	struct move *move = calloc(1, sizeof *move);
	int ends[2] = { -1, -1 };

	if (!move)
		return NULL;
	socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);
	move->give = ends[0];
	move->take = ends[1];
	move->parcels = memfd_of_size("preforkd-move", MOVE_PARCELS_BYTES);
	if (move->give >= 0 && move->parcels >= 0)
		return move;
	close_duplicates(move);
	free(move);
	return NULL;
}

/* ---- orders -------------------------------------------------------------- */

static void
order(struct pair *pair, const struct move *move, enum control_type type,
    uint64_t value, int fd)
{
	const struct control_message message = { .type = type,
		.serial = move->serial,
		.value = value,
		.all = move->all };

	pair_send(pair, &message, fd);
}

/* Of a move that the giver has done with there is nothing to send along: the
 * taker says that it is over, or that it does not know of it. */
void
moves_brief(struct pair *pair)
{
	const struct move *move;

	if ((move = pair->taking)) {
		order(pair, move, CONTROL_PARCELS, 1, move->parcels);
		order(pair, move, CONTROL_TAKE, 0, move->take);
	}
	if ((move = pair->giving)) {
		order(pair, move, CONTROL_PARCELS, 0, move->parcels);
		order(pair, move, CONTROL_GIVE, move->keep, move->give);
	}
}

/* ---- a move's beginning and end ------------------------------------------ */

/* An answer in parts ends as it began, by the code and the files of before the
 * reload; but not one that takes for ever. */
static bool
may_take_all(const struct crew *crew, const struct pair *giver)
{
	return !giver->old ||
	    crew->now_ms >= giver->old_ms + crew->config.drain_timeout_ms;
}

static bool
begin(struct crew *crew, struct pair *giver, struct pair *taker, uint64_t count)
{
	struct move *move = make_move();

	if (!move)
		return false;
	move->serial = ++crew->last_move;
	move->giver = giver;
	move->all = may_take_all(crew, giver);
	move->taker = taker;
	move->had = slot_open_connections(giver->memory, giver->fds);
	move->seen = move->had;
	move->keep = move->had - count;
	taker->taking = giver->giving = move;
	giver->stay.cause = NULL;
	moves_brief(taker);
	moves_brief(giver);
	return true;
}

/* Our duplicates close: so each end hears it if the other has gone. The taker
 * has still to read what is on its way, and says when it has. */
static void
end_giving(struct move *move)
{
	move->giver->giving = NULL;
	move->giver = NULL;
	close_duplicates(move);
}

static void
end_taking(struct move *move)
{
	move->taker->taking = NULL;
	if (move->giver)
		end_giving(move);
	free(move);
}

static void
put_off(struct crew *crew, struct pair *giver, const char *cause)
{
	giver->stay.cause = cause;
	giver->give_ms = crew->now_ms + AGAIN_MS;
	giver->deadline_ms = 0;
	giver->gave = true;
}

bool
moves_go_on(const struct crew *crew, struct pair *giver,
    bool (*is_busy)(const struct crew *, const struct pair *))
{
	struct move *move = giver->giving;
	uint64_t open = slot_open_connections(giver->memory, giver->fds);

	if (!move)
		return false;
	if (open < move->seen) {
		move->seen = open;
		return true;
	}
	return is_busy(crew, move->taker);
}

static void
giver_is_done(struct crew *crew, struct pair *giver)
{
	if (slot_open_connections(giver->memory, giver->fds) >=
	    giver->giving->had)
		put_off(crew, giver, NULL);
	end_giving(giver->giving);
}

/* Before the giver is: it lacks something. */
static void
taker_is_done(struct crew *crew, struct pair *taker)
{
	if (taker->taking->giver)
		put_off(crew, taker->taking->giver, NULL);
	end_taking(taker->taking);
}

void
moves_over(struct crew *crew, struct pair *pair, uint64_t serial)
{
	if (pair->giving && pair->giving->serial == serial)
		giver_is_done(crew, pair);
	else if (pair->taking && pair->taking->serial == serial)
		taker_is_done(crew, pair);
}

void
moves_forget(struct crew *crew, struct pair *pair)
{
	if (pair->giving)
		end_giving(pair->giving);
	if (pair->taking)
		taker_is_done(crew, pair);
}

/* ---- a slot that is to go ------------------------------------------------ */

static bool
can_take(
    const struct crew *crew, const struct pair *pair, const struct pair *giver)
{
	return pair && pair != giver && !pair->taking &&
	    crew_can_take(crew, pair);
}

/* Where a slot has a new pair since a reload, that one takes them all. */
static struct pair *
find_successor(const struct crew *crew, const struct pair *giver)
{
	struct pair *pair = crew->slots[giver->slot].pair;

	return giver->old && can_take(crew, pair, giver) ? pair : NULL;
}

static struct pair *
find_taker(const struct crew *crew, const struct pair *giver, unsigned *takers)
{
	struct pair *best = NULL;

	*takers = 1;
	best = find_successor(crew, giver);
	if (best)
		return best;
	*takers = 0;
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (!can_take(crew, pair, giver))
			continue;
		best = crew_less_loaded(best, pair);
		++*takers;
	}
	return best;
}

_Static_assert(MOVE_PARCELS_BYTES == 2 << 20, "as is said below");

/* With what remedies it. */
static const char *
cause_of(int error)
{
	switch (error) {
	case EMFILE:
		return "too many open files: raise LimitNOFILE= or ulimit -Hn";
	case EFBIG:
		return "a file of 2 MiB is too large: raise LimitFSIZE= or "
		       "ulimit -f";
	default:
		return strerror(error);
	}
}

/* Each that can take gets the same, one after the other. */
static void
give(struct crew *crew, struct pair *giver)
{
	uint64_t open = slot_open_connections(giver->memory, giver->fds);
	uint64_t share, room;
	unsigned takers;
	struct pair *taker = find_taker(crew, giver, &takers);

	giver->give_ms = 0;
	if (open == 0)
		return;
	if (!taker) {
		put_off(crew, giver,
		    "no other worker has room: raise max-connections");
		return;
	}
	share = (open + takers - 1) / takers;
	room = crew_room(crew, taker);
	if (begin(crew, giver, taker, share < room ? share : room))
		giver->deadline_ms = crew->now_ms + CREW_START_MS;
	else
		put_off(crew, giver, cause_of(errno));
}

/* ---- what stays ---------------------------------------------------------- */

/* As far as its memory can be believed. */
static unsigned
count_staying(const struct crew *crew, const struct pair *giver)
{
	const struct slot_memory *memory = giver->memory;
	const bool all = may_take_all(crew, giver);
	unsigned count = 0;

	for (unsigned fd = 0; fd < giver->fds && fd < memory->fds_used; fd++) {
		const struct connection *c = &memory->connections[fd];

		count += connection_is_open(c) &&
		    (all || !(c->flags & CONNECTION_MORE));
	}
	return count;
}

static void
warn_of_staying(const struct pair *giver, unsigned count)
{
	log_warning("worker %u cannot give %u connection%s to other workers: "
		    "%s; they stay where they are, served%s",
	    giver->slot, count, log_plural(count),
	    giver->stay.cause
		? giver->stay.cause
		: "a worker is busy, or lacks descriptors or memory",
	    giver->old ? " by the code of before the reload" : "");
}

static void
look(struct crew *crew, struct pair *giver)
{
	struct pair_stay *stay = &giver->stay;
	uint64_t open = slot_open_connections(giver->memory, giver->fds);
	bool none_has_gone = stay->look_ms != 0 && open >= stay->open;
	unsigned staying = none_has_gone ? count_staying(crew, giver) : 0;

	if (staying > 0)
		warn_of_staying(giver, staying);
	stay->open = open;
	stay->look_ms = crew->now_ms + (staying > 0 ? STAY_AGAIN_MS : STAY_MS);
}

void
moves_reconcile(struct crew *crew)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next) {
		if (pair->state != PAIR_RETIRING)
			continue;
		if (!pair->giving && !pair->taking_over &&
		    crew->now_ms >= pair->give_ms)
			give(crew, pair);
		if (crew->now_ms >= pair->stay.look_ms)
			look(crew, pair);
	}
}

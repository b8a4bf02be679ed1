#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/chaos/chaos.h"
#include "tests/common/random.h"

enum {
	SLOW_MS = 100, /* of a take-over, see note_mended */
};

const struct signal_kind signal_kinds[SIGNALS] = {
	[BY_KILL] = { "KILL", SIGKILL },
	[BY_SEGV] = { "SEGV", SIGSEGV },
	[BY_ABRT] = { "ABRT", SIGABRT },
	[BY_TERM] = { "TERM", SIGTERM },
};

static bool
is_mended(const struct crew *crew, unsigned slot)
{
	return crew->have[WORKER][slot] == 1 && crew->have[STANDBY][slot] > 0;
}

/* A slot that has been slow to mend then serves for as long as that took:
 * otherwise a slow machine would do nothing but take over. */
static void
note_mended(struct chaos *c, const struct crew *crew)
{
	int64_t took_ms;

	for (unsigned i = 0; i < SLOTS; i++) {
		if (c->killed_ms[i] == 0 || !is_mended(crew, i))
			continue;
		took_ms = c->now_ms - c->killed_ms[i];
		if (took_ms > c->slowest_ms)
			c->slowest_ms = took_ms;
		if (took_ms > SLOW_MS)
			c->next_ms[i] = c->now_ms + took_ms;
		c->killed_ms[i] = 0;
	}
}

/* Worker and standby, which have one table of descriptors: in the midst of a
 * take-over two of one name do, and then neither is a pair's. Or two loaders,
 * which wait at one socket. */
static bool
are_pair(const struct member *one, const struct member *other)
{
	if (one->role == LOADER || other->role == LOADER)
		return one != other && one->role == other->role &&
		    strcmp(one->socket, other->socket) == 0;
	return one->slot == other->slot && other->role != OTHER &&
	    (one->role == STANDBY) != (other->role == STANDBY) &&
	    shares_files(one->pid, other->pid);
}

/* In the midst of a reload a slot has two pairs. */
static bool
has_mate(const struct chaos *c, const struct crew *crew, const struct member *m)
{
	for (unsigned i = 0; i < crew->count; i++)
		if (!is_marked(c, crew->members[i].pid) &&
		    are_pair(m, &crew->members[i]))
			return true;
	return false;
}

static bool
may_die(const struct chaos *c, const struct crew *crew, const struct member *m)
{
	static const unsigned whom[ROLES] = { [WORKER] = WORKERS,
		[LEAVING] = WORKERS,
		[STANDBY] = STANDBYS,
		[LOADER] = LOADERS };

	return (c->opt.whom & whom[m->role]) && !is_marked(c, m->pid) &&
	    c->now_ms >= c->next_ms[m->slot] && has_mate(c, crew, m);
}

static void
note_kill(struct chaos *c, const struct member *m)
{
	c->kills[m->role]++;
	if (m->role != LOADER)
		c->killed_ms[m->slot] = c->now_ms;
	if (c->opt.log != NULL)
		dprintf(c->log, "chaos: a signal to %s %u (pid %d)\n",
		    role_names[m->role], m->slot, (int)m->pid);
	c->marked[c->marked_count++ % MARKED] = m->pid;
}

static int
choose_signal(struct chaos *c)
{
	uint64_t i;

	do
		i = random_below(&c->random, SIGNALS);
	while (!c->opt.by[i]);
	return signal_kinds[i].number;
}

static bool
kill_one(struct chaos *c)
{
	struct member *candidates[CREW];
	struct crew crew;
	unsigned count = 0, i;
	int number = choose_signal(c);

	crew_read(c, &crew);
	note_mended(c, &crew);
	for (i = 0; i < crew.count; i++)
		if (may_die(c, &crew, &crew.members[i]))
			candidates[count++] = &crew.members[i];
	if (count == 0)
		return false;
	i = (unsigned)random_below(&c->random, count);
	if (kill(candidates[i]->pid, number) < 0)
		return false;
	if (number == SIGTERM)
		c->kills[OTHER]++; /* is to be ignored */
	else
		note_kill(c, candidates[i]);
	return true;
}

uint64_t
kills_of_all(const struct chaos *c)
{
	return c->kills[OTHER] + c->kills[WORKER] + c->kills[STANDBY] +
	    c->kills[LEAVING] + c->kills[LOADER];
}

/* Does what is due. Where nobody may be killed yet it looks again soon. */
void
act(struct chaos *c)
{
	if (c->opt.whom != 0 && c->now_ms >= c->kill_ms && kill_one(c)) {
		c->kill_ms += (int64_t)c->opt.interval_ms;
		if (c->kill_ms <= c->now_ms) /* what was missed is missed */
			c->kill_ms = c->now_ms + (c->opt.interval_ms > 0);
	}
	if (c->opt.reloads > 0 && c->now_ms >= c->reload_ms) {
		c->reload_ms = c->now_ms + 10000 / (int64_t)c->opt.reloads;
		c->reloads += kill(c->master, SIGHUP) == 0;
	}
}

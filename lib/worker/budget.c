#include "lib/worker/budget.h"

#include <inttypes.h>

#include "lib/base/log.h"
#include "lib/slot/hold.h"
#include "lib/worker/exchange.h"
#include "lib/worker/rank.h"

enum {
	LEAST = 1 << 20, /* bytes: a few connections' places */
	SIXTEENTHS = 16,
};

/* The slot's share, in pages; 0: no bound. */
static uint64_t
share(const struct config *config)
{
	uint64_t bytes = config->memory_bytes / config->workers;

	if (config->memory_bytes == 0)
		return 0;
	return (bytes > LEAST ? bytes : LEAST) / SLOT_PAGE;
}

/* Whom nothing keeps waiting has a large state, and holds it since its last
 * byte. */
static uint64_t
age_ms(const struct loop *loop, int fd)
{
	const struct connection *c = &loop->memory->connections[fd];
	uint64_t since_ms = c->progress_ms;

	if (connection_pending(c) > 0 || connection_rest(c) > 0)
		since_ms = slot_hold(loop->memory, fd)->since_ms;
	return since_ms < loop->now_ms ? loop->now_ms - since_ms : 0;
}

/* Returns the pages that FD holds and would give back if it were closed. */
static uint32_t
held(const struct loop *loop, int fd)
{
	const struct slot_memory *memory = loop->memory;

	if (!connection_is_here(&memory->connections[fd]))
		return 0;
	return hold_pages(loop->memory, fd);
}

/* Gives back what empty places hold. */
static void
give_back(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (held(loop, fd) > 0 &&
		    connection_place_is_spare(
			&memory->connections[fd], loop->now_ms, 0))
			hold_release_place(memory, fd);
}

/* Counts what is held, by ranks, and in all. */
static uint64_t
survey(const struct loop *loop, struct ranking *ranking)
{
	uint64_t sum = 0;

	*ranking = (struct ranking) { { 0 } };
	for (int fd = 0; (unsigned)fd < loop->memory->fds_used; fd++) {
		uint32_t pages = held(loop, fd);

		if (pages == 0)
			continue;
		sum += pages;
		ranking->pages[rank_of(pages, age_ms(loop, fd))] += pages;
	}
	return sum;
}

/* How many of these come depends on the clients. */
static void
tell(struct loop *loop, int fd, uint32_t pages)
{
	struct slot_memory *memory = loop->memory;
	const struct particulars *p = slot_particulars(memory, fd);
	uint64_t withheld;

	if (!quota_take(&memory->budget_logged, loop->now_ms, &withheld))
		return;
	if (withheld > 0)
		log_warning("%" PRIu64 " more connections closed for their "
			    "memory were not logged",
		    withheld);
	log_warning("connection %s: closing it: it has held %u KiB for %" PRIu64
		    " ms, and all that may wait for slow clients is used up: "
		    "raise memory (%" PRIu64 " MiB for %u worker%s)",
	    address_format_peer(&p->peer_ip, p->peer_port).text,
	    pages * (SLOT_PAGE / 1024), age_ms(loop, fd),
	    loop->config->memory_bytes >> 20, loop->config->workers,
	    log_plural(loop->config->workers));
}

/* Closes those of RANK and above until EXCESS pages are free. Returns how many
 * are. */
static uint64_t
close_from(struct loop *loop, unsigned rank, uint64_t excess)
{
	uint64_t freed = 0;

	for (int fd = 0;
	     (unsigned)fd < loop->memory->fds_used && freed < excess; fd++) {
		uint32_t pages = held(loop, fd);

		if (pages == 0 || rank_of(pages, age_ms(loop, fd)) < rank)
			continue;
		tell(loop, fd, pages);
		exchange_close(loop, fd, CLOSE_MEMORY);
		freed += pages;
	}
	return freed;
}

/* Frees EXCESS pages. All above the cut go, and of its own rank some. */
static uint64_t
make_room(struct loop *loop, const struct ranking *ranking, uint64_t excess)
{
	unsigned cut = ranking_cut(ranking, excess);
	uint64_t freed = close_from(loop, cut + 1, excess);

	return freed + close_from(loop, cut, excess - freed);
}

void
budget_keep(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	uint64_t budget = share(loop->config);
	uint64_t step = budget / SIXTEENTHS, most = budget - step, sum;
	struct ranking ranking;

	store(memory->budget, budget);
	if (budget == 0) {
		store(memory->held_look, UINT64_MAX);
		return;
	}
	sum = survey(loop, &ranking);
	if (sum > most) {
		give_back(loop);
		sum = survey(loop, &ranking);
	}
	if (sum > most)
		sum -= make_room(loop, &ranking, sum - (most - step));
	/* Not before what is left is used up; nor for each page near the end.
	 */
	store(memory->held_look,
	    memory->held + (sum + step < most ? most - sum : step));
}

void
budget_renew(struct loop *loop)
{
	if (loop->memory->budget != share(loop->config))
		store(loop->memory->held_look, 0);
}

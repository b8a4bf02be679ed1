#include "lib/master/loading.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/service.h"

bool
loading_can_bear(const struct config *config, const struct generation *g)
{
	return !services_need_loading(config) ||
	    (g && g->state == GENERATION_READY);
}

struct generation *
loading_at(const struct crew *crew, int fd)
{
	struct generation *g = crew->generations;

	while (g && g->control != fd)
		g = g->next;
	return g;
}

struct generation *
loading_of(const struct crew *crew, pid_t pid)
{
	struct generation *g = crew->generations;

	while (g && !generation_has(g, pid))
		g = g->next;
	return g;
}

/* ---- births -------------------------------------------------------------- */

/* Returns NULL with errno. */
static struct generation *
begin(struct crew *crew, const struct config *config)
{
	struct generation *g =
	    generation_fork(config, crew->loader, crew->now_ms);
	struct epoll_event event = { .events = EPOLLIN };
	int error;

	if (!g)
		return NULL;
	g->next = crew->generations;
	crew->generations = g;
	event.data.fd = g->control;
	if (epoll_ctl(crew->epoll, EPOLL_CTL_ADD, g->control, &event) == 0)
		return g;
	error = errno;
	generation_kill(g); /* nobody refers to it: it is freed when it ends */
	errno = error;
	return NULL;
}

/* ---- what is in force --------------------------------------------------- */

static bool
has_served(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].proven)
			return true;
	return false;
}

/* Only if code of a service fails by itself is the failure for good: a kill, or
 * a wait that was in vain, can be of the moment. */
static bool
is_permanent(const struct generation *g)
{
	return g->useless || (*g->doing && !g->killed);
}

static void
give_up(struct crew *crew, const struct generation *g)
{
	const unsigned tries = crew->loading.early;

	crew->exit_status = is_permanent(g) ? CONTROL_EXIT_PERMANENT : 1;
	if (g->useless)
		snprintf(crew->given_up, sizeof crew->given_up, "%s", g->cause);
	else
		snprintf(crew->given_up, sizeof crew->given_up,
		    "loader %s; given up after %u tr%s", g->end, tries,
		    tries == 1 ? "y" : "ies");
}

/* A server that has served before does not end for it. */
static void
bury_failed(struct crew *crew, struct generation *g)
{
	uint64_t delay_ms = restart_delay_ms(&crew->loading, 0);

	crew->load_ms = crew->now_ms + delay_ms;
	if (!has_served(crew) &&
	    (g->useless || g->overdue || restart_is_hopeless(&crew->loading)))
		give_up(crew, g);
	else
		log_warning("loader (pid %d) %s; restarting in %" PRIu64 " ms",
		    (int)g->first, g->end, delay_ms);
}

/* What has been born of it serves on. */
static void
bury_lost(struct crew *crew, const struct generation *g)
{
	crew->load_ms = crew->now_ms +
	    restart_delay_ms(&crew->loading, crew->now_ms - g->began_ms);
	log_error("loader and its spare died together: workers to come have "
		  "their services as they are read now; HUP makes all alike");
}

/* Orders to bear that nobody has read keep the slot's sockets open, if a
 * process of a service holds the loader's. */
static void
give_up_unborn(struct crew *crew)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next)
		if (pair->generation && pair->worker == 0 &&
		    pair->state == PAIR_STARTING && !pair->given_up &&
		    pair->generation->state > GENERATION_READY)
			crew_give_up(pair);
}

static void
reconcile_current(struct crew *crew)
{
	struct generation *g = crew->generation;

	if (g && g->state == GENERATION_FAILED)
		bury_failed(crew, g);
	if (g && g->state == GENERATION_LOST)
		bury_lost(crew, g);
	if (g && g->state > GENERATION_READY)
		crew->generation = NULL;
	if (crew->generation || *crew->given_up || crew->ending ||
	    crew->now_ms < crew->load_ms ||
	    !services_need_loading(&crew->config))
		return;
	crew->generation = begin(crew, &crew->config);
	if (crew->generation)
		return;
	crew->load_ms = crew->now_ms + restart_failed_ms(&crew->loading);
	log_error("cannot start the loader: %s", strerror(errno));
}

/* ---- what is not needed ------------------------------------------------- */

static bool
has_pairs(const struct crew *crew, const struct generation *g)
{
	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		if (pair->generation == g)
			return true;
	return false;
}

static bool
is_needed(const struct crew *crew, const struct generation *g)
{
	return has_pairs(crew, g) || g == crew->next_generation ||
	    (g == crew->generation && !(crew->ending && crew_is_gone(crew)));
}

static void
sweep(struct crew *crew)
{
	struct generation **link = &crew->generations, *g;

	while ((g = *link)) {
		if (is_needed(crew, g)) {
			link = &g->next;
			continue;
		}
		if (g == crew->generation)
			crew->generation = NULL;
		if (g->state <= GENERATION_READY)
			generation_stop(g, crew->now_ms);
		if (generation_is_gone(g)) {
			*link = g->next;
			generation_free(g);
		} else {
			link = &g->next;
		}
	}
}

void
loading_reconcile(struct crew *crew)
{
	give_up_unborn(crew);
	reconcile_current(crew);
	sweep(crew);
}

/* ---- a reload's --------------------------------------------------------- */

/* A kill from outside is no fault of the new configuration: another is made. */
static void
bury_next(struct crew *crew, const struct generation *g)
{
	if (g->state == GENERATION_LOST)
		snprintf(crew->failure, sizeof crew->failure,
		    "loader and its spare died together");
	else if (g->useless)
		snprintf(crew->failure, sizeof crew->failure, "%s", g->cause);
	else if (g->killed && !g->overdue)
		backoff_begin(&crew->next_loading, crew->now_ms);
	else
		snprintf(
		    crew->failure, sizeof crew->failure, "loader %s", g->end);
	crew->next_generation = NULL;
}

bool
loading_next(struct crew *crew, const struct config *config)
{
	struct generation *g = crew->next_generation;

	if (g && g->state > GENERATION_READY)
		bury_next(crew, g);
	if (crew->next_generation || !services_need_loading(config) ||
	    *crew->failure || crew->now_ms < crew->next_loading.due_ms)
		return loading_can_bear(config, crew->next_generation);
	crew->next_generation = begin(crew, config);
	if (!crew->next_generation)
		snprintf(crew->failure, sizeof crew->failure,
		    "cannot start the loader: %s", strerror(errno));
	return false;
}

void
loading_switch(struct crew *crew)
{
	crew->generation = crew->next_generation;
	crew->loading = (struct restart) { 0 };
	crew->load_ms = 0;
	loading_dismiss_next(crew);
}

void
loading_dismiss_next(struct crew *crew)
{
	crew->next_generation = NULL;
	backoff_end(&crew->next_loading);
}

/* ---- time --------------------------------------------------------------- */

void
loading_keep_time(struct crew *crew)
{
	for (struct generation *g = crew->generations; g; g = g->next)
		generation_keep_time(g, crew->now_ms);
}

uint64_t
loading_due_ms(const struct crew *crew)
{
	uint64_t due_ms = 0;

	if (crew->next_loading.due_ms > crew->now_ms)
		due_ms = crew->next_loading.due_ms;
	if (!crew->generation && crew->load_ms > crew->now_ms)
		due_ms = clock_earlier(due_ms, crew->load_ms);
	for (const struct generation *g = crew->generations; g; g = g->next)
		due_ms = clock_earlier(due_ms, generation_due_ms(g));
	return due_ms;
}

void
loading_kill(struct crew *crew)
{
	for (struct generation *g = crew->generations; g; g = g->next)
		generation_kill(g);
}

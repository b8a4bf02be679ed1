#include "lib/master/crew.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/master/hang.h"
#include "lib/master/loading.h"
#include "lib/master/moves.h"

enum {
	KILL_MS = 1000,	 /* past its time, what was asked to end is killed */
	RESCUE_MS = 100, /* for a standby that we do not know of */
	/* Descriptors of a worker beside connections and listeners: its
	 * streams, epoll instance and control sockets, and some on their way.
	 */
	FDS_FIXED = 16,
	SEND_AGAIN_MS = 10, /* what a worker's socket had no room for */
};

/* ---- what is known ------------------------------------------------------ */

unsigned
crew_wanted(const struct crew *crew)
{
	unsigned count = 0;

	while (count < crew->slot_count && crew->slots[count].wanted)
		count++;
	return count;
}

uint64_t
crew_connections(const struct crew *crew)
{
	uint64_t count = 0;

	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		count += slot_open_connections(pair->memory, pair->fds);
	return count;
}

bool
crew_is_gone(const struct crew *crew)
{
	return !crew->pairs;
}

bool
crew_is_starting(const struct crew *crew)
{
	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		if (pair->state == PAIR_STARTING)
			return true;
	return false;
}

/* A start that has failed before will fail again, as far as we know. */
bool
crew_is_down(const struct crew *crew, const struct slot *slot)
{
	if (!slot->proven)
		return false;
	if (!slot->pair)
		return slot->restart_ms > crew->now_ms ||
		    !loading_can_bear(&crew->config, crew->generation);
	return slot->pair->state == PAIR_STARTING &&
	    (slot->restart.early > 1 ||
		crew->now_ms >= slot->pair->started_ms + CREW_SOON_MS);
}

/* Sums up the counters that services name, which each pair has for itself. */
static void
log_counts(const struct crew *crew)
{
	struct slot_count counts[SLOT_COUNTS];

	memcpy(counts, crew->past, sizeof counts);
	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		slot_add_counts(pair->memory, counts);
	for (unsigned i = 0; i < SLOT_COUNTS && *counts[i].name; i++)
		log_info(
		    "counter %s: %" PRIu64, counts[i].name, counts[i].value);
}

static void
log_slot(const struct slot *slot, unsigned number, const struct pair *p)
{
	struct slot_counters sum = slot->past;

	slot_add_counters(p->memory, &sum);
	log_info("slot %u: worker %d %s, %" PRIu64 " connections, %" PRIu64
		 " accepted, %" PRIu64 " bytes in, %" PRIu64
		 " bytes out, %" PRIu64 " restarts, %" PRIu64
		 " take-overs, standby %d, %" PRIu64 " closed for a fault",
	    number, (int)p->worker, pair_state_names[p->state],
	    slot_open_connections(p->memory, p->fds), sum.accepted - sum.moved,
	    sum.received, sum.sent, slot->restart.deaths, slot->takeovers,
	    (int)p->standby, sum.faults);
}

void
crew_log_status(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			log_slot(&crew->slots[i], i, crew->slots[i].pair);
	for (const struct pair *p = crew->pairs; p; p = p->next)
		if (p->old)
			log_info("slot %u, before the reload: worker %d, "
				 "%" PRIu64 " connections",
			    p->slot, (int)p->worker,
			    slot_open_connections(p->memory, p->fds));
	log_counts(crew);
}

bool
crew_may_log(struct crew *crew, unsigned slot)
{
	uint64_t withheld = 0;

	if (!quota_take(&crew->slots[slot].lines, crew->now_ms, &withheld))
		return false;
	if (withheld > 0)
		log_warning("%" PRIu64 " more lines about slot %u were not "
			    "logged",
		    withheld, slot);
	return true;
}

/* A table can be smaller than max-connections wants: then it has room beside
 * what we know to be in it. */
uint64_t
crew_room(const struct crew *crew, const struct pair *pair)
{
	uint64_t open = slot_open_connections(pair->memory, pair->fds);
	uint64_t others = FDS_FIXED + crew->config.listen_count + pair->lent;
	uint64_t most = crew->config.max_connections;

	if (most + others > pair->fds)
		most = pair->fds > others ? pair->fds - others : 0;
	return open < most ? most - open : 0;
}

struct pair *
crew_pair_at(const struct crew *crew, int fd)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next)
		for (int k = 0; k < PAIR_ENDS; k++)
			if (*pair_ends(pair).fd[k] == fd)
				return pair;
	return NULL;
}

struct pair *
crew_pair_of(const struct crew *crew, pid_t pid)
{
	for (struct pair *pair = crew->pairs; pair && pid > 0;
	     pair = pair->next)
		if (pair_has(pair, pid))
			return pair;
	return NULL;
}

bool
crew_can_take(const struct crew *crew, const struct pair *pair)
{
	return crew->slots[pair->slot].wanted && pair->state == PAIR_SERVING &&
	    crew_room(crew, pair) > 0;
}

bool
crew_is_full(const struct pair *pair)
{
	return pair->memory->full_ms != 0;
}

struct pair *
crew_less_loaded(struct pair *a, struct pair *b)
{
	return !a ||
		slot_open_connections(b->memory, b->fds) <
		    slot_open_connections(a->memory, a->fds)
	    ? b
	    : a;
}

/* ---- orders ------------------------------------------------------------- */

void
crew_order_listener(struct pair *pair, enum control_type type,
    const struct endpoint *endpoint, unsigned owner, int fd)
{
	const struct control_message message = { .type = type,
		.serial = endpoint_serial(endpoint, owner),
		.value = endpoint->serial,
		.inherited = endpoint->inherited,
		.address = endpoint->bound };

	pair_send(pair, &message, fd);
}

static void
order_end(struct crew *crew, struct pair *pair)
{
	uint64_t left_ms =
	    crew->end_ms > crew->now_ms ? crew->end_ms - crew->now_ms : 0;

	pair_order(pair, CONTROL_CLOSE, 0);
	pair_order(pair, crew->how, left_ms);
	pair->deadline_ms = crew->end_ms + KILL_MS;
}

/* Also to give up what it was lent: its predecessor may have died with that
 * order in hand. */
static void
order_lent(struct crew *crew, struct pair *pair, const struct endpoint *e)
{
	for (unsigned owner = 0; owner < crew->slot_count; owner++)
		if (e->lent_to[owner] == pair->slot + 1)
			crew_order_listener(pair, CONTROL_LISTEN, e, owner,
			    e->listeners[owner]);
		else if (pair->was_lent && owner != pair->slot)
			crew_order_listener(
			    pair, CONTROL_RELEASE, e, owner, -1);
}

/* Of an address that is no more: what waits in its queue is still served. */
static bool
order_close(struct crew *crew, struct pair *pair, const struct endpoint *e)
{
	if (e->listeners[pair->slot] < 0 ||
	    endpoint_is_configured(e, &crew->config))
		return false;
	crew_order_listener(pair, CONTROL_CLOSE, e, pair->slot, -1);
	return true;
}

/* The listeners that a slot has and its worker may not: of addresses that a
 * reload added, and of slots that are down. Those of addresses that are no more
 * it is to close. */
static void
order_listeners(struct crew *crew, struct pair *pair)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++) {
		struct endpoint *e = &crew->endpoints.list[i];

		if (!e->used)
			continue;
		if (!order_close(crew, pair, e) &&
		    e->listeners[pair->slot] >= 0 && !e->known[pair->slot])
			crew_order_listener(pair, CONTROL_LISTEN, e, pair->slot,
			    e->listeners[pair->slot]);
		order_lent(crew, pair, e);
	}
}

/* Its new pair has the other listeners. */
static void
brief_old(struct crew *crew, struct pair *pair)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (crew->endpoints.list[i].used)
			order_close(crew, pair, &crew->endpoints.list[i]);
	pair_order(pair, CONTROL_RETIRE, 1);
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
}

static void
brief_on_serving(struct crew *crew, struct pair *pair)
{
	order_listeners(crew, pair);
	pair_order(pair, CONTROL_SERVE, 0);
	if (pair->state != PAIR_RETIRING)
		return;
	pair_order(pair, CONTROL_CLOSE, 0);
	pair_order(pair, CONTROL_RETIRE, 0);
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
}

void
crew_brief(struct crew *crew, struct pair *pair)
{
	if (pair->state == PAIR_READY)
		return; /* it waits for a reload */
	if (crew->ending)
		order_end(crew, pair);
	else if (pair->old)
		brief_old(crew, pair);
	else
		brief_on_serving(crew, pair);
	moves_brief(pair);
}

void
crew_order_takeover(struct crew *crew, struct pair *pair, enum verdict verdict)
{
	pair->taking_over = true;
	pair->takeover_due = true;
	pair->verdict = verdict;
	backoff_end(&pair->order);
	pair->worker_ms = crew->now_ms;
	pair->hung = pair->killed = pair->stuck = false;
	pair->stopped_ms = 0;
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
	crew_send_takeover(crew, pair);
}

/* As far as we know worker and standby are dead. But a worker may have cloned a
 * standby and died before it could say so: that one is told. */
static bool
is_orphaned(const struct pair *pair)
{
	return pair->taking_over && pair->standby == 0;
}

void
crew_send_takeover(struct crew *crew, struct pair *pair)
{
	const struct control_message message = { .type = CONTROL_TAKE_OVER,
		.serial = pair->takeover + 1,
		.value = pair->verdict };

	if (!pair->takeover_due || pair_has_dying(pair) ||
	    !backoff_is_over(&pair->order, crew->now_ms))
		return;
	pair_continue(pair);
	if (!pair_send_waiting(pair, &message)) {
		backoff_begin(&pair->order, crew->now_ms);
		return;
	}
	backoff_end(&pair->order);
	pair->takeover_due = false;
	pair->takeover++;
	pair->rescue_ms = is_orphaned(pair) ? crew->now_ms + RESCUE_MS : 0;
}

/* Nobody that we know of has taken over yet. If somebody else has begun to and
 * has died at it, whom he has cloned is to be told. */
static void
rescue(struct crew *crew, struct pair *pair)
{
	pid_t taker;

	if (pair->rescue_ms == 0 || crew->now_ms < pair->rescue_ms)
		return;
	taker = slot_taker(pair->memory, pair->takeover);
	pair->rescue_ms = is_orphaned(pair) ? crew->now_ms + RESCUE_MS : 0;
	if (pair->rescue_ms != 0 && taker != 0 && !pair_is_child(taker))
		crew_order_takeover(crew, pair, pair->verdict);
}

void
crew_give_up(struct pair *pair)
{
	const struct control_message message = { .type = CONTROL_TAKE_OVER,
		.value = VERDICT_RESET };

	pair->takeover_due = false;
	pair->given_up = true;
	pair_kill(pair);
	if (pair_send_waiting(pair, &message))
		backoff_end(&pair->reset);
	else
		backoff_begin(&pair->reset, clock_ms());
}

void
crew_end_pair(struct pair *pair)
{
	pair->state = PAIR_ENDING;
	crew_give_up(pair);
}

/* ---- births ------------------------------------------------------------- */

void
crew_want(struct crew *crew, unsigned count)
{
	if (crew->slot_count < count)
		crew->slot_count = count;
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct slot *slot = &crew->slots[i];

		if (!slot->wanted && i < count) { /* what was is over */
			slot->restart.early = 0;
			slot->restart_ms = 0;
		}
		slot->wanted = i < count;
	}
}

/* With a second try at once, as for all that is short for a moment. */
static bool
watch_end(struct crew *crew, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };
	bool watched = false;

	event.data.fd = fd;
	for (int tries = 0; tries < 2 && !watched; tries++)
		watched =
		    epoll_ctl(crew->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
	return watched;
}

static bool
watch(struct crew *crew, struct pair *pair)
{
	struct pair_ends ends = pair_ends(pair);

	for (int i = 0; i < PAIR_ENDS; i++)
		if (!watch_end(crew, *ends.fd[i]))
			return false;
	return true;
}

bool
crew_may_bear(const struct crew *crew)
{
	unsigned unborn = 0;

	if (crew->births >= CREW_BIRTHS)
		return false;
	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		unborn += pair->state == PAIR_STARTING && pair->worker == 0;
	return unborn < CREW_UNBORN;
}

static struct pair *
make(const struct crew *crew, unsigned slot, const struct config *config,
    struct generation *generation)
{
	const struct pair *old = crew->slots[slot].pair;
	unsigned least_fds = old ? old->fds : 0; /* it takes all from that */

	return services_need_loading(config)
	    ? pair_bear(slot, config, least_fds, generation)
	    : pair_fork(slot, config, least_fds, crew->worker);
}

/* Returns NULL with errno: it is for the master to wait. */
static struct pair *
bear(struct crew *crew, unsigned slot, const struct config *config,
    struct generation *generation)
{
	struct pair *pair;

	if (!endpoints_inherit(&crew->endpoints, slot, config))
		return NULL;
	pair = make(crew, slot, config, generation);
	if (!pair)
		pair = make(crew, slot, config, generation);
	if (!pair)
		return NULL;
	crew->births++;
	pair->next = crew->pairs;
	crew->pairs = pair;
	if (crew->slot_count <= slot)
		crew->slot_count = slot + 1;
	pair->started_ms = pair->worker_ms = crew->now_ms;
	if (config->start_timeout_ms > 0)
		pair->deadline_ms = crew->now_ms + config->start_timeout_ms;
	for (unsigned i = 0; i < config->listen_count; i++) {
		struct endpoint *e = endpoints_of(&crew->endpoints, config, i);

		crew_order_listener(
		    pair, CONTROL_LISTEN, e, slot, e->listeners[slot]);
	}
	if (!watch(crew, pair)) {
		log_error("cannot watch worker %u: %s", slot, strerror(errno));
		crew_give_up(pair);
	}
	return pair;
}

bool
crew_start(struct crew *crew, unsigned slot, const struct config *config)
{
	struct pair *pair = bear(crew, slot, config, crew->generation);

	if (!pair)
		return false;
	crew->slots[slot].pair = pair;
	endpoints_know(&crew->endpoints, slot, config, false);
	return true;
}

bool
crew_start_next(struct crew *crew, unsigned slot, const struct config *config)
{
	crew->slots[slot].next =
	    bear(crew, slot, config, crew->next_generation);
	return crew->slots[slot].next;
}

uint64_t
crew_put_off(struct crew *crew, struct slot *slot, uint64_t lived_ms)
{
	uint64_t delay_ms = restart_delay_ms(&slot->restart, lived_ms);

	slot->restart_ms = crew->now_ms + delay_ms;
	return delay_ms;
}

uint64_t
crew_put_off_start(struct crew *crew, struct slot *slot)
{
	uint64_t delay_ms = restart_failed_ms(&slot->restart);

	slot->restart_ms = crew->now_ms + delay_ms;
	return delay_ms;
}

void
crew_serve(struct crew *crew, struct pair *pair)
{
	pair->state = PAIR_SERVING;
	crew->slots[pair->slot].proven = true;
	crew_brief(crew, pair);
}

/* ---- reload ------------------------------------------------------------- */

void
crew_switch(struct crew *crew, struct slot *slot)
{
	struct pair *old = slot->pair;

	slot->pair = slot->next;
	slot->next = NULL;
	slot->pair->lent = old ? old->lent : 0;
	slot->pair->was_lent = slot->pair->lent > 0;
	endpoints_know(&crew->endpoints, slot->pair->slot, &crew->config, true);
	crew_serve(crew, slot->pair);
	if (!old)
		return;
	old->old = true;
	old->old_ms = crew->now_ms;
	if (old->state < PAIR_SERVING) {
		crew_end_pair(old); /* it has begun nothing */
		return;
	}
	old->state = PAIR_RETIRING;
	if (!old->taking_over)
		crew_brief(crew, old);
}

void
crew_dismiss_next(struct slot *slot)
{
	if (slot->next)
		crew_end_pair(slot->next);
	slot->next = NULL;
	backoff_end(&slot->birth);
}

/* ---- retiring ----------------------------------------------------------- */

void
crew_retire(struct crew *crew, struct pair *pair)
{
	pair->state = PAIR_RETIRING;
	crew_brief(crew, pair);
}

/* The worker wrote what this reads: it is checked. */
const char *
crew_service_in_call(const struct crew *crew, const struct pair *pair)
{
	const struct config *config = &crew->config;
	const struct slot_memory *memory = pair->memory;
	const unsigned fd = (unsigned)memory->transaction.fd;

	if (memory->transaction.phase != PHASE_RUN || fd >= pair->fds)
		return NULL;
	for (unsigned i = 0; i < config->listen_count; i++)
		if (config->listen[i].endpoint ==
		    memory->connections[fd].endpoint)
			return config_service(config, i);
	return NULL;
}

/* ---- the end ------------------------------------------------------------ */

void
crew_kill(struct crew *crew)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next)
		crew_end_pair(pair);
	loading_kill(crew);
}

/* The queues are the workers' now: when one has emptied and closed its
 * listener, no duplicate of ours keeps it open. */
void
crew_end(struct crew *crew, enum control_type how)
{
	crew->ending = true;
	crew->how = how;
	endpoints_remove_all(&crew->endpoints);
	for (unsigned i = 0; i < crew->slot_count; i++)
		crew_dismiss_next(&crew->slots[i]);
	for (struct pair *pair = crew->pairs; pair; pair = pair->next) {
		if (pair->state == PAIR_STARTING &&
		    crew->slots[pair->slot].proven)
			continue; /* somebody waits in its queue: crew_brief */
		if (pair->state < PAIR_SERVING)
			crew_end_pair(pair);
		else
			order_end(crew, pair);
	}
}

/* ---- time --------------------------------------------------------------- */

/* How long a call of the service may take is the hang-timeout's business. */
static bool
may_be_in_call(const struct crew *crew, const struct pair *pair)
{
	return !crew->ending && !pair->taking_over && !pair->hung &&
	    pair->state >= PAIR_SERVING &&
	    pair->memory->begun != pair->memory->done;
}

static void
log_overdue(const struct pair *pair)
{
	if (pair->taking_over && pair->standby > 0)
		log_warning("standby %u (pid %d) has not taken over in %d ms: "
			    "giving the slot up",
		    pair->slot, (int)pair->standby, CREW_START_MS);
	else if (pair->taking_over)
		log_warning("slot %u has no worker and nobody to take over: "
			    "giving it up",
		    pair->slot);
	else
		log_warning("worker %u (pid %d) is still %s: killing it",
		    pair->slot, (int)pair->worker,
		    pair->hung ? "hanging" : pair_state_names[pair->state]);
}

/* The worker has all that is left of the slot: it gets a standby first. */
static bool
is_the_last(const struct crew *crew, const struct pair *pair)
{
	return !crew->ending && !pair->taking_over && !pair->hung &&
	    pair->state >= PAIR_SERVING && pair->state < PAIR_ENDING &&
	    pair->worker > 0 && !pair_has_standby(pair);
}

static void
enforce_deadline(struct crew *crew, struct pair *pair)
{
	if (pair->deadline_ms == 0 || crew->now_ms < pair->deadline_ms)
		return;
	if (may_be_in_call(crew, pair) ||
	    moves_go_on(crew, pair, may_be_in_call)) {
		pair->deadline_ms = crew->now_ms + KILL_MS;
		return;
	}
	if (is_the_last(crew, pair)) {
		pair->deadline_ms = crew->now_ms + KILL_MS;
		pair_continue_worker(pair);
		return;
	}
	log_overdue(pair);
	pair->deadline_ms = 0;
	pair->overdue = pair->state == PAIR_STARTING;
	if (!crew->ending && !pair->taking_over && pair_has_standby(pair))
		pair_kill_worker(pair);
	else if (crew->ending)
		crew_end_pair(pair);
	else
		crew_give_up(pair);
}

/* Does again what has failed for a moment. */
static void
try_again(struct crew *crew, struct pair *pair)
{
	if (backoff_is_due(&pair->clone, crew->now_ms)) {
		pair->clone.due_ms = 0; /* the wait stays, if it fails anew */
		pair_order(pair, CONTROL_CLONE, 0);
	}
	if (backoff_is_due(&pair->reset, crew->now_ms))
		crew_give_up(pair);
	if (backoff_is_due(&pair->order, crew->now_ms))
		crew_send_takeover(crew, pair);
}

void
crew_keep_time(struct crew *crew)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next) {
		pair->patience = PAIR_PATIENCE;
		enforce_deadline(crew, pair);
		try_again(crew, pair);
		rescue(crew, pair);
		pair_send_rest(pair, crew->now_ms);
	}
	loading_keep_time(crew);
	if (crew->look_ms != 0 && crew->now_ms >= crew->look_ms)
		hang_look(crew);
}

/* What is overdue waits for something else, which wakes us. */
static uint64_t
earlier_yet(uint64_t due_ms, uint64_t other_ms, uint64_t now_ms)
{
	return other_ms > now_ms ? clock_earlier(due_ms, other_ms) : due_ms;
}

static uint64_t
pair_due_ms(const struct pair *pair, uint64_t now_ms)
{
	uint64_t due_ms = clock_earlier(pair->deadline_ms, pair->clone.due_ms);

	due_ms = clock_earlier(due_ms, pair->reset.due_ms);
	due_ms = clock_earlier(due_ms, pair->rescue_ms);
	if (pair->state == PAIR_RETIRING && !pair->giving)
		due_ms = earlier_yet(due_ms, pair->give_ms, now_ms);
	due_ms = earlier_yet(due_ms, pair->order.due_ms, now_ms);
	if (pair->state == PAIR_STARTING)
		due_ms = earlier_yet(
		    due_ms, pair->started_ms + CREW_SOON_MS, now_ms);
	if (pair->outbox.first)
		due_ms = clock_earlier(due_ms, now_ms + SEND_AGAIN_MS);
	return due_ms;
}

uint64_t
crew_due_ms(const struct crew *crew)
{
	uint64_t due_ms = crew->look_ms, now_ms = crew->now_ms;

	due_ms = clock_earlier(due_ms, loading_due_ms(crew));
	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		due_ms = clock_earlier(due_ms, pair_due_ms(pair, now_ms));
	for (unsigned i = 0; i < crew->slot_count; i++) {
		const struct slot *slot = &crew->slots[i];

		due_ms = earlier_yet(due_ms, slot->birth.due_ms, now_ms);
		if (!slot->pair && slot->restart_ms > now_ms)
			due_ms = clock_earlier(due_ms, slot->restart_ms);
		if (slot->retire_ms > now_ms)
			due_ms = clock_earlier(due_ms, slot->retire_ms);
		due_ms = clock_earlier(due_ms, slot->look_ms);
	}
	return due_ms;
}

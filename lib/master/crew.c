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
#include "lib/master/handover.h"
#include "lib/master/hang.h"

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

	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			count +=
			    slot_open_connections(crew->slots[i].pair->memory,
				crew->slots[i].pair->fds);
	return count;
}

bool
crew_is_gone(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			return false;
	return true;
}

bool
crew_is_starting(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair &&
		    crew->slots[i].pair->state == PAIR_STARTING)
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
		return slot->restart_ms > crew->now_ms;
	return slot->pair->rescuing ||
	    (slot->pair->state == PAIR_STARTING &&
		(slot->restart.early > 1 ||
		    crew->now_ms >= slot->pair->started_ms + CREW_SOON_MS));
}

/* Sums up the counters that services name, which each slot has for itself. */
static void
log_counts(const struct crew *crew)
{
	struct slot_count counts[SLOT_COUNTS] = { 0 };

	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			slot_add_counts(crew->slots[i].pair->memory, counts);
	for (unsigned i = 0; i < SLOT_COUNTS && *counts[i].name; i++)
		log_info(
		    "counter %s: %" PRIu64, counts[i].name, counts[i].value);
}

void
crew_log_status(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++) {
		const struct slot *slot = &crew->slots[i];
		const struct pair *p = slot->pair;

		if (!p)
			continue;
		log_info(
		    "slot %u: worker %d %s, %" PRIu64 " connections, %" PRIu64
		    " accepted, %" PRIu64 " bytes in, %" PRIu64
		    " bytes out, %" PRIu64 " restarts, %" PRIu64
		    " take-overs, standby %d, %" PRIu64 " closed for a fault",
		    i, (int)p->worker, pair_state_names[p->state],
		    slot_open_connections(p->memory, p->fds),
		    p->memory->counters.accepted, p->memory->counters.received,
		    p->memory->counters.sent, slot->restart.deaths,
		    slot->takeovers, (int)p->heir, p->memory->counters.faults);
	}
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
static bool
has_room(const struct crew *crew, const struct pair *pair)
{
	uint64_t open = slot_open_connections(pair->memory, pair->fds);

	return open < crew->config.max_connections &&
	    open + FDS_FIXED + crew->config.listen_count + pair->lent <
	    pair->fds;
}

struct pair *
crew_pair_at(const struct crew *crew, int fd)
{
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		for (int k = 0; pair && k < PAIR_ENDS; k++)
			if (*pair_ends(pair).fd[k] == fd)
				return pair;
	}
	return NULL;
}

struct pair *
crew_pair_of(const struct crew *crew, pid_t pid)
{
	for (unsigned i = 0; i < crew->slot_count && pid > 0; i++)
		if (crew->slots[i].pair && pair_has(crew->slots[i].pair, pid))
			return crew->slots[i].pair;
	return NULL;
}

bool
crew_can_take(const struct crew *crew, const struct pair *pair)
{
	return crew->slots[pair->slot].wanted && pair->state == PAIR_SERVING &&
	    !pair->rescuing && has_room(crew, pair);
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

struct pair *
crew_least_loaded(const struct crew *crew, const struct pair *except)
{
	struct pair *best = NULL;

	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (pair && pair != except && crew_can_take(crew, pair))
			best = crew_less_loaded(best, pair);
	}
	return best;
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

	pair->hand_ms = 0;
	pair_order(pair, CONTROL_CLOSE, 0);
	pair_order(pair, crew->how, left_ms);
	handover_keep(crew, pair);
	pair->deadline_ms = crew->end_ms + KILL_MS;
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
		if (e->listeners[pair->slot] >= 0 &&
		    !endpoint_is_configured(e, &crew->config))
			crew_order_listener(
			    pair, CONTROL_CLOSE, e, pair->slot, -1);
		else if (e->listeners[pair->slot] >= 0 && !e->known[pair->slot])
			crew_order_listener(pair, CONTROL_LISTEN, e, pair->slot,
			    e->listeners[pair->slot]);
		for (unsigned owner = 0; owner < crew->slot_count; owner++)
			if (e->lent_to[owner] == pair->slot + 1)
				crew_order_listener(pair, CONTROL_LISTEN, e,
				    owner, e->listeners[owner]);
	}
}

void
crew_switch(struct crew *crew, struct pair *pair)
{
	pair->switching = true;
	if (pair->taking_over)
		return; /* then brief says it */
	pair_order(pair, CONTROL_END, pair->heir == 0);
	pair->deadline_ms = crew->now_ms + KILL_MS;
}

void
crew_tidy(struct pair *pair, pid_t pid)
{
	pair->untidy = pid;
	if (!pair->taking_over) /* then brief says it */
		pair_order(pair, CONTROL_TIDY, (uint64_t)pid);
}

static void
brief_on_serving(struct crew *crew, struct pair *pair)
{
	order_listeners(crew, pair);
	pair_order(pair, CONTROL_SERVE, 0);
	if (pair->untidy != 0)
		crew_tidy(pair, pair->untidy);
	if (pair->state != PAIR_RETIRING)
		return;
	pair_order(pair, CONTROL_CLOSE, 0);
	pair_order(pair, CONTROL_HAND, 0);
	pair->hand_ms = 0;
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
}

void
crew_brief(struct crew *crew, struct pair *pair)
{
	struct handover *h = &crew->handover;

	if (crew->ending) {
		order_end(crew, pair);
	} else if (pair->switching) {
		crew_switch(crew, pair);
		return;
	} else {
		brief_on_serving(crew, pair);
	}
	if (h->fd >= 0 && h->target == pair)
		handover_send(h);
}

void
crew_order_takeover(struct crew *crew, struct pair *pair, enum verdict verdict)
{
	pair->taking_over = true;
	pair->takeover_due = true;
	pair->told_candidate = pair->rescuing = false;
	pair->verdict = verdict;
	backoff_end(&pair->order);
	pair->worker_ms = crew->now_ms;
	pair->hung = pair->killed = pair->stuck = false;
	pair->stopped_ms = 0;
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
	crew_send_takeover(crew, pair);
}

/* A candidate steps in, too, where the standby is dead: better the next
 * configuration than none. */
static bool
is_candidates_turn(const struct pair *pair)
{
	return pair->switching || (pair->heir == 0 && pair->candidate > 0);
}

/* There may be a moment in which it cannot be sent, or nobody be born. */
static void
send_candidate_order(
    struct crew *crew, struct pair *pair, const struct config *config)
{
	const struct control_message message = { .type = CONTROL_CANDIDATE,
		.pid = pair->seed > 0 ? pair->seed : pair->heir,
		.value = pair->side ^ 1 };
	const struct control_bytes bytes = { .bytes = (void *)config,
		.size = sizeof *config };

	pair_continue(pair);
	pair->candidate_asked = pair_send_waiting(
	    pair->seed > 0 ? pair->nursery : pair->standby[pair->side],
	    &message, &bytes);
	if (!pair->candidate_asked)
		backoff_begin(&pair->birth, crew->now_ms);
}

/* As far as we know worker and standby are dead. But a worker may have cloned a
 * standby and died before it could say so: that one is told first. */
static bool
is_orphaned(const struct pair *pair)
{
	return pair->taking_over && !pair->told_candidate && pair->heir == 0;
}

void
crew_send_takeover(struct crew *crew, struct pair *pair)
{
	const struct control_message message = { .type = CONTROL_TAKE_OVER,
		.serial = pair->takeover + 1,
		.value = pair->verdict };
	bool candidate = is_candidates_turn(pair);

	if (!pair->takeover_due || pair_has_dying(pair) ||
	    (pair->rescuing && !candidate) ||
	    !backoff_is_over(&pair->order, crew->now_ms))
		return;
	pair_continue(pair);
	if (!pair_send_waiting(
		pair->standby[candidate ? pair->side ^ 1 : pair->side],
		&message, NULL)) {
		backoff_begin(&pair->order, crew->now_ms);
		return;
	}
	backoff_end(&pair->order);
	pair->takeover_due = false;
	pair->told_candidate = candidate;
	pair->takeover++;
	pair->rescue_ms = is_orphaned(pair) ? crew->now_ms + RESCUE_MS : 0;
}

bool
crew_needs_rescuer(const struct pair *pair)
{
	return pair->rescuing && pair->seed > 0 && pair->candidate == 0 &&
	    !pair->candidate_asked;
}

static void
bear_rescuer(struct crew *crew, struct pair *pair)
{
	if (crew_needs_rescuer(pair) &&
	    backoff_is_over(&pair->birth, crew->now_ms))
		send_candidate_order(crew, pair, &crew->config);
}

/* There was nobody: a candidate takes over, once it has loaded its services;
 * the connections wait for it. Where there was somebody all the same, who was
 * slow, he finds it claimed. */
static void
tell_candidate(struct crew *crew, struct pair *pair)
{
	pair->rescue_ms = 0;
	pair->takeover_due = pair->rescuing = true;
	pair->deadline_ms = crew->config.start_timeout_ms == 0
	    ? 0
	    : crew->now_ms + CREW_START_MS + crew->config.start_timeout_ms;
	crew_send_takeover(crew, pair);
	bear_rescuer(crew, pair);
}

/* What a candidate has cloned before it died waits where that one did. */
static void
tell_other_side(struct crew *crew, struct pair *pair)
{
	pair->side ^= 1;
	pair->takeover_due = true;
	crew_send_takeover(crew, pair);
}

/* Nobody that we know of has taken over yet. If somebody else has begun to and
 * has died at it, whom he has cloned is to be told. */
static void
rescue(struct crew *crew, struct pair *pair)
{
	pid_t taker = slot_taker(pair->memory, pair->takeover);

	if (pair->rescue_ms == 0 || crew->now_ms < pair->rescue_ms)
		return;
	pair->rescue_ms = is_orphaned(pair) ? crew->now_ms + RESCUE_MS : 0;
	if (pair->rescue_ms == 0)
		return;
	if (taker != 0 && !pair_is_child(taker))
		crew_order_takeover(crew, pair, pair->verdict);
	else if (!slot_claim_takeover(pair->memory, pair->takeover, getpid()))
		return; /* somebody is about to */
	else if (pair->seed > 0 || pair->candidate > 0)
		tell_candidate(crew, pair);
	else
		tell_other_side(crew, pair);
}

void
crew_give_up(struct pair *pair)
{
	const struct control_message message = { .type = CONTROL_TAKE_OVER,
		.value = VERDICT_RESET };

	bool sent;

	pair->takeover_due = pair->rescuing = false;
	pair->given_up = true;
	pair_kill(pair);
	sent = pair_send_waiting(pair->standby[0], &message, NULL);
	sent &= pair_send_waiting(pair->standby[1], &message, NULL);
	sent &= pair_send_waiting(pair->nursery, &message, NULL);
	if (sent)
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
crew_start(struct crew *crew, unsigned slot, const struct config *config,
    int (*run)(const struct pair_start *))
{
	struct pair *pair;

	if (!endpoints_inherit(&crew->endpoints, slot, config))
		return false;
	pair = pair_fork(slot, config, run);
	if (!pair)
		pair = pair_fork(slot, config, run);
	if (!pair)
		return false; /* for the master to wait */
	crew->slots[slot].pair = pair;
	if (crew->slot_count <= slot)
		crew->slot_count = slot + 1;
	pair->started_ms = pair->worker_ms = crew->now_ms;
	if (config->start_timeout_ms > 0)
		pair->deadline_ms = crew->now_ms + config->start_timeout_ms;
	for (unsigned i = 0; i < config->listen_count; i++) {
		struct endpoint *e = endpoints_of(&crew->endpoints, config, i);

		e->known[slot] = false;
		crew_order_listener(
		    pair, CONTROL_LISTEN, e, slot, e->listeners[slot]);
	}
	if (!watch(crew, pair)) {
		log_error("cannot watch worker %u: %s", slot, strerror(errno));
		crew_give_up(pair);
	}
	return true;
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

/* Where the standby has just died this is for the one that comes. */
void
crew_ask_candidate(
    struct crew *crew, struct pair *pair, const struct config *next)
{
	if (pair->candidate_asked || pair->taking_over ||
	    pair_has_dying(pair) || pair->untidy != 0 || pair->leaver > 0 ||
	    !backoff_is_over(&pair->birth, crew->now_ms))
		return;
	if (pair->seed_lost)
		snprintf(crew->failure, sizeof crew->failure,
		    "the seed of slot %u was killed, so it can load no new "
		    "services: restart the server",
		    pair->slot);
	else if (pair->seed > 0 || pair->heir > 0)
		send_candidate_order(crew, pair, next);
}

void
crew_dismiss_candidate(struct pair *pair)
{
	if (pair->candidate > 0)
		pair_dismiss(pair, pair->candidate);
	pair->candidate = 0;
	pair->candidate_asked = pair->candidate_ready = false;
	backoff_end(&pair->birth);
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
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			crew_end_pair(crew->slots[i].pair);
}

/* The queues are the workers' now: when one has emptied and closed its
 * listener, no duplicate of ours keeps it open. */
void
crew_end(struct crew *crew, enum control_type how)
{
	crew->ending = true;
	crew->how = how;
	endpoints_remove_all(&crew->endpoints);
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (!pair)
			continue;
		if (!pair->switching)
			crew_dismiss_candidate(pair);
		if (pair->state == PAIR_STARTING && crew->slots[i].proven)
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
	pid_t told = pair->told_candidate ? pair->candidate : pair->heir;

	if (pair->taking_over && told > 0)
		log_warning("standby %u (pid %d) has not taken over in %d ms: "
			    "giving the slot up",
		    pair->slot, (int)told, CREW_START_MS);
	else if (pair->taking_over)
		log_warning("slot %u has no worker and nobody to take over: "
			    "giving it up",
		    pair->slot);
	else
		log_warning("worker %u (pid %d) is still %s: killing it",
		    pair->slot, (int)pair->worker,
		    pair->hung	       ? "hanging"
			: *pair->doing ? pair->doing
				       : pair_state_names[pair->state]);
}

/* The worker has all that is left of the slot: it gets a standby first. */
static bool
is_the_last(const struct crew *crew, const struct pair *pair)
{
	return !crew->ending && !pair->taking_over && !pair->hung &&
	    pair->state >= PAIR_SERVING && pair->state < PAIR_ENDING &&
	    pair->worker > 0 && !pair_has_heir(pair);
}

static void
enforce_deadline(struct crew *crew, struct pair *pair)
{
	if (pair->deadline_ms == 0 || crew->now_ms < pair->deadline_ms)
		return;
	if (may_be_in_call(crew, pair)) {
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
	if (!crew->ending && !pair->taking_over && pair_has_heir(pair))
		pair_kill_worker(pair);
	else if (crew->ending)
		crew_end_pair(pair);
	else
		crew_give_up(pair);
}

static void
hurry_leaver(struct crew *crew, struct pair *pair)
{
	if (pair->leaver_ms == 0 || crew->now_ms < pair->leaver_ms)
		return;
	pair->leaver_ms = 0;
	kill(pair->leaver, SIGKILL); /* ours, as it has not been reaped */
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
	bear_rescuer(crew, pair);
}

void
crew_keep_time(struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair) {
			crew->slots[i].pair->patience = PAIR_PATIENCE;
			enforce_deadline(crew, crew->slots[i].pair);
			try_again(crew, crew->slots[i].pair);
			hurry_leaver(crew, crew->slots[i].pair);
			rescue(crew, crew->slots[i].pair);
			pair_send_rest(crew->slots[i].pair, crew->now_ms);
		}
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
	due_ms = clock_earlier(due_ms, pair->hand_ms);
	due_ms = clock_earlier(due_ms, pair->leaver_ms);
	due_ms = earlier_yet(due_ms, pair->order.due_ms, now_ms);
	due_ms = earlier_yet(due_ms, pair->birth.due_ms, now_ms);
	if (pair->state == PAIR_STARTING)
		due_ms = earlier_yet(
		    due_ms, pair->started_ms + CREW_SOON_MS, now_ms);
	if (crew_needs_rescuer(pair) && pair->birth.due_ms == 0)
		due_ms = clock_earlier(due_ms, now_ms);
	if (pair->outbox.first)
		due_ms = clock_earlier(due_ms, now_ms + SEND_AGAIN_MS);
	return due_ms;
}

uint64_t
crew_due_ms(const struct crew *crew)
{
	uint64_t due_ms = crew->look_ms, now_ms = crew->now_ms;

	for (unsigned i = 0; i < crew->slot_count; i++) {
		const struct slot *slot = &crew->slots[i];

		if (slot->pair)
			due_ms = clock_earlier(
			    due_ms, pair_due_ms(slot->pair, now_ms));
		else if (slot->restart_ms > now_ms)
			due_ms = clock_earlier(due_ms, slot->restart_ms);
		if (slot->retire_ms > now_ms)
			due_ms = clock_earlier(due_ms, slot->retire_ms);
		due_ms = clock_earlier(due_ms, slot->look_ms);
	}
	return due_ms;
}

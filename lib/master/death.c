#include "lib/master/death.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/log.h"
#include "lib/master/hang.h"
#include "lib/master/hear.h"
#include "lib/master/lending.h"
#include "lib/master/loading.h"
#include "lib/master/moves.h"

/* A batch of events can be many deaths long, where many clients send what
 * breaks the service: each that is closed is progress, as each byte is. */
static uint64_t
progress(const struct slot_memory *memory)
{
	const struct slot_counters *counters = &memory->counters;

	return counters->accepted + counters->closed + counters->received +
	    counters->sent;
}

/* Reads what the dead worker was at. It wrote that, so it is checked. */
static struct death
describe_death(
    const struct crew *crew, const struct pair *pair, int status, pid_t pid)
{
	const struct slot_memory *memory = pair->memory;
	const struct transaction t = slot_transaction(memory);
	struct death death = { .status = status,
		.hung = pair->hung,
		.ordered = pair->killed,
		.valid = slot_is_valid(memory, pair->fds, &t),
		.progress = progress(memory),
		.waits = memory->done,
		.lived_ms = crew->now_ms - pair->worker_ms };

	if (!death.valid || t.phase != PHASE_RUN)
		return death;
	death.running = true;
	death.ran = t.runner == pid;
	death.call = t.serial;
	return death;
}

static const char *
describe_successor(const struct pair *pair)
{
	return pair->standby > 0 ? "its standby takes over"
				 : "it had no standby";
}

/* A service can die as often as a client likes. */
static void
log_death(struct crew *crew, const struct pair *pair, const struct death *death,
    pid_t pid)
{
	const char *service = crew_service_in_call(crew, pair);
	uint64_t withheld = 0;

	if (death->running &&
	    !quota_take(&crew->faults, crew->now_ms, &withheld))
		return;
	if (!crew_may_log(crew, pair->slot))
		return;
	if (withheld > 0)
		log_warning("%" PRIu64 " more deaths of workers in a call of "
			    "their service were not logged",
		    withheld);
	log_warning("worker %u (pid %d) %s; %s%s%s%s", pair->slot, (int)pid,
	    pair_death(death->status).text, describe_successor(pair),
	    service ? " (it was in a call of " : "", service ? service : "",
	    service ? ")" : "");
}

static void
bury_worker(struct crew *crew, struct pair *pair, int status, pid_t pid)
{
	const struct death death = describe_death(crew, pair, status, pid);
	enum verdict verdict = verdict_judge(&pair->history, &death);

	if (verdict == VERDICT_RESET) {
		log_error(
		    "worker %u (pid %d) %s, and its slot %s: resetting it",
		    pair->slot, (int)pid, pair_death(status).text,
		    death.valid ? "makes no progress" : "is damaged");
		crew_give_up(pair);
		return;
	}
	crew->slots[pair->slot].takeovers++;
	log_death(crew, pair, &death, pid);
	crew_order_takeover(crew, pair, verdict);
}

static bool
ended_as_ordered(const struct crew *crew, const struct pair *pair, int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    (crew->ending || pair->state == PAIR_RETIRING) &&
	    slot_open_connections(pair->memory, pair->fds) == 0;
}

/* How a process ended, and why, as it has said. */
struct end {
	char text[CREW_TEXT - 64];
};

static struct end
describe_end(const struct crew *crew, const struct pair *pair, int status)
{
	struct end end;
	int length = snprintf(end.text, sizeof end.text, "%s%s%s",
	    pair_death(status).text, *pair->failure ? ": " : "", pair->failure);

	if (pair->overdue)
		snprintf(end.text + length, sizeof end.text - (size_t)length,
		    ": not ready in %" PRIu64 " ms (start-timeout)",
		    crew->config.start_timeout_ms);
	return end;
}

/* What has served before can do so again, whatever is in its way for now. */
static bool
is_hopeless(const struct slot *slot, const struct pair *pair)
{
	return !slot->proven &&
	    (pair->useless || pair->overdue ||
		restart_is_hopeless(&slot->restart));
}

static void
give_up_slot(struct crew *crew, struct slot *slot, const struct pair *pair,
    const char *end)
{
	crew->exit_status = pair->useless ? CONTROL_EXIT_PERMANENT : 1;
	if (pair->useless && *pair->failure)
		snprintf(
		    crew->given_up, sizeof crew->given_up, "%s", pair->failure);
	else
		snprintf(crew->given_up, sizeof crew->given_up,
		    "worker %u %s; given up after %u tr%s", pair->slot, end,
		    slot->restart.early,
		    slot->restart.early == 1 ? "y" : "ies");
}

/* A kill from outside is no fault of the new configuration: another is made. */
static void
bury_next(struct crew *crew, struct slot *slot, const struct pair *pair,
    int status, const char *end)
{
	slot->next = NULL;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL &&
	    !pair->overdue)
		backoff_begin(&slot->birth, crew->now_ms);
	else
		snprintf(crew->failure, sizeof crew->failure,
		    "new worker %u %s", pair->slot, end);
}

/* The first process of a slot died before there was a standby: it has not lived
 * at all. */
static void
bury_beginner(struct crew *crew, struct pair *pair, int status, pid_t pid)
{
	struct slot *slot = &crew->slots[pair->slot];
	const struct end end = describe_end(crew, pair, status);
	uint64_t delay_ms;

	crew_end_pair(pair); /* it may just have cloned a standby */
	if (slot->next == pair) {
		bury_next(crew, slot, pair, status, end.text);
		return;
	}
	if (crew->ending) {
		log_warning(
		    "worker %u (pid %d) %s", pair->slot, (int)pid, end.text);
		return;
	}
	delay_ms = crew_put_off(crew, slot, 0);
	if (is_hopeless(slot, pair)) {
		give_up_slot(crew, slot, pair, end.text);
		return;
	}
	log_warning("worker %u (pid %d) %s; restarting in %" PRIu64 " ms",
	    pair->slot, (int)pid, end.text, delay_ms);
}

static void
worker_died(struct crew *crew, struct pair *pair, int status)
{
	pid_t pid = pair->worker;

	pair->worker = 0;
	if (pair->state == PAIR_STARTING) {
		bury_beginner(crew, pair, status, pid);
	} else if (ended_as_ordered(crew, pair, status)) {
		if (!pair->old)
			log_info("worker %u (pid %d) has drained", pair->slot,
			    (int)pid);
		crew_end_pair(pair);
	} else if (pair->state != PAIR_ENDING) {
		bury_worker(crew, pair, status, pid);
	}
}

/* Where it had been told to take over, the death is a worker's; what it may
 * have cloned before waits at the same socket. */
static void
standby_died(struct crew *crew, struct pair *pair, int status)
{
	pid_t pid = pair->standby;

	pair->standby = 0;
	if (pair->state == PAIR_ENDING)
		return;
	if (pair->taking_over) {
		bury_worker(crew, pair, status, pid);
		return;
	}
	if (crew_may_log(crew, pair->slot))
		log_warning("standby %u (pid %d) %s; the worker clones another",
		    pair->slot, (int)pid, pair_death(status).text);
	pair_order(pair, CONTROL_CLONE, 0);
}

static void
lose_slot(struct crew *crew, struct pair *pair)
{
	struct slot *slot = &crew->slots[pair->slot];
	uint64_t lost = slot_open_connections(pair->memory, pair->fds);
	uint64_t delay_ms =
	    crew_put_off(crew, slot, crew->now_ms - pair->started_ms);
	char when[32] = "at once";

	if (delay_ms > 0)
		snprintf(when, sizeof when, "in %" PRIu64 " ms", delay_ms);
	log_error("slot %u: worker and standby died together, %" PRIu64
		  " connections are lost; restarting %s",
	    pair->slot, lost, when);
}

static void
lose_old(struct crew *crew, const struct pair *pair)
{
	uint64_t lost = slot_open_connections(pair->memory, pair->fds);

	if (pair->state != PAIR_ENDING && !crew->ending)
		log_error("slot %u: worker and standby of before the reload "
			  "died together, %" PRIu64 " connections are lost",
		    pair->slot, lost);
	endpoints_drop_removed(&crew->endpoints, pair->slot, &crew->config);
}

/* Of a slot that gets a new pair by a reload that one has the listeners, too.
 */
static void
lose_current(struct crew *crew, struct slot *slot, struct pair *pair)
{
	if (!slot->wanted || slot->retire_ms != 0) {
		if (slot->linger_ms == 0 && !slot->next)
			endpoints_drop(&crew->endpoints, pair->slot);
		slot->proven = false;
	} else if (pair->state != PAIR_ENDING && !crew->ending) {
		lose_slot(crew, pair);
		if (!slot->next)
			endpoints_drop_removed(
			    &crew->endpoints, pair->slot, &crew->config);
	}
	lending_forget(crew, pair->slot);
	slot->pair = NULL;
}

static void
take_off_list(struct crew *crew, const struct pair *pair)
{
	struct pair **link = &crew->pairs;

	while (*link != pair)
		link = &(*link)->next;
	*link = pair->next;
}

/* Its loader has died with the order in hand, or could not clone it: another
 * try is made. */
static void
bury_unborn(struct crew *crew, struct slot *slot, struct pair *pair)
{
	if (pair == slot->next) {
		backoff_begin(&slot->birth, crew->now_ms);
		if (backoff_is_long(&slot->birth))
			snprintf(crew->failure, sizeof crew->failure,
			    "the loader cannot clone worker %u", pair->slot);
	} else if (!crew->ending) {
		crew_put_off_start(crew, slot);
		if (is_hopeless(slot, pair))
			give_up_slot(crew, slot, pair, "could not be cloned");
	}
	pair->state = PAIR_ENDING;
}

/* All of a pair's processes are dead. What it has counted stays. */
static void
bury_pair(struct crew *crew, struct pair *pair)
{
	struct slot *slot = &crew->slots[pair->slot];

	if (pair->state == PAIR_STARTING)
		bury_unborn(crew, slot, pair);
	slot_add_counters(pair->memory, &slot->past);
	slot_add_counts(pair->memory, crew->past);
	if (pair == slot->pair)
		lose_current(crew, slot, pair);
	else if (pair == slot->next)
		slot->next = NULL;
	else
		lose_old(crew, pair);
	moves_forget(crew, pair);
	take_off_list(crew, pair);
	pair_free(pair);
}

/* As a rule nobody holds the other ends any more. But a process that a service
 * has forked, in spite of preforkd.h, holds them for as long as it likes: where
 * the slot is given up, those that we know are all that there is to wait for. A
 * clone that could not tell of itself ends when our ends close. */
void
death_bury_if_gone(struct crew *crew, struct pair *pair)
{
	if (pair->worker == 0 &&
	    (pair->control < 0 || (pair->given_up && !pair_has_any(pair))))
		bury_pair(crew, pair);
}

static void
died(struct crew *crew, struct pair *pair, pid_t pid, int status)
{
	pid_t *dying = pair_find_dying(pair, pid);

	if (dying) {
		*dying = 0;
		crew_send_takeover(crew, pair);
	}
	if (pid == pair->worker)
		worker_died(crew, pair, status);
	else if (pid == pair->standby)
		standby_died(crew, pair, status);
}

static void
hear_all(struct crew *crew)
{
	for (struct pair *pair = crew->pairs; pair; pair = pair->next)
		hear_pair(crew, pair);
	for (struct generation *g = crew->generations; g; g = g->next)
		generation_hear(g, crew->now_ms);
}

/* What was said before PID died: its own last words, and those that name it. It
 * may be one that nobody has named yet. */
static void
hear_of(struct crew *crew, pid_t pid)
{
	struct generation *generation = loading_of(crew, pid);
	struct pair *pair = crew_pair_of(crew, pid);

	if (pair)
		hear_pair(crew, pair);
	else if (generation)
		generation_hear(generation, crew->now_ms);
	else
		hear_all(crew);
}

/* The last words may have been a pair's last, whoever's death this is. */
void
death_bury_all_gone(struct crew *crew)
{
	struct pair *next;

	for (struct pair *pair = crew->pairs; pair; pair = next) {
		next = pair->next; /* it may be freed */
		death_bury_if_gone(crew, pair);
	}
}

/* Its pid is still the dead one's: what was said before can name it. */
static void
reap(struct crew *crew, pid_t pid)
{
	struct generation *generation;
	struct pair *pair;
	int status;

	hear_of(crew, pid);
	pair = crew_pair_of(crew, pid);
	if (!child_reap(pid, &status))
		return; /* cannot be: it has been seen dead */
	if (pair)
		died(crew, pair, pid, status);
	else if ((generation = loading_of(crew, pid)))
		generation_died(generation, pid, status, crew->now_ms);
	death_bury_all_gone(crew);
}

/* Was stopped, or continued. */
static void
take_stop(struct crew *crew, pid_t pid)
{
	siginfo_t info;
	struct pair *pair = crew_pair_of(crew, pid);
	struct generation *generation = loading_of(crew, pid);

	if (generation)
		generation->halted = true;
	if (!child_look(pid, WSTOPPED | WCONTINUED, &info) ||
	    info.si_pid == 0 || !pair)
		return;
	if (pair->worker == pid) {
		hang_stop(crew, pair,
		    info.si_code == CLD_CONTINUED ? 0 : info.si_status);
	} else if (info.si_code != CLD_CONTINUED) {
		pair->standby_stopped = true;
		if (pair->taking_over)
			pair_continue(pair);
	}
}

enum { REAPED_MAX = 256 }; /* in one wake-up; whoever is left wakes us again */

void
death_reap(struct crew *crew)
{
	const int any = WEXITED | WSTOPPED | WCONTINUED;
	siginfo_t info;
	unsigned count = 0;

	/* SIGCHLD comes once for several deaths: all that there is is read. */
	while (child_look(0, any | WNOWAIT, &info) && info.si_pid != 0) {
		if (count++ == REAPED_MAX) {
			raise(SIGCHLD); /* blocked: it waits in the signalfd */
			return;
		}
		if (info.si_code == CLD_STOPPED ||
		    info.si_code == CLD_CONTINUED ||
		    info.si_code == CLD_TRAPPED)
			take_stop(crew, info.si_pid);
		else
			reap(crew, info.si_pid);
	}
}

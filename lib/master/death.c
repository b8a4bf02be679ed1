#include "lib/master/death.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/log.h"
#include "lib/master/handover.h"
#include "lib/master/hang.h"
#include "lib/master/hear.h"
#include "lib/master/lending.h"

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
	if (pair->heir > 0 || pair->candidate > 0)
		return "its standby takes over";
	return pair->seed > 0 ? "it had no standby: its seed makes a successor"
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
	log_warning("worker %u (pid %d) %s%s%s; %s%s%s%s", pair->slot, (int)pid,
	    pair_death(death->status).text, *pair->doing ? " while " : "",
	    pair->doing, describe_successor(pair),
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
	*pair->doing = '\0';
	crew_order_takeover(crew, pair, verdict);
}

static bool
ended_as_ordered(const struct crew *crew, const struct pair *pair, int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    (crew->ending || pair->state == PAIR_RETIRING) &&
	    slot_open_connections(pair->memory, pair->fds) == 0;
}

/* How a process ended, and over what: as it has said, or was heard to do. */
struct end {
	char text[CREW_TEXT - 64];
};

static struct end
describe_end(const struct crew *crew, const struct pair *pair, int status)
{
	const bool told = *pair->failure, busy = !told && *pair->doing;
	struct end end;
	int length = snprintf(end.text, sizeof end.text, "%s%s%s",
	    pair_death(status).text,
	    told       ? ": "
		: busy ? " while "
		       : "",
	    told       ? pair->failure
		: busy ? pair->doing
		       : "");

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

/* Only where code of a service fails by itself does the server end for good: a
 * kill, or a wait that was in vain, can be of the moment. */
static bool
is_permanent(const struct pair *pair, int status)
{
	const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	return pair->useless || (*pair->doing && !killed);
}

static void
give_up_slot(struct crew *crew, struct slot *slot, const struct pair *pair,
    int status, const char *end)
{
	crew->exit_status =
	    is_permanent(pair, status) ? CONTROL_EXIT_PERMANENT : 1;
	if (pair->useless && *pair->failure)
		snprintf(
		    crew->given_up, sizeof crew->given_up, "%s", pair->failure);
	else
		snprintf(crew->given_up, sizeof crew->given_up,
		    "worker %u %s; given up after %u tr%s", pair->slot, end,
		    slot->restart.early,
		    slot->restart.early == 1 ? "y" : "ies");
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
	if (!slot->wanted) {
		snprintf(crew->failure, sizeof crew->failure,
		    "new worker %u %s", pair->slot, end.text);
		return;
	}
	if (crew->ending) {
		log_warning(
		    "worker %u (pid %d) %s", pair->slot, (int)pid, end.text);
		return;
	}
	delay_ms = crew_put_off(crew, slot, 0);
	if (is_hopeless(slot, pair)) {
		give_up_slot(crew, slot, pair, status, end.text);
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
		log_info(
		    "worker %u (pid %d) has drained", pair->slot, (int)pid);
		crew_end_pair(pair);
	} else if (pair->switching && WIFEXITED(status) &&
	    WEXITSTATUS(status) == 0) {
		crew_order_takeover(crew, pair, VERDICT_GO_ON);
	} else if (pair->state != PAIR_ENDING) {
		bury_worker(crew, pair, status, pid);
	}
}

/* Where it had been told to take over, the death is a worker's; what it may
 * have cloned before waits at the same socket. */
static void
standby_died(struct crew *crew, struct pair *pair, int status)
{
	pid_t pid = pair->heir;

	pair->heir = 0;
	if (pair->state == PAIR_ENDING)
		return;
	if (pair->taking_over && !pair->told_candidate) {
		bury_worker(crew, pair, status, pid);
		return;
	}
	if (crew_may_log(crew, pair->slot))
		log_warning("standby %u (pid %d) %s; the worker clones another",
		    pair->slot, (int)pid, pair_death(status).text);
	if (pair->candidate == 0 && pair->seed == 0)
		pair->candidate_asked = false; /* it was the one asked */
	if (!pair->taking_over)
		pair_order(pair, CONTROL_CLONE, 0);
}

/* Its services cannot be loaded for now, as while files are replaced. The
 * connections wait, for as long as the deadline of the take-over says. */
static void
put_off_rescue(struct crew *crew, struct pair *pair, int status)
{
	backoff_begin(&pair->birth, crew->now_ms);
	log_warning("the successor of worker %u %s; trying again in %" PRIu64
		    " ms",
	    pair->slot, describe_end(crew, pair, status).text,
	    pair->birth.wait_ms);
}

/* A kill from outside is no fault of the new configuration: it is asked again.
 * While the candidate is taking over, the standby can still do so. */
static void
candidate_died(struct crew *crew, struct pair *pair, int status)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	pair->candidate = 0;
	pair->candidate_asked = pair->candidate_ready = false;
	if (pair->state == PAIR_ENDING)
		return;
	if (!killed || pair->switching)
		snprintf(crew->failure, sizeof crew->failure,
		    "the candidate for worker %u %s", pair->slot,
		    describe_end(crew, pair, status).text);
	if (!killed && pair->rescuing)
		put_off_rescue(crew, pair, status);
	*pair->failure = *pair->doing = '\0';
	pair->useless = false;
	pair->switching = false;
	if (!pair->taking_over || !pair->told_candidate)
		return;
	if (pair->rescuing &&
	    slot_claim_takeover(pair->memory, pair->takeover, getpid())) {
		/* It has not begun to: the order is void, the next gets one. */
		pair->told_candidate = false;
		pair->takeover_due = true;
		return;
	}
	if (pair->heir == 0 && !killed)
		crew_give_up(pair); /* the next one would do no better */
	else
		crew_order_takeover(crew, pair, VERDICT_GO_ON);
}

static void
seed_died(struct pair *pair, int status)
{
	if (pair->state != PAIR_ENDING)
		log_warning("seed %u (pid %d) %s; the slot serves on, but can "
			    "load no new services: restart the server for that",
		    pair->slot, (int)pair->seed, pair_death(status).text);
	pair->seed = 0;
	pair->seed_lost = true;
	if (pair->candidate == 0)
		pair->candidate_asked = false;
}

static void
leaver_died(struct pair *pair, int status)
{
	if (pair->state != PAIR_ENDING && status != 0)
		log_warning("standby %u (pid %d), of before the reload, %s, %s",
		    pair->slot, (int)pair->leaver, pair_death(status).text,
		    *pair->doing ? pair->doing : "ending");
	*pair->doing = '\0';
	pair->leaver = 0;
	pair->leaver_ms = 0;
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

/* All of a pair's processes are dead. */
static void
bury_pair(struct crew *crew, struct pair *pair)
{
	struct slot *slot = &crew->slots[pair->slot];

	if (!slot->wanted || slot->retire_ms != 0) {
		if (slot->linger_ms == 0)
			endpoints_drop(&crew->endpoints, pair->slot);
		slot->proven = false;
	} else if (pair->state != PAIR_ENDING && !crew->ending) {
		lose_slot(crew, pair);
		endpoints_drop_removed(
		    &crew->endpoints, pair->slot, &crew->config);
	}
	lending_forget(crew, pair->slot);
	handover_forget(crew, pair);
	slot->pair = NULL;
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

	if (dying || pid == pair->candidate)
		crew_tidy(pair, pid);
	if (dying) {
		*dying = 0;
		crew_send_takeover(crew, pair);
	}
	if (pid == pair->worker)
		worker_died(crew, pair, status);
	else if (pid == pair->heir)
		standby_died(crew, pair, status);
	else if (pid == pair->candidate)
		candidate_died(crew, pair, status);
	else if (pid == pair->seed)
		seed_died(pair, status);
	else if (pid == pair->leaver)
		leaver_died(pair, status);
}

static void
hear_all(struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			hear_pair(crew, crew->slots[i].pair);
}

/* The last words may have been a pair's last, whoever's death this is. */
void
death_bury_all_gone(struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].pair)
			death_bury_if_gone(crew, crew->slots[i].pair);
}

/* Its pid is still the dead one's: what was said before can name it. */
static void
reap(struct crew *crew, pid_t pid)
{
	struct pair *pair;
	int status;

	hear_all(crew);
	pair = crew_pair_of(crew, pid);
	if (!child_reap(pid, &status))
		return; /* cannot be: it has been seen dead */
	if (pair)
		died(crew, pair, pid, status);
	death_bury_all_gone(crew);
}

/* Was stopped, or continued. */
static void
take_stop(struct crew *crew, pid_t pid)
{
	siginfo_t info;
	struct pair *pair = crew_pair_of(crew, pid);

	if (!child_look(pid, WSTOPPED | WCONTINUED, &info) ||
	    info.si_pid == 0 || !pair)
		return;
	if (pair->worker == pid) {
		hang_stop(crew, pair,
		    info.si_code == CLD_CONTINUED ? 0 : info.si_status);
	} else if (info.si_code != CLD_CONTINUED) {
		pair->others_stopped = true;
		if (pair->taking_over || pair->candidate_asked)
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

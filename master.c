/*
 * The master: it forks the workers, hears of all that happens through one epoll
 * instance (a signalfd, a control socket for each worker, the next deadline),
 * and after each wake-up `reconcile` brings what each slot is to what it should
 * be. That is the only place that forks.
 */
#include "master.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/endpoint.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/process.h"
#include "lib/restart.h"
#include "lib/title.h"
#include "worker.h"

enum {
	START_MS = 10000, /* for a worker to say that it is ready */
	/* Handshakes that a retired slot's listener has begun before it was
	 * steered away from end meanwhile. */
	RETIRE_MS = 1000,
	KILL_MS = 1000, /* past its time-out, a worker that drains is killed */
	EVENTS = 64,
	STATUS_TEXT = 512,
};

static const int handled_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM,
	SIGUSR1, SIGTTIN, SIGTTOU, SIGCHLD };

enum phase {
	STARTING, /* not yet ready */
	SERVING,
	RELOADING, /* candidates start beside the workers */
	ENDING,
};

struct slot {
	bool wanted;		/* what it should be: served, or not */
	struct process *worker; /* what it is: NULL, starting, serving, ... */
	struct process *candidate; /* of a reload: the worker to be */
	bool proven;		   /* it has served before */
	struct restart restart;
	uint64_t restart_ms; /* no worker before then */
	uint64_t retire_ms;  /* its queue is emptied then; 0: it serves */
};

struct master {
	const struct config_source *source;
	struct config config; /* in force */
	struct config next;   /* of the reload under way */
	enum phase phase;
	enum control_type ending; /* CONTROL_DRAIN or CONTROL_STOP */
	bool reload_wanted;
	int exit_status;
	char error[STATUS_TEXT]; /* why a reload failed */
	struct slot slots[CONFIG_WORKERS_MAX];
	unsigned slot_count; /* no slot at or above it was ever wanted */
	bool served[CONFIG_WORKERS_MAX]; /* as the steering knows it */
	struct endpoints endpoints;
	struct process *processes;
	int epoll;
	int signals;
	uint64_t now_ms;
	uint64_t watchdog_ms; /* interval; 0: none */
	uint64_t watchdog_due_ms;
};

/* ---- what is known ------------------------------------------------------- */

static unsigned
wanted_slots(const struct master *m)
{
	unsigned count = 0;

	while (count < m->slot_count && m->slots[count].wanted)
		count++;
	return count;
}

/* Slots are wanted from the first on; the last is retired first. */
static void
want_slots(struct master *m, unsigned count)
{
	if (m->slot_count < count)
		m->slot_count = count;
	for (unsigned i = 0; i < m->slot_count; i++)
		m->slots[i].wanted = i < count;
}

static struct process *
find_process(const struct master *m, pid_t pid)
{
	struct process *process = m->processes;

	while (process && process->pid != pid)
		process = process->next;
	return process;
}

static uint64_t
open_connections(const struct master *m)
{
	uint64_t count = 0;

	for (struct process *p = m->processes; p; p = p->next)
		count += slot_open_connections(p->memory);
	return count;
}

static void
notify_status(const struct master *m, const char *state)
{
	notify_send("%sSTATUS=%u workers, %" PRIu64 " connections%s%s", state,
	    wanted_slots(m), open_connections(m), *m->error ? "; " : "",
	    m->error);
}

/* ---- speaking to workers ------------------------------------------------- */

static void
order(struct process *process, enum control_type type, uint64_t value)
{
	struct control_message message = { .type = type, .value = value };

	process_send(process, &message, -1);
}

static void
order_endpoint(struct master *m, struct process *process,
    enum control_type type, const struct endpoint *endpoint, int fd)
{
	struct control_message message = { .type = type };

	message.endpoint = endpoint_number(&m->endpoints, endpoint);
	message.serial = endpoint->serial;
	message.address = endpoint->bound;
	process_send(process, &message, fd);
}

static void
order_close_all(struct process *process)
{
	struct control_message message = { .type = CONTROL_CLOSE,
		.endpoint = CONTROL_ALL };

	process_send(process, &message, -1);
}

/* Names the endpoints of CONFIG, with the listeners that the slot has. */
static void
order_listening(
    struct master *m, struct process *process, const struct config *config)
{
	for (unsigned i = 0; i < config->listen_count; i++) {
		const struct endpoint *endpoint =
		    endpoints_of(&m->endpoints, config, i);

		order_endpoint(m, process, CONTROL_LISTEN, endpoint,
		    endpoint->listeners[process->slot]);
	}
}

static void
serve(struct master *m, struct process *process)
{
	struct slot *slot = &m->slots[process->slot];

	process->state = PROCESS_SERVING;
	slot->worker = process;
	slot->proven = true;
	order(process, CONTROL_SERVE, 0);
}

/* Tells a process that has given away its listeners, or closes them, to end. */
static void
drain(struct master *m, struct process *process, enum control_type how)
{
	uint64_t timeout_ms = m->config.drain_timeout_ms;

	order(process, how, timeout_ms);
	process->deadline_ms = m->now_ms + timeout_ms + KILL_MS;
}

/* ---- births -------------------------------------------------------------- */

static bool
somebody_starts(const struct master *m)
{
	for (const struct process *p = m->processes; p; p = p->next)
		if (p->state == PROCESS_STARTING)
			return true;
	return false;
}

static bool
watch(struct master *m, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Starts a worker, unless another is starting that may open listeners: the
 * order in which they begin to listen must be known (lib/steering.h). Returns
 * false where it failed, with errno. */
static bool
spawn(struct master *m, unsigned slot, const struct config *config,
    struct process **born)
{
	struct process *process;

	if (!endpoints_has_all(&m->endpoints, slot, config) &&
	    somebody_starts(m))
		return true;
	process = process_fork(slot, config, worker_run);
	if (!process)
		return false;
	process->deadline_ms = m->now_ms + START_MS;
	process->next = m->processes;
	m->processes = process;
	*born = process;
	order_listening(m, process, config);
	return watch(m, process->control);
}

/* ---- reload -------------------------------------------------------------- */

static void __attribute__((format(printf, 2, 3)))
set_error(struct master *m, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(m->error, sizeof m->error, format, arguments);
	va_end(arguments);
}

static void
end_reload(struct master *m)
{
	m->phase = SERVING;
	notify_status(m, "READY=1\n");
}

/* Undoes what the reload has begun. Candidates have accepted nothing, and
 * listeners of new slots have not been steered to. */
static void
fail_reload(struct master *m, const char *cause)
{
	set_error(m, "reload failed: %s", cause);
	log_error("%s; nothing has changed", m->error);
	for (unsigned i = 0; i < m->slot_count; i++) {
		if (m->slots[i].candidate)
			process_kill(m->slots[i].candidate);
		m->slots[i].candidate = NULL;
	}
	endpoints_remove_added(&m->endpoints, &m->config, &m->next);
	end_reload(m);
}

static void
report_error(void *context, const char *message)
{
	struct master *m = context;

	log_error("%s", message);
	if (!*m->error)
		set_error(m, "%s", message);
}

static void
begin_reload(struct master *m)
{
	const struct config_report report = { report_error, m };
	char cause[STATUS_TEXT];

	m->reload_wanted = false;
	*m->error = '\0';
	log_info("reloading");
	notify_reloading();
	if (config_load(m->source, &m->next, &report) != CONFIG_VALID) {
		snprintf(cause, sizeof cause, "%s", m->error);
		m->next = m->config;
		fail_reload(m, cause);
	} else if (!endpoints_reserve(&m->endpoints, &m->next, cause)) {
		fail_reload(m, cause);
	} else {
		m->phase = RELOADING;
		if (m->slot_count < m->next.workers)
			m->slot_count = m->next.workers;
	}
}

static bool
all_candidates_ready(const struct master *m)
{
	for (unsigned i = 0; i < m->next.workers; i++)
		if (!m->slots[i].candidate ||
		    m->slots[i].candidate->state != PROCESS_READY)
			return false;
	return true;
}

/* The old worker gives up what its successor serves; what nobody serves any
 * more it empties and closes. */
static void
replace(struct master *m, struct process *old)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++) {
		const struct endpoint *endpoint = &m->endpoints.list[i];

		if (endpoint->used)
			order_endpoint(m, old,
			    endpoint_is_configured(endpoint, &m->config)
				? CONTROL_RELEASE
				: CONTROL_CLOSE,
			    endpoint, -1);
	}
	drain(m, old, CONTROL_DRAIN);
	if (old->state == PROCESS_STARTING)
		process_kill(old); /* a crash was just being mended */
	old->state = PROCESS_DRAINING;
}

static void
commit_reload(struct master *m)
{
	char addresses[STATUS_TEXT];

	m->config = m->next;
	want_slots(m, m->config.workers);
	log_limit(m->config.log_level);
	for (unsigned i = 0; i < m->config.workers; i++) {
		struct slot *slot = &m->slots[i];
		struct process *old = slot->worker;

		slot->candidate->candidate = false;
		slot->candidate->deadline_ms = 0;
		serve(m, slot->candidate);
		slot->candidate = NULL;
		if (old)
			replace(m, old);
		else
			endpoints_drop_removed(&m->endpoints, i, &m->config);
	}
	endpoints_list(&m->endpoints, &m->config, addresses, sizeof addresses);
	log_info("reloaded: %u workers on %s", m->config.workers, addresses);
	end_reload(m);
}

/* ---- reconcile ----------------------------------------------------------- */

/* Empties the queues of a slot that nobody is steered to any more. */
static void
retire(struct master *m, struct process *process)
{
	process->state = PROCESS_RETIRING;
	order_close_all(process);
	drain(m, process, CONTROL_DRAIN);
}

static void
start_worker(struct master *m, unsigned number)
{
	struct slot *slot = &m->slots[number];
	uint64_t delay_ms;

	if (m->now_ms < slot->restart_ms ||
	    spawn(m, number, &m->config, &slot->worker))
		return;
	delay_ms = restart_delay_ms(&slot->restart, 0);
	slot->restart_ms = m->now_ms + delay_ms;
	log_error("cannot start worker %u: %s; trying again in %" PRIu64 " ms",
	    number, strerror(errno), delay_ms);
}

static void
start_candidate(struct master *m, unsigned number)
{
	struct slot *slot = &m->slots[number];
	char cause[STATUS_TEXT];

	if (!spawn(m, number, &m->next, &slot->candidate)) {
		snprintf(cause, sizeof cause, "cannot start new worker %u: %s",
		    number, strerror(errno));
		fail_reload(m, cause);
	} else if (slot->candidate) {
		slot->candidate->candidate = true;
	}
}

/* A slot that is to go keeps its worker until nobody is steered to it for a
 * moment; then that empties the queue. Should the worker die before, another
 * does so. */
static void
reconcile_unwanted(struct master *m, unsigned number)
{
	struct slot *slot = &m->slots[number];

	if (!endpoints_has_any(&m->endpoints, number))
		slot->retire_ms = 0;
	else if (slot->retire_ms == 0)
		slot->retire_ms = m->now_ms + RETIRE_MS;
	else if (slot->worker && slot->worker->state == PROCESS_SERVING &&
	    m->now_ms >= slot->retire_ms)
		retire(m, slot->worker);
	else if (!slot->worker && slot->proven &&
	    endpoints_has_all(&m->endpoints, number, &m->config))
		start_worker(m, number);
	else if (!slot->worker)
		endpoints_drop(&m->endpoints, number); /* never served */
}

static void
reconcile_slot(struct master *m, unsigned number)
{
	struct slot *slot = &m->slots[number];
	bool is_next = m->phase == RELOADING && number < m->next.workers;
	bool retiring = slot->worker && slot->worker->state == PROCESS_RETIRING;

	if (!slot->wanted && !is_next) {
		reconcile_unwanted(m, number);
		return;
	}
	slot->retire_ms = 0;
	if (slot->wanted && !slot->worker)
		start_worker(m, number);
	if (is_next && !slot->candidate && !retiring)
		start_candidate(m, number);
}

static bool
all_serve(const struct master *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		if (m->slots[i].wanted &&
		    (!m->slots[i].worker ||
			m->slots[i].worker->state != PROCESS_SERVING))
			return false;
	return true;
}

static void
become_ready(struct master *m)
{
	m->phase = SERVING;
	log_info("ready: %u workers listening", m->config.workers);
	notify_status(m, "READY=1\n");
}

/* A slot whose worker is about to start at once is still steered to: its queue
 * waits for no more than a moment. */
static bool
is_served(const struct master *m, const struct slot *slot)
{
	return slot->wanted && slot->proven &&
	    (slot->worker || slot->restart_ms <= m->now_ms);
}

static void
steer(struct master *m)
{
	bool changed = false;

	for (unsigned i = 0; i < m->slot_count; i++) {
		bool served = is_served(m, &m->slots[i]);

		changed |= served != m->served[i];
		m->served[i] = served;
	}
	if (endpoints_steer(&m->endpoints, m->served, changed) < 0)
		log_warning("cannot steer connections: %s", strerror(errno));
}

static void
reconcile(struct master *m)
{
	if (m->phase == ENDING)
		return;
	if (m->phase == SERVING) {
		endpoints_remove_unused(&m->endpoints, &m->config);
		if (m->reload_wanted)
			begin_reload(m);
	}
	for (unsigned i = 0; i < m->slot_count; i++)
		reconcile_slot(m, i);
	if (m->phase == STARTING && all_serve(m))
		become_ready(m);
	if (m->phase == RELOADING && all_candidates_ready(m))
		commit_reload(m);
	steer(m);
}

/* ---- the end ------------------------------------------------------------- */

static void
end_process(struct master *m, struct process *process)
{
	if (process->candidate || process->state == PROCESS_STARTING) {
		process_kill(process);
		return;
	}
	order_close_all(process);
	drain(m, process, m->ending);
}

/* The queues are the workers' now: when one has emptied and closed its
 * listener, no duplicate of ours keeps it open. */
static void
end(struct master *m, enum control_type how, int exit_status)
{
	m->phase = ENDING;
	m->ending = how;
	m->exit_status = exit_status;
	notify_send("STOPPING=1\nSTATUS=%s",
	    how == CONTROL_STOP ? "stopping" : "draining");
	endpoints_remove_all(&m->endpoints);
	for (struct process *p = m->processes; p; p = p->next)
		end_process(m, p);
}

static void
end_by_signal(struct master *m, enum control_type how, const char *name)
{
	if (m->phase == ENDING && m->ending == CONTROL_STOP) {
		log_warning("%s again: ending at once", name);
		for (struct process *p = m->processes; p; p = p->next)
			process_kill(p);
		return;
	}
	if (m->phase == ENDING && how == CONTROL_DRAIN)
		return;
	log_info("%s: %s; at most %" PRIu64 " ms",
	    how == CONTROL_STOP ? "stopping" : "draining", name,
	    m->config.drain_timeout_ms);
	end(m, how, 0);
}

/* ---- hearing from workers ------------------------------------------------ */

/* A queue is empty and the worker's descriptor closed; ours is the last. */
static void
let_go(struct master *m, struct process *process, struct endpoint *endpoint)
{
	bool retiring = process->state == PROCESS_RETIRING;

	if (!retiring && endpoint_is_configured(endpoint, &m->config))
		return;
	endpoint_drop(endpoint, process->slot);
	if (retiring && !endpoints_has_any(&m->endpoints, process->slot)) {
		process->state = PROCESS_DRAINING;
		m->slots[process->slot].worker = NULL;
		m->slots[process->slot].proven = false;
	}
}

static void
ready(struct master *m, struct process *process)
{
	if (process->state != PROCESS_STARTING)
		return; /* replaced meanwhile */
	process->deadline_ms = 0;
	if (process->candidate)
		process->state = PROCESS_READY;
	else
		serve(m, process);
}

static void
take_message(struct master *m, struct process *process,
    const struct control_message *message, int fd)
{
	struct endpoint *endpoint =
	    endpoints_named(&m->endpoints, message->endpoint, message->serial);

	if (message->type == CONTROL_LISTENING && endpoint && fd >= 0) {
		endpoint_hold(endpoint, process->slot, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (message->type == CONTROL_CLOSED && endpoint)
		let_go(m, process, endpoint);
	else if (message->type == CONTROL_READY)
		ready(m, process);
	else if (message->type == CONTROL_FAILED)
		memcpy(
		    process->failure, message->text, sizeof process->failure);
}

static void
hear(struct master *m, struct process *process)
{
	struct control_message message;
	int fd, result;

	if (process->control < 0)
		return;
	while ((result = control_receive(
		    process->control, &message, &fd, MSG_DONTWAIT)) > 0)
		take_message(m, process, &message, fd);
	if (result < 0 && errno == EAGAIN)
		return;
	close(process->control); /* leaves the epoll instance with it */
	process->control = -1;
}

/* ---- deaths -------------------------------------------------------------- */

static void
log_death(const struct process *process, int status, const char *consequence)
{
	log_warning("worker %u (pid %d) %s%s%s%s", process->slot,
	    (int)process->pid, process_death(status).text,
	    *process->failure ? ": " : "", process->failure, consequence);
}

static bool
is_permanent(int status)
{
	return WIFEXITED(status) &&
	    WEXITSTATUS(status) == CONTROL_EXIT_PERMANENT;
}

/* Trying again would not mend it. A slot just added is given up; else the one
 * cause ends the server. */
static void
give_up(struct master *m, const struct process *process)
{
	const struct slot *slot = &m->slots[process->slot];

	log_error("%s", process->failure);
	if (m->phase != STARTING && !slot->proven)
		want_slots(m, process->slot);
	else
		end(m, CONTROL_STOP, CONTROL_EXIT_PERMANENT);
}

static void
bury_candidate(struct master *m, struct process *process, int status)
{
	struct slot *slot = &m->slots[process->slot];
	char cause[STATUS_TEXT];

	if (slot->candidate != process)
		return; /* of a reload that has failed already */
	slot->candidate = NULL;
	if (*process->failure)
		snprintf(cause, sizeof cause, "%s", process->failure);
	else
		snprintf(cause, sizeof cause, "new worker %u %s", process->slot,
		    process_death(status).text);
	fail_reload(m, cause);
}

static void
bury_worker(struct master *m, struct process *process, int status)
{
	struct slot *slot = &m->slots[process->slot];
	uint64_t lived_ms = m->now_ms - process->started_ms;
	uint64_t delay_ms;
	char consequence[64] = "; restarting at once";

	slot->worker = NULL;
	if (is_permanent(status)) {
		give_up(m, process);
		return;
	}
	delay_ms = restart_delay_ms(&slot->restart, lived_ms);
	slot->restart_ms = m->now_ms + delay_ms;
	if (delay_ms > 0)
		snprintf(consequence, sizeof consequence,
		    "; restarting in %" PRIu64 " ms", delay_ms);
	log_death(process, status, consequence);
}

static void
bury(struct master *m, struct process *process, int status)
{
	struct slot *slot = &m->slots[process->slot];
	bool drained = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
	    (process->state >= PROCESS_RETIRING || m->phase == ENDING);

	if (process->state == PROCESS_RETIRING)
		endpoints_drop(&m->endpoints, process->slot);
	else if (!process->candidate)
		endpoints_drop_removed(
		    &m->endpoints, process->slot, &m->config);
	if (process->candidate) {
		bury_candidate(m, process, status);
	} else if (drained) {
		log_info("worker %u (pid %d) has drained", process->slot,
		    (int)process->pid);
	} else if (m->phase == ENDING || process != slot->worker ||
	    process->state == PROCESS_RETIRING) {
		log_death(process, status, "");
	} else {
		bury_worker(m, process, status);
	}
	if (process == slot->worker)
		slot->worker = NULL;
}

static void
forget(struct master *m, struct process *process)
{
	struct process **link = &m->processes;

	while (*link != process)
		link = &(*link)->next;
	*link = process->next;
	process_free(process);
}

/* Reaps all that has died: SIGCHLD says that something has, not how many. As
 * PID 1 of a container that is also what is not ours. */
static void
reap(struct master *m)
{
	struct process *process;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		process = find_process(m, pid);
		if (!process)
			continue;
		hear(m, process); /* its last words */
		bury(m, process, status);
		forget(m, process);
	}
}

/* ---- signals ------------------------------------------------------------- */

static void
add_worker(struct master *m)
{
	unsigned count = wanted_slots(m);

	if (count == CONFIG_WORKERS_MAX) {
		log_warning(
		    "TTIN: already %u workers, the most there can be", count);
		return;
	}
	log_info("adding worker %u (TTIN)", count);
	want_slots(m, count + 1);
}

static void
remove_worker(struct master *m)
{
	unsigned count = wanted_slots(m);

	if (count == 1) {
		log_warning("TTOU: this is the last worker; TERM ends it all");
		return;
	}
	log_info("removing worker %u (TTOU)", count - 1);
	want_slots(m, count - 1);
}

static void
log_status(const struct master *m)
{
	for (unsigned i = 0; i < m->slot_count; i++)
		for (const struct process *p = m->processes; p; p = p->next) {
			const struct slot_counters *c = &p->memory->counters;

			if (p->slot != i)
				continue;
			log_info("slot %u: worker %d %s, %" PRIu64
				 " connections, %" PRIu64 " accepted, %" PRIu64
				 " bytes in, %" PRIu64 " bytes out, %" PRIu64
				 " restarts",
			    i, (int)p->pid, process_state_names[p->state],
			    slot_open_connections(p->memory), c->accepted,
			    c->received, c->sent, m->slots[i].restart.deaths);
		}
}

static void
act_on_signal(struct master *m, uint32_t number)
{
	switch (number) {
	case SIGHUP:
		m->reload_wanted = true;
		break;
	case SIGINT:
		end_by_signal(m, CONTROL_STOP, "INT");
		break;
	case SIGTERM:
		end_by_signal(m, CONTROL_STOP, "TERM");
		break;
	case SIGQUIT:
		end_by_signal(m, CONTROL_DRAIN, "QUIT");
		break;
	case SIGUSR1:
		log_status(m);
		break;
	case SIGTTIN:
		add_worker(m);
		break;
	case SIGTTOU:
		remove_worker(m);
		break;
	case SIGCHLD:
		reap(m);
		break;
	}
}

static void
read_signals(struct master *m)
{
	struct signalfd_siginfo info;

	while (read(m->signals, &info, sizeof info) == sizeof info)
		act_on_signal(m, info.ssi_signo);
}

/* ---- time ---------------------------------------------------------------- */

static void
enforce_deadlines(struct master *m)
{
	for (struct process *p = m->processes; p; p = p->next) {
		if (p->deadline_ms == 0 || m->now_ms < p->deadline_ms)
			continue;
		log_warning("worker %u (pid %d) is still %s: killing it",
		    p->slot, (int)p->pid, process_state_names[p->state]);
		process_kill(p);
	}
}

static void
feed_watchdog(struct master *m)
{
	if (m->watchdog_ms == 0 || m->now_ms < m->watchdog_due_ms)
		return;
	m->watchdog_due_ms = m->now_ms + m->watchdog_ms;
	if (m->phase == SERVING)
		notify_status(m, "WATCHDOG=1\n");
	else
		notify_send("WATCHDOG=1");
}

static void
keep_time(struct master *m)
{
	m->now_ms = clock_ms();
	enforce_deadlines(m);
	feed_watchdog(m);
}

/* Moves DUE_MS forward to WHEN_MS where that is set and earlier. */
static void
bring_forward(uint64_t *due_ms, uint64_t when_ms)
{
	if (when_ms != 0 && (*due_ms == 0 || when_ms < *due_ms))
		*due_ms = when_ms;
}

/* For epoll_wait: ms until something is due, or -1 for never. */
static int
time_left(const struct master *m)
{
	uint64_t due_ms = m->watchdog_due_ms, left_ms;

	for (const struct process *p = m->processes; p; p = p->next)
		bring_forward(&due_ms, p->deadline_ms);
	for (unsigned i = 0; i < m->slot_count; i++) {
		if (!m->slots[i].worker && m->slots[i].restart_ms > m->now_ms)
			bring_forward(&due_ms, m->slots[i].restart_ms);
		if (m->slots[i].retire_ms > m->now_ms)
			bring_forward(&due_ms, m->slots[i].retire_ms);
	}
	if (due_ms == 0)
		return -1;
	left_ms = due_ms > m->now_ms ? due_ms - m->now_ms : 0;
	return left_ms > 3600000 ? 3600000 : (int)left_ms;
}

/* ---- the loop ------------------------------------------------------------ */

static void
handle(struct master *m, int fd)
{
	if (fd == m->signals) {
		read_signals(m);
		return;
	}
	for (struct process *p = m->processes; p; p = p->next)
		if (p->control == fd) {
			hear(m, p);
			return;
		}
}

static bool
is_done(const struct master *m)
{
	return m->phase == ENDING && !m->processes;
}

static int
loop(struct master *m)
{
	struct epoll_event events[EVENTS];
	int count = 0;

	while (!is_done(m)) {
		keep_time(m);
		for (int i = 0; i < count; i++)
			handle(m, events[i].data.fd);
		reconcile(m);
		if (is_done(m))
			break;
		count = epoll_wait(m->epoll, events, EVENTS, time_left(m));
		if (count < 0 && errno != EINTR) {
			log_error("epoll_wait: %s", strerror(errno));
			return 1; /* the workers die with us */
		}
	}
	log_info("stopped");
	return m->exit_status;
}

/* ---- the start ----------------------------------------------------------- */

static int
block_signals(void)
{
	sigset_t handled;

	sigemptyset(&handled);
	for (size_t i = 0;
	     i < sizeof handled_signals / sizeof handled_signals[0]; i++)
		sigaddset(&handled, handled_signals[i]);
	/* A parent may have left SIGCHLD ignored, which would reap unseen. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_SETMASK, &handled, NULL);
	return signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool
open_loop(struct master *m)
{
	m->signals = block_signals();
	m->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (m->signals >= 0 && m->epoll >= 0 && watch(m, m->signals))
		return true;
	log_error("cannot watch for signals: %s", strerror(errno));
	return false;
}

static void
warn_of_limits(struct master *m)
{
	unsigned wanted, fds = process_fds(&m->config, &wanted);

	for (unsigned i = 0; i < m->config.listen_count; i++) {
		const struct address *asked = &m->config.listen[i];
		const struct address *bound =
		    &endpoints_of(&m->endpoints, &m->config, i)->bound;

		if (bound->socket.any.sa_family != asked->socket.any.sa_family)
			log_warning("no IPv6 here: listening on %s instead of "
				    "[::]:%u",
			    address_format(bound).text, address_port(bound));
	}
	if (fds < wanted)
		log_warning("max-connections %u needs %u open files, the limit "
			    "is %u: accepting pauses there; raise LimitNOFILE= "
			    "or ulimit -Hn, or lower max-connections",
		    m->config.max_connections, wanted, fds);
}

static bool
begin(struct master *m)
{
	char error[LISTENER_ERROR], addresses[STATUS_TEXT];

	if (!endpoints_reserve(&m->endpoints, &m->config, error)) {
		log_error("%s", error);
		return false;
	}
	endpoints_list(&m->endpoints, &m->config, addresses, sizeof addresses);
	log_info("preforkd %s starting on %s; %u workers", PREFORKD_VERSION,
	    addresses, m->config.workers);
	warn_of_limits(m);
	want_slots(m, m->config.workers);
	m->watchdog_ms = notify_watchdog_ms();
	if (m->watchdog_ms != 0)
		m->watchdog_due_ms = clock_ms();
	return true;
}

int
master_run(const struct config_source *source, const struct config *config)
{
	struct master *m = calloc(1, sizeof *m);
	int status = 1;

	title_set("master");
	log_name("master");
	log_limit(config->log_level);
	if (!m) {
		log_error("no memory for the master: %s", strerror(errno));
		return 1;
	}
	m->source = source;
	m->config = *config;
	if (open_loop(m))
		status = begin(m) ? loop(m) : CONTROL_EXIT_PERMANENT;
	free(m);
	return status;
}

/*
 * The master: it hears of all that happens through one epoll instance (a
 * signalfd, the control sockets of each slot, the next deadline), and after
 * each wake-up `reconcile` brings what each slot is to what it should be. Only
 * there, and at the end for what still waits, are slots begun. What they are
 * made of is lib/master/crew.c's.
 */
#include "master.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/service.h"
#include "lib/base/text.h"
#include "lib/base/title.h"
#include "lib/master/closing.h"
#include "lib/master/crew.h"
#include "lib/master/death.h"
#include "lib/master/hang.h"
#include "lib/master/hear.h"
#include "lib/master/lending.h"
#include "lib/master/loading.h"
#include "lib/master/moves.h"
#include "lib/master/notify.h"
#include "lib/master/room.h"
#include "worker.h"

enum {
	/* Most handshakes that a slot's listener has begun before it was
	 * steered away from end meanwhile; for the others see lending.h. */
	RETIRE_MS = 1000,
	EVENTS = 64,
	/* Open files beside those of slots and ports, and a few that are open
	 * for a moment. */
	OWN_FDS = 16,
	ADDRESS_WAIT_MS = 10000, /* at the start, for one that is not there */
	ADDRESS_AGAIN_MS = 200,
	ADDRESSES_TEXT = 640,  /* of one line of the log */
	FIRST_REALTIME = 32,   /* signal(7) */
	SET_BYTES = _NSIG / 8, /* of the kernel's sets of signals */
};

/* The last would end us, and nobody means that by them. */
static const int handled_signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM,
	SIGUSR1, SIGTTIN, SIGTTOU, SIGCHLD, SIGUSR2, SIGALRM, SIGVTALRM,
	SIGPROF, SIGIO, SIGPWR, SIGSTKFLT, SIGXCPU };

enum phase {
	STARTING, /* not yet ready */
	SERVING,
	RELOADING, /* new workers get ready beside the old */
	SWITCHING, /* connections go from the old to the new */
	ENDING,
};

struct master {
	const struct config_source *source;
	struct config next; /* of the reload under way */
	struct crew crew;
	enum phase phase;
	bool reload_wanted;
	uint64_t reload_due_ms; /* the reload fails if no other worker is ready
				   by then; 0: never */
	unsigned reload_ready;	/* how many are */
	int exit_status;
	char error[CREW_TEXT]; /* why the last reload failed, or "" */
	int signals;
	bool terminal[STDERR_FILENO + 1]; /* which standard streams are one */
	struct closing closing;
	bool end_due;	      /* as soon as listeners may close */
	uint64_t watchdog_ms; /* interval; 0: none */
	uint64_t watchdog_due_ms;
};

/* Writes into TEXT where we listen, from the Nth address on. Returns the number
 * of the first that is not among them: for log_other_addresses. */
static unsigned
list_addresses(struct master *m, unsigned n, char text[ADDRESSES_TEXT])
{
	return endpoints_list(
	    &m->crew.endpoints, &m->crew.config, n, text, ADDRESSES_TEXT);
}

static void
log_other_addresses(struct master *m, unsigned n)
{
	char addresses[ADDRESSES_TEXT];

	while (n < m->crew.config.listen_count) {
		n = list_addresses(m, n, addresses);
		log_info("and on %s", addresses);
	}
}

static void
tell_state(const struct master *m, const char *assignments)
{
	unsigned workers = crew_wanted(&m->crew);
	uint64_t connections = crew_connections(&m->crew);

	notify_status(assignments, "%u worker%s, %" PRIu64 " connection%s%s%s",
	    workers, log_plural(workers), connections, log_plural(connections),
	    *m->error ? "; " : "", m->error);
}

/* ---- the end ------------------------------------------------------------ */

/* A slot that is down has a queue all the same, which is to be answered. */
static void
start_for_queues(struct master *m)
{
	struct crew *crew = &m->crew;

	for (unsigned i = 0; i < crew->slot_count; i++)
		if (!crew->slots[i].pair && crew->slots[i].proven &&
		    !crew_start(crew, i, &crew->config))
			log_warning("cannot start worker %u for what waits in "
				    "its queue: %s",
			    i, strerror(errno));
}

static void
end(struct master *m, enum control_type how, int exit_status)
{
	struct crew *crew = &m->crew;

	m->phase = ENDING;
	m->exit_status = exit_status;
	m->end_due = true;
	crew->how = how;
	crew->end_ms = crew->now_ms + crew->config.drain_timeout_ms;
	closing_end(&m->closing); /* a reload's, which is not any more */
	notify_status("STOPPING=1\n", "%s",
	    how == CONTROL_STOP ? "stopping" : "draining");
}

static void
end_crew(struct master *m)
{
	m->end_due = false;
	start_for_queues(m);
	crew_end(&m->crew, m->crew.how);
}

/* Until then all is served as ever. */
static void
reconcile_end(struct master *m)
{
	struct crew *crew = &m->crew;

	if (m->end_due &&
	    (closing_is_over(
		 &m->closing, &crew->endpoints, NULL, crew->now_ms) ||
		crew->now_ms >= crew->end_ms))
		end_crew(m);
}

/* What an ending server cannot do any more. */
static void
ignore(const struct master *m, const char *name)
{
	log_info("%s: ignored: the server is %s", name,
	    m->crew.how == CONTROL_STOP ? "stopping" : "draining");
}

static void
end_by_signal(struct master *m, enum control_type how, const char *name)
{
	if (m->phase == ENDING && how == CONTROL_DRAIN) {
		ignore(m, name);
		return;
	}
	if (m->phase == ENDING && m->crew.how == CONTROL_STOP) {
		log_warning("%s again: ending at once", name);
		if (m->end_due)
			end_crew(m);
		crew_kill(&m->crew);
		return;
	}
	log_info("%s: %s; at most %" PRIu64 " ms",
	    how == CONTROL_STOP ? "stopping" : "draining", name,
	    m->crew.config.drain_timeout_ms);
	end(m, how, 0);
}

/* ---- reload ------------------------------------------------------------- */

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
	*m->crew.failure = '\0';
	tell_state(m, "READY=1\n");
}

/* Undoes what the reload has begun. The new workers have touched nothing, and
 * the listeners of new slots have not been steered to. */
static void
fail_reload(struct master *m, const char *cause)
{
	struct crew *crew = &m->crew;

	set_error(m, "reload failed: %s", cause);
	log_error("%s; nothing has changed", m->error);
	for (unsigned i = 0; i < crew->slot_count; i++)
		crew_dismiss_next(&crew->slots[i]);
	loading_dismiss_next(crew);
	endpoints_remove_added(&crew->endpoints, &crew->config, &m->next);
	closing_cancel(&m->closing, &crew->endpoints);
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

/* The listeners of added addresses are opened here, not by the new workers: an
 * address that cannot be had is known before any of them is made. */
static bool
open_added(struct master *m, char error[LISTENER_ERROR])
{
	struct crew *crew = &m->crew;

	for (unsigned i = 0; i < crew->slot_count; i++)
		for (unsigned n = 0; n < m->next.listen_count; n++) {
			struct endpoint *e =
			    endpoints_of(&crew->endpoints, &m->next, n);
			int fd;

			if (!crew->slots[i].pair || e->listeners[i] >= 0)
				continue;
			fd = endpoint_open(
			    &crew->endpoints, e, i, m->next.backlog, error);
			if (fd < 0)
				return false;
			endpoint_hold(e, i, fd);
		}
	return true;
}

static void
await_ready(struct master *m)
{
	m->reload_due_ms = m->next.start_timeout_ms > 0
	    ? m->crew.now_ms + m->next.start_timeout_ms
	    : 0;
}

static void
begin_reload(struct master *m)
{
	const struct config_report report = { report_error, m };
	char cause[CREW_TEXT];

	m->reload_wanted = false;
	*m->error = *m->crew.failure = '\0';
	log_info("reloading");
	notify_reloading();
	if (config_reload(m->source, &m->crew.config, &m->next, &report) !=
	    CONFIG_VALID) {
		snprintf(cause, sizeof cause, "%s", m->error);
		m->next = m->crew.config;
		fail_reload(m, cause);
		return;
	}
	if (!endpoints_reserve(&m->crew.endpoints, &m->next, cause) ||
	    !open_added(m, cause)) {
		fail_reload(m, cause);
		return;
	}
	for (unsigned i = 0; i < m->next.workers; i++)
		backoff_end(&m->crew.slots[i].birth);
	m->phase = RELOADING;
	m->reload_ready = 0;
	await_ready(m);
}

static bool
is_reload_ready(const struct master *m, unsigned i)
{
	const struct pair *next = m->crew.slots[i].next;

	return next && next->state == PAIR_READY;
}

/* Each that gets ready is a reason to wait for the next: they may share a CPU.
 */
static bool
are_all_reload_ready(struct master *m)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < m->next.workers; i++)
		ready += is_reload_ready(m, i);
	if (ready > m->reload_ready)
		await_ready(m);
	m->reload_ready = ready;
	return ready == m->next.workers;
}

static void
fail_reload_overdue(struct master *m)
{
	const struct pair *pair;
	char cause[CREW_TEXT];
	unsigned i = 0;

	while (i + 1 < m->next.workers && is_reload_ready(m, i))
		i++;
	pair = m->crew.slots[i].next;
	snprintf(cause, sizeof cause,
	    "the new worker %u is still %s after %" PRIu64
	    " ms (start-timeout)",
	    i, pair ? "starting" : "not made", m->next.start_timeout_ms);
	fail_reload(m, cause);
}

static void
commit_reload(struct master *m)
{
	struct crew *crew = &m->crew;

	closing_end(&m->closing);
	crew->config = m->next;
	loading_switch(crew);
	crew_want(crew, crew->config.workers);
	log_limit(crew->config.log_level);
	m->phase = SWITCHING;
	hang_wake(crew); /* there may have been no hang-timeout before */
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct slot *slot = &crew->slots[i];

		if (slot->next)
			crew_switch(crew, slot);
		else if (!slot->pair)
			endpoints_drop_removed(
			    &crew->endpoints, i, &crew->config);
	}
}

/* What is ready waits, for as long as it takes, for clients of the addresses
 * that go. */
static void
commit_when_closed(struct master *m)
{
	struct crew *crew = &m->crew;

	if (closing_is_over(
		&m->closing, &crew->endpoints, &m->next, crew->now_ms))
		commit_reload(m);
	else
		await_ready(m);
}

/* What cannot go for now, as nobody has room for it, stays and is served. */
static bool
is_switching(const struct master *m)
{
	for (const struct pair *p = m->crew.pairs; p; p = p->next)
		if (p->old && p->state == PAIR_RETIRING && !p->gave)
			return true;
	return false;
}

static void
complete_reload(struct master *m)
{
	char addresses[ADDRESSES_TEXT];
	unsigned listed;

	listed = list_addresses(m, 0, addresses);
	log_info("reloaded: %u worker%s on %s", m->crew.config.workers,
	    log_plural(m->crew.config.workers), addresses);
	log_other_addresses(m, listed);
	activation_warn(&m->crew.endpoints.activation, &m->crew.config);
	end_reload(m);
}

/* The loader has a deadline of its own. */
static void
load_next(struct master *m)
{
	if (!loading_next(&m->crew, &m->next))
		await_ready(m);
}

static void
reconcile_reload(struct master *m)
{
	if (m->phase == RELOADING)
		load_next(m);
	if (m->phase == RELOADING && *m->crew.failure)
		fail_reload(m, m->crew.failure);
	if (m->phase == RELOADING && are_all_reload_ready(m))
		commit_when_closed(m);
	if (m->phase == RELOADING && m->reload_due_ms != 0 &&
	    m->crew.now_ms >= m->reload_due_ms)
		fail_reload_overdue(m);
	if (m->phase == SWITCHING && !is_switching(m))
		complete_reload(m);
	if (m->phase == SERVING && m->reload_wanted)
		begin_reload(m); /* it may have waited for the others */
	if (m->phase == RELOADING)
		load_next(m); /* at once: nothing else may wake us */
}

/* ---- reconcile ---------------------------------------------------------- */

/* With vm.overcommit_memory=2 a slot's memory counts as a whole, and
 * MAP_NORESERVE is not heeded (mmap(2)). */
static bool
commits_strictly(void)
{
	FILE *file = fopen("/proc/sys/vm/overcommit_memory", "re");
	int mode = file ? fgetc(file) : EOF;

	if (file)
		fclose(file);
	return mode == '2';
}

static const char *
remedy_for(int error)
{
	switch (error) {
	case EMFILE:
		return ": raise LimitNOFILE= or ulimit -Hn";
	case ENOMEM:
		return commits_strictly()
		    ? ": lower max-connections, or set vm.overcommit_memory "
		      "to 0: with 2 the kernel counts what is only set apart"
		    : ": lower max-connections, or raise ulimit -v";
	case EAGAIN:
		return ": raise TasksMax= or ulimit -u";
	default:
		return "";
	}
}

/* Not while another starts that may open listeners: the order in which they
 * begin to listen must be known (lib/master/steering.h). */
static void
start(struct master *m, unsigned number, const struct config *config)
{
	struct crew *crew = &m->crew;
	struct slot *slot = &crew->slots[number];
	uint64_t delay_ms;
	int error;

	if (!crew_may_bear(crew) || crew->now_ms < slot->restart_ms ||
	    !loading_can_bear(config, crew->generation) ||
	    (!endpoints_has_all(&crew->endpoints, number, config) &&
		crew_is_starting(crew)) ||
	    crew_start(crew, number, config))
		return;
	error = errno;
	delay_ms = crew_put_off_start(crew, slot);
	log_error("cannot start worker %u: %s%s; trying again in %" PRIu64
		  " ms",
	    number, strerror(error), remedy_for(error), delay_ms);
}

static bool
is_retiring(const struct crew *crew)
{
	for (const struct pair *pair = crew->pairs; pair; pair = pair->next)
		if (pair->state == PAIR_RETIRING && !pair->old)
			return true;
	return false;
}

/* A slot that is to go keeps its worker until nobody is steered to it for a
 * moment; then others get its connections, one slot's at a time. */
static void
reconcile_unwanted(struct master *m, unsigned number)
{
	struct crew *crew = &m->crew;
	struct slot *slot = &crew->slots[number];

	if (!slot->pair) {
		slot->retire_ms = 0;
		if (slot->proven) /* somebody may be waiting */
			start(m, number, &crew->config);
		return;
	}
	if (slot->pair->state != PAIR_SERVING)
		return;
	if (slot->retire_ms == 0) {
		slot->retire_ms = crew->now_ms + RETIRE_MS;
		lending_linger(crew, slot);
	} else if (crew->now_ms >= slot->retire_ms && !is_retiring(crew))
		crew_retire(crew, slot->pair);
}

/* The pair that a slot gets by the reload under way. */
static void
reconcile_next(struct master *m, unsigned number)
{
	struct crew *crew = &m->crew;
	struct slot *slot = &crew->slots[number];

	if (slot->next || !crew_may_bear(crew) ||
	    !backoff_is_over(&slot->birth, crew->now_ms) ||
	    !loading_can_bear(&m->next, crew->next_generation) ||
	    (!endpoints_has_all(&crew->endpoints, number, &m->next) &&
		crew_is_starting(crew)) ||
	    crew_start_next(crew, number, &m->next))
		return;
	backoff_begin(&slot->birth, crew->now_ms);
	if (backoff_is_long(&slot->birth))
		snprintf(crew->failure, sizeof crew->failure,
		    "cannot start worker %u: %s%s", number, strerror(errno),
		    remedy_for(errno));
}

static void
reconcile_slot(struct master *m, unsigned number)
{
	struct slot *slot = &m->crew.slots[number];
	bool is_next = m->phase == RELOADING && number < m->next.workers;

	if (is_next)
		reconcile_next(m, number);
	else if (!slot->wanted)
		reconcile_unwanted(m, number);
	if (!slot->wanted)
		return;
	if (!slot->pair || slot->pair->state == PAIR_SERVING)
		slot->retire_ms = slot->linger_ms = slot->look_ms = 0;
	if (!slot->pair)
		start(m, number, &m->crew.config);
}

static bool
all_serve(const struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++)
		if (crew->slots[i].wanted &&
		    (!crew->slots[i].pair ||
			crew->slots[i].pair->state != PAIR_SERVING))
			return false;
	return true;
}

static void
become_ready(struct master *m)
{
	m->phase = SERVING;
	log_info("ready: %u worker%s listening", m->crew.config.workers,
	    log_plural(m->crew.config.workers));
	tell_state(m, "READY=1\n");
}

/* A slot that has never served will not. A server that has been ready goes on
 * without it: the slot was added, and they are added at the end. */
static void
give_up(struct master *m)
{
	struct crew *crew = &m->crew;
	unsigned last = crew_wanted(crew) - 1;

	log_error("%s", crew->given_up);
	*crew->given_up = '\0';
	if (m->phase == STARTING)
		end(m, CONTROL_STOP, crew->exit_status);
	else if (last > 0)
		crew_want(crew, last);
}

static void
reconcile(struct master *m)
{
	struct crew *crew = &m->crew;

	loading_reconcile(crew);
	if (m->phase != ENDING && *crew->given_up)
		give_up(m);
	if (m->phase == ENDING) {
		reconcile_end(m);
		loading_reconcile(crew); /* nobody is born any more */
		return;
	}
	if (m->phase == STARTING && all_serve(crew))
		become_ready(m);
	reconcile_reload(m);
	lending_reconcile(crew);
	if (m->phase == SERVING)
		endpoints_remove_unused(&crew->endpoints, &crew->config);
	for (unsigned i = 0; i < crew->slot_count ||
	     (m->phase == RELOADING && i < m->next.workers);
	     i++)
		reconcile_slot(m, i);
	loading_reconcile(crew); /* a reload may have failed */
	moves_reconcile(crew);
	room_steer(crew);
}

/* ---- signals ------------------------------------------------------------ */

static void
add_worker(struct master *m)
{
	unsigned count = crew_wanted(&m->crew);

	if (count == CONFIG_WORKERS_MAX) {
		log_warning(
		    "TTIN: already %u workers, the most there can be", count);
		return;
	}
	log_info("adding worker %u (TTIN)", count);
	crew_want(&m->crew, count + 1);
}

static void
remove_worker(struct master *m)
{
	unsigned count = crew_wanted(&m->crew);

	if (count == 1) {
		log_warning("TTOU: this is the last worker; TERM ends it all");
		return;
	}
	if (count ==
	    activation_workers(
		&m->crew.endpoints.activation, &m->crew.config)) {
		log_warning("TTOU: each of the %u workers has an inherited "
			    "socket of its own",
		    count);
		return;
	}
	log_info("removing worker %u (TTOU)", count - 1);
	crew_want(&m->crew, count - 1);
}

/* What only a server that goes on can do. */
static void
change(struct master *m, uint32_t number)
{
	if (m->phase == ENDING)
		ignore(m, pair_signal((int)number).text + strlen("SIG"));
	else if (number == SIGHUP)
		m->reload_wanted = true;
	else if (number == SIGTTIN)
		add_worker(m);
	else
		remove_worker(m);
}

static void
note_terminals(struct master *m)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		m->terminal[fd] = isatty(fd);
}

/* True where we were started in a terminal that has been closed. */
static bool
has_lost_terminal(const struct master *m)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		struct pollfd stream = { .fd = fd };

		if (m->terminal[fd] && poll(&stream, 1, 0) == 1 &&
		    stream.revents & POLLHUP)
			return true;
	}
	return false;
}

/* The kernel sends SIGHUP when a terminal is closed, and a shell passes it on
 * to its jobs: a server that was started there ends, or it would live on unseen
 * and keep its port. */
static void
hang_up(struct master *m)
{
	if (m->phase != ENDING && has_lost_terminal(m))
		end_by_signal(m, CONTROL_STOP, "HUP, the terminal is closed");
	else
		change(m, SIGHUP);
}

static void
act_on_signal(struct master *m, uint32_t number)
{
	switch (number) {
	case SIGHUP:
		hang_up(m);
		break;
	case SIGTTIN:
	case SIGTTOU:
		change(m, number);
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
		crew_log_status(&m->crew);
		break;
	case SIGCHLD:
		death_reap(&m->crew);
		break;
	default:
		log_info("ignoring %s: it means nothing here",
		    pair_signal((int)number).text);
	}
}

static void
read_signals(struct master *m)
{
	struct signalfd_siginfo info;

	while (read(m->signals, &info, sizeof info) == sizeof info)
		act_on_signal(m, info.ssi_signo);
}

/* ---- time --------------------------------------------------------------- */

/* systemd has a clock of its own, which leaves nothing out. */
static void
feed_watchdog(struct master *m)
{
	uint64_t now_ms = clock_ms();

	if (m->watchdog_ms == 0 || now_ms < m->watchdog_due_ms)
		return;
	m->watchdog_due_ms = now_ms + m->watchdog_ms;
	if (m->phase == SERVING)
		tell_state(m, "WATCHDOG=1\n");
	else
		notify_send("WATCHDOG=1");
}

static void
keep_time(struct master *m)
{
	crew_keep_time(&m->crew);
	death_bury_all_gone(&m->crew); /* who was given up may have been dead */
	feed_watchdog(m);
}

/* For epoll_wait(2). */
static int
time_left(struct master *m)
{
	struct crew *crew = &m->crew;
	uint64_t due_ms = crew_due_ms(crew), wake_ms;

	if (crew->births >= CREW_BIRTHS)
		return 0; /* others are to be begun, it may be */
	if (m->phase == RELOADING)
		due_ms = clock_earlier(due_ms, m->reload_due_ms);
	if (m->phase == RELOADING || m->end_due)
		due_ms = clock_earlier(due_ms, m->closing.look_ms);
	vigil_until(&crew->vigil, crew->now_ms, due_ms);
	wake_ms = due_ms == 0 ? 0 : due_ms + crew->vigil.missed_ms;
	return clock_left(
	    clock_earlier(wake_ms, m->watchdog_due_ms), clock_ms());
}

/* ---- the loop ----------------------------------------------------------- */

static bool
is_done(const struct master *m)
{
	return m->phase == ENDING && crew_is_gone(&m->crew) &&
	    !m->crew.generations;
}

static void
handle(struct master *m, int fd)
{
	struct generation *generation = loading_at(&m->crew, fd);
	struct pair *pair;

	if (fd == m->signals) {
		read_signals(m);
		return;
	}
	if (generation) {
		generation_hear(generation, m->crew.now_ms);
		return;
	}
	pair = crew_pair_at(&m->crew, fd);
	if (!pair)
		return; /* of a slot that was buried in this batch */
	hear_pair(&m->crew, pair);
	death_bury_if_gone(&m->crew, pair);
}

static int
loop(struct master *m)
{
	struct epoll_event events[EVENTS];
	int count = 0;

	for (;;) {
		m->crew.now_ms = vigil_now(&m->crew.vigil, clock_ms());
		m->crew.births = 0;
		for (int i = 0; i < count; i++)
			handle(m, events[i].data.fd);
		keep_time(m); /* nobody is late whose word has come */
		reconcile(m);
		if (is_done(m))
			break;
		count = epoll_wait(m->crew.epoll, events, EVENTS, time_left(m));
		if (count < 0 && errno != EINTR) {
			log_error("epoll_wait: %s", strerror(errno));
			return 1; /* the workers die with us */
		}
	}
	log_info("stopped");
	return m->exit_status;
}

/* ---- the start ---------------------------------------------------------- */

/* libc keeps the first real-time signals for its threads, and leaves them out
 * of all that it does with a set. They would end us, if somebody sent them: so
 * the set is written as the kernel reads it, a bit for each signal. */
static void
add_reserved(sigset_t *set)
{
	enum { BITS = 8 * sizeof(unsigned long) };
	unsigned long *words = (unsigned long *)set;

	for (int number = FIRST_REALTIME; number < SIGRTMIN; number++)
		words[(number - 1) / BITS] |= 1UL << ((number - 1) % BITS);
}

static int
block_signals(void)
{
	sigset_t handled;

	sigemptyset(&handled);
	for (size_t i = 0;
	     i < sizeof handled_signals / sizeof handled_signals[0]; i++)
		sigaddset(&handled, handled_signals[i]);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		sigaddset(&handled, number);
	add_reserved(&handled);
	/* A parent may have left SIGCHLD ignored, which would reap unseen. */
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* the log's file may have a limit */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &handled, NULL, SET_BYTES);
	return (int)syscall(
	    SYS_signalfd4, -1, &handled, SET_BYTES, SFD_NONBLOCK | SFD_CLOEXEC);
}

static bool
open_loop(struct master *m)
{
	struct epoll_event event = { .events = EPOLLIN };

	m->signals = block_signals();
	m->crew.epoll = epoll_create1(EPOLL_CLOEXEC);
	event.data.fd = m->signals;
	if (m->signals >= 0 && m->crew.epoll >= 0 &&
	    epoll_ctl(m->crew.epoll, EPOLL_CTL_ADD, m->signals, &event) == 0)
		return true;
	log_error("cannot watch for signals: %s", strerror(errno));
	return false;
}

/* What we hold ourselves: for each slot its control sockets and a duplicate of
 * each listener. True where that is too much. */
static bool
warn_of_own_limit(const struct master *m)
{
	const struct config *config = &m->crew.config;
	const rlim_t needed = OWN_FDS + config->listen_count +
	    (rlim_t)config->workers * (PAIR_ENDS + config->listen_count);
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail */
	if (limit.rlim_cur >= needed)
		return false;
	log_warning("the master needs %ju open files for %u workers, the limit "
		    "is %ju: raise LimitNOFILE= or ulimit -Hn, or lower "
		    "workers",
	    (uintmax_t)needed, config->workers, (uintmax_t)limit.rlim_cur);
	return true;
}

static void
warn_of_limits(struct master *m)
{
	unsigned wanted, fds = pair_fds(&m->crew.config, &wanted);

	for (unsigned i = 0; i < m->crew.config.listen_count; i++) {
		const struct address *asked = &m->crew.config.listen[i].address;
		const struct endpoint *e =
		    endpoints_of(&m->crew.endpoints, &m->crew.config, i);
		const struct address *bound = &e->bound;

		if (bound->socket.any.sa_family != asked->socket.any.sa_family)
			log_warning("%s: listening on %s instead of [::]:%u",
			    e->inherited ? "no IPv6 inherited" : "no IPv6 here",
			    address_format(bound).text, address_port(bound));
	}
	if (fds < wanted && !warn_of_own_limit(m))
		log_warning("max-connections %u needs %u open files, the limit "
			    "is %u: accepting pauses there; raise LimitNOFILE= "
			    "or ulimit -Hn, or lower max-connections",
		    m->crew.config.max_connections, wanted, fds);
}

/* Waits a little before the next try. False where we were told to end. */
static bool
pause_start(struct master *m)
{
	struct pollfd signals = { .fd = m->signals, .events = POLLIN };
	struct signalfd_siginfo info;

	if (poll(&signals, 1, ADDRESS_AGAIN_MS) < 1)
		return true;
	while (read(m->signals, &info, sizeof info) == sizeof info)
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT ||
		    info.ssi_signo == SIGQUIT)
			return false;
	return true;
}

/* Takes the ports. An address that is not there yet is waited for: so a unit
 * that starts us again and again is not given up (StartLimitBurst=). Returns
 * true, or false with the exit status. */
static bool
reserve(struct master *m, int *status)
{
	const uint64_t end_ms = clock_ms() + ADDRESS_WAIT_MS;
	char error[LISTENER_ERROR];
	bool told = false;

	while (!endpoints_reserve(&m->crew.endpoints, &m->crew.config, error)) {
		enum listener_remedy remedy = listener_remedy(errno);

		if (remedy != LISTENER_AWAIT || clock_ms() >= end_ms) {
			log_error("%s", error);
			*status = remedy == LISTENER_ACT
			    ? CONTROL_EXIT_PERMANENT
			    : CONTROL_EXIT_UNAVAILABLE;
			return false;
		}
		if (!told)
			log_warning("%s; trying again for %d s", error,
			    ADDRESS_WAIT_MS / 1000);
		told = true;
		notify_status("", "%s", error);
		if (!pause_start(m)) {
			*status = 0;
			return false;
		}
	}
	return true;
}

/* A path that is relative, in the file, too, is meant from where we were
 * started. */
static void
log_relative_services(const struct config *config)
{
	for (unsigned n = 0; n < config->listen_count; n++) {
		const char *path = config_service(config, n);

		if (strchr(path, '/') && *path != '/')
			log_info("service %.*s is %s", text_cut(path, 200),
			    path, services_locate(path).text);
	}
}

/* Returns true, or false with the exit status. */
static bool
begin(struct master *m, const struct inherited *inherited, int *status)
{
	char addresses[ADDRESSES_TEXT];
	unsigned listed;

	*status = CONTROL_EXIT_PERMANENT;
	if (!activation_begin(
		&m->crew.endpoints.activation, inherited, &m->crew.config) ||
	    !reserve(m, status))
		return false;
	listed = list_addresses(m, 0, addresses);
	log_info("preforkd %s starting on %s; %u worker%s", PREFORKD_VERSION,
	    addresses, m->crew.config.workers,
	    log_plural(m->crew.config.workers));
	log_other_addresses(m, listed);
	log_relative_services(&m->crew.config);
	warn_of_limits(m);
	crew_want(&m->crew, m->crew.config.workers);
	m->watchdog_ms = notify_watchdog_ms();
	if (m->watchdog_ms != 0)
		m->watchdog_due_ms = clock_ms();
	return true;
}

int
master_run(const struct config_source *source, const struct config *config,
    const struct inherited *inherited)
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
	note_terminals(m);
	m->crew.config = *config;
	m->crew.worker = worker_run;
	m->crew.loader = worker_load;
	if (open_loop(m))
		status = begin(m, inherited, &status) ? loop(m) : status;
	activation_free(&m->crew.endpoints.activation);
	free(m);
	return status;
}

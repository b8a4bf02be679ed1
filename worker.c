/*
 * A slot's processes. The worker has one epoll instance and the slot's
 * listeners and connections; the standby waits until the worker is dead.
 *
 * A byte enters in lib/worker/exchange.c (`exchange`), goes through the service
 * (lib/worker/call.c), waits, only where its message is not whole or its client
 * does not read, in the connection's place (lib/slot/connection.c), and leaves
 * in `finish_answer` or `flush`. A connection enters in lib/worker/intake.c.
 *
 * All that is known of a connection lies in slot memory (lib/slot/slot.h).
 * `struct worker` holds what a successor has from its own beginning, or is told
 * anew.
 */
#include "worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/listener.h"
#include "lib/base/log.h"
#include "lib/base/title.h"
#include "lib/worker/budget.h"
#include "lib/worker/ends.h"
#include "lib/worker/exchange.h"
#include "lib/worker/give.h"
#include "lib/worker/intake.h"
#include "lib/worker/loader.h"
#include "lib/worker/order.h"
#include "lib/worker/output.h"
#include "lib/worker/own.h"
#include "lib/worker/schedule.h"
#include "lib/worker/standby.h"
#include "lib/worker/take.h"

enum role {
	STANDBY,
	WORKER,
	OVER, /* the process is to end */
};

enum mode {
	SERVING,
	DRAINING, /* until the clients have gone */
	STOPPING, /* until what has come is answered */
	RETIRING, /* until other slots have every connection */
};

struct worker {
	struct loop loop;
	struct config config;
	struct services services;
	struct intake intake;
	struct giving giving;
	struct taking taking;
	unsigned slot;
	pid_t master;
	pid_t standby;
	enum mode mode;
	bool clone_wanted;
	uint64_t deadline_ms; /* of draining or stopping; 0: none */
	bool ended;
	int status; /* the exit status */
};

/* ---- speaking to the master --------------------------------------------- */

static void
tell(struct worker *w, struct control_message *message, int fd)
{
	own_look(&w->loop);
	/* Only a master that has gone does not take it: then so do we. */
	if (control_tell(w->loop.control, message, fd) < 0)
		w->ended = true;
}

static void
tell_serial(struct worker *w, enum control_type type, uint64_t serial, int fd)
{
	struct control_message message = { .type = type, .serial = serial };

	tell(w, &message, fd);
}

static void
tell_value(struct worker *w, enum control_type type, uint64_t value)
{
	struct control_message message = { .type = type, .value = value };

	message.standby = w->standby;
	tell(w, &message, -1);
}

static void
take_name(const struct worker *w, const char *role)
{
	char name[32];

	snprintf(name, sizeof name, "%s %u", role, w->slot);
	title_set(name);
	log_name(name);
}

/* ---- time --------------------------------------------------------------- */

static void
close_all(struct worker *w, enum close_reason reason)
{
	struct slot_memory *memory = w->loop.memory;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (connection_is_open(&memory->connections[fd]))
			exchange_close(&w->loop, fd, reason);
}

static void
end_draining(struct worker *w)
{
	uint64_t left;

	schedule_hear_all(&w->loop);
	left = slot_open_connections(w->loop.memory, w->loop.fds);
	if (left > 0)
		log_warning("drain timeout: closing %" PRIu64 " connection%s",
		    left, log_plural(left));
	close_all(w, CLOSE_DRAIN_TIMEOUT);
	w->ended = true;
}

/* Does what is due by the clock. */
static void
keep_time(struct worker *w)
{
	if (w->ended)
		return;
	schedule_keep(&w->loop);
	if (w->deadline_ms != 0 && w->loop.now_ms >= w->deadline_ms)
		end_draining(w);
}

static int
time_left(const struct worker *w)
{
	uint64_t due_ms = schedule_due(&w->loop);

	due_ms = clock_earlier(due_ms, w->intake.resume_ms);
	due_ms = clock_earlier(due_ms, w->intake.room_ms);
	due_ms = clock_earlier(due_ms, w->giving.again_ms);
	due_ms = clock_earlier(due_ms, w->taking.again_ms);
	due_ms = clock_earlier(due_ms, w->deadline_ms);
	vigil_until(&w->loop.memory->vigil, w->loop.now_ms, due_ms);
	return clock_left(due_ms, w->loop.now_ms);
}

/* ---- moving connections ------------------------------------------------- */

static void
bring_parcels(struct worker *w, const struct control_message *message, int fd)
{
	struct slot_memory *memory = w->loop.memory;

	ends_bring_parcels(&w->loop,
	    message->value ? &memory->take.end : &memory->give.end,
	    message->serial, fd);
}

static void
begin_move(struct worker *w, const struct control_message *message, int fd)
{
	bool begun = message->type == CONTROL_GIVE
	    ? give_begin(&w->loop, &w->giving, message, fd)
	    : take_begin(&w->loop, message->serial, fd);

	order_end(&w->loop);
	if (!begun)
		tell_serial(w, CONTROL_MOVED, message->serial, -1);
}

static void
hear_giver(struct worker *w)
{
	if (!take_hear(&w->loop, &w->taking))
		tell_serial(
		    w, CONTROL_MOVED, w->loop.memory->take.end.serial, -1);
}

static void
move_on(struct worker *w)
{
	bool stay = w->mode == DRAINING || w->mode == STOPPING;
	uint64_t serial = give_next(&w->loop, &w->giving, stay);

	if (serial != 0)
		tell_serial(w, CONTROL_MOVED, serial, -1);
	take_next(&w->loop, &w->taking);
}

/* ---- the master's word -------------------------------------------------- */

static void
add_listener(struct worker *w, const struct control_message *message, int fd)
{
	if (fd < 0)
		return; /* out of descriptors: the master says it again */
	if (intake_has(&w->loop, message->serial)) {
		intake_restore(&w->loop, message->serial, fd);
	} else if (intake_add(&w->loop, message, fd) < 0) {
		log_error("cannot watch a listener: %s", strerror(errno));
		return;
	}
	w->intake.armed = false; /* to arm it with the others */
	tell_serial(w, CONTROL_LISTENING, message->serial, -1);
}

/* A connection whose descriptor a service has closed has no events any more: it
 * would be waited for until the deadline. */
static void
tell_end(struct worker *w, int fd)
{
	if (exchange_has_lost(&w->loop, fd))
		exchange_claim(&w->loop, fd);
	else if (w->mode == STOPPING)
		exchange_serve(&w->loop, fd, EPOLLIN | EPOLLPRI | EPOLLRDHUP);
}

static void
begin_to_end(struct worker *w, enum mode mode, uint64_t timeout_ms)
{
	const struct slot_memory *memory = w->loop.memory;

	if (w->mode == mode)
		return;
	w->mode = mode;
	w->deadline_ms = w->loop.now_ms + timeout_ms;
	w->loop.stopping = mode == STOPPING;
	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (connection_is_here(&memory->connections[fd]))
			tell_end(w, fd);
}

static void
retire(struct worker *w, bool replaced)
{
	w->mode = RETIRING;
	if (!replaced)
		return;
	take_name(w, "leaving");
	intake_release_others(&w->loop);
}

static void
obey(struct worker *w, const struct control_message *message, int fd)
{
	switch (message->type) {
	case CONTROL_LISTEN:
		add_listener(w, message, fd);
		break;
	case CONTROL_SERVE:
		w->intake.open = true;
		break;
	case CONTROL_RELEASE:
		intake_release(&w->loop, message->serial);
		break;
	case CONTROL_CLOSE:
		if (message->serial != 0)
			intake_close(&w->loop, message->serial);
		else
			intake_close_all(&w->loop);
		break;
	case CONTROL_CLONE:
		if (message->pid == w->loop.pid)
			w->clone_wanted = true;
		break;
	case CONTROL_RETIRE:
		retire(w, message->value != 0);
		break;
	case CONTROL_PARCELS:
		bring_parcels(w, message, fd);
		break;
	case CONTROL_GIVE:
	case CONTROL_TAKE:
		begin_move(w, message, fd);
		break;
	case CONTROL_DRAIN:
		begin_to_end(w, DRAINING, message->value);
		break;
	case CONTROL_STOP:
		begin_to_end(w, STOPPING, message->value);
		break;
	}
}

static bool
may_bring(const struct control_message *message)
{
	return message->type == CONTROL_LISTEN ||
	    message->type == CONTROL_PARCELS || message->type == CONTROL_GIVE ||
	    message->type == CONTROL_TAKE;
}

static void
read_control(struct worker *w)
{
	struct control_message message;
	int fd, result;

	own_look(&w->loop);
	do {
		result = order_hear(&w->loop, &message, &fd);
		if (fd >= 0)
			exchange_claim(&w->loop, fd);
		if (result > 0 && may_bring(&message))
			obey(w, &message, fd);
		else if (fd >= 0)
			order_drop(&w->loop, fd);
		order_end(&w->loop);
		if (result > 0 && !may_bring(&message))
			obey(w, &message, -1);
	} while (result > 0 && !w->ended);
	if (result == 0)
		w->ended = true; /* without a master there is no server */
}

/* ---- the worker's loop -------------------------------------------------- */

static void
handle(struct worker *w, const struct epoll_event *event)
{
	const struct slot_memory *memory = w->loop.memory;
	uint32_t generation = loop_generation(event);
	int fd = loop_fd(event);

	if (generation == LOOP_CONTROL)
		read_control(w);
	else if (generation == LOOP_GIVE)
		give_hear(&w->loop, &w->giving);
	else if (generation == LOOP_TAKE)
		hear_giver(w);
	else if (generation == LOOP_LISTENER)
		intake_accept(&w->loop, &w->intake, fd);
	else if ((unsigned)fd < memory->fds &&
	    memory->connections[fd].generation == generation &&
	    connection_is_here(&memory->connections[fd]))
		exchange_serve(&w->loop, fd, event->events);
}

/* Handles what the journal holds: see lib/slot/slot.h. */
static void
handle_batch(struct worker *w, int count)
{
	struct epoll_event *events = w->loop.memory->events;

	w->loop.batch = count;
	for (int i = 0; i < count && !w->ended; i++) {
		if (events[i].events == 0)
			continue;
		handle(w, &events[i]);
		store(events[i].events, 0);
		if (budget_is_due(w->loop.memory))
			budget_keep(&w->loop);
	}
}

/* The master looks for workers that hang only while there is work: it sleeps
 * when all wait, having cleared `watched`. Whoever works next wakes it. Either
 * we see that it sleeps, or it sees that we have begun. */
static void
begin_batch(struct worker *w)
{
	struct slot_memory *memory = w->loop.memory;

	store(memory->begun, memory->begun + 1);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&memory->watched, __ATOMIC_RELAXED))
		return;
	store(memory->watched, 1);
	tell_value(w, CONTROL_WAKE, 0);
}

static void
finish_listeners(struct worker *w)
{
	uint64_t serial;

	while ((serial = intake_finish(&w->loop, &w->intake)) != 0)
		tell_serial(w, CONTROL_CLOSED, serial, -1);
}

static bool
is_done(const struct worker *w)
{
	return w->ended ||
	    (w->mode != SERVING && intake_is_empty(&w->loop) &&
		slot_open_connections(w->loop.memory, w->loop.fds) == 0);
}

/* What follows from the batch, before the next. */
static void
follow_up(struct worker *w)
{
	if (w->ended)
		return;
	finish_listeners(w);
	move_on(w);
	intake_arm(&w->loop, &w->intake);
	if (intake_note_room(&w->loop, &w->intake))
		tell_value(w, CONTROL_WAKE, 0);
}

static enum role become_standby(struct worker *w);

/* The standby has died. The new one's image is not as clean as one that a
 * standby clones, but the next death sees to that. */
static enum role
clone_standby(struct worker *w)
{
	pid_t pid = standby_clone(&w->loop, w->master);

	w->clone_wanted = false;
	if (pid == 0)
		return become_standby(w);
	w->standby = pid;
	tell_value(w, CONTROL_CLONED, pid < 0 ? (uint64_t)errno : 0);
	return WORKER;
}

static enum role
work(struct worker *w)
{
	struct slot_memory *memory = w->loop.memory;
	int count = SLOT_JOURNAL; /* a predecessor's, if there was one */

	for (;;) {
		schedule_look(&w->loop);
		begin_batch(w);
		handle_batch(w, count);
		keep_time(w);
		if (w->clone_wanted && clone_standby(w) == STANDBY)
			return STANDBY;
		follow_up(w);
		store(memory->done, memory->begun);
		if (is_done(w))
			return OVER;
		if (w->loop.broken) {
			w->status = 1;
			return OVER;
		}
		count = epoll_wait(
		    w->loop.epoll, memory->events, SLOT_EVENTS, time_left(w));
		if (count < 0 && errno != EINTR && !own_look(&w->loop)) {
			log_error("epoll_wait: %s", strerror(errno));
			w->status = 1;
			return OVER;
		}
		if (count < 0)
			count = 0;
	}
}

/* ---- taking over -------------------------------------------------------- */

/* This image becomes a standby's, whatever it was cloned from. */
static enum role
become_standby(struct worker *w)
{
	w->loop.pid = getpid();
	w->mode = SERVING;
	w->loop.stopping = false;
	w->clone_wanted = false;
	w->deadline_ms = 0;
	w->intake = (struct intake) { .open = false };
	w->giving = (struct giving) { .sent = false };
	w->taking = (struct taking) { .again_ms = 0 };
	w->ended = false; /* a worker may clone it on its way out */
	take_name(w, "standby");
	return STANDBY;
}

/* The next standby comes first: it has the image of before the take-over. Then
 * what the dead worker left half done is finished, and the loop goes on. */
static enum role
take_over(struct worker *w, enum verdict verdict)
{
	pid_t pid = standby_clone(&w->loop, w->master);

	if (pid == 0)
		return become_standby(w);
	w->standby = pid;
	tell_value(w, CONTROL_TAKEN, pid < 0 ? (uint64_t)errno : 0);
	take_name(w, "worker");
	log_limit(w->config.log_level);
	birth_place(w->master, w->slot, w->config.pin_cpus);
	schedule_look(&w->loop);
	store(w->loop.memory->sweep_wanted, 1); /* time-outs may be new */
	budget_renew(&w->loop);
	own_look(&w->loop);
	exchange_settle(&w->loop, verdict);
	intake_settle(&w->loop);
	take_settle(&w->loop, &w->taking);
	give_settle(&w->loop);
	return WORKER;
}

static enum role
take_over_if_meant(struct worker *w, const struct control_message *message)
{
	if (message->value == VERDICT_RESET)
		return OVER;
	if (!slot_claim_takeover(w->loop.memory, message->serial, w->loop.pid))
		return STANDBY; /* void, as another was told since */
	return take_over(w, (enum verdict)message->value);
}

/* ---- waiting ------------------------------------------------------------ */

static enum role
stand_by(struct worker *w)
{
	struct control_message message;
	int fd;

	own_look(&w->loop);
	if (control_receive(w->loop.waiting, &message, &fd, 0) <= 0)
		return own_look(&w->loop) ? STANDBY
					  : OVER; /* the master has gone */
	return message.type == CONTROL_TAKE_OVER
	    ? take_over_if_meant(w, &message)
	    : STANDBY;
}

/* ---- the start ---------------------------------------------------------- */

/* Sends the cause to the master, which decides who hears of it. Returns the
 * exit status. */
static int
fail(struct worker *w, int error, const char *cause)
{
	struct control_message message = { .type = CONTROL_FAILED,
		.value = listener_remedy(error) != LISTENER_RETRY };

	snprintf(message.text, sizeof message.text, "%s", cause);
	tell(w, &message, -1);
	return 1;
}

static int
fail_at(struct worker *w, const char *what)
{
	char cause[LISTENER_ERROR];
	int error = errno;

	snprintf(cause, sizeof cause, "%s: %s", what, strerror(error));
	return fail(w, error, cause);
}

/* Takes the listener that an earlier worker of the slot left, or opens one and
 * leaves a duplicate with the master, for whoever comes after. */
static int
start_listening(struct worker *w, const struct control_message *message, int fd)
{
	char cause[LISTENER_ERROR];
	bool opened = fd < 0;

	if (opened) {
		fd = listener_open(&message->address, w->config.backlog, cause);
		if (fd < 0)
			return fail(w, errno, cause);
	} else if (!message->inherited &&
	    listen(fd, (int)w->config.backlog) < 0) {
		/* Again, as the backlog may be another by now: listen(2). */
		return fail_at(w, "cannot listen again");
	}
	if (intake_add(&w->loop, message, fd) < 0)
		return fail_at(w, "cannot watch a listener");
	tell_serial(w, CONTROL_LISTENING, message->serial, opened ? fd : -1);
	return 0;
}

/* The master first says CONTROL_LISTEN for every endpoint. Returns 0 or the
 * exit status. */
static int
start_endpoints(struct worker *w)
{
	struct control_message message;
	int fd, status = 0;

	for (unsigned i = 0; i < w->config.listen_count && status == 0; i++) {
		if (control_receive(w->loop.control, &message, &fd, 0) <= 0)
			return 1; /* the master has gone */
		status = start_listening(w, &message, fd);
	}
	return status;
}

static int
open_loop(struct worker *w)
{
	standby_size_table(w->loop.memory->fds);
	w->loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->loop.epoll < 0)
		return fail_at(w, "cannot create an epoll instance");
	if (own_keep(&w->loop) < 0)
		return fail_at(w, "cannot watch the control socket");
	return 0;
}

/* What has to be loaded the loader has loaded, and started. Returns 0 or the
 * exit status. */
static int
take_services(struct worker *w, const struct services *loaded)
{
	const struct services_witness nobody = { NULL, NULL };
	struct control_message message = { .type = CONTROL_FAILED, .value = 1 };
	char cause[SERVICE_ERROR];

	if (loaded) {
		w->services = *loaded;
		return 0;
	}
	if (services_load(&w->services, &w->config, &nobody, cause) &&
	    services_start(&w->services, &w->config, &nobody, cause))
		return 0;
	snprintf(message.text, sizeof message.text, "%s", cause);
	tell(w, &message, -1);
	return 1;
}

/* The first process of a slot is its worker. Once it has all descriptors that
 * the slot's processes begin with, it clones the standby. */
static enum role
begin(struct worker *w, const struct services *loaded)
{
	w->status = take_services(w, loaded);
	if (w->status == 0)
		w->status = open_loop(w);
	if (w->status == 0)
		w->status = start_endpoints(w);
	if (w->status != 0)
		return OVER;
	w->standby = standby_clone(&w->loop, w->master);
	if (w->standby == 0)
		return become_standby(w);
	tell_value(w, CONTROL_READY, w->standby < 0 ? (uint64_t)errno : 0);
	return WORKER;
}

int
worker_run(const struct birth *from)
{
	struct worker w = {
		.loop = { .memory = from->memory,
		    .fds = from->memory->fds,
		    .pid = getpid(),
		    .control = from->control,
		    .waiting = from->waiting },
		.config = *from->config,
		.slot = from->slot,
		.master = from->master,
	};
	enum role role;

	w.loop.config = &w.config;
	w.loop.services = &w.services;
	/* Where this fails it does so again, with a word, at the clone. */
	slot_inherit(w.loop.memory, w.loop.fds, false);
	take_name(&w, "worker");
	output_to_log();
	role = begin(&w, from->services);
	while (role != OVER)
		role = role == STANDBY ? stand_by(&w) : work(&w);
	output_flush();
	return w.status;
}

int
worker_load(const struct loader_birth *from)
{
	return loader_run(from, worker_run);
}

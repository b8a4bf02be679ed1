#include "lib/master/hear.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/listener.h"
#include "lib/base/log.h"
#include "lib/master/hang.h"
#include "lib/master/lending.h"
#include "lib/master/moves.h"

enum { CLONE_LOG_MS = 60000 }; /* at most a line about it in this time */

static void
clone_later(struct crew *crew, struct pair *pair, uint64_t error)
{
	backoff_begin(&pair->clone, crew->now_ms);
	if (pair->clone_logged_ms != 0 &&
	    crew->now_ms - pair->clone_logged_ms < CLONE_LOG_MS)
		return;
	pair->clone_logged_ms = crew->now_ms;
	log_warning("cannot clone standby %u: %s; trying until it can be done",
	    pair->slot, strerror((int)error));
}

/* A pid that a slot names becomes one that we signal: it must be a child of
 * ours that has no name yet, in this slot or another. */
static bool
is_nameless(const struct crew *crew, pid_t pid)
{
	return !crew_pair_of(crew, pid) && pair_is_child(pid);
}

/* There is to be one standby. A second one can come of an order that was given
 * twice, as the first time seemed lost. */
static void
know_standby(struct crew *crew, struct pair *pair, pid_t pid, uint64_t error)
{
	if (pid > 0)
		backoff_end(&pair->clone);
	else
		clone_later(crew, pair, error);
	if (pair->standby > 0 && pair->standby == pid)
		return;
	if (pair->standby > 0)
		pair_dismiss(pair, pair->standby);
	pair->standby = is_nameless(crew, pid) ? pid : 0;
	if (pid > 0 && pair->standby == 0) {
		pair_order(pair, CONTROL_CLONE, 0);
	}
}

static void
take_ready(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	if (pair->state != PAIR_STARTING)
		return;
	pair->deadline_ms = 0;
	pair->state = PAIR_READY;
	know_standby(crew, pair, message->standby, message->value);
	if (crew->slots[pair->slot].pair == pair)
		crew_serve(crew, pair);
}

static void
take_taken(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	if (!pair->taking_over || pair->worker != 0)
		return; /* nobody was told to */
	pair_forget(pair, message->pid);
	pair->worker = message->pid;
	pair->taking_over = false;
	pair->rescue_ms = 0;
	pair->deadline_ms = 0;
	pair->watch = (struct pair_watch) { 0 };
	know_standby(crew, pair, message->standby, message->value);
	crew_brief(crew, pair);
}

static void
take_failed(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	(void)crew;
	memcpy(pair->failure, message->text, sizeof pair->failure);
	pair->useless = message->value != 0;
}

static void
take_born(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	(void)crew;
	if (pair->state == PAIR_STARTING && pair->worker == 0)
		pair->worker = message->pid;
}

/* A worker leaves a duplicate of what it was told to open, and no other: the
 * slot's next worker, or another slot's, accepts from it. */
static bool
is_asked_for(
    const struct pair *pair, const struct endpoint *e, unsigned owner, int fd)
{
	return pair->state == PAIR_STARTING && e->listeners[owner] < 0 &&
	    listener_is(fd, &e->bound);
}

static void
take_listening(struct crew *crew, struct pair *pair,
    const struct control_message *message, int fd)
{
	unsigned owner;
	struct endpoint *e =
	    endpoints_by_serial(&crew->endpoints, message->serial, &owner);

	if (!e || owner != pair->slot) {
		control_discard(fd);
		return;
	}
	if (fd >= 0 && is_asked_for(pair, e, owner, fd)) {
		control_disarm(fd);
		endpoint_hold(e, owner, fd);
	} else {
		control_discard(fd);
	}
	if (crew->slots[owner].pair == pair)
		e->known[owner] = e->listeners[owner] >= 0;
}

/* The worker's descriptor is closed, and ours is the last. The queue is empty,
 * if it was told to close it. */
static void
take_closed(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	unsigned owner;
	struct endpoint *e =
	    endpoints_by_serial(&crew->endpoints, message->serial, &owner);
	bool was_known;

	if (!e)
		return;
	was_known = e->known[owner];
	if (!pair->old && e->lent_to[owner] == pair->slot + 1)
		lending_end(crew, e, owner);
	else if (owner != pair->slot)
		return; /* another slot's, which it was not lent */
	else if (!pair->old)
		e->known[owner] = false;
	/* One of a slot that is to go stays, and is lent: lending.h. */
	if (!endpoint_is_configured(e, &crew->config) ||
	    lending_is_over(&crew->slots[owner]))
		endpoint_drop(e, owner);
	else if (owner == pair->slot && was_known &&
	    pair->state == PAIR_SERVING)
		crew_order_listener(pair, CONTROL_LISTEN, e, owner,
		    e->listeners[owner]); /* a service has closed its own */
}

static void
take_cloned(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	know_standby(crew, pair, message->standby, message->value);
}

static void
take_moved(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	moves_over(crew, pair, message->serial);
}

static void
take_wake(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	(void)pair, (void)message;
	hang_wake(crew);
}

/* Of what may be said: at which of the slot's sockets, by whom, and whether a
 * descriptor may come with it. Whoever may speak is a process of the slot. */
enum {
	AT_WORKERS = 1, /* socket */
	AT_WAITING = 2, /* the standby's, at which nothing is said */
	BY_WORKER = 4,	/* and by no other process */
};

static const struct rule {
	unsigned where;
	void (*take)(
	    struct crew *, struct pair *, const struct control_message *);
	void (*take_fd)(struct crew *, struct pair *,
	    const struct control_message *, int fd); /* owns it */
} rules[] = {
	[CONTROL_BORN] = { AT_WORKERS, .take = take_born },
	[CONTROL_LISTENING] = { AT_WORKERS | BY_WORKER,
	    .take_fd = take_listening },
	[CONTROL_READY] = { AT_WORKERS | BY_WORKER, .take = take_ready },
	[CONTROL_TAKEN] = { AT_WORKERS, .take = take_taken },
	[CONTROL_CLONED] = { AT_WORKERS | BY_WORKER, .take = take_cloned },
	[CONTROL_WAKE] = { AT_WORKERS | BY_WORKER, .take = take_wake },
	[CONTROL_CLOSED] = { AT_WORKERS | BY_WORKER, .take = take_closed },
	[CONTROL_MOVED] = { AT_WORKERS | BY_WORKER, .take = take_moved },
	[CONTROL_FAILED] = { AT_WORKERS, .take = take_failed },
};

/* Who speaks at a slot's socket is one of that slot, as no other has its ends;
 * provided that it is a child of ours at all. If another slot has named it, as
 * its standby for instance, that was a lie. */
static bool
is_own(const struct crew *crew, struct pair *pair, pid_t pid)
{
	struct pair *named = crew_pair_of(crew, pid);

	if (named == pair)
		return true;
	if (!pair_is_child(pid) || (named && named->worker == pid))
		return false;
	if (named) {
		pair_forget(named, pid);
		pair_order(named, CONTROL_CLONE, 0);
	}
	return true;
}

/* NULL where it is not to be heeded. */
static const struct rule *
rule_for(const struct crew *crew, struct pair *pair,
    const struct control_message *message, unsigned where)
{
	const struct rule *rule;

	if (message->type >= sizeof rules / sizeof rules[0])
		return NULL;
	rule = &rules[message->type];
	if (!(rule->where & where))
		return NULL;
	if (rule->where & BY_WORKER)
		return message->pid == pair->worker ? rule : NULL;
	return is_own(crew, pair, message->pid) ? rule : NULL;
}

/* FD is this function's. */
static void
take_message(struct crew *crew, struct pair *pair,
    const struct control_message *message, int fd, unsigned where)
{
	const struct rule *rule = rule_for(crew, pair, message, where);

	if (rule && rule->take_fd) {
		rule->take_fd(crew, pair, message, fd);
		return;
	}
	control_discard(fd);
	if (rule)
		rule->take(crew, pair, message);
}

/* Returns false once the other side has gone. What is no message is left out,
 * and whoever says more than can be meant is heard on the next wake-up, after
 * all others. */
static bool
hear_socket(struct crew *crew, struct pair *pair, int control, unsigned where)
{
	struct control_message message;
	int fd, result;

	for (; pair->patience > 0; pair->patience--) {
		result = control_receive(control, &message, &fd, MSG_DONTWAIT);
		if (result > 0)
			take_message(crew, pair, &message, fd, where);
		else if (result == 0 || errno != EPROTO)
			return result < 0; /* for now: it is reported again */
	}
	return true;
}

/* The slot's processes share their ends: when one has gone all have. What is
 * told by the worker comes last, as it may speak of the others. */
void
hear_pair(struct crew *crew, struct pair *pair)
{
	struct pair_ends ends = pair_ends(pair);
	bool gone = false;

	for (int i = PAIR_ENDS - 1; i >= 0; i--)
		if (*ends.fd[i] >= 0 &&
		    !hear_socket(crew, pair, *ends.fd[i],
			i == 0 ? AT_WORKERS : AT_WAITING))
			gone = true;
	if (gone)
		pair_hang_up(pair);
}

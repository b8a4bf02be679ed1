#include "lib/master/hear.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/master/handover.h"
#include "lib/master/hang.h"
#include "lib/master/lending.h"

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

/* There is to be one standby. A second one can come of an order that was given
 * twice, as the first time seemed lost. */
static void
know_heir(struct crew *crew, struct pair *pair, pid_t pid, uint64_t error)
{
	if (pair->heir > 0 && pair->heir != pid)
		pair_dismiss(pair, pair->heir);
	pair->heir = pid > 0 ? pid : 0;
	if (pid > 0)
		backoff_end(&pair->clone);
	else
		clone_later(crew, pair, error);
	if (pid > 0 && !pair_is_child(pid)) {
		pair->heir = 0;
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
	*pair->doing = '\0';
	pair->state = PAIR_READY;
	know_heir(crew, pair, message->standby, message->value);
	if (crew->slots[pair->slot].wanted || crew->slots[pair->slot].proven)
		crew_serve(crew, pair);
}

/* The candidate of a reload is the standby that waits at the other socket. Only
 * now is the one with the old configuration not needed any more, nor what its
 * services had opened. */
static void
complete_switch(struct crew *crew, struct pair *pair)
{
	pair_release_standby(pair, crew->now_ms + CREW_STOP_MS);
	pair->side ^= 1;
	pair->candidate = 0;
	pair->candidate_asked = pair->candidate_ready = false;
	pair->switching = false;
}

static void
take_taken(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	if (message->pid == pair->candidate)
		complete_switch(crew, pair);
	else if (pair->heir == message->pid)
		pair->heir = 0;
	pair->worker = message->pid;
	pair->taking_over = pair->rescuing = false;
	backoff_end(&pair->birth);
	pair->rescue_ms = 0;
	pair->deadline_ms = 0;
	pair->watch = (struct pair_watch) { 0 };
	know_heir(crew, pair, message->standby, message->value);
	crew_brief(crew, pair);
}

/* One candidate is enough, and none without a reload. */
static void
know_candidate(struct crew *crew, struct pair *pair, pid_t pid)
{
	if (!pair->candidate_asked ||
	    (pair->candidate > 0 && pair->candidate != pid)) {
		pair_dismiss(pair, pid);
		return;
	}
	pair->candidate = pid;
	crew_send_takeover(crew, pair); /* if it is waited for */
}

/* It is asked for again in a while. Only a reload can do without. */
static void
bear_later(struct crew *crew, struct pair *pair, uint64_t error)
{
	pair->candidate_asked = false;
	backoff_begin(&pair->birth, crew->now_ms);
	if (!pair->taking_over && backoff_is_long(&pair->birth))
		snprintf(crew->failure, sizeof crew->failure,
		    "cannot make a candidate for worker %u: %s", pair->slot,
		    strerror((int)error));
}

static void
take_born(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	if (message->standby <= 0)
		bear_later(crew, pair, message->value);
	else if (pair_is_child(message->standby))
		know_candidate(crew, pair, message->standby);
	else if (pair->candidate == 0)
		pair->candidate_asked = false; /* to be asked again */
}

static void
take_candidate_ready(struct crew *crew, struct pair *pair, pid_t pid)
{
	know_candidate(crew, pair, pid);
	if (pair->candidate != pid)
		return;
	*pair->doing = '\0';
	backoff_end(&pair->birth);
	pair->candidate_ready = true;
}

/* From now on there is no other way to load services: the standby has some. */
static void
take_seed(struct pair *pair, pid_t pid)
{
	if (pair_is_child(pid))
		pair->seed = pid;
	else
		pair->seed_lost = true;
}

static void
take_doing(
    struct crew *crew, struct pair *pair, const struct control_message *message)
{
	memcpy(pair->doing, message->text, sizeof pair->doing);
	if (message->value != 0)
		pair->deadline_ms = clock_earlier(
		    pair->deadline_ms, crew->now_ms + CREW_STOP_MS);
}

static void
take_listening(struct crew *crew, struct pair *pair, uint64_t serial, int fd)
{
	unsigned owner;
	struct endpoint *e =
	    endpoints_by_serial(&crew->endpoints, serial, &owner);

	if (e && owner == pair->slot && fd >= 0)
		endpoint_hold(e, owner, fd);
	else if (fd >= 0)
		close(fd);
	if (e && owner == pair->slot)
		e->known[owner] = true;
}

/* The queue is empty and the worker's descriptor closed; ours is the last. */
static void
take_closed(struct crew *crew, struct pair *pair, uint64_t serial)
{
	unsigned owner;
	struct endpoint *e =
	    endpoints_by_serial(&crew->endpoints, serial, &owner);

	if (!e)
		return;
	if (owner != pair->slot)
		lending_end(crew, e, owner);
	else
		e->known[owner] = false;
	/* One of a slot that is to go stays, and is lent: lending.h. */
	if (!endpoint_is_configured(e, &crew->config) ||
	    lending_is_over(&crew->slots[owner]))
		endpoint_drop(e, owner);
}

/* A worker talks to strangers: what it says is not to make us signal all the
 * world (kill(2)). */
static bool
is_sane(const struct control_message *message)
{
	return message->pid > 1 && message->standby != 1 &&
	    message->standby >= -1;
}

/* FD is this function's, and whoever's it passes it to. */
static void
take_message(struct crew *crew, struct pair *pair,
    const struct control_message *message, int fd)
{
	if (!is_sane(message)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	switch (message->type) {
	case CONTROL_LISTENING:
		take_listening(crew, pair, message->serial, fd);
		return;
	case CONTROL_OFFER:
		handover_offer(crew, pair, message, fd);
		return;
	case CONTROL_READY:
		take_ready(crew, pair, message);
		break;
	case CONTROL_TAKEN:
		take_taken(crew, pair, message);
		break;
	case CONTROL_CLONED:
		know_heir(crew, pair, message->standby, message->value);
		break;
	case CONTROL_BORN:
		take_born(crew, pair, message);
		break;
	case CONTROL_CANDIDATE_READY:
		take_candidate_ready(crew, pair, message->pid);
		break;
	case CONTROL_SEED:
		take_seed(pair, message->standby);
		break;
	case CONTROL_CLOSED:
		take_closed(crew, pair, message->serial);
		break;
	case CONTROL_TIDIED:
		if (pair->untidy == (pid_t)message->value)
			pair->untidy = 0;
		break;
	case CONTROL_ADOPTED:
		handover_adopted(crew, pair, message->value);
		break;
	case CONTROL_REFUSED:
		handover_refused(crew, pair, message->value);
		break;
	case CONTROL_WAKE:
		hang_wake(crew);
		break;
	case CONTROL_DOING:
		take_doing(crew, pair, message);
		break;
	case CONTROL_FAILED:
		memcpy(pair->failure, message->text, sizeof pair->failure);
		pair->useless = message->value != 0;
		break;
	}
	if (fd >= 0)
		close(fd);
}

/* Returns false once the other side has gone. */
static bool
hear_socket(struct crew *crew, struct pair *pair, int control)
{
	struct control_message message;
	int fd, result;

	while ((result = control_receive(
		    control, &message, &fd, NULL, MSG_DONTWAIT)) > 0)
		take_message(crew, pair, &message, fd);
	return result < 0; /* for now: what is left is reported again */
}

/* The slot's processes share their ends: when one has gone all have. What is
 * told by the worker comes last, as it may speak of the others. */
void
hear_pair(struct crew *crew, struct pair *pair)
{
	struct pair_ends ends = pair_ends(pair);
	bool gone = false;

	for (int i = PAIR_ENDS - 1; i >= 0; i--)
		if (*ends.fd[i] >= 0 && !hear_socket(crew, pair, *ends.fd[i]))
			gone = true;
	for (int i = 0; gone && i < PAIR_ENDS; i++) {
		if (*ends.fd[i] >= 0)
			close(*ends.fd[i]); /* leaves the epoll instance, too */
		*ends.fd[i] = -1;
	}
}

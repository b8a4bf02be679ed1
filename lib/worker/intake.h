/*
 * intake: the slot's listeners, and how their queues become connections.
 *
 * Which listeners there are lies in slot memory. Whether they are armed is this
 * process's own idea, put in force anew by a successor.
 */
#ifndef PREFORKD_INTAKE_H
#define PREFORKD_INTAKE_H

#include "lib/slot/control.h"
#include "lib/worker/loop.h"

struct intake {
	bool open;	    /* connections are wanted */
	bool armed;	    /* the listeners' events are on */
	uint64_t resume_ms; /* accept again then; 0: not paused */
	uint64_t room_ms;   /* to say then that there is room; 0: nothing is to
			       be said */
};

/* Adds the listener that ORDER, a CONTROL_LISTEN, tells of; FD becomes the
 * slot's. Returns 0, or -1 with errno: then FD is closed. */
int intake_add(struct loop *, const struct control_message *order, int fd);
bool intake_has(const struct loop *, uint64_t serial);
/* FD is a duplicate of one that the slot has, or has lost to a service: then it
 * is put back. */
void intake_restore(struct loop *, uint64_t serial, int fd);

/* Gives up a listener at once; or once its queue is empty. Unknown serials are
 * none of the slot's, or were given up already. */
void intake_release(struct loop *, uint64_t serial);
/* All but those that are to be closed. */
void intake_release_others(struct loop *);
void intake_close(struct loop *, uint64_t serial);
void intake_close_all(struct loop *);
bool intake_is_empty(const struct loop *);

/* Puts in force whether to accept now; once before each epoll_wait. */
void intake_arm(struct loop *, struct intake *);

/* Notes in slot memory whether it takes connections now, as the master steers
 * and lends by that. True where that has changed, so that the master is to be
 * woken. */
bool intake_note_room(struct loop *, struct intake *);

/* Accepts one, or some, where FD is a listener. */
void intake_accept(struct loop *, struct intake *, int fd);

/* Empties the queues of the listeners that are to be closed. Returns the serial
 * of one that is closed now, by a service maybe, or 0. */
uint64_t intake_finish(struct loop *, struct intake *);

/* FD has just come from the kernel: a listener that had this number has been
 * closed by a service. */
void intake_claim(struct loop *, int fd);

/* Whether the table of descriptors has places for COUNT connections more. */
bool intake_has_place(const struct loop *, uint64_t count);

/* True where FD is a connection, a listener, or one that the slot began with:
 * what is open beside is a service's. */
bool intake_knows(const struct loop *, int fd);

/* Finishes what a dead worker left, if it is one of this module's transactions,
 * and registers all listeners anew. */
void intake_settle(struct loop *);

#endif

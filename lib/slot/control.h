/*
 * control: what the master says to a slot and to a loader, and they to it. This
 * header is the whole contract between them.
 *
 * A slot's two processes share their descriptors, so its two sockets
 * (SOCK_SEQPACKET pairs) belong to roles, not to processes: whoever is the
 * worker reads the worker's, and the standby waits at the other.
 *
 * A worker can die with an order read and not carried out. So orders say what
 * shall be, not what to do; carrying one out twice does nothing; and after each
 * takeover the master says anew all that may have been missed. What a worker
 * says can be lost with it in the same way.
 *
 * And a message can outlive whom it was meant for, since the next one reads the
 * same socket. Where that would do harm it names the one it means: by its pid,
 * or, for CONTROL_TAKE_OVER, by a serial that grows.
 */
#ifndef PREFORKD_CONTROL_H
#define PREFORKD_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/config.h"

/* Endpoints are numbered below this: those of a configuration and, during a
 * reload, of the next. */
enum { CONTROL_ENDPOINTS = 2 * CONFIG_LISTEN_MAX };

/* What the successor does with the work that the worker died at. */
enum verdict {
	VERDICT_GO_ON, /* settle by the ledger: nothing is lost */
	VERDICT_AGAIN, /* call the service once more, on the clean image */
	VERDICT_CLOSE, /* reset the one connection whose call it was */
	VERDICT_RESET, /* give the slot up, with its connections */
	VERDICTS
};

enum control_type {
	/* master to worker */
	CONTROL_LISTEN,	 /* [fd] listener SERIAL, of endpoint VALUE, is yours:
			    this one, or open it (only before the first
			    CONTROL_READY); INHERITED is not 0 where others
			    hold it as well */
	CONTROL_SERVE,	 /* accept */
	CONTROL_RELEASE, /* give up listener SERIAL at once */
	CONTROL_CLOSE,	 /* empty the queue of listener SERIAL (0: of all),
			    then close it */
	CONTROL_CLONE,	 /* PID: your standby has died, make one */
	CONTROL_RETIRE,	 /* end when you have no connections any more; VALUE is
			    not 0 if another has your place already: give up
			    all listeners but those that you are to close */
	CONTROL_PARCELS, /* [fd] memory of move SERIAL (move.h), in which you
			    are the taker if VALUE is not 0 */
	CONTROL_GIVE,	 /* [fd] socket of move SERIAL: give connections away
			    until you have VALUE left */
	CONTROL_TAKE,	 /* [fd] socket of move SERIAL: take what comes */
	CONTROL_DRAIN,	 /* serve until the clients have gone, for VALUE ms at
			    the most, then end */
	CONTROL_STOP,	 /* answer what has come, then end, in VALUE ms at the
			    most */

	/* master to standby */
	CONTROL_TAKE_OVER, /* the worker has died; VALUE is the verdict. The
			      SERIALth in this slot, earlier ones are void */

	/* master to a slot's first process, if a loader has cloned it */
	CONTROL_MEMORY,	 /* [fd] the slot's memory, for VALUE descriptors */
	CONTROL_WAITING, /* [fd] the socket at which its standby will wait */

	/* master to loader */
	CONTROL_BEAR, /* [fd] clone the first process of slot VALUE: this is the
			 slot's end of the worker's control socket */
	CONTROL_SPEAK, /* say that you live: the master knows of no loader */
	/* CONTROL_CLONE: the other loader has died, clone it */
	/* CONTROL_STOP: stop the services, then end */

	/* worker to master; PID is the sender, by the kernel's word */
	CONTROL_BORN,	   /* a loader has cloned me */
	CONTROL_LISTENING, /* [fd] has listener SERIAL: a duplicate where it has
			      opened it */
	CONTROL_READY,	   /* STANDBY waits, the endpoints listen */
	CONTROL_TAKEN,	   /* has taken over; STANDBY waits */
	CONTROL_CLONED,	   /* STANDBY waits, or VALUE is why it does not */
	CONTROL_WAKE,	   /* there is work: watch for hanging; or the slot
			      is full, or is no longer */
	CONTROL_CLOSED,	   /* listener SERIAL is closed, its queue empty */
	CONTROL_MOVED,	   /* move SERIAL is over */
	CONTROL_FAILED,	   /* text: the cause, and it ends; VALUE is not 0 where
			      trying again is useless for now */

	/* loader to master; also CONTROL_FAILED, CONTROL_CLONED, CONTROL_BORN,
	 * as it was told to speak, and CONTROL_READY: the services are started.
	 * STANDBY is its spare */
	CONTROL_DOING, /* text: what of a service runs from now on, as "starting
			  service ./mine.so" */
};

/* How the server ends where it lacks something for now (EX_TEMPFAIL), and where
 * trying again is useless (EX_CONFIG). A worker does not say so by its status:
 * code of a service can end it with any. */
enum { CONTROL_EXIT_UNAVAILABLE = 75, CONTROL_EXIT_PERMANENT = 78 };

struct control_message {
	uint32_t type;	    /* enum control_type */
	int32_t pid;	    /* whom it is for; from a slot: who has sent it */
	int32_t standby;    /* pid */
	uint32_t inherited; /* LISTEN */
	uint32_t all;	    /* GIVE: also those in the midst of an answer */
	uint64_t serial;    /* names a listener, or a move; never used twice */
	uint64_t value;
	struct address address; /* LISTEN: where to listen */
	char text[512];		/* DOING, FAILED: a string, cut if need be */
};

enum { CONTROL_TEXT = sizeof(((struct control_message *)0)->text) };

/* Makes a pair of control sockets, close-on-exec: the master's end, and the
 * other. Returns 0, or -1 with errno. */
int control_pair(int pair[2]);

/* Sends a message, with a duplicate of FD unless that is -1, and never waits.
 * Returns 0, or -1 with errno: of the other side (control_is_over), or EAGAIN
 * where it has not read for a while, or of the kernel's resources, where a
 * second try has failed, too: again, in a while. */
int control_send(int control, const struct control_message *, int fd);

/* True for the errors that say that the other side has gone. */
bool control_is_over(int error);

/* The same, but waits until there is room. Returns 0, or -1 with errno where no
 * waiting helps: as a rule because the other side has gone. */
int control_tell(int control, const struct control_message *, int fd);

/*
 * Receives a message; FD becomes the descriptor that came with it, owned by the
 * caller, or -1. FLAGS as for recvmsg(2). At the master's end the message's pid
 * is the sender's, whatever that has written there. Returns 1, 0 where the
 * other side has gone, or -1 with errno: EAGAIN where nothing waits, EPROTO for
 * what is no message, or has more than one descriptor; all of these are closed.
 */
int control_receive(int control, struct control_message *, int *fd, int flags);

/*
 * A descriptor from a slot is what a process that talks to strangers has made
 * of it. Disarmed, it does not block who reads or writes it, nor who closes it:
 * a socket with SO_LINGER would have us wait in close(2) until its peer has
 * taken what was sent (socket(7)).
 */
void control_disarm(int fd);

/* Disarms and closes it; nothing for -1. */
void control_discard(int fd);

#endif

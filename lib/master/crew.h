/*
 * crew: the slots with their processes, and what happens to them: births,
 * deaths, take-overs, what they say. It records; what shall be is decided by
 * the master, after each wake-up, from what it finds here.
 */
#ifndef PREFORKD_CREW_H
#define PREFORKD_CREW_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/config.h"
#include "lib/base/quota.h"
#include "lib/base/vigil.h"
#include "lib/master/endpoint.h"
#include "lib/master/generation.h"
#include "lib/master/pair.h"
#include "lib/master/restart.h"

enum {
	CREW_START_MS = 10000, /* for a standby to be at work */
	CREW_SOON_MS = 1000,   /* for whoever waits in a slot's queue */
	CREW_TEXT = 1024,
	/* Pairs that are begun between two looks at what has happened: each
	 * takes a millisecond or two, and a death waits for so long. */
	CREW_BIRTHS = 4,
	/* Orders to bear that a loader has not carried out: its socket has room
	 * for more. */
	CREW_UNBORN = 32,
};

struct slot {
	bool wanted;		   /* what it should be: served, or not */
	struct pair *pair;	   /* what it is: its processes, or NULL */
	struct pair *next;	   /* of the reload under way, or NULL */
	struct backoff birth;	   /* of that one */
	struct slot_counters past; /* of pairs that are no more */
	bool proven;		   /* it has served */
	struct restart restart;
	uint64_t restart_ms; /* no new pair before then */
	uint64_t retire_ms;  /* its connections go to others then; 0: it
				serves */
	uint64_t linger_ms;  /* until then its listeners stay, of a slot that is
				to go: no handshake takes longer; 0: they stay
				for ever */
	uint64_t look_ms;    /* then to look whether any is under way; or 0 */
	uint64_t takeovers;  /* since the master began */
	struct quota lines;  /* of the log, that it can bring about */
};

struct crew {
	struct config config; /* in force */
	struct pair *pairs;   /* all that there are; for old ones see pair.h */
	struct slot slots[CONFIG_WORKERS_MAX];
	unsigned slot_count; /* no slot at or above it was ever wanted */
	bool served[CONFIG_WORKERS_MAX]; /* as the steering knows it */
	/* What the processes of a slot do, and those that bear slots. */
	int (*worker)(const struct birth *);
	int (*loader)(const struct loader_birth *);
	struct generation *generations; /* all that there are */
	struct generation *generation;	/* in force; NULL: none yet, or there
					   is nothing to load */
	struct generation *next_generation; /* of the reload under way */
	struct restart loading;		    /* of the loader in force */
	uint64_t load_ms;		    /* no new one before then */
	struct backoff next_loading;
	struct endpoints endpoints;
	unsigned births;    /* since the last look */
	uint64_t last_move; /* its serial (moves.h) */
	int epoll;
	struct vigil vigil; /* time in which the master did not look is left
			       out of all that follows from now_ms */
	uint64_t now_ms;
	uint64_t look_ms; /* when to look for workers that hang; 0: all wait */
	struct quota faults; /* logged deaths in a call of the service */
	uint64_t some_full_ms, all_full_ms; /* logged then; 0: never */
	bool ending;
	enum control_type how; /* CONTROL_DRAIN or CONTROL_STOP */
	uint64_t end_ms;       /* the latest */
	/* Why a slot that has never served will not, or ""; and what the server
	 * would end with for it. */
	char given_up[CREW_TEXT];
	int exit_status;
	char failure[CREW_TEXT]; /* why a reload cannot go on, or "" */
	struct slot_count past[SLOT_COUNTS]; /* of pairs that are no more */
};

/* ---- what is known ---- */

unsigned crew_wanted(const struct crew *);
uint64_t crew_connections(const struct crew *);
bool crew_is_gone(const struct crew *);
bool crew_is_starting(const struct crew *);
/* True where what waits in a slot's queue would wait for longer than a moment,
 * so that another slot is to serve it. */
bool crew_is_down(const struct crew *, const struct slot *);
void crew_log_status(const struct crew *);

/* The pair whose control socket FD is, or NULL. */
struct pair *crew_pair_at(const struct crew *, int fd);
/* The pair that has process PID, or NULL. */
struct pair *crew_pair_of(const struct crew *, pid_t pid);

/* True where a line of the log may tell what a slot does: it may do so as often
 * as it likes, where it is taken over. */
bool crew_may_log(struct crew *, unsigned slot);

/* How many connections more a pair has room for. */
uint64_t crew_room(const struct crew *, const struct pair *);
/* True where a pair serves, and has room for connections of other slots. */
bool crew_can_take(const struct crew *, const struct pair *);
/* Whichever serves fewer connections; A can be NULL. */
struct pair *crew_less_loaded(struct pair *a, struct pair *b);
/* True where it has said that it takes no more connections. */
bool crew_is_full(const struct pair *);

/* ---- what shall be ---- */

/* Orders something about the listener of slot OWNER. */
void crew_order_listener(struct pair *, enum control_type type,
    const struct endpoint *, unsigned owner, int fd);

/* Slots are wanted from the first on; the last is retired first. */
void crew_want(struct crew *, unsigned count);

/* True if another pair may be begun now: not too many at once. */
bool crew_may_bear(const struct crew *);

/* Starts a slot's pair. Returns false where that failed, with errno. */
bool crew_start(struct crew *, unsigned slot, const struct config *config);

/* Starts the pair that a reload gives a slot, beside the one that it has. It
 * listens and waits until crew_switch puts it in that one's place, which from
 * then on gives its connections away. */
bool crew_start_next(struct crew *, unsigned slot, const struct config *config);
void crew_switch(struct crew *, struct slot *);
void crew_dismiss_next(struct slot *);

/* Counts the death of a slot's processes that had lived for LIVED_MS. Returns,
 * in ms, for how long the slot gets no others. */
uint64_t crew_put_off(struct crew *, struct slot *, uint64_t lived_ms);

/* The same for processes that could not be made. */
uint64_t crew_put_off_start(struct crew *, struct slot *);

/* Lets a slot that is ready serve. */
void crew_serve(struct crew *, struct pair *);

/* Tells a pair's standby that the worker is dead. */
void crew_order_takeover(struct crew *, struct pair *, enum verdict verdict);
/* Does so where it had to wait for somebody to die, if nobody is any more. */
void crew_send_takeover(struct crew *, struct pair *);

/* Whose call a pair's worker is in, or died in: the service as it is
 * configured; NULL where it is in none, or in one that is no more. */
const char *crew_service_in_call(const struct crew *, const struct pair *);

/* Kills a pair, with whoever of it we do not know yet: a slot is lost; or has
 * come to its end. */
void crew_give_up(struct pair *);
void crew_end_pair(struct pair *);

/* Says all that a new worker may not know, because its predecessor died with
 * the order in hand, or because it changed since the image was taken. */
void crew_brief(struct crew *, struct pair *);

/* Lets a slot hand its connections to others, then end. */
void crew_retire(struct crew *, struct pair *);

/* Begins the end of all. */
void crew_end(struct crew *, enum control_type how);
void crew_kill(struct crew *);

/* ---- what happens (beside it: hear.h, death.h) ---- */

/* Acts on what is overdue. */
void crew_keep_time(struct crew *);

/* When crew_keep_time is next due, or 0. */
uint64_t crew_due_ms(const struct crew *);

#endif

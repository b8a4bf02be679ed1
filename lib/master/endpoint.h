/*
 * endpoint: the addresses served. Of each, the master holds the reservation of
 * the port, unless its sockets are inherited (activation.h), and a duplicate of
 * every slot's listener: so the queue of accepted handshakes outlives a worker,
 * and its successor gets it.
 *
 * Endpoints are found by the address as configured, of several with port 0 by
 * which of them it is, too. One that is configured no
 * more stays until the last slot has emptied its queue.
 */
#ifndef PREFORKD_ENDPOINT_H
#define PREFORKD_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/config.h"
#include "lib/base/listener.h"
#include "lib/master/activation.h"
#include "lib/master/steering.h"
#include "lib/slot/control.h"

struct endpoint {
	bool used;
	uint64_t serial;		   /* never used twice: see control.h */
	struct address requested;	   /* as configured */
	unsigned ordinal;		   /* config.h */
	struct address bound;		   /* its port resolved */
	int reservation;		   /* listener.h; -1: none is needed */
	bool inherited;			   /* its sockets are: activation.h */
	int listeners[CONFIG_WORKERS_MAX]; /* by slot; -1: none */
	bool known[CONFIG_WORKERS_MAX];	   /* the slot has its listener */
	/* Which slot serves the listener while its own is down, plus 1; or 0 */
	unsigned short lent_to[CONFIG_WORKERS_MAX];
	struct steering steering; /* of those listeners */
};

/* Starts as all zero. */
struct endpoints {
	struct endpoint list[CONTROL_ENDPOINTS];
	uint64_t last_serial;
	struct activation activation;
};

/* Reserves a port for each address of CONFIG that has none yet, and puts into
 * CONFIG what each is called (its serial, of 32 bits there). Returns false
 * with cause and remedy in ERROR; those reserved before it stay. */
bool endpoints_reserve(
    struct endpoints *, struct config *config, char error[LISTENER_ERROR]);

/* The endpoint of CONFIG's Nth address; it must have been reserved. */
struct endpoint *
endpoints_of(struct endpoints *, const struct config *config, unsigned n);
bool
endpoint_is_configured(const struct endpoint *, const struct config *config);

/* What the master and workers call a slot's listener (control.h). */
uint64_t endpoint_serial(const struct endpoint *, unsigned slot);
/* The endpoint of that listener, and its SLOT; NULL where the serial is out of
 * date or made up. */
struct endpoint *
endpoints_by_serial(struct endpoints *, uint64_t serial, unsigned *slot);

/* A socket for that slot to listen with, which the caller is to hold: a new
 * one, or a duplicate of one that was inherited. Returns -1 with errno, and the
 * cause in ERROR, where there is none. */
int endpoint_open(const struct endpoints *, const struct endpoint *,
    unsigned slot, unsigned backlog, char error[LISTENER_ERROR]);

/* Has a slot hold what was inherited for it, of CONFIG's addresses. Returns
 * false with errno. */
bool endpoints_inherit(
    struct endpoints *, unsigned slot, const struct config *config);

/* Holds a slot's listener: FD becomes the endpoint's. Or lets it go. */
void endpoint_hold(struct endpoint *, unsigned slot, int fd);
void endpoint_drop(struct endpoint *, unsigned slot);

/* Lets a slot's listeners go: all, or those that CONFIG does not have. */
void endpoints_drop(struct endpoints *, unsigned slot);
void endpoints_drop_removed(
    struct endpoints *, unsigned slot, const struct config *config);

/* Notes whether a slot's worker has its listeners of CONFIG. */
void endpoints_know(
    struct endpoints *, unsigned slot, const struct config *config, bool known);

/* Whether a slot has all the listeners that CONFIG wants. */
bool endpoints_has_all(
    struct endpoints *, unsigned slot, const struct config *config);

/* Gives up the ports that CONFIG does not have and no slot listens on. */
void endpoints_remove_unused(struct endpoints *, const struct config *config);
/* Gives up, with their listeners, those that NEXT has and CONFIG has not. */
void endpoints_remove_added(
    struct endpoints *, const struct config *config, const struct config *next);
/* Gives up all ports and listeners. */
void endpoints_remove_all(struct endpoints *);

/* Steers new connections to the slots that are served (indexed by slot), where
 * that has CHANGED or a group has. Returns 0, or -1 with errno. */
int endpoints_steer(struct endpoints *, const bool *served, bool changed);

/* Writes "127.0.0.1:8080, [::1]:8080" for CONFIG's addresses from the Nth on,
 * as many as SIZE, more than the longest takes, surely has room for. Returns
 * the number of the first that is not among them. */
unsigned endpoints_list(struct endpoints *, const struct config *config,
    unsigned n, char *text, size_t size);

#endif

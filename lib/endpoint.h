/*
 * endpoint: the addresses served. Of each, the master holds the reservation of
 * the port, and a duplicate of every slot's listener: so the queue of accepted
 * handshakes outlives a worker, and its successor gets it.
 */
#ifndef PREFORKD_ENDPOINT_H
#define PREFORKD_ENDPOINT_H

#include <stdbool.h>

#include "config.h"
#include "control.h"
#include "listener.h"
#include "steering.h"

struct endpoint {
	bool used;
	struct address requested; /* as configured: what it is found by */
	struct address bound;	  /* its port resolved */
	int reservation;	  /* listener.h */
	int listeners[CONFIG_WORKERS_MAX]; /* by slot; -1: none */
	struct steering steering;	   /* of those listeners */
};

/* Finds the endpoint of a configured address among CONTROL_ENDPOINTS. Returns
 * its number, or -1. */
int endpoint_find(const struct endpoint *endpoints, const struct address *);

/* Reserves a port for REQUESTED. Returns the endpoint's number, or -1 with the
 * cause and the remedy in ERROR. */
int endpoint_add(struct endpoint *endpoints, const struct address *requested,
    char error[LISTENER_ERROR]);

/* Gives up the port and all listeners held. */
void endpoint_remove(struct endpoint *);

/* Holds a slot's listener, or lets it go. FD becomes the endpoint's. */
void endpoint_hold(struct endpoint *, unsigned slot, int fd);
void endpoint_drop(struct endpoint *, unsigned slot);

/* True where no slot's listener is held. */
bool endpoint_is_idle(const struct endpoint *);

/* Steers new connections to the slots that are served (indexed by slot), where
 * that or the group has CHANGED. Returns 0, or -1 with errno. */
int endpoint_steer(struct endpoint *, const bool *served, bool changed);

#endif

/*
 * closing: what precedes the close of listeners for good: those of addresses
 * that a reload removes, and all at the end. A close resets every handshake
 * that the listener has begun. So they begin no more, and stay until those that
 * are under way are over.
 */
#ifndef PREFORKD_CLOSING_H
#define PREFORKD_CLOSING_H

#include "lib/master/endpoint.h"

/* Starts as all zero. */
struct closing {
	uint64_t begun_ms; /* the listeners begin no more since; 0: they do */
	uint64_t look_ms;  /* when to look again */
};

/* True where the listeners of all addresses that NEXT does not have (NULL: of
 * all) may close. The first call has them begin no more. Never takes longer
 * than a slow handshake. */
bool closing_is_over(struct closing *, struct endpoints *,
    const struct config *next, uint64_t now_ms);

/* They are closed now. */
void closing_end(struct closing *);

/* They stay after all. */
void closing_cancel(struct closing *, struct endpoints *);

#endif

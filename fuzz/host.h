/*
 * host: a server for one service and one client, which is the fuzzer's input.
 *
 * It keeps what include/preforkd.h promises, and holds the service to what that
 * asks of it: bytes and state of a call lie in blocks of their own, gone after
 * it; now and then a call is dropped and made again, as after the death of a
 * worker; what was not consumed comes again with more behind it.
 */
#ifndef PREFORKD_FUZZ_HOST_H
#define PREFORKD_FUZZ_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "include/preforkd.h"

/* All that the client has seen. */
struct host_answer {
	unsigned char *bytes;
	size_t count;
	enum preforkd_reason reason; /* why it ended */
	bool timed;		     /* the timer has gone off */
};

static inline void
host_fail(const char *condition, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
	abort();
}

/* Ends the process where CONDITION does not hold: a finding. */
#define HOST_CHECK(condition) \
	((condition) ? (void)0 : host_fail(#condition, __FILE__, __LINE__))

/* Calls `start` of preforkd_service. */
void host_start(const char *argument);

/*
 * Sends BYTES to preforkd_service, in one piece and in many: the answers must
 * be the same. CHECK sees one of them. Then once more, with the timer going off
 * in between, where only the service's own manners are looked at.
 */
void host_converse(const unsigned char *bytes, size_t count,
    void (*check)(const struct host_answer *));

#endif

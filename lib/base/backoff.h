/*
 * backoff: when to try again what has failed for a moment: in 10 ms, then twice
 * as long each time. Policy only: no system call, no clock of its own.
 */
#ifndef PREFORKD_BACKOFF_H
#define PREFORKD_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

enum { BACKOFF_FIRST_MS = 10, BACKOFF_MOST_MS = 1000 };

/* Zero: nothing has failed. */
struct backoff {
	uint64_t due_ms;  /* 0: nothing is to be tried again */
	uint64_t wait_ms; /* the last wait */
};

static inline void
backoff_begin(struct backoff *b, uint64_t now_ms)
{
	b->wait_ms = b->wait_ms == 0 ? BACKOFF_FIRST_MS : 2 * b->wait_ms;
	if (b->wait_ms > BACKOFF_MOST_MS)
		b->wait_ms = BACKOFF_MOST_MS;
	b->due_ms = now_ms + b->wait_ms;
}

static inline void
backoff_end(struct backoff *b)
{
	*b = (struct backoff) { 0 };
}

/* What has failed may be tried now; so may what has not. */
static inline bool
backoff_is_over(const struct backoff *b, uint64_t now_ms)
{
	return now_ms >= b->due_ms;
}

/* Something has failed, and it is time to try it again. */
static inline bool
backoff_is_due(const struct backoff *b, uint64_t now_ms)
{
	return b->due_ms != 0 && now_ms >= b->due_ms;
}

/* It has failed for more than a moment: a second in all. */
static inline bool
backoff_is_long(const struct backoff *b)
{
	return b->wait_ms >= BACKOFF_MOST_MS;
}

#endif

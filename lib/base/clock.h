/* clock: the one time that decisions are made in. */
#ifndef PREFORKD_CLOCK_H
#define PREFORKD_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds on CLOCK_MONOTONIC: never goes back, the same in all
 * processes. Cannot fail with this clock (clock_gettime(2), ERRORS). */
static inline uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The first of two points in time, of which 0 is never. */
static inline uint64_t
clock_earlier(uint64_t a_ms, uint64_t b_ms)
{
	if (a_ms == 0 || b_ms == 0)
		return a_ms + b_ms;
	return a_ms < b_ms ? a_ms : b_ms;
}

/* For epoll_wait(2): ms until DUE, an hour at most; -1 if that is 0. */
static inline int
clock_left(uint64_t due_ms, uint64_t now_ms)
{
	const uint64_t hour_ms = 3600000;
	uint64_t left_ms = due_ms > now_ms ? due_ms - now_ms : 0;

	if (due_ms == 0)
		return -1;
	return (int)(left_ms < hour_ms ? left_ms : hour_ms);
}

#endif

/*
 * quota: how many log lines of a kind that clients can bring about. Policy
 * only: no clock of its own.
 */
#ifndef PREFORKD_QUOTA_H
#define PREFORKD_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

enum {
	QUOTA_BURST = 200,   /* lines at once */
	QUOTA_EVERY_MS = 50, /* then one line in this time */
};

/* Zero at first. Lies in slot memory, too: any values are harmless. */
struct quota {
	uint64_t full_ms;  /* when it is as at first again */
	uint64_t withheld; /* lines, since the last that was not */
};

/*
 * True where a line may be written at NOW_MS; WITHHELD becomes the number of
 * those that might not since the last one.
 */
bool quota_take(struct quota *, uint64_t now_ms, uint64_t *withheld);

#endif

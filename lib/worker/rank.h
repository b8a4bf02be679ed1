/*
 * rank: which of those that wait are closed first where their memory is needed:
 * the largest and oldest. Policy only: it sees numbers, no connections.
 *
 * The size counts twice, as the few that hold much are what somebody hostile
 * needs, while a message that waits for its end for an hour holds a page.
 */
#ifndef PREFORKD_RANK_H
#define PREFORKD_RANK_H

#include <stdint.h>

enum { RANKS = 384 };

/* How many pages those of each rank hold. All zero at first. */
struct ranking {
	uint64_t pages[RANKS];
};

/* Of one that has held PAGES for AGE_MS; the higher, the sooner it goes. */
unsigned rank_of(uint32_t pages, uint64_t age_ms);

/* The lowest rank that is to be closed, beside all above it, so that EXCESS
 * pages come free; 0 where all of them have to. */
unsigned ranking_cut(const struct ranking *, uint64_t excess);

#endif

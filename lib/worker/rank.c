#include "lib/worker/rank.h"

enum { QUARTERS = 2 }; /* bits behind the point of a logarithm */

/* The binary logarithm of N, in quarters; 0 of 0, too. */
static unsigned
logarithm(uint64_t n)
{
	unsigned whole;

	if (n == 0)
		return 0;
	whole = 63U - (unsigned)__builtin_clzll(n);
	return whole << QUARTERS |
	    (unsigned)((whole < QUARTERS ? n << (QUARTERS - whole)
					 : n >> (whole - QUARTERS)) &
		3U);
}

unsigned
rank_of(uint32_t pages, uint64_t age_ms)
{
	unsigned rank = 2 * logarithm(pages) + logarithm(age_ms);

	return rank < RANKS ? rank : RANKS - 1;
}

unsigned
ranking_cut(const struct ranking *ranking, uint64_t excess)
{
	unsigned rank = RANKS;
	uint64_t freed = 0;

	while (rank > 0 && freed < excess)
		freed += ranking->pages[--rank];
	return rank;
}

/* Whose memory is taken first. */
#include "lib/worker/rank.h"

#include "check.h"

static void
the_larger_and_the_older_rank_higher(void)
{
	CHECK(rank_of(80, 1000) > rank_of(16, 1000));
	CHECK(rank_of(80, 60000) > rank_of(80, 1000));
	CHECK(rank_of(80, 0) > rank_of(16, 0));
	CHECK(rank_of(0, 0) == 0);
	CHECK(rank_of(UINT32_MAX, UINT64_MAX) < RANKS);
}

/* A line that is half typed for an hour, against an answer that is not read for
 * ten seconds. */
static void
the_size_counts_twice(void)
{
	CHECK(rank_of(80, 10000) > rank_of(1, 3600000));
}

static void
the_cut_frees_enough_and_no_more(void)
{
	struct ranking r = { { 0 } };

	r.pages[10] = 100;
	r.pages[20] = 100;
	r.pages[30] = 100;
	CHECK(ranking_cut(&r, 1) == 30);
	CHECK(ranking_cut(&r, 100) == 30);
	CHECK(ranking_cut(&r, 101) == 20);
	CHECK(ranking_cut(&r, 300) == 10);
	CHECK(ranking_cut(&r, 301) == 0);
}

int
main(void)
{
	the_larger_and_the_older_rank_higher();
	the_size_counts_twice();
	the_cut_frees_enough_and_no_more();
	return 0;
}

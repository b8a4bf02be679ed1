/* How many lines are written of those that clients can bring about. */
#include "lib/base/quota.h"

#include "check.h"

/* How many of COUNT lines at NOW_MS. */
static unsigned
take(struct quota *q, uint64_t now_ms, unsigned count)
{
	uint64_t withheld;
	unsigned taken = 0;

	for (unsigned i = 0; i < count; i++)
		taken += quota_take(q, now_ms, &withheld);
	return taken;
}

static void
a_burst_then_a_trickle(void)
{
	struct quota q = { 0 };
	uint64_t now_ms = 1000000;

	CHECK(take(&q, now_ms, 10000) == QUOTA_BURST);
	CHECK(take(&q, now_ms + QUOTA_EVERY_MS - 1, 10) == 0);
	CHECK(take(&q, now_ms + QUOTA_EVERY_MS, 10) == 1);
	CHECK(take(&q, now_ms + 11ULL * QUOTA_EVERY_MS, 100) == 10);
	now_ms += 10ULL * QUOTA_BURST * QUOTA_EVERY_MS;
	CHECK(take(&q, now_ms, 10000) == QUOTA_BURST);
}

static void
what_was_withheld_is_told_once(void)
{
	struct quota q = { 0 };
	uint64_t withheld = 99;

	CHECK(quota_take(&q, 5, &withheld) && withheld == 0);
	take(&q, 5, QUOTA_BURST - 1 + 7);
	CHECK(quota_take(&q, 5 + QUOTA_EVERY_MS, &withheld) && withheld == 7);
	CHECK(!quota_take(&q, 5 + QUOTA_EVERY_MS, &withheld));
	CHECK(
	    quota_take(&q, 5 + 2 * QUOTA_EVERY_MS, &withheld) && withheld == 1);
}

static void
any_value_is_harmless(void)
{
	struct quota q = { UINT64_MAX, UINT64_MAX };

	CHECK(take(&q, 1000, 1) == 0);
	CHECK(take(&q, 1000 + QUOTA_BURST * QUOTA_EVERY_MS, 1) <= 1);
	q.full_ms = 1000;
	CHECK(take(&q, 1000, 10000) == QUOTA_BURST);
}

int
main(void)
{
	a_burst_then_a_trickle();
	what_was_withheld_is_told_once();
	any_value_is_harmless();
	return 0;
}

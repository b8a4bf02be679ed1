/* Time in which nobody looked. */
#include "lib/base/vigil.h"

#include "check.h"

static void
it_is_the_clock_for_who_looks_in_time(void)
{
	struct vigil v = { 0 };

	CHECK(vigil_now(&v, 5000) == 5000);
	vigil_until(&v, 5000, 6000);
	CHECK(vigil_now(&v, 5500) == 5500);
	CHECK(vigil_now(&v, 6000 + VIGIL_LATE_MS) == 6000 + VIGIL_LATE_MS);
	vigil_until(&v, 6000, 0); /* waits for whatever comes */
	CHECK(vigil_now(&v, 999000) == 999000);
}

static void
a_gap_is_left_out(void)
{
	struct vigil v = { 0 };

	vigil_until(&v, 5000, 6000);
	CHECK(vigil_now(&v, 13000) == 5000 + VIGIL_LATE_MS);
	CHECK(v.missed_ms == 8000 - VIGIL_LATE_MS);
	vigil_until(&v, 5100, 6000);
	CHECK(vigil_now(&v, 13900) == 6000);
}

/* Each wait is cut off: time goes on all the same. */
static void
it_never_stands_still_for_good(void)
{
	struct vigil v = { 0 };
	uint64_t now_ms = 5000, clock_ms = 5000;

	for (int i = 0; i < 10; i++) {
		vigil_until(&v, now_ms, 6000);
		now_ms = vigil_now(&v, clock_ms += 7000);
	}
	CHECK(now_ms == 6000);
}

/* A successor asks again what its predecessor may have asked. */
static void
no_gap_counts_twice(void)
{
	struct vigil v = { 0 };

	vigil_until(&v, 5000, 6000);
	CHECK(vigil_now(&v, 13000) == 5000 + VIGIL_LATE_MS);
	CHECK(vigil_now(&v, 13000) == 5000 + VIGIL_LATE_MS);
	CHECK(vigil_now(&v, 13001) == 5001 + VIGIL_LATE_MS);
}

static void
it_never_goes_back(void)
{
	struct vigil v = { 0 };

	vigil_until(&v, 5000, 4000); /* overdue already */
	CHECK(vigil_now(&v, 5001) == 5001);
	CHECK(vigil_now(&v, 9000) == 5000);
	CHECK(vigil_now(&v, 9002) == 5002);
}

int
main(void)
{
	it_is_the_clock_for_who_looks_in_time();
	a_gap_is_left_out();
	it_never_stands_still_for_good();
	no_gap_counts_twice();
	it_never_goes_back();
	return 0;
}

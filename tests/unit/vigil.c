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
	CHECK(vigil_now(&v, 13000) == 6000);
	vigil_until(&v, 6000, 6500);
	CHECK(vigil_now(&v, 13500) == 6500);
	CHECK(v.missed_ms == 7000);
}

/* A successor asks again what its predecessor may have asked. */
static void
no_gap_counts_twice(void)
{
	struct vigil v = { 0 };

	vigil_until(&v, 5000, 6000);
	CHECK(vigil_now(&v, 13000) == 6000);
	CHECK(vigil_now(&v, 13000) == 6000);
	CHECK(vigil_now(&v, 13001) == 6001);
}

static void
it_never_goes_back(void)
{
	struct vigil v = { 0 };

	vigil_until(&v, 5000, 4000); /* overdue already */
	CHECK(vigil_now(&v, 5001) == 5001);
	CHECK(vigil_now(&v, 9000) == 5000 || v.due_ms == 5000);
	vigil_until(&v, 5000, 5000);
	CHECK(vigil_now(&v, 9000) == 5000);
	CHECK(vigil_now(&v, 9002) == 5002);
}

int
main(void)
{
	it_is_the_clock_for_who_looks_in_time();
	a_gap_is_left_out();
	no_gap_counts_twice();
	it_never_goes_back();
	return 0;
}

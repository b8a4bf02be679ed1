/* The restart policy: who waits how long. */
#include "lib/master/restart.h"

#include "check.h"

static void
a_first_death_restarts_at_once(void)
{
	struct restart history = { 0 };

	CHECK(restart_delay_ms(&history, 10) == 0);
	CHECK(history.deaths == 1);
}

static void
early_deaths_double_the_delay_up_to_the_most(void)
{
	static const uint64_t expected_ms[] = { 0, 100, 200, 400, 800, 1600,
		3200, 6400, 10000, 10000, 10000 };
	struct restart history = { 0 };

	for (size_t i = 0; i < sizeof expected_ms / sizeof *expected_ms; i++)
		CHECK(restart_delay_ms(&history, 0) == expected_ms[i]);
}

static void
the_delay_never_overflows(void)
{
	struct restart history = { 0 };

	for (int i = 0; i < 100000; i++)
		restart_delay_ms(&history, 0);
	CHECK(restart_delay_ms(&history, 0) == RESTART_MOST_MS);
	CHECK(history.deaths == 100001);
}

static void
a_life_forgives(void)
{
	struct restart history = { 0 };

	for (int i = 0; i < 5; i++)
		restart_delay_ms(&history, 0);
	CHECK(restart_delay_ms(&history, RESTART_LIVED_MS - 1) > 0);
	CHECK(restart_delay_ms(&history, RESTART_LIVED_MS) == 0);
	CHECK(restart_delay_ms(&history, 0) == RESTART_FIRST_MS);
}

static void
a_failed_start_is_not_tried_again_at_once(void)
{
	struct restart history = { 0 };

	CHECK(restart_failed_ms(&history) == RESTART_FIRST_MS);
	CHECK(restart_failed_ms(&history) == RESTART_FIRST_MS);
	CHECK(restart_failed_ms(&history) == 2ULL * RESTART_FIRST_MS);
	CHECK(history.deaths == 3);
}

static void
what_never_works_is_hopeless_after_a_few_tries(void)
{
	struct restart history = { 0 };

	CHECK(!restart_is_hopeless(&history));
	for (int i = 0; i < RESTART_TRIES - 1; i++)
		restart_delay_ms(&history, 0);
	CHECK(!restart_is_hopeless(&history));
	restart_delay_ms(&history, 0);
	CHECK(restart_is_hopeless(&history));
	restart_delay_ms(&history, RESTART_LIVED_MS);
	CHECK(!restart_is_hopeless(&history));
}

int
main(void)
{
	what_never_works_is_hopeless_after_a_few_tries();
	a_failed_start_is_not_tried_again_at_once();
	a_first_death_restarts_at_once();
	early_deaths_double_the_delay_up_to_the_most();
	the_delay_never_overflows();
	a_life_forgives();
	return 0;
}

/* The verdict on a death: every row of the table, and what is counted. */
#include "lib/master/verdict.h"

#include <signal.h>

#include "check.h"

enum { CALL = 100 };

/* As waitpid(2) gives them; there is no macro to make one. */
static int
by_signal(int number)
{
	return number;
}

static int
by_exit(int code)
{
	return code << 8;
}

static const int from_outside[] = { SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGQUIT,
	SIGTRAP, SIGPIPE, SIGALRM, SIGXCPU, SIGUSR2 };
static const int own_faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT,
	SIGSYS };

enum {
	OUTSIDE = sizeof from_outside / sizeof from_outside[0],
	FAULTS = sizeof own_faults / sizeof own_faults[0],
};

/* A death in a call of the service. */
static struct death
in_call(int status)
{
	return (struct death) { .status = status,
		.valid = true,
		.running = true,
		.ran = true,
		.call = CALL };
}

/* A death anywhere else. */
static struct death
elsewhere(int status)
{
	return (struct death) { .status = status, .valid = true };
}

static enum verdict
judge(struct verdict_history *history, struct death death)
{
	return verdict_judge(history, &death);
}

/* Each after progress: what stalls is not the question here. */
static enum verdict
judge_next(struct verdict_history *history, struct death death)
{
	death.progress = history->progress + 1;
	return verdict_judge(history, &death);
}

static void
outside_a_call_nothing_is_lost(void)
{
	struct verdict_history history = { 0 };

	for (size_t i = 0; i < OUTSIDE; i++)
		CHECK(judge_next(
			  &history, elsewhere(by_signal(from_outside[i]))) ==
		    VERDICT_GO_ON);
	for (size_t i = 0; i < FAULTS; i++)
		CHECK(
		    judge_next(&history, elsewhere(by_signal(own_faults[i]))) ==
		    VERDICT_GO_ON);
	CHECK(judge_next(&history, elsewhere(by_exit(0))) == VERDICT_GO_ON);
	CHECK(judge_next(&history, elsewhere(by_exit(1))) == VERDICT_GO_ON);
	CHECK(history.kills == 0 && history.faults == 0);
}

static void
a_fault_repeats_the_call_and_a_second_closes(void)
{
	for (size_t i = 0; i < FAULTS; i++) {
		struct verdict_history history = { 0 };
		struct death death = in_call(by_signal(own_faults[i]));

		CHECK(judge_next(&history, death) == VERDICT_AGAIN);
		CHECK(judge_next(&history, death) == VERDICT_CLOSE);
	}
}

static void
a_core_dump_makes_no_difference(void)
{
	struct verdict_history history = { 0 };
	struct death death = in_call(by_signal(SIGSEGV) | 0x80);

	CHECK(judge_next(&history, death) == VERDICT_AGAIN);
	CHECK(judge_next(&history, death) == VERDICT_CLOSE);
}

static void
an_exit_within_the_call_is_a_fault(void)
{
	for (int code = 0; code < 256; code++) {
		struct verdict_history history = { 0 };

		CHECK(judge_next(&history, in_call(by_exit(code))) ==
		    VERDICT_AGAIN);
		CHECK(judge_next(&history, in_call(by_exit(code))) ==
		    VERDICT_CLOSE);
	}
}

static void
two_different_faults_of_a_call_close(void)
{
	struct verdict_history history = { 0 };

	CHECK(
	    judge_next(&history, in_call(by_signal(SIGSEGV))) == VERDICT_AGAIN);
	CHECK(judge_next(&history, in_call(by_exit(1))) == VERDICT_CLOSE);
}

static void
the_third_kill_of_a_call_counts_as_a_fault(void)
{
	for (size_t i = 0; i < OUTSIDE; i++) {
		struct verdict_history history = { 0 };
		struct death death = in_call(by_signal(from_outside[i]));

		for (unsigned kill = 1; kill < VERDICT_KILLS; kill++) {
			CHECK(judge_next(&history, death) == VERDICT_AGAIN);
			CHECK(history.faults == 0);
		}
		CHECK(judge_next(&history, death) == VERDICT_AGAIN);
		CHECK(history.faults == 1);
		CHECK(judge_next(&history, death) == VERDICT_CLOSE);
	}
}

static void
the_masters_own_kills_of_a_call_do_not_count(void)
{
	struct verdict_history history = { 0 };
	struct death death = in_call(by_signal(SIGKILL));

	death.ordered = true;
	for (int i = 0; i < 100; i++)
		CHECK(judge_next(&history, death) == VERDICT_AGAIN);
	CHECK(history.kills == 0 && history.faults == 0);
	death.status = by_signal(SIGSEGV); /* it was faster */
	CHECK(judge_next(&history, death) == VERDICT_AGAIN);
	CHECK(judge_next(&history, death) == VERDICT_CLOSE);
}

static void
a_fault_and_three_kills_close(void)
{
	struct verdict_history history = { 0 };

	CHECK(
	    judge_next(&history, in_call(by_signal(SIGSEGV))) == VERDICT_AGAIN);
	CHECK(
	    judge_next(&history, in_call(by_signal(SIGKILL))) == VERDICT_AGAIN);
	CHECK(
	    judge_next(&history, in_call(by_signal(SIGKILL))) == VERDICT_AGAIN);
	CHECK(
	    judge_next(&history, in_call(by_signal(SIGKILL))) == VERDICT_CLOSE);
}

static void
kills_before_a_fault_are_not_faults(void)
{
	struct verdict_history history = { 0 };

	judge_next(&history, in_call(by_signal(SIGKILL)));
	judge_next(&history, in_call(by_signal(SIGKILL)));
	CHECK(
	    judge_next(&history, in_call(by_signal(SIGSEGV))) == VERDICT_AGAIN);
	CHECK(
	    judge_next(&history, in_call(by_signal(SIGSEGV))) == VERDICT_CLOSE);
}

static void
counts_are_of_one_call(void)
{
	struct death call = in_call(by_signal(SIGSEGV));
	struct verdict_history history = { 0 };
	struct death other = call;

	other.call++;
	CHECK(judge_next(&history, call) == VERDICT_AGAIN);
	CHECK(judge_next(&history, other) == VERDICT_AGAIN);
	CHECK(judge_next(&history, other) == VERDICT_CLOSE);
	CHECK(judge_next(&history, call) == VERDICT_AGAIN);
}

static void
kills_are_of_one_call(void)
{
	struct verdict_history history = { 0 };
	struct death death = in_call(by_signal(SIGKILL));

	for (int i = 0; i < 1000; i++) {
		death.call++;
		CHECK(judge_next(&history, death) == VERDICT_AGAIN);
	}
	CHECK(history.kills == 1 && history.faults == 0);
}

/* The successor of a fault may be killed before it calls the service again, or
 * while it settles. */
static void
a_death_before_the_call_was_entered_does_not_count(void)
{
	struct verdict_history history = { 0 };
	struct death before = in_call(by_signal(SIGKILL));

	before.ran = false;
	for (int i = 0; i < 100; i++)
		CHECK(judge_next(&history, before) == VERDICT_AGAIN);
	before.status = by_signal(SIGSEGV);
	for (int i = 0; i < 100; i++)
		CHECK(judge_next(&history, before) == VERDICT_AGAIN);
	CHECK(history.kills == 0 && history.faults == 0);
}

/* Else whoever dies between the verdict and its execution would give the call
 * two chances more. */
static void
a_verdict_stands_until_it_is_carried_out(void)
{
	struct verdict_history history = { 0 };
	struct death death = in_call(by_signal(SIGSEGV));

	judge_next(&history, death);
	CHECK(judge_next(&history, death) == VERDICT_CLOSE);
	death.ran = false;
	death.status = by_signal(SIGKILL);
	CHECK(judge_next(&history, death) == VERDICT_CLOSE);
	CHECK(judge_next(&history, death) == VERDICT_CLOSE);
}

static void
a_death_elsewhere_does_not_forgive(void)
{
	struct verdict_history history = { 0 };

	judge_next(&history, in_call(by_signal(SIGSEGV)));
	judge_next(&history, elsewhere(by_signal(SIGKILL)));
	CHECK(
	    judge_next(&history, in_call(by_signal(SIGSEGV))) == VERDICT_CLOSE);
}

static void
a_hung_call_closes_at_once(void)
{
	static const int ends[] = { SIGABRT, SIGKILL };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct verdict_history history = { 0 };
		struct death death = in_call(by_signal(ends[i]));

		death.hung = true;
		CHECK(judge_next(&history, death) == VERDICT_CLOSE);
	}
}

static void
hanging_elsewhere_loses_nothing(void)
{
	struct verdict_history history = { 0 };
	struct death death = elsewhere(by_signal(SIGABRT));

	death.hung = true;
	CHECK(judge_next(&history, death) == VERDICT_GO_ON);
}

static void
sixty_four_kills_without_progress_reset(void)
{
	struct verdict_history history = { 0 };
	struct death death = elsewhere(by_signal(SIGKILL));

	death.progress = 5;
	for (unsigned i = 1; i < VERDICT_STALLED; i++)
		CHECK(judge(&history, death) == VERDICT_GO_ON);
	CHECK(VERDICT_STALLED == 64);
	CHECK(judge(&history, death) == VERDICT_RESET);
}

/* The count begins with the death after which nothing moved, so a fresh slot
 * whose progress is 0 has as many as any. */
static void
a_fresh_slot_has_as_many_deaths(void)
{
	struct verdict_history history = { 0 };
	struct death death = elsewhere(by_signal(SIGSEGV));

	for (unsigned i = 1; i < VERDICT_STALLED / VERDICT_OWN; i++)
		CHECK(judge(&history, death) == VERDICT_GO_ON);
	CHECK(judge(&history, death) == VERDICT_RESET);
}

static void
progress_forgives(void)
{
	struct verdict_history history = { 0 };
	struct death death = elsewhere(by_signal(SIGKILL));

	for (int round = 0; round < 100; round++) {
		death.progress++;
		for (unsigned i = 1; i < VERDICT_STALLED; i++)
			CHECK(judge(&history, death) == VERDICT_GO_ON);
	}
}

static void
kills_with_progress_never_reset(void)
{
	struct verdict_history history = { 0 };

	for (int i = 0; i < 100000; i++)
		CHECK(judge_next(&history, elsewhere(by_signal(SIGKILL))) ==
		    VERDICT_GO_ON);
}

static void
kills_between_waits_never_reset(void)
{
	struct verdict_history history = { 0 };
	struct death death = elsewhere(by_signal(SIGKILL));

	for (int i = 0; i < 1000; i++) {
		death.waits++;
		CHECK(judge(&history, death) == VERDICT_GO_ON);
	}
}

/* Whatever a worker dies of by itself, that it came to wait before is not
 * enough. */
static void
ends_between_waits_reset(void)
{
	const int ends[] = { by_exit(0), by_exit(1), by_signal(SIGSEGV),
		by_signal(SIGTRAP) };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		struct verdict_history history = { 0 };
		struct death death = elsewhere(ends[i]);

		for (unsigned n = 1; n < VERDICT_STALLED / VERDICT_OWN; n++) {
			death.waits++;
			CHECK(judge(&history, death) == VERDICT_GO_ON);
		}
		CHECK(judge(&history, death) == VERDICT_RESET);
	}
}

static void
ends_of_workers_that_lived_never_reset(void)
{
	struct verdict_history history = { 0 };
	struct death death = elsewhere(by_exit(1));

	death.lived_ms = VERDICT_LIVED_MS;
	for (int i = 0; i < 1000; i++)
		CHECK(judge(&history, death) == VERDICT_GO_ON);
}

/* Also where the call would only be repeated. */
static void
deaths_before_the_call_stall_too(void)
{
	struct verdict_history history = { 0 };
	struct death death = in_call(by_signal(SIGSEGV));

	death.ran = false;
	for (unsigned i = 1; i < VERDICT_STALLED / VERDICT_OWN; i++)
		CHECK(judge(&history, death) == VERDICT_AGAIN);
	CHECK(judge(&history, death) == VERDICT_RESET);
}

static void
memory_that_is_not_valid_resets(void)
{
	struct verdict_history history = { 0 };
	struct death deaths[] = { elsewhere(by_signal(SIGKILL)),
		elsewhere(by_exit(0)), in_call(by_signal(SIGSEGV)),
		in_call(by_signal(SIGABRT)) };

	deaths[3].hung = true;
	for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
		deaths[i].valid = false;
		CHECK(judge_next(&history, deaths[i]) == VERDICT_RESET);
	}
}

int
main(void)
{
	outside_a_call_nothing_is_lost();
	a_fault_repeats_the_call_and_a_second_closes();
	a_core_dump_makes_no_difference();
	an_exit_within_the_call_is_a_fault();
	two_different_faults_of_a_call_close();
	the_third_kill_of_a_call_counts_as_a_fault();
	the_masters_own_kills_of_a_call_do_not_count();
	a_fault_and_three_kills_close();
	kills_before_a_fault_are_not_faults();
	counts_are_of_one_call();
	kills_are_of_one_call();
	a_death_before_the_call_was_entered_does_not_count();
	a_verdict_stands_until_it_is_carried_out();
	a_death_elsewhere_does_not_forgive();
	a_hung_call_closes_at_once();
	hanging_elsewhere_loses_nothing();
	sixty_four_kills_without_progress_reset();
	a_fresh_slot_has_as_many_deaths();
	progress_forgives();
	kills_with_progress_never_reset();
	kills_between_waits_never_reset();
	ends_between_waits_reset();
	ends_of_workers_that_lived_never_reset();
	deaths_before_the_call_stall_too();
	memory_that_is_not_valid_resets();
	return 0;
}

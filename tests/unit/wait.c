/* What a connection waits for, and when that was too long. */
#include "lib/worker/wait.h"

#include "check.h"

enum { IDLE_MS = 500, WRITE_MS = 100 };

static struct connection c;
static struct particulars p;

static void
begin(void)
{
	const struct in6_addr nobody = { 0 };

	connection_fill(&c, 1, 1, 1000);
	c.flags = 0;
	particulars_fill(&p, &nobody, 0, 1000);
	connection_open(&c);
}

static enum close_reason
overdue(uint64_t now_ms)
{
	return wait_overdue(&c, &p, now_ms, IDLE_MS, WRITE_MS);
}

/* The service answers COUNT bytes, of which the kernel accepts SENT. */
static void
answer(uint64_t count, uint64_t sent, uint64_t now_ms)
{
	c.committed += count;
	c.sent += sent;
	c.progress_ms = now_ms;
}

static void
the_silent_are_idle(void)
{
	begin();
	CHECK(!wait_is_owed(&c, &p));
	CHECK(overdue(1499) == CLOSE_NOT);
	CHECK(overdue(1500) == CLOSE_IDLE_TIMEOUT);
	CHECK(wait_overdue(&c, &p, 99000, 0, 0) == CLOSE_NOT);
}

static void
who_takes_nothing_is_late(void)
{
	begin();
	answer(1000, 10, 1000);
	CHECK(wait_is_owed(&c, &p));
	wait_note(&c, &p, 0, 1050);
	CHECK(overdue(1149) == CLOSE_NOT);
	CHECK(overdue(1150) == CLOSE_WRITE_TIMEOUT);
	CHECK(wait_overdue(&c, &p, 99000, IDLE_MS, 0) == CLOSE_NOT);
}

/* Nothing is pending here: the answer is in the kernel. */
static void
it_does_not_matter_where_the_answer_lies(void)
{
	begin();
	answer(10, 10, 1000);
	wait_note(&c, &p, 0, 1010);
	CHECK(overdue(1110) == CLOSE_WRITE_TIMEOUT);
	c.flags = CONNECTION_MORE; /* there is no room for the next part */
	CHECK(overdue(1110) == CLOSE_WRITE_TIMEOUT);
	CHECK(wait_overdue(&c, &p, 99000, IDLE_MS, 0) == CLOSE_NOT);
	c.flags = 0;
	CHECK(wait_overdue(&c, &p, 1500, IDLE_MS, 0) == CLOSE_IDLE_TIMEOUT);
}

static void
a_slow_reader_is_not(void)
{
	begin();
	answer(1000, 1000, 1000);
	for (uint64_t taken = 0; taken < 1000; taken++)
		wait_note(&c, &p, taken, 1000 + taken * (WRITE_MS - 1));
	CHECK(overdue(1000 + 999 * (WRITE_MS - 1) + WRITE_MS - 1) == CLOSE_NOT);
}

/* Between two looks it took all, and is owed something else. */
static void
each_answer_has_its_time(void)
{
	begin();
	answer(10, 10, 1000);
	wait_note(&c, &p, 0, 1000);
	answer(10, 10, 1080);
	wait_note(&c, &p, 10, 1090);
	CHECK(overdue(1189) == CLOSE_NOT);
	CHECK(overdue(1190) == CLOSE_WRITE_TIMEOUT);
	wait_note(&c, &p, 20, 1189);
	CHECK(!wait_is_owed(&c, &p) && c.progress_ms == 1189);
	CHECK(overdue(1189 + IDLE_MS - 1) == CLOSE_NOT);
	answer(10, 10, 9000);
	CHECK(overdue(9000) == CLOSE_NOT); /* nobody has looked yet */
	wait_note(&c, &p, 20, 9050);
	CHECK(overdue(9149) == CLOSE_NOT);
	CHECK(overdue(9150) == CLOSE_WRITE_TIMEOUT);
}

static void
a_service_with_more_to_say_does_not_wait_for_words(void)
{
	begin();
	c.flags = CONNECTION_MORE;
	CHECK(overdue(99000) == CLOSE_NOT);
	c.flags = CONNECTION_AGAIN;
	CHECK(overdue(99000) == CLOSE_NOT);
}

static void
who_was_answered_and_shut_down_has_a_while(void)
{
	begin();
	answer(10, 10, 1000);
	wait_note(&c, &p, 0, 1000);
	c.lingering = true;
	wait_note(&c, &p, 10, 1050);
	CHECK(overdue(1050 + WAIT_LINGER_MS - 1) == CLOSE_NOT);
	CHECK(overdue(1050 + WAIT_LINGER_MS) == CLOSE_FINISHED);
}

/* Its answer is in our kernel, and a close may take it away. */
static void
who_was_shut_down_and_reads_slowly_has_the_time_of_a_reader(void)
{
	begin();
	answer(10, 10, 1000);
	wait_note(&c, &p, 0, 1000);
	c.lingering = true;
	CHECK(wait_overdue(&c, &p, 99000, IDLE_MS, 0) == CLOSE_NOT);
	CHECK(overdue(1000 + WRITE_MS - 1) == CLOSE_NOT);
	CHECK(overdue(1000 + WRITE_MS) == CLOSE_WRITE_TIMEOUT);
}

static void
who_has_just_come_and_said_nothing_is_a_newcomer(void)
{
	begin();
	p.opened_ms = 1000;
	CHECK(wait_is_newcomer(&c, &p, 1000));
	CHECK(wait_is_newcomer(&c, &p, 1000 + WAIT_NEWCOMER_MS - 1));
	CHECK(!wait_is_newcomer(&c, &p, 1000 + WAIT_NEWCOMER_MS));
	c.received = 1;
	CHECK(!wait_is_newcomer(&c, &p, 1000));
	c.received = 0;
	c.committed = 1; /* it was greeted */
	CHECK(!wait_is_newcomer(&c, &p, 1000));
}

int
main(void)
{
	the_silent_are_idle();
	who_takes_nothing_is_late();
	it_does_not_matter_where_the_answer_lies();
	a_slow_reader_is_not();
	each_answer_has_its_time();
	a_service_with_more_to_say_does_not_wait_for_words();
	who_was_answered_and_shut_down_has_a_while();
	who_was_shut_down_and_reads_slowly_has_the_time_of_a_reader();
	who_has_just_come_and_said_nothing_is_a_newcomer();
	return 0;
}

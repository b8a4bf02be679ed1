/* Which timer is due next: against a plain look at all of them. */
#include "lib/slot/timers.h"

#include "check.h"

enum { FDS = 5000 };

static struct slot_memory *memory;

static uint32_t
random_below(uint32_t bound)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % bound;
}

static void
begin(unsigned fds)
{
	memory = slot_map(fds);
	CHECK(memory);
	memory->fds_used = fds;
	for (unsigned fd = 0; fd < fds; fd++) {
		connection_fill(&memory->connections[fd], 1, 1, 1);
		connection_open(&memory->connections[fd]);
	}
}

static void
end(unsigned fds)
{
	slot_unmap(memory, fds);
}

/* As the commit of a call does it. */
static void
set(int fd, uint64_t due_ms)
{
	timers_note(memory, fd, due_ms);
	memory->connections[fd].timer_ms = due_ms;
}

static uint64_t
first_by_looking_at_all(unsigned fds)
{
	uint64_t first_ms = 0;

	for (unsigned fd = 0; fd < fds; fd++) {
		uint64_t due_ms = memory->connections[fd].timer_ms;

		if (due_ms != 0 && (first_ms == 0 || due_ms < first_ms))
			first_ms = due_ms;
	}
	return first_ms;
}

static void
none_is_due_where_there_is_none(void)
{
	begin(FDS);
	CHECK(timers_due(memory, 1000) == -1);
	timers_note(memory, 5, 0);
	CHECK(memory->timer_ms == 0);
	end(FDS);
}

/* Timers that come, fire, are put off and taken away, in tables from the
 * smallest on: none is forgotten, none comes early, and the first comes first.
 */
static void
the_first_comes_first(unsigned fds)
{
	begin(fds);
	for (uint64_t now_ms = 1; now_ms < 1000; now_ms++) {
		int fd;

		for (int i = 0; i < 3; i++)
			set(1 + (int)random_below(fds - 1), /* 0 is no client */
			    random_below(4) ? now_ms + random_below(200) : 0);
		while ((fd = timers_due(memory, now_ms)) >= 0) {
			uint64_t due_ms = memory->connections[fd].timer_ms;

			CHECK(due_ms != 0 && due_ms <= now_ms);
			CHECK(due_ms == first_by_looking_at_all(fds));
			set(fd, random_below(2) ? now_ms + 1 : 0);
		}
		CHECK(first_by_looking_at_all(fds) == 0 ||
		    first_by_looking_at_all(fds) > now_ms);
		CHECK(memory->timer_ms == 0 || memory->timer_ms > now_ms);
	}
	end(fds);
}

/* A death between any two stores leaves no bound later than its timers. Here
 * each prefix of the stores that timers_note makes, in its order. */
static void
a_note_that_was_cut_short_is_made_again(void)
{
	begin(FDS);
	set(7, 900);
	set(4999, 100);
	memory->timer_ms = 50; /* the root only: it died behind that */
	CHECK(timers_due(memory, 60) == -1);
	CHECK(timers_due(memory, 100) == 4999);
	set(4999, 0);
	set(3000, 70);
	CHECK(timers_due(memory, 70) == 3000);
	end(FDS);
}

static void
who_cannot_be_served_is_left_out(void)
{
	begin(FDS);
	set(10, 100);
	memory->connections[10].committed = 1; /* pending */
	set(20, 100);
	memory->connections[20].lingering = true;
	set(30, 100);
	memory->connections[30].flags |= CONNECTION_LEAVING;
	set(40, 100);
	connection_close(&memory->connections[40]);
	set(50, 300);
	memory->connections[50].committed = 1;
	CHECK(timers_due(memory, 200) == -1);
	CHECK(memory->timer_ms == 300);
	memory->connections[50].sent = 1;
	CHECK(timers_due(memory, 300) == 50);
	memory->connections[30].flags = 0;
	timers_note(memory, 30, memory->connections[30].timer_ms);
	CHECK(timers_due(memory, 300) == 30);
	end(FDS);
}

int
main(void)
{
	none_is_due_where_there_is_none();
	the_first_comes_first(2);
	the_first_comes_first(16);
	the_first_comes_first(17);
	the_first_comes_first(300);
	the_first_comes_first(FDS);
	a_note_that_was_cut_short_is_made_again();
	who_cannot_be_served_is_left_out();
	return 0;
}

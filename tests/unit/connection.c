/* A connection's counters and its place. */
#include "lib/slot/connection.h"

#include <string.h>

#include "check.h"

static unsigned char place[CONNECTION_PLACE];

static void
open_at(struct connection *c, uint64_t now_ms)
{
	connection_fill(c, 7, 8, now_ms);
	connection_open(c);
}

static void
an_entry_is_one_cache_line(void)
{
	CHECK(sizeof(struct connection) == 64);
	CHECK(sizeof(struct connection) + sizeof(struct particulars) <= 128);
}

static void
one_store_opens_and_closes(void)
{
	struct connection c = { 0 };

	CHECK(!connection_is_open(&c));
	open_at(&c, 1000);
	CHECK(connection_is_open(&c) && c.generation == 1);
	CHECK(c.endpoint == 7 && c.service == 8 && c.progress_ms == 1000);
	CHECK(c.flags == CONNECTION_UNOPENED);
	connection_close(&c);
	CHECK(!connection_is_open(&c));
	open_at(&c, 2000);
	CHECK(c.generation == 3 && c.progress_ms == 2000);
}

/* Answers COUNT bytes of which SENT go out, and keeps the rest. */
static void
answer(
    struct connection *c, const unsigned char *bytes, size_t count, size_t sent)
{
	c->committed += count;
	c->sent += sent;
	connection_keep(c, place, bytes + sent, count - sent);
}

/* Takes the pending bytes in pieces of STEP and compares them. */
static void
take(struct connection *c, const unsigned char *expected, size_t step)
{
	while (connection_pending(c) > 0) {
		size_t count;
		const unsigned char *bytes = connection_kept(c, place, &count);

		CHECK(count > 0 && count <= connection_pending(c));
		CHECK(bytes + count <= place + CONNECTION_PLACE);
		if (count > step)
			count = step;
		CHECK(memcmp(bytes, expected, count) == 0);
		expected += count;
		c->sent += count;
	}
}

static void
what_is_kept_comes_back(void)
{
	static unsigned char bytes[CONNECTION_ANSWER];
	struct connection c = { 0 };

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 31 + i / 251);
	open_at(&c, 0);
	for (size_t count = 1; count <= CONNECTION_ANSWER; count += 12373)
		for (size_t sent = 0; sent < count; sent += count / 3 + 1) {
			answer(&c, bytes, count, sent);
			CHECK(connection_pending(&c) == count - sent);
			take(&c, bytes + sent, 5000);
		}
	answer(&c, bytes, CONNECTION_ANSWER, 0); /* a full place, wrapped */
	take(&c, bytes, CONNECTION_ANSWER);
}

/* Whatever is pending beside it, and however often it wraps. */
static void
the_rest_comes_back(void)
{
	static unsigned char bytes[CONNECTION_INPUT], back[CONNECTION_INPUT];
	struct connection c = { 0 };

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(i * 17 + i / 13);
	open_at(&c, 0);
	for (size_t count = 1; count <= CONNECTION_INPUT; count += 3511) {
		answer(&c, bytes, 1000, 0);
		c.received += count;
		connection_keep_rest(&c, place, bytes);
		CHECK(connection_rest(&c) == count);
		take(&c, bytes, 1000);
		memset(back, 0, sizeof back);
		connection_copy_rest(&c, place, back);
		CHECK(memcmp(back, bytes, count) == 0);
		c.consumed += count / 2;
		connection_copy_rest(&c, place, back);
		CHECK(memcmp(back, bytes + count / 2, count - count / 2) == 0);
		c.consumed = c.received;
	}
}

static void
a_place_is_spare_when_used_empty_and_quiet(void)
{
	struct connection c = { 0 };

	open_at(&c, 0);
	CHECK(!connection_place_is_spare(&c, 5000, 1000));
	answer(&c, (const unsigned char *)"ab", 2, 1);
	CHECK(!connection_place_is_spare(&c, 5000, 1000));
	c.sent = 2;
	c.received = 1;
	CHECK(!connection_place_is_spare(&c, 5000, 1000));
	c.consumed = 1;
	CHECK(!connection_place_is_spare(&c, 999, 1000));
	CHECK(connection_place_is_spare(&c, 1000, 1000));
}

int
main(void)
{
	an_entry_is_one_cache_line();
	one_store_opens_and_closes();
	what_is_kept_comes_back();
	the_rest_comes_back();
	a_place_is_spare_when_used_empty_and_quiet();
	return 0;
}

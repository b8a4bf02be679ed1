/*
 * A service whose calls move next to nothing, for tests/fairness.bats. At the
 * line "more" it asks for one call after the other and answers none; at "bytes"
 * it takes what follows a byte a call, up to a "."; at "longest" it tells how
 * many calls one connection had in a row since the line "anew", before another
 * had one.
 */
#include <stdbool.h>
#include <string.h>

#include "include/preforkd.h"

struct greedy {
	unsigned id;
	bool takes_bytes;
};

static unsigned ids;
static struct {
	unsigned id;
	unsigned long calls, longest;
} row;

static struct greedy *
count(struct preforkd_conn *conn)
{
	struct greedy *greedy = preforkd_state(conn);

	if (greedy->id == 0)
		greedy->id = ++ids;
	if (row.id != greedy->id)
		row.calls = 0;
	row.id = greedy->id;
	if (++row.calls > row.longest)
		row.longest = row.calls;
	return greedy;
}

static void
obey(struct preforkd_conn *conn, struct greedy *greedy, const char *word)
{
	if (strncmp(word, "more", 4) == 0)
		preforkd_more(conn);
	else if (strncmp(word, "bytes", 5) == 0)
		greedy->takes_bytes = true;
	else if (strncmp(word, "anew", 4) == 0)
		row.calls = row.longest = 0;
	preforkd_replyf(conn, "%lu\n", row.longest);
}

static size_t
greedy_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t length)
{
	struct greedy *greedy = count(conn);
	const unsigned char *end = memchr(bytes, '\n', length);

	if (greedy->takes_bytes) {
		if (*bytes == '.')
			preforkd_replyf(conn, "done\n");
		return 1;
	}
	if (!end)
		return 0;
	obey(conn, greedy, (const char *)bytes);
	return (size_t)(end - bytes) + 1;
}

static void
greedy_more(struct preforkd_conn *conn)
{
	count(conn);
	preforkd_more(conn);
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "greedy",
	.state_size = sizeof(struct greedy),
	.duplex = 1,
	.input = greedy_input,
	.more = greedy_more,
};

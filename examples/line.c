/* line: each line is a number, the answer is the sum so far; "quit" ends. */
#include <preforkd.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 19 }; /* bytes of a line: what it says fits a long long */

/* Kept for each connection, over crashes and reloads. When you change it, raise
 * state_version, and write `migrate` for those who are connected. */
struct state {
	long long sum;
};

static void
greet(struct preforkd_conn *conn)
{
	preforkd_limit(conn, LONGEST);
}

static void
answer(struct preforkd_conn *conn, const char *text)
{
	struct state *state = preforkd_state(conn);
	char *end;
	long long sum, number = strtoll(text, &end, 10);

	if (strcmp(text, "quit") == 0)
		preforkd_finish(conn);
	else if (end == text || *end != '\0' ||
	    __builtin_add_overflow(state->sum, number, &sum))
		preforkd_replyf(conn, "error\n");
	else
		preforkd_replyf(conn, "%lld\n", state->sum = sum);
}

/* Takes one line; what is behind it comes in the next call. */
static size_t
input(struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	const unsigned char *end = memchr(bytes, '\n', count);
	char text[LONGEST] = "";

	if (!end || end - bytes >= LONGEST)
		return 0; /* wait for more; at the limit the server closes */
	memcpy(text, bytes, (size_t)(end - bytes));
	text[strcspn(text, "\r")] = '\0';
	answer(conn, text);
	return (size_t)(end - bytes) + 1;
}

const struct preforkd_service preforkd_service = {
	.abi = PREFORKD_ABI,
	.name = "line",
	.state_size = sizeof(struct state),
	.state_version = 1,
	.open = greet,
	.input = input,
};

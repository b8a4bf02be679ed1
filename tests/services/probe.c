/*
 * A service that does what it is told, for tests/service.bats: a line each.
 * PROBE_VERSION says which version of it this is; the second has a larger state
 * and migrates the first's.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/preforkd.h"

#ifndef PROBE_VERSION
#define PROBE_VERSION 1
#endif
#ifndef PROBE_ABI
#define PROBE_ABI PREFORKD_ABI
#endif
#ifndef PROBE_STATE
#define PROBE_STATE 32 /* bytes of the state */
#endif

enum { LINES_A_TIME = 1000 };

struct state {
	long sum;
	long more;     /* lines that are still to be said */
	long farewell; /* not 0: the timer's call ends the connection */
#if PROBE_STATE > 24
	char padding[PROBE_STATE - 3 * sizeof(long)];
#endif
};

static char greeting[64];

static const char *
probe_start(const char *argument)
{
	if (strcmp(argument, "fail") == 0)
		return "it was told to fail";
	if (strcmp(argument, "crash") == 0)
		raise(SIGSEGV);
	if (strcmp(argument, "hang") == 0 || access("probe.hang", F_OK) == 0)
		for (;;)
			pause();
	if (strncmp(argument, "exit ", 5) == 0)
		exit(atoi(argument + 5));
	if (strncmp(argument, "sleep ", 6) == 0)
		sleep((unsigned)atoi(argument + 6));
	snprintf(greeting, sizeof greeting, "%s", argument);
	return NULL;
}

static void
probe_stop(void)
{
	if (strncmp(greeting, "stop", 4) == 0)
		preforkd_log(NULL, PREFORKD_INFO, "stops");
	if (strcmp(greeting, "stop-crash") == 0)
		abort();
	if (strcmp(greeting, "stop-exit") == 0)
		exit(0);
	if (strcmp(greeting, "stop-kill") == 0)
		raise(SIGKILL);
	if (strcmp(greeting, "stop-hang") == 0)
		for (;;)
			pause();
	preforkd_log(NULL, PREFORKD_INFO, "stopped");
}

static void
probe_open(struct preforkd_conn *conn)
{
	if (*greeting)
		preforkd_replyf(conn, "%s\n", greeting);
}

static void
say_more(struct preforkd_conn *conn)
{
	struct state *state = preforkd_state(conn);

	for (int i = 0; i < LINES_A_TIME && state->more > 0; i++)
		preforkd_replyf(conn, "%ld\n", state->more--);
	if (state->more > 0)
		preforkd_more(conn);
}

/* A reply that is too long: more than one call may. */
static void
reply_much(struct preforkd_conn *conn)
{
	static char kilobyte[1024];

	for (int i = 0; i <= PREFORKD_REPLY_MAX / 1024; i++)
		preforkd_reply(conn, kilobyte, sizeof kilobyte);
}

static void
tell_where(struct preforkd_conn *conn)
{
	preforkd_replyf(
	    conn, "%s to %s\n", preforkd_peer(conn), preforkd_local(conn));
}

/* Does what a word says; N is the number behind it. */
static void
obey(struct preforkd_conn *conn, const char *word, long n)
{
	struct state *state = preforkd_state(conn);

	if (strcmp(word, "add") == 0)
		preforkd_replyf(
		    conn, "v%d %ld\n", PROBE_VERSION, state->sum += n);
	else if (strcmp(word, "more") == 0)
		state->more = n, say_more(conn);
	else if (strcmp(word, "timer") == 0)
		preforkd_timer(conn, (uint32_t)n);
	else if (strcmp(word, "farewell") == 0)
		state->farewell = 1, preforkd_timer(conn, (uint32_t)n);
	else if (strcmp(word, "limit") == 0)
		preforkd_limit(conn, (size_t)n);
	else if (strcmp(word, "count") == 0)
		preforkd_count(conn, "probes", (uint64_t)n);
	else if (strcmp(word, "log") == 0)
		preforkd_log(conn, PREFORKD_WARNING, "told to log\x1b %ld", n);
	else if (strcmp(word, "finish") == 0)
		preforkd_replyf(conn, "bye\n"), preforkd_finish(conn);
	else if (strcmp(word, "abort") == 0)
		preforkd_replyf(conn, "never\n"), preforkd_abort(conn);
	else if (strcmp(word, "where") == 0)
		tell_where(conn);
	else if (strcmp(word, "much") == 0)
		reply_much(conn);
	else if (strcmp(word, "format") == 0)
		preforkd_replyf(conn, "%0*ld", (int)n, n);
	else if (strcmp(word, "crash") == 0)
		state->sum = 0, preforkd_replyf(conn, "never\n"), abort();
}

/* One line a call. */
static size_t
probe_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	const unsigned char *end = memchr(bytes, '\n', count);
	char line[64] = "", word[16] = "";
	long n = 0;

	if (!end)
		return 0;
	snprintf(line, sizeof line, "%.*s", (int)(end - bytes), bytes);
	sscanf(line, "%15s %ld", word, &n);
	if (strcmp(word, "greedy") == 0)
		return count + 1;
	obey(conn, word, n);
	return (size_t)(end - bytes) + 1;
}

static void
probe_end(struct preforkd_conn *conn)
{
	preforkd_reply(conn, "end\n", 4);
}

static void
probe_timer(struct preforkd_conn *conn)
{
	const struct state *state = preforkd_state(conn);

	if (state->farewell)
		preforkd_replyf(conn, "bye\n"), preforkd_finish(conn);
	else
		preforkd_reply(conn, "tick\n", 5);
}

static void
probe_close(struct preforkd_conn *conn, enum preforkd_reason reason)
{
	preforkd_reply(conn, "nobody reads this\n", 18);
	preforkd_log(conn, PREFORKD_INFO, "closed for reason %d", (int)reason);
}

#ifdef PROBE_MIGRATES
static int
probe_migrate(struct preforkd_conn *conn, const void *old_state,
    uint32_t old_size, uint32_t old_version)
{
	struct state *state = preforkd_state(conn);
	long sum;

	if (old_size < sizeof sum || old_version >= PROBE_VERSION)
		return -1;
	memcpy(&sum, old_state, sizeof sum);
	state->sum = sum;
	return 0;
}
#endif

#ifdef PROBE_NO_TABLE
#define TABLE a_table_by_another_name
extern const struct preforkd_service TABLE;
#else
#define TABLE preforkd_service
#endif

const struct preforkd_service TABLE = {
	.abi = PROBE_ABI,
	.name = "probe",
	.state_size = sizeof(struct state),
	.state_version = PROBE_VERSION,
	.start = probe_start,
	.stop = probe_stop,
	.open = probe_open,
	.input = probe_input,
	.more = say_more,
	.end = probe_end,
	.timer = probe_timer,
	.close = probe_close,
#ifdef PROBE_MIGRATES
	.migrate = probe_migrate,
#endif
};

#include "host.h"

#include <stdarg.h>
#include <string.h>

enum {
	CALLS_MAX = 1 << 20, /* one that never ends would be no service */
	ANSWER_MAX = 64 << 20
};

/* What a call changes; copied to drop it. */
struct changes {
	size_t answered; /* bytes, of all calls */
	bool more, finished, aborted, timed;
	size_t limit;
};

struct preforkd_conn {
	struct changes now;
	size_t before;	      /* bytes answered before this call */
	unsigned char *state; /* of this call */
	unsigned char *kept;  /* committed */
	unsigned char *rest;  /* of the input, not consumed yet */
	size_t rest_count;
	size_t calls;
	uint64_t random;
	struct host_answer answer;
	bool ended;
};

enum call { OPEN, INPUT, MORE, END, TIMER };

/* Below N; xorshift. */
static size_t
random_below(struct preforkd_conn *conn, size_t n)
{
	conn->random ^= conn->random << 13;
	conn->random ^= conn->random >> 7;
	conn->random ^= conn->random << 17;
	return (size_t)(conn->random >> 11) % n;
}

static void *
copy_of(const void *bytes, size_t count)
{
	void *copy = malloc(count);

	HOST_CHECK(copy || count == 0);
	if (count > 0)
		memcpy(copy, bytes, count);
	return copy;
}

/* ---- what a service calls ------------------------------------------------ */

void
preforkd_reply(struct preforkd_conn *conn, const void *bytes, size_t count)
{
	struct host_answer *answer = &conn->answer;
	size_t at = conn->now.answered;

	HOST_CHECK(count <= PREFORKD_REPLY_MAX - (at - conn->before));
	HOST_CHECK(at + count <= ANSWER_MAX);
	if (at + count > answer->count) {
		answer->count = 2 * (at + count);
		answer->bytes = realloc(answer->bytes, answer->count);
		HOST_CHECK(answer->bytes);
	}
	if (count > 0)
		memcpy(answer->bytes + at, bytes, count);
	conn->now.answered += count;
}

int
preforkd_replyf(struct preforkd_conn *conn, const char *format, ...)
{
	char text[4096];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	HOST_CHECK(length >= 0 && (size_t)length < sizeof text);
	preforkd_reply(conn, text, (size_t)length);
	return length;
}

void
preforkd_more(struct preforkd_conn *conn)
{
	conn->now.more = true;
}

void
preforkd_finish(struct preforkd_conn *conn)
{
	conn->now.finished = true;
}

void
preforkd_abort(struct preforkd_conn *conn)
{
	conn->now.aborted = true;
}

void *
preforkd_state(struct preforkd_conn *conn)
{
	return conn->state;
}

const char *
preforkd_peer(struct preforkd_conn *conn)
{
	HOST_CHECK(conn);
	return "192.0.2.1:5000";
}

const char *
preforkd_local(struct preforkd_conn *conn)
{
	HOST_CHECK(conn);
	return "[2001:db8::1]:5000";
}

void
preforkd_timer(struct preforkd_conn *conn, uint32_t ms)
{
	conn->now.timed = ms != 0;
}

void
preforkd_limit(struct preforkd_conn *conn, size_t bytes)
{
	HOST_CHECK(bytes >= 1 && bytes <= PREFORKD_INPUT_MAX);
	conn->now.limit = bytes;
}

void
preforkd_count(struct preforkd_conn *conn, const char *name, uint64_t n)
{
	(void)n;
	HOST_CHECK(conn && strlen(name) <= 31);
}

void
preforkd_log(struct preforkd_conn *conn, enum preforkd_level level,
    const char *format, ...)
{
	char text[4096];
	va_list arguments;

	(void)conn;
	HOST_CHECK(level <= PREFORKD_DEBUG);
	va_start(arguments, format);
	HOST_CHECK(vsnprintf(text, sizeof text, format, arguments) >= 0);
	va_end(arguments);
}

/* ---- calls --------------------------------------------------------------- */

/* Returns what the call has consumed. */
static size_t
make(struct preforkd_conn *conn, enum call call)
{
	const struct preforkd_service *service = &preforkd_service;
	void (*function)(struct preforkd_conn *) = NULL;
	unsigned char *bytes;
	size_t consumed = 0;

	free(conn->state);
	conn->state = copy_of(conn->kept, service->state_size);
	switch (call) {
	case OPEN:
		function = service->open;
		break;
	case INPUT:
		bytes = copy_of(conn->rest, conn->rest_count);
		consumed = service->input(conn, bytes, conn->rest_count);
		free(bytes);
		break;
	case MORE:
		conn->now.more = false;
		function = service->more;
		HOST_CHECK(function);
		break;
	case END:
		function = service->end;
		break;
	case TIMER:
		conn->now.timed = false;
		function = service->timer;
		HOST_CHECK(function);
		break;
	}
	if (function)
		function(conn);
	HOST_CHECK(consumed <= conn->rest_count);
	return consumed;
}

/* A call that a worker did not live to commit has left nothing behind, and the
 * next one comes to the same. */
static void
make_in_vain(struct preforkd_conn *conn, enum call call)
{
	const uint32_t size = preforkd_service.state_size;
	const struct changes before = conn->now;
	size_t consumed = make(conn, call);
	const struct changes first = conn->now;
	size_t count = first.answered - before.answered;
	unsigned char *state = copy_of(conn->state, size);
	unsigned char *answer = count == 0
	    ? NULL
	    : copy_of(conn->answer.bytes + before.answered, count);

	conn->now = before;
	HOST_CHECK(make(conn, call) == consumed);
	HOST_CHECK(conn->now.answered == first.answered);
	HOST_CHECK(conn->now.more == first.more);
	HOST_CHECK(conn->now.finished == first.finished);
	HOST_CHECK(conn->now.aborted == first.aborted);
	HOST_CHECK(conn->now.timed == first.timed);
	HOST_CHECK(conn->now.limit == first.limit);
	HOST_CHECK(count == 0 ||
	    memcmp(conn->answer.bytes + before.answered, answer, count) == 0);
	HOST_CHECK(size == 0 || memcmp(conn->state, state, size) == 0);
	conn->now = before;
	free(state);
	free(answer);
}

static void
end(struct preforkd_conn *conn, enum preforkd_reason reason)
{
	conn->ended = true;
	conn->answer.reason = reason;
	if (preforkd_service.close)
		preforkd_service.close(conn, reason);
}

/* Returns what was consumed. */
static size_t
call(struct preforkd_conn *conn, enum call which)
{
	size_t consumed;

	HOST_CHECK(++conn->calls < CALLS_MAX);
	conn->before = conn->now.answered;
	if (random_below(conn, 4) == 0)
		make_in_vain(conn, which);
	consumed = make(conn, which);
	if (conn->now.aborted)
		conn->now.answered = conn->before;
	free(conn->kept);
	conn->kept = copy_of(conn->state, preforkd_service.state_size);
	conn->rest_count -= consumed;
	if (consumed > 0)
		memmove(conn->rest, conn->rest + consumed, conn->rest_count);
	if (conn->now.aborted)
		end(conn, PREFORKD_ABORTED);
	else if (conn->now.finished)
		end(conn, PREFORKD_FINISHED);
	return consumed;
}

/* ---- a conversation ------------------------------------------------------ */

/* Has the service take what it can of what has come. Whoever has more to say is
 * asked nothing meanwhile, unless it is duplex. */
static void
serve(struct preforkd_conn *conn)
{
	bool again = conn->rest_count > 0;

	while (!conn->ended && (again || conn->now.more)) {
		if (conn->now.more &&
		    (!again || !preforkd_service.duplex ||
			random_below(conn, 2))) {
			call(conn, MORE);
			again = conn->rest_count > 0;
			continue;
		}
		again = call(conn, INPUT) > 0;
		if (!again && !conn->ended &&
		    conn->rest_count >= conn->now.limit)
			end(conn, PREFORKD_TOO_LONG);
		again = again && conn->rest_count > 0;
	}
}

/* The next piece of what the client sends, or all that is left of it. */
static size_t
piece(struct preforkd_conn *conn, size_t left, bool in_pieces)
{
	static const size_t sizes[] = { 1, 2, 7, 40, 500, 5000 };
	size_t most = sizes[random_below(conn, sizeof sizes / sizeof *sizes)];
	size_t size = in_pieces ? 1 + random_below(conn, most) : left;

	return size < left ? size : left;
}

static struct host_answer
converse(const unsigned char *bytes, size_t count, bool in_pieces, bool timed)
{
	struct preforkd_conn conn = { .random = 88172645463325252u + count,
		.now.limit = PREFORKD_INPUT_MAX };
	size_t size;

	for (size_t i = 0; i < count; i++)
		conn.random = conn.random * 31 + bytes[i];
	conn.random |= 1;
	conn.kept = calloc(1, preforkd_service.state_size + 1);
	conn.rest = malloc(count + 1);
	conn.answer.bytes = malloc(1);
	HOST_CHECK(conn.kept && conn.rest && conn.answer.bytes);
	call(&conn, OPEN);
	for (; !conn.ended && count > 0; count -= size, bytes += size) {
		size = piece(&conn, count, in_pieces);
		memcpy(conn.rest + conn.rest_count, bytes, size);
		conn.rest_count += size;
		serve(&conn);
		if (timed && !conn.ended && conn.now.timed &&
		    random_below(&conn, 3) == 0) {
			conn.answer.timed = true;
			call(&conn, TIMER);
		}
	}
	if (!conn.ended)
		call(&conn, END);
	conn.rest_count = 0;
	serve(&conn);
	if (!conn.ended)
		end(&conn, PREFORKD_END);
	free(conn.state);
	free(conn.kept);
	free(conn.rest);
	conn.answer.count = conn.now.answered;
	return conn.answer;
}

void
host_start(const char *argument)
{
	const char *failure;

	HOST_CHECK(preforkd_service.abi == PREFORKD_ABI);
	HOST_CHECK(preforkd_service.state_size <= PREFORKD_STATE_MAX);
	if (!preforkd_service.start)
		return;
	failure = preforkd_service.start(argument);
	if (failure)
		host_fail(failure, "start", 0);
}

void
host_converse(const unsigned char *bytes, size_t count,
    void (*check)(const struct host_answer *))
{
	struct host_answer whole = converse(bytes, count, false, false);
	struct host_answer pieces = converse(bytes, count, true, false);
	struct host_answer timed = converse(bytes, count, true, true);

	HOST_CHECK(whole.count == pieces.count);
	HOST_CHECK(whole.reason == pieces.reason);
	HOST_CHECK(memcmp(whole.bytes, pieces.bytes, whole.count) == 0);
	check(&whole);
	check(&timed);
	free(whole.bytes);
	free(pieces.bytes);
	free(timed.bytes);
}

#include "lib/worker/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/log.h"
#include "lib/slot/hold.h"
#include "lib/slot/timers.h"
#include "lib/worker/schedule.h"

/* What a service holds for as long as a call lasts. */
struct preforkd_conn {
	struct loop *loop;
	const struct preforkd_service *service;
	struct connection *connection;
	struct outcome *outcome;
	struct address_text peer, local; /* "" until they are asked for */
};

enum { FORMATTED = 4096 }; /* bytes of preforkd_replyf */

static struct particulars *
particulars(const struct preforkd_conn *conn)
{
	struct slot_memory *memory = conn->loop->memory;

	return slot_particulars(memory, memory->transaction.fd);
}

static void
give_up(struct outcome *o, enum close_reason reason)
{
	o->flags |= CONNECTION_ABORTED;
	o->reason = (uint16_t)reason;
}

/* ---- replies ------------------------------------------------------------- */

/* Where the answer goes on. It lies in the answer buffer, or, where it is the
 * input's own bytes, in the input buffer. */
static unsigned char *
answer_end(const struct preforkd_conn *conn)
{
	struct slot_memory *memory = conn->loop->memory;
	const struct transaction *t = &memory->transaction;

	return (unsigned char *)memory + t->answer_offset +
	    (conn->outcome->committed - t->answer);
}

static bool
is_in_input(const struct slot_memory *memory, const unsigned char *bytes)
{
	return bytes >= memory->input &&
	    bytes < memory->input + sizeof memory->input;
}

/* Bytes of the input that are the whole answer stay where they are. True where
 * these go on with it. */
static bool
stays_in_input(struct preforkd_conn *conn, const unsigned char *bytes)
{
	struct slot_memory *memory = conn->loop->memory;
	struct transaction *t = &memory->transaction;

	if (!is_in_input(memory, bytes))
		return false;
	if (conn->outcome->committed == t->answer)
		t->answer_offset =
		    (uint64_t)(bytes - (const unsigned char *)memory);
	return answer_end(conn) == bytes;
}

/* From here on the answer needs the buffer of its own. */
static void
move_answer(struct preforkd_conn *conn)
{
	struct slot_memory *memory = conn->loop->memory;
	struct transaction *t = &memory->transaction;
	size_t count = (size_t)(conn->outcome->committed - t->answer);

	if (t->answer_offset == offsetof(struct slot_memory, answer))
		return;
	memcpy(
	    memory->answer, (unsigned char *)memory + t->answer_offset, count);
	store(t->answer_offset, offsetof(struct slot_memory, answer));
}

void
preforkd_reply(struct preforkd_conn *conn, const void *bytes, size_t count)
{
	struct outcome *o = conn->outcome;
	uint64_t replied = o->committed - conn->connection->committed;

	if (count == 0 || o->reason != CLOSE_NOT ||
	    conn->loop->memory->transaction.call == CALL_CLOSE)
		return;
	if (count > PREFORKD_REPLY_MAX - replied) {
		give_up(o, CLOSE_REPLY_TOO_LONG);
		return;
	}
	if (!stays_in_input(conn, bytes)) {
		move_answer(conn);
		memcpy(answer_end(conn), bytes, count);
	}
	o->committed += count;
}

int
preforkd_replyf(struct preforkd_conn *conn, const char *format, ...)
{
	char text[FORMATTED + 1];
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (length > FORMATTED)
		length = FORMATTED;
	if (length > 0)
		preforkd_reply(conn, text, (size_t)length);
	return length;
}

void
preforkd_more(struct preforkd_conn *conn)
{
	conn->outcome->flags |= CONNECTION_MORE;
}

void
preforkd_finish(struct preforkd_conn *conn)
{
	conn->outcome->flags |= CONNECTION_FINISHED;
}

void
preforkd_abort(struct preforkd_conn *conn)
{
	if (conn->outcome->reason == CLOSE_NOT)
		give_up(conn->outcome, CLOSE_ABORTED);
}

/* ---- what is kept of a connection ---------------------------------------- */

void *
preforkd_state(struct preforkd_conn *conn)
{
	struct slot_memory *memory = conn->loop->memory;
	struct outcome *o = conn->outcome;
	uint32_t size = conn->service->state_size;
	unsigned char *state;

	if (size == 0)
		return NULL;
	state = slot_state_buffer(memory, size);
	if (o->state_used)
		return state;
	if (o->flags & CONNECTION_STATEFUL)
		memcpy(state, slot_state(memory, memory->transaction.fd, size),
		    size);
	else
		memset(state, 0, size);
	o->state_size = size;
	o->state_version = conn->service->state_version;
	o->state_used = true;
	o->flags |= CONNECTION_STATEFUL;
	return state;
}

void
preforkd_timer(struct preforkd_conn *conn, uint32_t ms)
{
	const uint32_t month_ms = 30u * 24 * 3600 * 1000;

	if (ms > month_ms)
		ms = month_ms;
	conn->outcome->timer_ms = ms == 0 ? 0 : schedule_after(conn->loop, ms);
}

void
preforkd_limit(struct preforkd_conn *conn, size_t bytes)
{
	if (bytes < 1)
		bytes = 1;
	if (bytes > PREFORKD_INPUT_MAX)
		bytes = PREFORKD_INPUT_MAX;
	conn->outcome->limit = (uint32_t)bytes;
}

const char *
preforkd_peer(struct preforkd_conn *conn)
{
	if (!*conn->peer.text)
		conn->peer = address_format_peer(
		    &particulars(conn)->peer_ip, particulars(conn)->peer_port);
	return conn->peer.text;
}

const char *
preforkd_local(struct preforkd_conn *conn)
{
	struct address local = { .length = sizeof local.socket };

	/* Fails only for what is no socket. */
	if (!*conn->local.text &&
	    getsockname(conn->loop->memory->transaction.fd, &local.socket.any,
		&local.length) == 0)
		conn->local = address_format(&local);
	return conn->local.text;
}

/* ---- counters and the log ------------------------------------------------ */

/* The counter of that name, or the next that is free, or SLOT_COUNTS. */
static uint32_t
find_count(struct slot_memory *memory, const char *name)
{
	uint32_t i = 0;

	while (i < SLOT_COUNTS && *memory->counts[i].name &&
	    strncmp(memory->counts[i].name, name, SLOT_COUNT_NAME - 1) != 0)
		i++;
	return i;
}

/* Its first byte last: from then on it has a name. */
static void
name_count(struct slot_count *count, const char *name)
{
	size_t length = strnlen(name, SLOT_COUNT_NAME - 1);

	if (*count->name || length == 0)
		return;
	memcpy(count->name + 1, name + 1, length - 1);
	store(count->name[0], name[0]);
}

void
preforkd_count(struct preforkd_conn *conn, const char *name, uint64_t n)
{
	struct slot_memory *memory = conn->loop->memory;
	struct outcome *o = conn->outcome;
	uint32_t index = find_count(memory, name), i = 0;

	while (i < o->counts && o->count[i].index != index)
		i++;
	if (index == SLOT_COUNTS || i == SLOT_COUNTS_EACH)
		return;
	if (i == o->counts) {
		name_count(&memory->counts[index], name);
		o->count[i].index = index;
		o->count[i].value = memory->counts[index].value;
		o->counts++;
	}
	o->count[i].value += n;
}

void
preforkd_log(struct preforkd_conn *conn, enum preforkd_level level,
    const char *format, ...)
{
	static void (*const loggers[])(const char *, ...) = {
		[PREFORKD_ERROR] = log_error,
		[PREFORKD_WARNING] = log_warning,
		[PREFORKD_INFO] = log_info,
		[PREFORKD_DEBUG] = log_debug,
	};
	char text[FORMATTED];
	va_list arguments;

	if ((unsigned)level > PREFORKD_DEBUG)
		level = PREFORKD_DEBUG;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (conn)
		loggers[level]("%s: connection %s: %s", conn->service->name,
		    preforkd_peer(conn), text);
	else
		loggers[level]("%s: %s", services_running, text);
}

/* ---- the call ------------------------------------------------------------ */

void
call_prepare(struct slot_memory *memory, int fd)
{
	struct transaction *t = &memory->transaction;
	const struct connection *c = &memory->connections[fd];

	t->base = c->consumed;
	t->start = c->received;
	t->answer = c->sent;
	t->answer_offset = offsetof(struct slot_memory, answer);
}

void
call_name(struct slot_memory *memory, enum slot_call call)
{
	memory->transaction.call = call;
	store(memory->transaction.serial, memory->transaction.serial + 1);
}

const struct preforkd_service *
call_service(struct loop *loop, int fd)
{
	const struct connection *c = &loop->memory->connections[fd];

	return services_find(loop->services, c->endpoint, c->service);
}

bool
call_has_open(struct loop *loop, int fd)
{
	const struct preforkd_service *service = call_service(loop, fd);

	return !service || service->open;
}

/* What would be the outcome of a call that does nothing. */
static void
begin_outcome(struct preforkd_conn *conn)
{
	const struct connection *c = conn->connection;
	struct outcome *o = conn->outcome;

	o->consumed = c->consumed;
	o->committed = c->committed;
	o->timer_ms = c->timer_ms;
	o->limit = 0;
	o->flags = c->flags;
	o->reason = CLOSE_NOT;
	o->state_used = false;
	o->counts = 0;
}

/* The state has another layout than this service's. */
static bool
is_of_another_version(const struct preforkd_conn *conn)
{
	const struct particulars *p;

	if (!(conn->connection->flags & CONNECTION_STATEFUL))
		return false;
	p = particulars(conn);
	return p->state_version != conn->service->state_version ||
	    p->state_size != conn->service->state_size;
}

static bool
migrate(struct preforkd_conn *conn)
{
	struct slot_memory *memory = conn->loop->memory;
	const struct particulars *p = particulars(conn);
	uint32_t size = conn->service->state_size;
	struct outcome *o = conn->outcome;

	if (!conn->service->migrate)
		return false;
	if (size > 0)
		memset(slot_state_buffer(memory, size), 0, size);
	o->state_size = size;
	o->state_version = conn->service->state_version;
	o->state_used = true;
	if (size == 0)
		o->flags &= (uint16_t)~CONNECTION_STATEFUL;
	return conn->service->migrate(conn,
		   slot_state(memory, memory->transaction.fd, p->state_size),
		   p->state_size, p->state_version) == 0;
}

/* A message that is longer than the limit: nothing was consumed of so much. */
static bool
is_too_long(const struct preforkd_conn *conn, size_t rest)
{
	const struct outcome *o = conn->outcome;
	size_t limit = o->limit ? o->limit : particulars(conn)->limit;

	return rest >= limit &&
	    !(o->flags & (CONNECTION_FINISHED | CONNECTION_ABORTED));
}

static void
make_input(struct preforkd_conn *conn)
{
	const struct slot_memory *memory = conn->loop->memory;
	struct connection *c = conn->connection;
	struct outcome *o = conn->outcome;
	size_t rest = (size_t)connection_rest(c);
	size_t consumed = conn->service->input(conn,
	    memory->input + (c->consumed - memory->transaction.base), rest);

	if (consumed > rest) {
		give_up(o, CLOSE_BAD_COUNT);
		return;
	}
	o->consumed += consumed;
	o->flags &= (uint16_t)~CONNECTION_AGAIN;
	if (consumed == rest)
		return;
	if (consumed > 0 || o->flags & CONNECTION_MORE)
		o->flags |= CONNECTION_AGAIN;
	else if (is_too_long(conn, rest))
		give_up(o, CLOSE_TOO_LONG);
}

static void
make(struct preforkd_conn *conn, enum slot_call call)
{
	const struct preforkd_service *service = conn->service;
	struct outcome *o = conn->outcome;

	switch (call) {
	case CALL_OPEN:
		o->flags &= (uint16_t)~CONNECTION_UNOPENED;
		if (service->open)
			service->open(conn);
		break;
	case CALL_INPUT:
		make_input(conn);
		break;
	case CALL_MORE:
		o->flags &= (uint16_t)~CONNECTION_MORE;
		if (service->more)
			service->more(conn);
		break;
	case CALL_END:
		o->flags |= CONNECTION_ENDED;
		if (service->end)
			service->end(conn);
		break;
	case CALL_TIMER:
		o->timer_ms = 0;
		if (service->timer)
			service->timer(conn);
		break;
	case CALL_CLOSE:
		if (service->close)
			service->close(conn,
			    close_meanings[conn->loop->memory->transaction
					       .reason]
				.told);
		break;
	default:
		break;
	}
}

void
call_make(struct loop *loop, enum slot_phase next)
{
	struct slot_memory *memory = loop->memory;
	struct transaction *t = &memory->transaction;
	struct preforkd_conn conn;

	conn.loop = loop;
	conn.service = call_service(loop, t->fd);
	conn.connection = &memory->connections[t->fd];
	conn.outcome = &t->outcome;
	conn.peer.text[0] = conn.local.text[0] = '\0';
	store(t->runner, loop->pid);
	begin_outcome(&conn);
	if (conn.service)
		services_running = conn.service->name;
	if (!conn.service)
		give_up(conn.outcome, CLOSE_NO_SERVICE);
	else if (is_of_another_version(&conn) && !migrate(&conn))
		give_up(conn.outcome, CLOSE_NO_MIGRATION);
	else
		make(&conn, (enum slot_call)t->call);
	if (conn.outcome->flags & CONNECTION_ABORTED)
		conn.outcome->committed = conn.connection->committed;
	store(t->phase, next);
}

/* ---- its outcome --------------------------------------------------------- */

static void
apply_state(struct slot_memory *memory, const struct outcome *o)
{
	int fd = memory->transaction.fd;
	struct particulars *p = slot_particulars(memory, fd);

	memcpy(hold_state(memory, fd, o->state_size),
	    slot_state_buffer(memory, o->state_size), o->state_size);
	p->state_size = o->state_size;
	p->state_version = o->state_version;
}

static void
apply_counts(struct slot_memory *memory, const struct outcome *o)
{
	for (uint32_t i = 0; i < o->counts && i < SLOT_COUNTS_EACH; i++)
		if (o->count[i].index < SLOT_COUNTS)
			store(memory->counts[o->count[i].index].value,
			    o->count[i].value);
}

enum close_reason
call_apply(struct loop *loop)
{
	struct slot_memory *memory = loop->memory;
	const struct transaction *t = &memory->transaction;
	const struct outcome *o = &t->outcome;
	struct connection *c = &memory->connections[t->fd];

	if (o->state_used)
		apply_state(memory, o);
	if (o->limit != 0)
		slot_particulars(memory, t->fd)->limit = o->limit;
	apply_counts(memory, o);
	timers_note(memory, t->fd, o->timer_ms);
	c->timer_ms = o->timer_ms;
	c->flags = o->flags;
	c->consumed = o->consumed;
	store(c->committed, o->committed);
	return (enum close_reason)o->reason;
}

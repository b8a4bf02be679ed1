/*
 * A move of connections whose giver or taker is killed after each of its
 * instructions (ptrace(2)), and is followed by a successor: each connection is
 * in one slot afterwards, whole, and no descriptor is left over.
 *
 * Both slots are in this process's table of descriptors. A step is made by a
 * clone that shares the table, as a slot's processes do; the successor is this
 * process, with nothing but slot memory to go by.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/slot/hold.h"
#include "lib/slot/timers.h"
#include "lib/worker/ends.h"
#include "lib/worker/exchange.h"
#include "lib/worker/give.h"
#include "lib/worker/intake.h"
#include "lib/worker/take.h"

#include "check.h"

enum {
	FDS = 128,
	CONNECTIONS = 4,
	BYTES = 200, /* of a rest, of an answer, of a small state */
	LARGE = 300, /* of a state that has a page of its own */
	SERIAL = 7,
	POINTS_MAX = 1000000,
};

/* Points between two that are tried, unless there is an argument. A sanitizer
 * makes the paths many times as long. */
#ifdef __SANITIZE_ADDRESS__
enum { STRIDE = 1999 };
#else
enum { STRIDE = 97 };
#endif

/* The services that there are: none (lib/base/service.h). */
const struct preforkd_service *const builtin_services[] = { NULL };

struct side {
	struct loop loop;
	struct giving giving;
	struct taking taking;
};

static struct config config = { .max_connections = FDS, .workers = 1 };
static struct services services;
static struct side giver, taker;
static unsigned in_step, point; /* that is tried */
static bool over;
static int door;
static struct sockaddr_in at;
static int clients[CONNECTIONS];
static in_port_t ports[CONNECTIONS]; /* of the clients, as on the wire */

/* ---- the stage ----------------------------------------------------------- */

static void
open_side(struct side *side, unsigned fds)
{
	*side = (struct side) { .loop = { .memory = slot_map(fds),
				    .fds = fds,
				    .config = &config,
				    .services = &services,
				    .pid = getpid(),
				    .now_ms = 1000 } };
	CHECK(side->loop.memory);
	CHECK(slot_inherit(side->loop.memory, fds, true) == 0);
	side->loop.epoll = epoll_create1(EPOLL_CLOEXEC);
	CHECK(side->loop.epoll >= 0);
}

static void
close_side(struct side *side)
{
	struct slot_memory *memory = side->loop.memory;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (connection_is_open(&memory->connections[fd]))
			close(fd);
	close(side->loop.epoll);
	slot_unmap(memory, side->loop.fds);
}

static void
fill(unsigned char *bytes, size_t count, unsigned n)
{
	for (size_t i = 0; i < count; i++)
		bytes[i] = (unsigned char)(i * 7 + n);
}

/* What a connection has is told by its number: a rest, an answer, a state. */
static uint32_t
state_size(unsigned n)
{
	return n == 2 ? BYTES : n == 3 ? LARGE : 0;
}

static void
give_baggage(struct slot_memory *memory, int fd, unsigned n)
{
	struct connection *c = &memory->connections[fd];
	unsigned char bytes[LARGE];

	fill(bytes, sizeof bytes, n);
	c->consumed = c->sent = 1000;
	c->received = c->consumed + (n == 1 ? BYTES : 0);
	c->committed = c->sent + (n == 2 ? BYTES : 0);
	if (n == 1)
		hold_rest(memory, fd, bytes);
	if (n == 2)
		hold_answer(memory, fd, bytes, BYTES);
	slot_particulars(memory, fd)->state_size = state_size(n);
	memcpy(hold_state(memory, fd, state_size(n)), bytes, state_size(n));
	timers_note(memory, fd, 5000 + n);
	c->timer_ms = 5000 + n;
}

static void
add_connection(unsigned n)
{
	struct slot_memory *memory = giver.loop.memory;
	struct sockaddr_in6 peer = { .sin6_family = AF_INET6 };
	struct sockaddr_in own = { .sin_port = 0 };
	socklen_t length = sizeof own;
	int fd;

	clients[n] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(clients[n], (struct sockaddr *)&at, sizeof at) == 0);
	CHECK(getsockname(clients[n], (struct sockaddr *)&own, &length) == 0);
	ports[n] = own.sin_port;
	fd = accept4(door, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	CHECK(fd > STDERR_FILENO && fd < FDS);
	connection_fill(&memory->connections[fd], 1, 1, 1000);
	memory->connections[fd].flags = 0;
	particulars_fill(
	    slot_particulars(memory, fd), &peer.sin6_addr, own.sin_port, 1000);
	give_baggage(memory, fd, n);
	connection_open(&memory->connections[fd]);
	memory->counters.accepted++;
	if ((unsigned)fd >= memory->fds_used)
		memory->fds_used = (uint32_t)fd + 1;
	CHECK(loop_watch(&giver.loop, EPOLL_CTL_ADD, fd, EXCHANGE_EVENTS,
		  memory->connections[fd].generation) == 0);
}

/* Where the taker's table is FULL it refuses. */
static void
begin(bool full)
{
	const struct control_message order = { .serial = SERIAL, .all = 1 };
	int ends[2], memory = memfd_create("parcels", MFD_CLOEXEC);

	open_side(&giver, FDS);
	open_side(&taker, FDS);
	if (full)
		taker.loop.memory->listeners_used = FDS - CONNECTIONS;
	for (unsigned n = 0; n < CONNECTIONS; n++)
		add_connection(n);
	CHECK(ftruncate(memory, MOVE_PARCELS_BYTES) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	ends_bring_parcels(
	    &giver.loop, &giver.loop.memory->give.end, SERIAL, memory);
	ends_bring_parcels(
	    &taker.loop, &taker.loop.memory->take.end, SERIAL, dup(memory));
	CHECK(take_begin(&taker.loop, SERIAL, ends[1]));
	CHECK(give_begin(&giver.loop, &giver.giving, &order, ends[0]));
}

static unsigned
count_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 2 * FDS; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* ---- who has what -------------------------------------------------------- */

static int
find(const struct side *side, unsigned n)
{
	struct slot_memory *memory = side->loop.memory;
	int found = -1;

	for (int fd = 0; (unsigned)fd < memory->fds_used; fd++)
		if (connection_is_open(&memory->connections[fd]) &&
		    slot_particulars(memory, fd)->peer_port == ports[n]) {
			CHECK(found < 0);
			found = fd;
		}
	return found;
}

static void
check_baggage(struct slot_memory *memory, int fd, unsigned n)
{
	const struct connection *c = &memory->connections[fd];
	unsigned char want[LARGE], got[LARGE];

	fill(want, sizeof want, n);
	CHECK(connection_is_here(c));
	CHECK(c->consumed == 1000 && c->sent == 1000);
	CHECK(connection_rest(c) == (n == 1 ? BYTES : 0));
	CHECK(connection_pending(c) == (n == 2 ? BYTES : 0));
	connection_copy_rest(c, slot_place(memory, fd), got);
	CHECK(memcmp(got, want, (size_t)connection_rest(c)) == 0);
	connection_copy_pending(c, slot_place(memory, fd), got);
	CHECK(memcmp(got, want, (size_t)connection_pending(c)) == 0);
	CHECK(slot_particulars(memory, fd)->state_size == state_size(n));
	CHECK(memcmp(slot_state(memory, fd, state_size(n)), want,
		  state_size(n)) == 0);
	CHECK(c->timer_ms == 5000 + n);
	CHECK(memory->timer_ms != 0 && memory->timer_ms <= 5000);
}

/* It is watched, too: what the client sends now is an event with its name. */
static void
check_watched(struct side *side, int fd, unsigned n)
{
	struct epoll_event events[CONNECTIONS + 2];
	int count;
	bool seen = false;

	CHECK(send(clients[n], "x", 1, 0) == 1);
	count = epoll_wait(side->loop.epoll, events, CONNECTIONS + 2, 1000);
	for (int i = 0; i < count; i++)
		seen |= loop_fd(&events[i]) == fd &&
		    events[i].events & EPOLLIN &&
		    loop_generation(&events[i]) ==
			side->loop.memory->connections[fd].generation;
	CHECK(seen);
}

/* All are OWNER's, and none is the other's. */
static void
check_all(struct side *owner, struct side *other)
{
	struct slot_memory *memory = owner->loop.memory;

	CHECK(slot_open_connections(memory, owner->loop.fds) == CONNECTIONS);
	CHECK(slot_open_connections(other->loop.memory, other->loop.fds) == 0);
	for (unsigned n = 0; n < CONNECTIONS; n++) {
		int fd = find(owner, n);

		CHECK(fd > 0 && find(other, n) < 0);
		check_baggage(memory, fd, n);
		check_watched(owner, fd, n);
	}
	CHECK(memory->transaction.phase == PHASE_IDLE);
	CHECK(other->loop.memory->transaction.phase == PHASE_IDLE);
}

/* ---- the steps ------------------------------------------------------------
 */

enum { GIVE, TAKE, HEAR, CLOSE, STEPS };

static void
step(unsigned which)
{
	if (which == GIVE || which == CLOSE)
		give_next(&giver.loop, &giver.giving, false);
	else if (which == TAKE)
		take_hear(&taker.loop, &taker.taking);
	else
		give_hear(&giver.loop, &giver.giving);
}

static bool
is_readable(int fd)
{
	char byte;

	return fd > 0 &&
	    (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
		errno != EAGAIN);
}

/* To the end, whoever has something to do next. */
static void
go_on(void)
{
	const struct move_end *give = &giver.loop.memory->give.end;
	const struct move_end *take = &taker.loop.memory->take.end;

	for (int i = 0; give->fd > 0 || take->fd > 0; i++) {
		CHECK(i < 100);
		give_next(&giver.loop, &giver.giving, false);
		if (is_readable(take->fd))
			take_hear(&taker.loop, &taker.taking);
		if (is_readable(give->fd))
			give_hear(&giver.loop, &giver.giving);
		giver.loop.now_ms += 20;
		taker.loop.now_ms += 20;
		take_next(&taker.loop, &taker.taking);
	}
}

static void
succeed(struct side *side)
{
	side->giving = (struct giving) { .sent = false };
	side->taking = (struct taking) { .again_ms = 0 };
	exchange_settle(&side->loop, VERDICT_GO_ON);
	intake_settle(&side->loop);
	take_settle(&side->loop, &side->taking);
	give_settle(&side->loop);
}

/* In a clone that shares the descriptors. Returns true where it was killed
 * after K instructions, false where the step was over before. */
static bool
die_in(unsigned which, unsigned k)
{
	int status;
	pid_t pid =
	    (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0L, 0L, 0L, 0L);

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		step(which);
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (!WIFSTOPPED(status)) {
		puts("no ptrace here");
		exit(77);
	}
	for (unsigned i = 0; i < k && WIFSTOPPED(status); i++) {
		CHECK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		CHECK(waitpid(pid, &status, 0) == pid);
	}
	if (!WIFSTOPPED(status)) {
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		return false;
	}
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid);
	return true;
}

/* One point. Returns false where K is past the step's end. */
static bool
try_point(unsigned which, unsigned k, bool refused)
{
	unsigned before = count_descriptors();
	struct side *victim = which == TAKE ? &taker : &giver;
	bool killed;

	point = k;
	in_step = which;
	begin(refused);
	for (unsigned i = 0; i < which; i++)
		step(i);
	killed = die_in(which, k);
	succeed(victim);
	go_on();
	if (refused)
		check_all(&giver, &taker);
	else
		check_all(&taker, &giver);
	close_side(&giver);
	close_side(&taker);
	for (unsigned n = 0; n < CONNECTIONS; n++)
		close(clients[n]);
	if (count_descriptors() != before)
		printf("step %u, instruction %u: %u descriptors, not %u\n",
		    which, k, count_descriptors(), before);
	CHECK(count_descriptors() == before);
	return killed;
}

/* Every STRIDEth instruction of each step. */
static void
every_instruction(unsigned stride, bool refused)
{
	unsigned points = 0;

	for (unsigned which = 0; which < STEPS; which++)
		for (unsigned k = (unsigned)getpid() % stride;
		     k < POINTS_MAX && try_point(which, k, refused);
		     k += stride)
			points++;
	printf("%u points of %s move\n", points, refused ? "a refused" : "a");
	CHECK(points > STEPS);
}

/* ---- what a giver that is taken over could send ---------------------------
 */

static void
send_odd(const struct move_batch *batch, size_t bytes, int *fds, unsigned count)
{
	union {
		char bytes[CMSG_SPACE(8 * sizeof(int))];
		struct cmsghdr align;
	} rights = { { 0 } };
	struct iovec part = { (void *)batch, bytes };
	struct msghdr header = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = count ? &rights : NULL,
		.msg_controllen = count ? CMSG_SPACE(count * sizeof(int)) : 0 };

	rights.align.cmsg_level = SOL_SOCKET;
	rights.align.cmsg_type = SCM_RIGHTS;
	rights.align.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(&rights.align), fds, count * sizeof(int));
	CHECK(sendmsg(giver.loop.memory->give.end.fd, &header, 0) >= 0);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	take_hear(&taker.loop, &taker.taking);
	CHECK(slot_open_connections(taker.loop.memory, FDS) == 0);
	CHECK(taker.loop.memory->transaction.phase == PHASE_IDLE);
}

static void
odd_batches_change_nothing(void)
{
	static struct move_batch batch;
	const size_t whole = move_batch_bytes(2);
	unsigned before = count_descriptors(), inside;
	int fds[2];

	begin(false);
	inside = count_descriptors();
	batch.serial = SERIAL;
	batch.count = 2;
	/* No connections, or not only. */
	batch.number++;
	fds[0] = dup(door), fds[1] = dup(door);
	send_odd(&batch, whole, fds, 2);
	batch.number++;
	fds[0] = dup(clients[0]), fds[1] = dup(giver.loop.epoll);
	send_odd(&batch, whole, fds, 2);
	/* More labels than descriptors, or none of either. */
	batch.number++;
	fds[0] = dup(clients[0]);
	send_odd(&batch, whole, fds, 1);
	batch.number++;
	send_odd(&batch, whole, fds, 0);
	batch.number++;
	batch.count = 1000;
	fds[0] = dup(clients[0]), fds[1] = dup(clients[1]);
	send_odd(&batch, whole, fds, 2);
	batch.number++;
	send_odd(&batch, 3, fds, 0);
	/* A label that cannot be. */
	batch.count = 1;
	batch.number++;
	batch.labels[0].connection.received = UINT64_MAX;
	fds[0] = dup(clients[0]);
	send_odd(&batch, move_batch_bytes(1), fds, 1);
	batch.number++;
	batch.labels[0].connection.received = 0;
	batch.labels[0].particulars.state_size = UINT32_MAX;
	fds[0] = dup(clients[0]);
	send_odd(&batch, move_batch_bytes(1), fds, 1);
	/* A number of before, and another move. */
	batch.labels[0].particulars.state_size = 0;
	fds[0] = dup(clients[0]);
	send_odd(&batch, move_batch_bytes(1), fds, 1);
	batch.number++;
	batch.serial++;
	fds[0] = dup(clients[0]);
	send_odd(&batch, move_batch_bytes(1), fds, 1);
	CHECK(count_descriptors() == inside);
	ends_close(&giver.loop, &giver.loop.memory->give.end);
	go_on();
	close_side(&giver);
	close_side(&taker);
	for (unsigned n = 0; n < CONNECTIONS; n++)
		close(clients[n]);
	CHECK(count_descriptors() == before);
}

/* A taker whose slot is lost before it has answered. */
static void
what_nobody_takes_stays(void)
{
	begin(false);
	step(GIVE);
	ends_close(&taker.loop, &taker.loop.memory->take.end);
	go_on();
	check_all(&giver, &taker);
	close_side(&giver);
	close_side(&taker);
	for (unsigned n = 0; n < CONNECTIONS; n++)
		close(clients[n]);
}

static void
tell_point(void)
{
	if (!over)
		fprintf(stderr, "in step %u, after instruction %u\n", in_step,
		    point);
}

int
main(int argc, char **argv)
{
	unsigned stride = argc > 1 ? (unsigned)atoi(argv[1]) : STRIDE;
	socklen_t length = sizeof at;

	atexit(tell_point);
	at.sin_family = AF_INET;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(bind(door, (struct sockaddr *)&at, sizeof at) == 0);
	CHECK(listen(door, CONNECTIONS) == 0);
	CHECK(getsockname(door, (struct sockaddr *)&at, &length) == 0);
	every_instruction(stride, false);
	every_instruction(stride, true);
	odd_batches_change_nothing();
	what_nobody_takes_stays();
	over = true;
	return 0;
}

/* Steering, against the kernel: which listener gets a connection. */
#include "lib/master/steering.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum { SLOTS = 4, CONNECTIONS = 400 };

static struct sockaddr_in address = { .sin_family = AF_INET };
static int listeners[SLOTS];

static int
listen_beside(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0);
	CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
	CHECK(listen(fd, CONNECTIONS) == 0);
	return fd;
}

static void
open_group(struct steering *group)
{
	socklen_t length = sizeof address;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = 0;
	*group = (struct steering) { 0 };
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		listeners[slot] = listen_beside();
		CHECK(getsockname(listeners[slot], (struct sockaddr *)&address,
			  &length) == 0);
		steering_add(group, slot);
	}
}

static void
close_group(void)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		close(listeners[slot]);
}

static int
count_accepted(int listener)
{
	int count = 0, fd;

	while ((fd = accept(listener, NULL, NULL)) >= 0) {
		close(fd);
		count++;
	}
	return count;
}

/* Connects to the group and counts what each slot gets. */
static void
connect_and_count(int counts[SLOTS])
{
	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		CHECK(connect(fd, (struct sockaddr *)&address,
			  sizeof address) == 0);
		close(fd);
	}
	for (unsigned slot = 0; slot < SLOTS; slot++)
		counts[slot] = count_accepted(listeners[slot]);
}

static void
only_served_slots_get_any(void)
{
	bool served[SLOTS] = { true, false, true, false };
	struct steering group;
	int counts[SLOTS];

	open_group(&group);
	CHECK(steering_apply(&group, served, listeners[3]) == 0);
	connect_and_count(counts);
	CHECK(counts[1] == 0 && counts[3] == 0);
	/* Each gets half; a quarter of that would be 10 sigma away. */
	CHECK(counts[0] > CONNECTIONS / 4 && counts[2] > CONNECTIONS / 4);
	CHECK(counts[0] + counts[2] == CONNECTIONS);
	close_group();
}

static void
the_order_follows_a_close(void)
{
	bool served[SLOTS] = { false, false, false, true };
	struct steering group;
	int counts[SLOTS];

	open_group(&group);
	close(listeners[1]); /* the kernel moves the last into its place */
	steering_remove(&group, 1);
	CHECK(steering_apply(&group, served, listeners[0]) == 0);
	connect_and_count(counts);
	CHECK(counts[3] == CONNECTIONS);
	close_group();
}

static void
a_newcomer_gets_none_until_steered_to(void)
{
	bool served[SLOTS] = { true, true, true, false };
	struct steering group;
	int counts[SLOTS];

	open_group(&group);
	close(listeners[3]);
	steering_remove(&group, 3);
	CHECK(steering_apply(&group, served, listeners[0]) == 0);
	listeners[3] = listen_beside();
	steering_add(&group, 3);
	CHECK(group.changed);
	connect_and_count(counts);
	CHECK(counts[3] == 0);
	served[3] = true;
	CHECK(steering_apply(&group, served, listeners[0]) == 0);
	CHECK(!group.changed);
	connect_and_count(counts);
	CHECK(counts[3] > 0);
	close_group();
}

static void
the_largest_program_is_accepted(void)
{
	static struct sock_filter program[STEERING_PROGRAM];
	static bool served[STEERING_MEMBERS];
	struct steering group = { 0 };
	struct sock_fprog attachment = { .filter = program };

	for (unsigned slot = 0; slot < STEERING_MEMBERS; slot++) {
		served[slot] = true;
		steering_add(&group, slot);
	}
	attachment.len =
	    (unsigned short)steering_program(&group, served, program);
	CHECK(attachment.len == STEERING_PROGRAM);
	address.sin_port = 0;
	listeners[0] = listen_beside();
	CHECK(setsockopt(listeners[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF,
		  &attachment, sizeof attachment) == 0);
	close(listeners[0]);
}

static void
nobody_served_is_no_program(void)
{
	static struct sock_filter program[STEERING_PROGRAM];
	const bool served[1] = { false };
	struct steering group = { 0 };

	steering_add(&group, 0);
	CHECK(steering_program(&group, served, program) == 0);
}

int
main(void)
{
	only_served_slots_get_any();
	the_order_follows_a_close();
	a_newcomer_gets_none_until_steered_to();
	the_largest_program_is_accepted();
	nobody_served_is_no_program();
	return 0;
}

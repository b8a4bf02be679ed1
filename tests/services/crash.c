/*
 * A service that breaks on demand, for tests/isolation.bats: it echoes, but for
 * bytes that begin with "crash " and the name of a failure below. Behind the
 * name may come a blank and an argument, and a newline ends it.
 */
#include "include/preforkd.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/slot/slot.h"

/* The failures are meant: no sanitizer is to find them first. */
#define ON_PURPOSE \
	__attribute__((noinline, no_sanitize("address", "undefined")))

/* In this process alone: a successor's image does not have it. */
static int heap_is_corrupt;

/* The service is not to write there: its bytes are const. */
static unsigned char *
writable(const unsigned char *bytes)
{
	unsigned char *same;

	memcpy(&same, &bytes, sizeof same);
	return same;
}

/* What the bytes lie in. */
static struct slot_memory *
slot_around(const unsigned char *bytes)
{
	return (void *)(writable(bytes) - offsetof(struct slot_memory, input));
}

/* Compilers must not know what these are. */
static volatile int *volatile nowhere;
static volatile int zero;

static ON_PURPOSE void
dereference_null(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	*nowhere = 1;
}

static ON_PURPOSE void
divide_by_zero(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	zero = 7 / zero; /* of 1 / zero gcc makes comparisons */
}

/* Not by recursion, which compilers like to turn into a loop. */
static ON_PURPOSE void
overrun_stack(const unsigned char *bytes, const char *argument)
{
	volatile char *here = (volatile char *)&argument;

	(void)bytes;
	for (;;)
		*(here -= 1024) = 0;
}

static ON_PURPOSE void
illegal_instruction(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	raise(SIGILL);
}

static ON_PURPOSE void
call_abort(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	abort();
}

static ON_PURPOSE void
call_exit(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	exit(atoi(argument));
}

static ON_PURPOSE void
call_quick_exit(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	_exit(atoi(argument));
}

static ON_PURPOSE void
loop_for_ever(const unsigned char *bytes, const char *argument)
{
	volatile unsigned turns = 0;

	(void)bytes;
	(void)argument;
	for (;;)
		turns++;
}

static ON_PURPOSE void
loop_deaf_to_abort(const unsigned char *bytes, const char *argument)
{
	signal(SIGABRT, SIG_IGN);
	loop_for_ever(bytes, argument);
}

/* Leaves a directory ARGUMENT.PID to tell that it is at work (a file would need
 * a descriptor, which a kill could leave behind), and ends when there is
 * something by the name of ARGUMENT. */
static ON_PURPOSE void
work_slowly(const unsigned char *bytes, const char *argument)
{
	const struct timespec moment = { .tv_nsec = 1000000 };
	char mark[512];

	(void)bytes;
	snprintf(mark, sizeof mark, "%s.%d", argument, (int)getpid());
	mkdir(mark, 0700);
	while (access(argument, F_OK) < 0)
		nanosleep(&moment, NULL);
}

static ON_PURPOSE void
overwrite_heap(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	heap_is_corrupt = 1;
}

/* As malloc dies of what somebody else did to the heap before. */
static ON_PURPOSE void
use_heap(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	if (heap_is_corrupt)
		abort();
}

/* The same with a real heap: a write behind a block, and it is freed. */
static ON_PURPOSE void
break_heap(const unsigned char *bytes, const char *argument)
{
	volatile char *block = malloc(24);

	(void)bytes;
	(void)argument;
	for (int i = -16; block && i < 4096; i++)
		block[i] = (char)0xff;
#ifndef __SANITIZE_ADDRESS__ /* it would write into the log */
	free((void *)block);
#endif
	abort(); /* not every libc looks */
}

static ON_PURPOSE void
overwrite_magic(const unsigned char *bytes, const char *argument)
{
	slot_around(bytes)->magic = 0;
	dereference_null(bytes, argument);
}

/* As where memory runs out: a good deal of it, then the kernel's SIGKILL. */
static ON_PURPOSE void
allocate_until_killed(const unsigned char *bytes, const char *argument)
{
	(void)bytes;
	(void)argument;
	for (int i = 0; i < 16; i++) {
		void *volatile block = malloc(1 << 20);

		if (block)
			memset(block, i, 1 << 20);
	}
	raise(SIGKILL);
}

/* All that lies before the buffers. */
static ON_PURPOSE void
overwrite_slot(const unsigned char *bytes, const char *argument)
{
	volatile unsigned char *memory =
	    (volatile unsigned char *)slot_around(bytes);

	for (size_t i = 0; i < offsetof(struct slot_memory, input); i++)
		memory[i] = (unsigned char)atoi(argument);
	dereference_null(bytes, argument);
}

static ON_PURPOSE void
overwrite_size(const unsigned char *bytes, const char *argument)
{
	slot_around(bytes)->size = (size_t)strtoull(argument, NULL, 0);
	slot_around(bytes)->magic = 0;
	dereference_null(bytes, argument);
}

/* Runs over the end of the buffer, as far as ARGUMENT says. */
static ON_PURPOSE void
overrun_buffer(const unsigned char *bytes, const char *argument)
{
	volatile unsigned char *memory = writable(bytes);
	size_t count = (size_t)strtoull(argument, NULL, 0);

	for (size_t i = 0; i < count; i++)
		memory[CONNECTION_INPUT + i] = 0;
	dereference_null(bytes, argument);
}

/* Closes the slot's epoll instance under all its numbers: no successor has
 * another. */
static ON_PURPOSE void
close_epoll(const unsigned char *bytes, const char *argument)
{
	char path[64], target[64];

	(void)bytes;
	(void)argument;
	for (int fd = 3; fd < sysconf(_SC_OPEN_MAX); fd++) {
		ssize_t length;

		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		length = readlink(path, target, sizeof target - 1);
		target[length > 0 ? length : 0] = '\0';
		if (strstr(target, "eventpoll"))
			close(fd);
	}
}

static const struct {
	const char *name;
	void (*run)(const unsigned char *bytes, const char *argument);
} failures[] = {
	{ "null", dereference_null },
	{ "divide", divide_by_zero },
	{ "stack", overrun_stack },
	{ "illegal", illegal_instruction },
	{ "abort", call_abort },
	{ "exit", call_exit },
	{ "_exit", call_quick_exit },
	{ "loop", loop_for_ever },
	{ "deaf", loop_deaf_to_abort },
	{ "slow", work_slowly },
	{ "corrupt", overwrite_heap },
	{ "malloc", use_heap },
	{ "heap", break_heap },
	{ "memory", allocate_until_killed },
	{ "magic", overwrite_magic },
	{ "slot", overwrite_slot },
	{ "size", overwrite_size },
	{ "overrun", overrun_buffer },
	{ "epoll", close_epoll },
};

static void
break_if_asked(const unsigned char *bytes, size_t count)
{
	static const char prefix[] = "crash ";
	char words[512] = "", *name = words + sizeof prefix - 1, *argument;

	if (count < sizeof prefix ||
	    memcmp(bytes, prefix, sizeof prefix - 1) != 0)
		return;
	memcpy(words, bytes, count < sizeof words ? count : sizeof words - 1);
	words[strcspn(words, "\n")] = '\0';
	argument = name + strcspn(name, " ");
	if (*argument != '\0')
		*argument++ = '\0';
	for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
		if (strcmp(name, failures[i].name) == 0)
			failures[i].run(bytes, argument);
}

static size_t
crash_input(
    struct preforkd_conn *conn, const unsigned char *bytes, size_t count)
{
	break_if_asked(bytes, count);
	preforkd_reply(conn, bytes, count);
	return count;
}

/* It takes the place of the echo service. */
extern const struct preforkd_service echo_service;
const struct preforkd_service echo_service = {
	.abi = PREFORKD_ABI,
	.name = "echo",
	.input = crash_input,
};

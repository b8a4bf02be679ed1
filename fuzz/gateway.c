/* What examples/gateway.c says to any input is frames, and in order. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

static int readings = -1; /* the file */

enum { WELCOME = 2, ACK = 4, PING, PONG, ERROR };

static uint32_t
number_at(const unsigned char *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
	    (uint32_t)bytes[2] << 8 | bytes[3];
}

static void
check(const struct host_answer *answer)
{
	const unsigned char *at = answer->bytes, *end = at + answer->count;
	bool welcomed = false, numbered = false, ended = false;
	uint32_t number = 0;

	while (at < end) {
		size_t length;

		HOST_CHECK(!ended && end - at >= 3);
		length = (size_t)at[0] << 8 | at[1];
		HOST_CHECK((size_t)(end - at) >= 3 + length);
		HOST_CHECK(welcomed || at[2] == WELCOME || at[2] == ERROR);
		switch (at[2]) {
		case WELCOME:
			HOST_CHECK(!welcomed && length == 2);
			welcomed = true;
			break;
		case ACK:
			HOST_CHECK(length == 4);
			HOST_CHECK(!numbered ||
			    number_at(at + 3) == (uint32_t)(number + 1));
			number = number_at(at + 3);
			numbered = true;
			break;
		case ERROR:
			ended = true;
			break;
		default:
			HOST_CHECK(at[2] == PING || at[2] == PONG);
			HOST_CHECK(length == 0);
			break;
		}
		at += 3 + length;
	}
	HOST_CHECK(ended == (answer->reason == PREFORKD_FINISHED));
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char argument[64];

	(void)argc;
	(void)argv;
	readings = memfd_create("readings", MFD_CLOEXEC);
	HOST_CHECK(readings >= 0);
	snprintf(argument, sizeof argument, "60,/proc/self/fd/%d", readings);
	host_start(argument);
	return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count);
int
LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count)
{
	static const char part[] = "784111777 a 1 41"; /* of a killed worker */

	HOST_CHECK(ftruncate(readings, 0) == 0);
	HOST_CHECK(pwrite(readings, part, strlen(part), 0) > 0);
	host_converse(bytes, count, check);
	return 0;
}

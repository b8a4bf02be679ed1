/* What examples/line.c says to any input is lines: sums and errors. */
#include <string.h>

#include "host.h"

static void
check(const struct host_answer *answer)
{
	const char *at = (const char *)answer->bytes;
	const char *end = at + answer->count, *line_end;
	char line[64];

	for (; at < end; at = line_end + 1) {
		char *rest;

		line_end = memchr(at, '\n', (size_t)(end - at));
		HOST_CHECK(line_end && line_end - at < 64 && line_end > at);
		memcpy(line, at, (size_t)(line_end - at));
		line[line_end - at] = '\0';
		strtoll(line, &rest, 10);
		HOST_CHECK(*rest == '\0' || strcmp(line, "error") == 0);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	host_start("");
	return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count);
int
LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count)
{
	host_converse(bytes, count, check);
	return 0;
}

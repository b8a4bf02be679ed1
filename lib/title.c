#include "title.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel prints a process's arguments from the pages where execve(2) put
 * them, followed by the environment; a title longer than the arguments is read
 * on into the environment (fs/proc/base.c, get_mm_cmdline). */
static char *area;
static size_t area_bytes;

/* Moves the environment to the heap. False without memory. */
static int
move_environment(void)
{
	size_t count = 0;
	char **copy;

	while (environ[count])
		count++;
	copy = calloc(count + 1, sizeof *copy);
	if (!copy)
		return 0;
	for (size_t i = 0; i < count; i++)
		if (!(copy[i] = strdup(environ[i])))
			return 0;
	environ = copy;
	return 1;
}

void
title_claim(int argc, char **argv)
{
	char *end;

	if (argc < 1)
		return;
	end = argv[0];
	for (int i = 0; i < argc; i++)
		if (argv[i] == end)
			end += strlen(end) + 1;
	for (char **variable = environ; *variable; variable++)
		if (*variable == end)
			end += strlen(end) + 1;
	if (!move_environment())
		return;
	area = argv[0];
	area_bytes = (size_t)(end - area);
}

void
title_set(const char *role)
{
	if (!area)
		return;
	memset(area, 0, area_bytes);
	snprintf(area, area_bytes, "preforkd: %s", role);
}

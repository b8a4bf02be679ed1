#include "lib/base/title.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel prints a process's arguments from the pages where execve(2) put
 * them, followed by the environment; a title longer than the arguments is read
 * on into the environment (fs/proc/base.c, get_mm_cmdline). */
static char *area;
static size_t area_bytes;

void
title_free(char **strings)
{
	for (char **string = strings; string && *string; string++)
		free(*string);
	free(strings);
}

/* Copies a list of strings that ends with NULL. Returns NULL without memory. */
static char **
copy_strings(char **strings)
{
	size_t count = 0;
	char **copy;

	while (strings[count])
		count++;
	copy = calloc(count + 1, sizeof *copy);
	for (size_t i = 0; copy && i < count; i++) {
		copy[i] = strdup(strings[i]);
		if (!copy[i]) {
			title_free(copy);
			return NULL;
		}
	}
	return copy;
}

/* The end of what lies in one piece from ARGV's first string on. */
static char *
end_of_area(int argc, char **argv)
{
	char *end = argv[0];

	for (int i = 0; i < argc; i++)
		if (argv[i] == end)
			end += strlen(end) + 1;
	for (char **variable = environ; *variable; variable++)
		if (*variable == end)
			end += strlen(end) + 1;
	return end;
}

char **
title_claim(int argc, char **argv)
{
	char **arguments = copy_strings(argv);
	char **variables = copy_strings(environ);

	if (!arguments || !variables) {
		title_free(arguments);
		title_free(variables);
		return NULL;
	}
	if (argc > 0) {
		area = argv[0];
		area_bytes = (size_t)(end_of_area(argc, argv) - area);
	}
	environ = variables;
	return arguments;
}

void
title_set(const char *role)
{
	if (!area)
		return;
	memset(area, 0, area_bytes);
	snprintf(area, area_bytes, "preforkd: %s", role);
}

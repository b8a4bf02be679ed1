#include "lib/base/memory.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number in the file, or UINT64_MAX where that says "max" or is not there.
 */
static uint64_t
read_limit(const char *path)
{
	FILE *file = fopen(path, "re");
	uintmax_t limit;
	bool found;

	if (!file)
		return UINT64_MAX;
	found = fscanf(file, "%ju", &limit) == 1;
	fclose(file);
	return found ? limit : UINT64_MAX;
}

static uint64_t
lesser(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Of the control group GROUP, "/a/b", and of those above it. In a container
 * the mounted tree may begin further down than GROUP does, so that only some of
 * these exist. */
static uint64_t
limit_upwards(const char *root, const char *hierarchy, const char *group,
    const char *name)
{
	char path[PATH_MAX];
	size_t length = strlen(group);
	uint64_t limit = UINT64_MAX;

	for (;;) {
		if ((size_t)snprintf(path, sizeof path, "%s%s%.*s/%s", root,
			hierarchy, (int)length, group, name) < sizeof path)
			limit = lesser(limit, read_limit(path));
		if (length == 0)
			return limit;
		while (length > 0 && group[--length] != '/')
			;
	}
}

static uint64_t
limit_v2(const char *root, const char *hierarchy, const char *group)
{
	return lesser(limit_upwards(root, hierarchy, group, "memory.max"),
	    limit_upwards(root, hierarchy, group, "memory.high"));
}

static bool
has_memory(const char *controllers)
{
	char text[256];
	char *rest = text, *name;

	snprintf(text, sizeof text, "%s", controllers);
	while ((name = strsep(&rest, ",")))
		if (strcmp(name, "memory") == 0)
			return true;
	return false;
}

/* LINE is "0::/group" of version 2, "4:memory:/group" of version 1. */
static uint64_t
limit_of_line(char *line, const char *root)
{
	const char *controllers, *group;

	line[strcspn(line, "\n")] = '\0';
	strsep(&line, ":");
	controllers = strsep(&line, ":");
	group = line;
	if (!controllers || !group)
		return UINT64_MAX;
	if (!*controllers)
		return lesser(limit_v2(root, "", group),
		    limit_v2(root, "/unified", group));
	return has_memory(controllers)
	    ? limit_upwards(root, "/memory", group, "memory.limit_in_bytes")
	    : UINT64_MAX;
}

uint64_t
memory_cgroup_limit(const char *cgroups, const char *root)
{
	FILE *file = fopen(cgroups, "re");
	uint64_t limit = UINT64_MAX;
	char *line = NULL;
	size_t size = 0;

	if (!file)
		return limit;
	while (getline(&line, &size, file) >= 0)
		limit = lesser(limit, limit_of_line(line, root));
	free(line);
	fclose(file);
	return limit;
}

uint64_t
memory_limit(void)
{
	uint64_t machine =
	    (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

	return lesser(machine,
	    memory_cgroup_limit("/proc/self/cgroup", "/sys/fs/cgroup"));
}

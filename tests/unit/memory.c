/* What control groups allow, read from trees of the shape of /sys/fs/cgroup. */
#include "lib/base/memory.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

static char root[] = "/tmp/memory.XXXXXX";

/* Writes the file ROOT/NAME, with the directories that it needs. */
static void
put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", root, name);
	for (char *slash = strchr(path + sizeof root, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(path, "w");
	CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* The limit of a process whose /proc/self/cgroup says TEXT. */
static uint64_t
limit_of(const char *text)
{
	char path[PATH_MAX];

	put("proc", text);
	snprintf(path, sizeof path, "%s/proc", root);
	return memory_cgroup_limit(path, root);
}

static void
the_least_of_those_above_holds(void)
{
	put("a/b/memory.max", "max\n");
	put("a/memory.max", "3000000\n");
	put("a/memory.high", "2000000\n");
	put("tight/memory.max", "1000\n");
	CHECK(limit_of("0::/a/b\n") == 2000000);
	CHECK(limit_of("0::/a/b/c\n") == 2000000);
	CHECK(limit_of("0::/tight\n") == 1000);
	CHECK(limit_of("0::/\n") == UINT64_MAX);
	CHECK(limit_of("") == UINT64_MAX);
	CHECK(limit_of("nonsense\n") == UINT64_MAX);
}

/* Where a container's own group is mounted as the root. */
static void
the_root_of_the_mount_holds(void)
{
	put("memory.max", "700\n");
	CHECK(limit_of("0::/somewhere/else\n") == 700);
	put("memory.max", "max\n");
}

static void
both_versions_are_known(void)
{
	put("memory/x/memory.limit_in_bytes", "5000\n");
	put("memory/memory.limit_in_bytes", "9223372036854771712\n");
	put("unified/y/memory.max", "4000\n");
	CHECK(limit_of("4:cpu,memory:/x\n0::/\n") == 5000);
	CHECK(limit_of("4:memory:/x\n0::/y\n") == 4000);
	CHECK(limit_of("4:memory:/\n0::/\n") == 9223372036854771712u);
	CHECK(limit_of("4:cpu:/x\n") == UINT64_MAX);
}

static int
remove_entry(
    const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(path);
}

int
main(void)
{
	CHECK(mkdtemp(root) != NULL);
	the_least_of_those_above_holds();
	the_root_of_the_mount_holds();
	both_versions_are_known();
	CHECK(memory_cgroup_limit("/nonexistent", root) == UINT64_MAX);
	CHECK(memory_limit() > 0 && memory_limit() < UINT64_MAX);
	CHECK(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS) == 0);
	return 0;
}

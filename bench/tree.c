#include "tree.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 32768 };

/* /proc/PID/task/TASK/NAME, or NULL if there is none (any more). */
static FILE *
open_of_task(pid_t pid, const char *task, const char *name)
{
	char path[320];

	snprintf(
	    path, sizeof path, "/proc/%d/task/%s/%s", (int)pid, task, name);
	return fopen(path, "re");
}

static DIR *
open_tasks(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	return opendir(path);
}

static size_t
children_of_task(pid_t pid, const char *task, pid_t *children, size_t room)
{
	FILE *file = open_of_task(pid, task, "children");
	size_t count = 0;
	int child;

	if (!file)
		return 0;
	while (count < room && fscanf(file, "%d", &child) == 1)
		children[count++] = child;
	fclose(file);
	return count;
}

size_t
tree_children(pid_t pid, pid_t *children, size_t room)
{
	DIR *tasks = open_tasks(pid);
	struct dirent *task;
	size_t count = 0;

	if (!tasks)
		return 0;
	while ((task = readdir(tasks)) != NULL)
		if (*task->d_name != '.')
			count += children_of_task(
			    pid, task->d_name, children + count, room - count);
	closedir(tasks);
	return count;
}

static uint64_t
task_cpu_ns(pid_t pid, const char *task)
{
	FILE *file = open_of_task(pid, task, "schedstat");
	uint64_t ns = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

static uint64_t
process_cpu_ns(pid_t pid)
{
	DIR *tasks = open_tasks(pid);
	struct dirent *task;
	uint64_t ns = 0;

	if (!tasks)
		return 0;
	while ((task = readdir(tasks)) != NULL)
		if (*task->d_name != '.')
			ns += task_cpu_ns(pid, task->d_name);
	closedir(tasks);
	return ns;
}

/* What dead and reaped children took is known in clock ticks only. A server
 * that makes a process for each connection has nothing else to show. */
static uint64_t
reaped_cpu_ns(pid_t pid)
{
	char path[64], line[1024];
	uint64_t user, system, ticks = 0;
	const char *rest;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* The name, in parentheses, may have blanks in it. */
	if (fgets(line, sizeof line, file) &&
	    (rest = strrchr(line, ')')) != NULL &&
	    sscanf(rest,
		") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u"
		" %" SCNu64 " %" SCNu64,
		&user, &system) == 2)
		ticks = user + system;
	fclose(file);
	return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

uint64_t
tree_cpu_ns(pid_t root)
{
	pid_t *pids = malloc(PROCESSES_MAX * sizeof *pids);
	size_t count = 1;
	uint64_t ns = 0;

	if (!pids)
		return 0;
	pids[0] = root;
	for (size_t i = 0; i < count; i++) {
		ns += process_cpu_ns(pids[i]) + reaped_cpu_ns(pids[i]);
		count +=
		    tree_children(pids[i], pids + count, PROCESSES_MAX - count);
	}
	free(pids);
	return ns;
}

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/chaos/chaos.h"
#include "tests/common/clock.h"

const char *const role_names[ROLES] = {
	[WORKER] = "worker",
	[STANDBY] = "standby",
	[LEAVING] = "leaving",
	[LOADER] = "loader",
};

/* Reads a small file of a process; "" where there is none. */
static void
read_proc(char *text, size_t size, pid_t pid, const char *name)
{
	char path[64];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

bool
is_marked(const struct chaos *c, pid_t pid)
{
	for (unsigned i = 0; i < MARKED; i++)
		if (c->marked[i] == pid)
			return true;
	return false;
}

bool
shares_files(pid_t one, pid_t other)
{
	enum { FILES = 2 }; /* KCMP_FILES: kcmp(2) */

	return syscall(SYS_kcmp, one, other, FILES, 0L, 0L) == 0;
}

/* Reads the children of a process of one thread: all, also zombies. */
void
read_children(char *text, size_t size, pid_t pid)
{
	char name[32];

	snprintf(name, sizeof name, "task/%d/children", (int)pid);
	read_proc(text, size, pid, name);
}

/* Loaders of one generation wait at one socket, which has the first number. */
static void
read_socket(struct member *m)
{
	char path[32];
	ssize_t length;

	snprintf(path, sizeof path, "/proc/%d/fd/3", (int)m->pid);
	length = readlink(path, m->socket, sizeof m->socket - 1);
	m->socket[length > 0 ? length : 0] = '\0';
}

/* A zombie has no title. */
static void
crew_add(const struct chaos *c, struct crew *crew, pid_t pid)
{
	struct member m = { .pid = pid };
	char title[LINE], role[16];

	read_proc(title, sizeof title, pid, "cmdline");
	if (sscanf(title, "preforkd: %15s %u", role, &m.slot) >= 1 &&
	    m.slot < SLOTS)
		for (m.role = ROLES - 1; m.role > OTHER; m.role--)
			if (strcmp(role, role_names[m.role]) == 0)
				break;
	if (m.role == LOADER)
		read_socket(&m);
	if (!is_marked(c, pid))
		crew->have[m.role][m.slot]++;
	if (crew->count < CREW)
		crew->members[crew->count++] = m;
}

void
crew_read(const struct chaos *c, struct crew *crew)
{
	char text[8 * CREW], *at = text, *next;
	pid_t pid;

	*crew = (struct crew) { .count = 0 };
	read_children(text, sizeof text, c->master);
	for (; (pid = (pid_t)strtol(at, &next, 10)) > 0; at = next)
		crew_add(c, crew, pid);
}

/* A worker and a standby for each slot, the loaders of one generation if there
 * is something to load, and nothing else; zombies count. */
static bool
crew_is_whole(const struct crew *crew, uint64_t workers)
{
	const unsigned loaders = crew->have[LOADER][0];

	for (unsigned i = 0; i < workers; i++)
		if (crew->have[WORKER][i] != 1 || crew->have[STANDBY][i] != 1)
			return false;
	return crew->count == 2 * workers + loaders &&
	    (loaders == 0 || loaders == 2);
}

bool
settle(const struct chaos *c)
{
	const struct timespec moment = { .tv_nsec = 5000000 };
	int64_t end = clock_ms() + SETTLE_MS;
	struct crew crew;

	do {
		crew_read(c, &crew);
		if (crew_is_whole(&crew, c->opt.workers))
			return true;
		nanosleep(&moment, NULL);
	} while (clock_ms() < end);
	return false;
}

/* Counts the descriptors of a process; with SHOWN it prints what they are. */
static uint64_t
count_descriptors_of(const struct member *m, bool shown)
{
	char path[64], target[LINE];
	uint64_t count = 0;
	ssize_t length;
	int fd;

	for (fd = 0; fd < 65536; fd++) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)m->pid, fd);
		length = readlink(path, target, sizeof target);
		if (length < 0)
			continue;
		count++;
		if (shown)
			printf("  worker %u: descriptor %d: %.*s\n", m->slot,
			    fd, (int)length, target);
	}
	return count;
}

uint64_t
count_descriptors(const struct chaos *c, bool shown)
{
	uint64_t sum = 0;
	struct crew crew;

	crew_read(c, &crew);
	for (unsigned i = 0; i < crew.count; i++)
		if (crew.members[i].role == WORKER)
			sum += count_descriptors_of(&crew.members[i], shown);
	return sum;
}

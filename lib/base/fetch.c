#include "lib/base/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/child.h"
#include "lib/base/clock.h"
#include "lib/base/file.h"

/* An answer begins with one of these; behind it are the bytes, or the cause. */
enum { GOOD = '+', BAD = '-' };

/* ---- the process that reads --------------------------------------------- */

static bool
say(int answer, const char *bytes, size_t count)
{
	ssize_t said;

	for (; count > 0; bytes += said, count -= (size_t)said) {
		said = write(answer, bytes, count);
		if (said < 0)
			return false; /* nobody wants to know any more */
	}
	return true;
}

static _Noreturn void
read_apart(const char *path, size_t most, int answer)
{
	const char good = GOOD, bad = BAD, *error;
	char *bytes = NULL;
	size_t count = 0;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fd = file_open(path, false, (off_t)most, &error);
	if (fd >= 0)
		bytes = file_read(fd, most, &count, &error);
	if (bytes)
		_exit(!say(answer, &good, 1) || !say(answer, bytes, count));
	_exit(!say(answer, &bad, 1) || !say(answer, error, strlen(error)));
}

/* ---- who waits for it --------------------------------------------------- */

/* Reads up to SIZE bytes, to the end. Returns how many, or -1 with errno. */
static ssize_t
hear(int answer, char *bytes, size_t size)
{
	struct pollfd wanted = { .fd = answer, .events = POLLIN };
	const uint64_t end_ms = clock_ms() + FETCH_MS;
	size_t heard = 0;
	ssize_t count = 1;

	while (count != 0 && heard < size) {
		uint64_t now_ms = clock_ms();

		if (now_ms >= end_ms) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (poll(&wanted, 1, (int)(end_ms - now_ms)) <= 0)
			continue;
		count = read(answer, bytes + heard, size - heard);
		if (count < 0)
			return -1;
		heard += (size_t)count;
	}
	return (ssize_t)heard;
}

/* BYTES are an answer of HEARD bytes: its first goes, a 0 comes. Returns
 * whether it was a good one. */
static bool
unwrap(char *bytes, size_t heard)
{
	bool good = *bytes == GOOD;

	memmove(bytes, bytes + 1, heard - 1);
	bytes[heard - 1] = '\0';
	return good;
}

static char *
give_up(char *bytes, const char *cause, const char **error)
{
	static char text[256];

	snprintf(text, sizeof text, "%s", cause);
	free(bytes);
	*error = text;
	return NULL;
}

/* Starts the process. Returns where its answer comes, or -1 with errno. */
static int
begin(const char *path, size_t most, pid_t *pid)
{
	int answer[2];

	if (pipe2(answer, O_CLOEXEC) < 0)
		return -1;
	*pid = fork();
	if (*pid == 0)
		read_apart(path, most, answer[1]);
	close(answer[1]);
	if (*pid > 0)
		return answer[0];
	close(answer[0]);
	return -1;
}

/* If it hears of no signal either, whoever reaps the others reaps it. */
static void
end(pid_t pid, bool answered)
{
	siginfo_t info;
	int status;

	kill(pid, SIGKILL);
	if (answered)
		child_reap(pid, &status);
	else
		child_look(pid, WEXITED, &info);
}

char *
fetch_file(const char *path, size_t most, size_t *count, const char **error)
{
	char *bytes = malloc(most + 2);
	ssize_t heard = -1;
	pid_t pid;
	int answer = bytes ? begin(path, most, &pid) : -1;

	if (answer < 0)
		return give_up(bytes, strerror(errno), error);
	heard = hear(answer, bytes, most + 1);
	close(answer);
	end(pid, heard >= 0);
	if (heard < 0)
		return give_up(bytes, strerror(errno), error);
	if (heard == 0)
		return give_up(bytes, "the process that read it died", error);
	if (!unwrap(bytes, (size_t)heard))
		return give_up(bytes, bytes, error);
	*count = (size_t)heard - 1;
	return bytes;
}

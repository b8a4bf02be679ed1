#include "lib/worker/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

/* Each number that is free gets /dev/null on the way to the one behind them. */
static int
open_beyond(void)
{
	int null;

	do
		null = open("/dev/null", O_RDWR);
	while (null >= 0 && null <= STDERR_FILENO);
	return null;
}

static bool
are_all_open(void)
{
	int fd = 0;

	while (fd <= STDERR_FILENO && fcntl(fd, F_GETFD) >= 0)
		fd++;
	return fd > STDERR_FILENO;
}

/* As a rule nothing is opened: a death would leave it open. */
void
standard_fill(void)
{
	int null;

	if (are_all_open())
		return;
	null = open_beyond();
	if (null >= 0)
		close(null);
}

void
standard_drop(int fd)
{
	int null = open_beyond();

	if (null < 0 || dup2(null, fd) < 0)
		close(fd);
	if (null >= 0)
		close(null);
}

int
standard_leave(int fd)
{
	int other, error;

	if (fd < 0 || fd > STDERR_FILENO)
		return fd;
	other = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	error = errno;
	standard_drop(fd);
	errno = error;
	return other;
}

#include "lib/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static const char too_large[] = "it is too large";

static int
refuse(int fd, const char *cause, const char **error)
{
	close(fd);
	*error = cause;
	return -1;
}

/* A pipe without a name has its writer, or had one: reading it comes to an end.
 * A FIFO may wait for a writer for ever. */
static bool
is_pipe(int fd, const struct stat *st)
{
	struct statfs fs;

	return S_ISFIFO(st->st_mode) && fstatfs(fd, &fs) == 0 &&
	    fs.f_type == PIPEFS_MAGIC;
}

int
file_open(const char *path, bool pipes, off_t most, const char **error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		*error = strerror(errno);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (S_ISDIR(st.st_mode))
		return refuse(fd, strerror(EISDIR), error);
	if (S_ISREG(st.st_mode) && st.st_size > most)
		return refuse(fd, too_large, error);
	if (!S_ISREG(st.st_mode) && !(pipes && is_pipe(fd, &st)))
		return refuse(fd, "it is no regular file", error);
	/* The open file is ours alone, also of /dev/stdin. */
	if (fcntl(fd, F_SETFL, O_RDONLY) < 0)
		return refuse(fd, strerror(errno), error);
	return fd;
}

static char *
give_up(char *bytes, const char *cause, const char **error)
{
	free(bytes);
	*error = cause;
	return NULL;
}

/* A file below /proc says that it has no bytes, and a file may grow: so the
 * reading counts, not st_size. */
static char *
read_all(int fd, size_t most, size_t *count, const char **error)
{
	char *bytes = malloc(most + 1);
	ssize_t got;

	if (!bytes)
		return give_up(bytes, strerror(errno), error);
	for (*count = 0; *count <= most; *count += (size_t)got) {
		got = read(fd, bytes + *count, most + 1 - *count);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got < 0)
			return give_up(bytes, strerror(errno), error);
		else if (got == 0)
			break;
	}
	if (*count > most)
		return give_up(bytes, too_large, error);
	bytes[*count] = '\0';
	return bytes;
}

char *
file_read(int fd, size_t most, size_t *count, const char **error)
{
	char *bytes = read_all(fd, most, count, error);

	close(fd);
	return bytes;
}

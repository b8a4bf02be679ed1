/* file: reading what somebody else has put there, without waiting for it. */
#ifndef PREFORKD_FILE_H
#define PREFORKD_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Opens a regular file of at most MOST bytes for reading; or, where PIPES is
 * true, a pipe that is open already (/dev/stdin, /dev/fd/N), which can be read
 * once. Never waits for a FIFO's other end, a device or a terminal. Returns a
 * descriptor, or -1 with the cause in ERROR.
 */
int file_open(const char *path, bool pipes, off_t most, const char **error);

/* Reads all that FD gives, at most MOST bytes, and closes it. Returns the
 * bytes, to be freed, with a NUL behind the COUNT of them; or NULL with the
 * cause in ERROR. */
char *file_read(int fd, size_t most, size_t *count, const char **error);

#endif

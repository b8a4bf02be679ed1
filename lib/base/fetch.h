/*
 * fetch: reads a file for who must not stand still, whatever it lies on: a file
 * system (NFS, FUSE) that does not answer would keep it in open(2), for which
 * there is no time-out.
 */
#ifndef PREFORKD_FETCH_H
#define PREFORKD_FETCH_H

#include <stddef.h>

/* Reads a regular file of at most MOST bytes, with a 0 behind them, in a
 * process made for that, and waits for it for FETCH_MS at the most. Returns the
 * bytes, to be freed, and their COUNT; or NULL with the cause in ERROR, which
 * is valid until the next call. */
char *
fetch_file(const char *path, size_t most, size_t *count, const char **error);

enum { FETCH_MS = 1000 };

#endif

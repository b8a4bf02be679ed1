/* object: a shared object, loaded so that its file may be replaced or written
 * over while its code runs. */
#ifndef PREFORKD_OBJECT_H
#define PREFORKD_OBJECT_H

/* Opens the file at PATH. Returns a descriptor, or -1 with the cause in ERROR.
 */
int object_open(const char *path, const char **error);

/*
 * Loads, as the Nth of this process, what FILE holds, which is at PATH, and
 * closes it. A private copy is loaded; or the file itself, if a copy cannot be
 * had, or does not load: a copy has no directory for libraries that lie beside
 * the object ($ORIGIN, ld.so(8)). Returns what dlopen(3) does, or NULL with the
 * cause in ERROR.
 */
void *object_load(const char *path, int file, unsigned n, const char **error);

#endif

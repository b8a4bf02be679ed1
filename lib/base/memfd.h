/* memfd: files in memory (memfd_create(2)), on kernels that know the newer
 * flags and on those that do not. */
#ifndef PREFORKD_MEMFD_H
#define PREFORKD_MEMFD_H

#include <sys/types.h>

/* A file that code can be mapped from. Returns its descriptor, close-on-exec,
 * or -1 with errno: EACCES if vm.memfd_noexec forbids it. */
int memfd_for_code(const char *name);

/* A file of so many BYTES, all zero. Its size is sealed: a process that maps it
 * dies of a file that another has cut short. Returns its descriptor,
 * close-on-exec, or -1 with errno. */
int memfd_of_size(const char *name, off_t bytes);

#endif

/*
 * memory: how much of it this process may use: the machine's, or what its
 * control groups leave of that.
 */
#ifndef PREFORKD_MEMORY_H
#define PREFORKD_MEMORY_H

#include <stdint.h>

/* In bytes. */
uint64_t memory_limit(void);

/*
 * The least limit of the control groups that the file CGROUPS names, as
 * /proc/self/cgroup does, and of those above them, in the hierarchies below
 * ROOT, as /sys/fs/cgroup; UINT64_MAX where there is none (cgroups(7)).
 */
uint64_t memory_cgroup_limit(const char *cgroups, const char *root);

#endif

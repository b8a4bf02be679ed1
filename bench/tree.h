/* tree: a process and all that descend from it, as /proc shows them. */
#ifndef BENCH_TREE_H
#define BENCH_TREE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Fills in at most ROOM, returns how many. A process that has gone has none. */
size_t tree_children(pid_t pid, pid_t *children, size_t room);

/* The processor time of all threads of all processes, and of the children that
 * they have waited for, in nanoseconds. */
uint64_t tree_cpu_ns(pid_t root);

#endif

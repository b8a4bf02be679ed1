/* cpus: the CPUs that a process may run on, however many there can be. */
#ifndef PREFORKD_CPUS_H
#define PREFORKD_CPUS_H

#include <sched.h>
#include <sys/types.h>

/* Those of PID (0: our own), of SIZE bytes; to be freed by CPU_FREE(3). Returns
 * NULL with errno where the kernel does not tell. */
cpu_set_t *cpus_of(pid_t pid, size_t *size);

/* Leaves of CPUS the Nth alone, counted round. */
void cpus_choose(cpu_set_t *cpus, size_t size, unsigned n);

/* How many we may use: as sched_setaffinity(2), a cpuset or systemd's
 * CPUAffinity= left them. At least 1. */
unsigned cpus_usable(void);

#endif

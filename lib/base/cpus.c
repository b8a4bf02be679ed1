#include "lib/base/cpus.h"

#include <errno.h>
#include <unistd.h>

enum { MOST = 1 << 20 }; /* CPUs that no kernel has */

/* A kernel that may have more CPUs than the set has bits says EINVAL:
 * sched_getaffinity(2). */
cpu_set_t *
cpus_of(pid_t pid, size_t *size)
{
	for (size_t count = CPU_SETSIZE; count <= MOST; count *= 2) {
		cpu_set_t *cpus = CPU_ALLOC(count);

		if (!cpus)
			return NULL;
		*size = CPU_ALLOC_SIZE(count);
		CPU_ZERO_S(*size, cpus);
		if (sched_getaffinity(pid, *size, cpus) == 0)
			return cpus;
		CPU_FREE(cpus);
		if (errno != EINVAL)
			return NULL;
	}
	return NULL;
}

void
cpus_choose(cpu_set_t *cpus, size_t size, unsigned n)
{
	n %= (unsigned)CPU_COUNT_S(size, cpus);
	for (size_t cpu = 0; cpu < 8 * size; cpu++)
		if (CPU_ISSET_S(cpu, size, cpus) && n-- != 0)
			CPU_CLR_S(cpu, size, cpus);
}

unsigned
cpus_usable(void)
{
	size_t size;
	cpu_set_t *cpus = cpus_of(0, &size);
	long count =
	    cpus ? CPU_COUNT_S(size, cpus) : sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus)
		CPU_FREE(cpus);
	return count < 1 ? 1 : (unsigned)count;
}

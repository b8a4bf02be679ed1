#include "lib/base/close.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The highest number that is open, or may be. */
static unsigned
find_last(void)
{
	DIR *list = opendir("/proc/self/fd");
	struct dirent *entry;
	struct rlimit limit;
	unsigned last = 0;

	if (!list) {
		getrlimit(RLIMIT_NOFILE, &limit); /* cannot fail */
		return (unsigned)limit.rlim_cur;
	}
	while ((entry = readdir(list)))
		if (strtoul(entry->d_name, NULL, 10) > last)
			last = (unsigned)strtoul(entry->d_name, NULL, 10);
	closedir(list);
	return last;
}

/* close_range(2) has no wrapper in every libc, and a filter of system calls may
 * not know it: crun#671 had EPERM. */
void
close_between(unsigned first, unsigned last)
{
	unsigned end;

	if (syscall(SYS_close_range, first, last, 0U) == 0)
		return;
	end = find_last();
	for (unsigned fd = first; fd <= last && fd <= end; fd++)
		close((int)fd);
}

/*
 * unshared: linked with --wrap=syscall, makes of preforkd a server whose
 * standby has a table of file descriptors of its own. It cannot take over; it
 * is what bench/takeover measures the cost of the shared table against. All
 * else in the two programs is the same.
 */
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>

/* The linker gives them these names. */
long __real_syscall(long number, ...); /* NOLINT(cert-dcl51-cpp) */
long __wrap_syscall(long number, ...); /* NOLINT(cert-dcl51-cpp) */

long
__wrap_syscall(long number, ...) /* NOLINT(cert-dcl51-cpp) */
{
	va_list arguments;
	long values[5];

	va_start(arguments, number);
	for (int i = 0; i < 5; i++)
		values[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_clone)
		values[0] &= ~(long)CLONE_FILES;
	return __real_syscall(
	    number, values[0], values[1], values[2], values[3], values[4]);
}

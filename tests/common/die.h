/* die: a program that cannot go on says what failed, why, and the remedy. */
#ifndef TESTS_DIE_H
#define TESTS_DIE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline _Noreturn void
die(const char *what, const char *remedy)
{
	fprintf(stderr, "%s: %s: %s: %s\n", program_invocation_short_name, what,
	    strerror(errno), remedy);
	exit(1);
}

#endif

/*
 * inherited: the descriptors that this process was started with, as
 * sd_listen_fds(3) has it: systemd passes those of a socket unit so. They are
 * numbered from 3 on; LISTEN_FDS says how many there are, LISTEN_PID for which
 * process, LISTEN_FDNAMES what each is called.
 */
#ifndef PREFORKD_INHERITED_H
#define PREFORKD_INHERITED_H

#include <stdbool.h>
#include <sys/types.h>

#include "lib/base/address.h"

enum { INHERITED_FIRST = 3, INHERITED_ERROR = 256, INHERITED_TEXT = 128 };

struct inherited {
	unsigned count;
	const char *names; /* LISTEN_FDNAMES, with colons between; or "" */
	char error[INHERITED_ERROR]; /* why they cannot be used, or "" */
};

/*
 * Takes what is said of them out of the environment, so that no service and no
 * child believes it as well, and makes them close-on-exec. To be called before
 * anything else is opened: the number of one that is missing would be another's
 * by then.
 */
void inherited_take(struct inherited *);

/* How many descriptors the two variables, or NULL, promise to process SELF: 0
 * where they are meant for another. False where LISTEN_FDS is no such number.
 */
bool
inherited_parse(const char *pid, const char *fds, pid_t self, unsigned *count);

/* "descriptor 3 (preforkd.socket)", or without a name "descriptor 3"; returned
 * by value, so that a call can stand in the arguments of a log line. */
struct inherited_text {
	char text[INHERITED_TEXT];
};
struct inherited_text inherited_name(const struct inherited *, int fd);

/* What FD is instead of a TCP socket that listens, as "is a UDP socket"; NULL
 * where it is one: then BOUND is where. */
const char *inherited_flaw(int fd, struct address *bound);

#endif

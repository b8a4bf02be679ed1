/*
 * steering: which listener of a SO_REUSEPORT group gets the next connection.
 *
 * Left alone, the kernel hashes over all listeners of the group, also those
 * that nobody serves, and a new one from its first moment. A classic BPF
 * program chooses instead (SO_ATTACH_REUSEPORT_CBPF, socket(7)); attaching it
 * needs no privilege. It returns the index of a listener in the kernel's group,
 * so the order of that group is kept here: a new listener goes to the end, and
 * the last one moves into the place of one that closes
 * (net/core/sock_reuseport.c).
 */
#ifndef PREFORKD_STEERING_H
#define PREFORKD_STEERING_H

#include <linux/filter.h>
#include <stdbool.h>

enum {
	STEERING_MEMBERS = 1024, /* a listener for each slot */
	/* A load, a remainder, two for each member, a last return; below the
	 * kernel's BPF_MAXINSNS of 4096. */
	STEERING_PROGRAM = 2 + 2 * STEERING_MEMBERS + 1,
};

/* The listeners of one address, in the kernel's order. */
struct steering {
	unsigned short slots[STEERING_MEMBERS]; /* whose listener it is */
	unsigned count;
	bool changed; /* since the program was last attached */
};

/* A listener has begun, or has ceased, to listen. */
void steering_add(struct steering *, unsigned slot);
void steering_remove(struct steering *, unsigned slot);

/*
 * Writes the program that shares new connections evenly among the listeners
 * whose slot is served (SERVED is indexed by slot). Returns its length in
 * instructions, or 0 where no slot is served.
 */
unsigned steering_program(const struct steering *, const bool *served,
    struct sock_filter program[STEERING_PROGRAM]);

/* Puts the present state in force through any listener of the group; one that
 * joins later gets nothing until then. Returns 0, or -1 with errno; then the
 * kernel goes on as before. */
int steering_apply(struct steering *, const bool *served, int listener);

#endif

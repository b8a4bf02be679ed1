/*
 * standard: the numbers of stdin, stdout and stderr are nobody else's.
 *
 * A service can close them: a forgotten `int fd;` is 0, and close(2) takes it.
 * The kernel gives the lowest number that is free. A listener at 0 would be
 * taken for none, and a client at 2 would get what the log, libc and the
 * service print.
 */
#ifndef PREFORKD_STANDARD_H
#define PREFORKD_STANDARD_H

/* Has /dev/null at each of them that is closed. */
void standard_fill(void);

/* Returns FD, or where it is one of these numbers another of the same file, and
 * the number gets /dev/null. -1 with errno where FD is -1, or no other is free:
 * then the file is closed. */
int standard_leave(int fd);

/* The same without another number: the file is closed at this one. */
void standard_drop(int fd);

#endif

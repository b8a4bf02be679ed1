/* notify: systemd's readiness protocol (sd_notify(3)) without libsystemd. */
#ifndef PREFORKD_NOTIFY_H
#define PREFORKD_NOTIFY_H

#include <stdint.h>

/*
 * Send to $NOTIFY_SOCKET; without one, they do nothing. Return 0, or -1 with
 * errno; a manager that cannot be reached is no reason for a server to stop.
 *
 * ASSIGNMENTS such as "READY=1\n" are ours, each with its newline. What has
 * text from outside in it can only be a status, which is made printable: so no
 * file name and no service can add an assignment by a newline of its own.
 */
int notify_send(const char *assignments);
int notify_status(const char *assignments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Announces a reload; whatever its result, READY=1 must follow. */
int notify_reloading(void);

/* How often WATCHDOG=1 must be sent, in ms (half of $WATCHDOG_USEC,
 * sd_watchdog_enabled(3)); 0 where no watchdog waits for this process. */
uint64_t notify_watchdog_ms(void);

#endif

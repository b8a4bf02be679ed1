/* notify: systemd's readiness protocol (sd_notify(3)) without libsystemd. */
#ifndef PREFORKD_NOTIFY_H
#define PREFORKD_NOTIFY_H

#include <stdint.h>

/*
 * Sends assignments such as "READY=1\nSTATUS=..." to $NOTIFY_SOCKET; without
 * one, does nothing. Returns 0, or -1 with errno; a manager that cannot be
 * reached is no reason for a server to stop.
 */
int notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Announces a reload; whatever its result, READY=1 must follow. */
int notify_reloading(void);

/* How often WATCHDOG=1 must be sent, in ms (half of $WATCHDOG_USEC,
 * sd_watchdog_enabled(3)); 0 where no watchdog waits for this process. */
uint64_t notify_watchdog_ms(void);

#endif

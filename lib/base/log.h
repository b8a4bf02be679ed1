/*
 * log: one line an event on stderr, each written by a single system call that
 * does not block: where nobody reads or the disk is full, lines are lost,
 * counted, and told of with the cause once a line can be written again.
 *
 * Where stderr is the journal (systemd.exec(5), $JOURNAL_STREAM) a line begins
 * with its priority (sd-daemon(3)), elsewhere with a time stamp. What would
 * not print is shown as `?`, so that no byte from outside reaches a terminal.
 *
 * error:   something that was asked for does not happen
 * warning: odd or degraded, and we go on
 * info:    what an operator wants to read afterwards
 * debug:   every connection
 */
#ifndef PREFORKD_LOG_H
#define PREFORKD_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_LEVELS };

/* The levels' names as the configuration spells them. */
extern const char *const log_level_names[LOG_LEVELS];

/* Every further line carries this process name (copied). */
void log_name(const char *process);
/* Lines go to FD from now on, a duplicate of stderr that is closed less easily;
 * to stderr itself once that is closed, too. */
void log_to(int fd);
/* Lines above this level are dropped. */
void log_limit(enum log_level);
/* True where a line of that level would be written: for lines that cost
 * something to compose. */
bool log_wants(enum log_level);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The end of a noun that COUNT stands before. */
static inline const char *
log_plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

/* An error of before there is a server: the message alone, for whoever has just
 * typed the command; in the journal with its priority. */
void log_complaint(const char *message);

#endif

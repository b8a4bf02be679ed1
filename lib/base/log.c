#include "lib/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/text.h"

enum { LINE_BYTES = 1024 };

const char *const log_level_names[LOG_LEVELS] = {
	[LOG_ERROR] = "error",
	[LOG_WARNING] = "warning",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

/* syslog(3) priorities, as sd-daemon(3) wants them. */
static const char priorities[LOG_LEVELS] = {
	[LOG_ERROR] = '3',
	[LOG_WARNING] = '4',
	[LOG_INFO] = '6',
	[LOG_DEBUG] = '7',
};

static char name[32] = "preforkd";
static enum log_level limit = LOG_INFO;
static int log_fd = STDERR_FILENO;

/* What this process could not write. */
static struct {
	unsigned long lines;
	int cause; /* errno of the last one */
	bool torn; /* and of that one the beginning has been written */
} lost;

/* True where stderr is the very stream that systemd connected to the journal:
 * $JOURNAL_STREAM is its "device:inode". A redirected stderr has others. */
static bool
stderr_is_journal(void)
{
	static int known = -1;
	const char *stream = getenv("JOURNAL_STREAM");
	char actual[64];
	struct stat st;

	if (known >= 0)
		return known;
	known = 0;
	if (stream && fstat(log_fd, &st) == 0) {
		snprintf(actual, sizeof actual, "%ju:%ju", (uintmax_t)st.st_dev,
		    (uintmax_t)st.st_ino);
		known = strcmp(stream, actual) == 0;
	}
	return known;
}

void
log_name(const char *process)
{
	snprintf(name, sizeof name, "%s", process);
	lost.lines = 0; /* another's, whose image this is */
}

void
log_limit(enum log_level level)
{
	limit = level;
}

void
log_to(int fd)
{
	log_fd = fd;
}

bool
log_wants(enum log_level level)
{
	return level <= limit;
}

static size_t
write_prefix(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm utc;
	char stamp[32];
	int length;

	if (stderr_is_journal()) {
		length =
		    snprintf(line, size, "<%c>%s: ", priorities[level], name);
		return (size_t)length;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
	length = snprintf(line, size, "%s.%03ldZ %s %s: ", stamp,
	    now.tv_nsec / 1000000, log_level_names[level], name);
	return (size_t)length;
}

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8 /* pwritev2(2) */
#endif

/* For a kernel that cannot be asked so of that kind of file, or a filter of
 * system calls that does not let us ask: poll(2) tells whether it would block,
 * which is enough for a line, unless very many processes write one at the same
 * moment. */
static ssize_t
write_if_ready(const char *text, size_t length)
{
	struct pollfd ready = { .fd = log_fd, .events = POLLOUT };

	errno = EAGAIN;
	return poll(&ready, 1, 0) == 1 ? write(log_fd, text, length) : -1;
}

/*
 * Writes to stderr if that does not block: whoever reads it may have stopped,
 * and the service shall not. O_NONBLOCK is not ours to set, as others share the
 * open file. Files are exempt: there RWF_NOWAIT refuses what is not in memory.
 */
static ssize_t
write_at_once(const char *text, size_t length)
{
	struct iovec part = { .iov_base = (void *)text, .iov_len = length };
	struct stat st;
	ssize_t count;

	if (fstat(log_fd, &st) < 0)
		log_fd = STDERR_FILENO;
	else if (S_ISREG(st.st_mode))
		return write(log_fd, text, length);
	/* No wrapper in every libc. The position is -1: the current one. */
	count = syscall(SYS_pwritev2, log_fd, &part, 1L, -1L, -1L, RWF_NOWAIT);
	return count >= 0 || errno == EAGAIN ? count
					     : write_if_ready(text, length);
}

/* Writes all of LINE, or notes why not. */
static bool
emit(const char *line, size_t length)
{
	size_t written = 0;
	ssize_t count;

	while (written < length) {
		count = write_at_once(line + written, length - written);
		if (count <= 0) {
			lost.cause = count < 0 ? errno : EIO;
			break;
		}
		written += (size_t)count;
	}
	if (written > 0)
		lost.torn = written < length;
	return written == length;
}

static size_t __attribute__((format(printf, 3, 0)))
compose(char line[LINE_BYTES], enum log_level level, const char *format,
    va_list arguments)
{
	size_t length = write_prefix(line, LINE_BYTES, level);

	length += text_format(
	    line + length, LINE_BYTES - length - 1, format, arguments);
	line[length++] = '\n';
	return length;
}

static bool __attribute__((format(printf, 2, 3)))
emit_line(enum log_level level, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	size_t length;

	va_start(arguments, format);
	length = compose(line, level, format, arguments);
	va_end(arguments);
	return emit(line, length);
}

/* True where nothing is lost, or that has been said. */
static bool
tell_lost(void)
{
	if (lost.torn && !emit("\n", 1))
		return false;
	if (lost.lines > 0 &&
	    !emit_line(LOG_WARNING, "%lu lines lost: %s", lost.lines,
		lost.cause == EAGAIN ? "stderr was blocked"
				     : strerror(lost.cause)))
		return false;
	lost.lines = 0;
	return true;
}

static void __attribute__((format(printf, 2, 0)))
log_line(enum log_level level, const char *format, va_list arguments)
{
	int saved_errno = errno;
	char line[LINE_BYTES];

	if (!log_wants(level))
		return;
	if (!tell_lost() ||
	    !emit(line, compose(line, level, format, arguments)))
		lost.lines++;
	errno = saved_errno;
}

#define LOG_FUNCTION(function, level)               \
	void function(const char *format, ...)      \
	{                                           \
		va_list arguments;                  \
                                                    \
		va_start(arguments, format);        \
		log_line(level, format, arguments); \
		va_end(arguments);                  \
	}

LOG_FUNCTION(log_error, LOG_ERROR)
LOG_FUNCTION(log_warning, LOG_WARNING)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_debug, LOG_DEBUG)

void
log_complaint(const char *message)
{
	char line[LINE_BYTES];

	snprintf(line, sizeof line, "%.*s", text_cut(message, sizeof line - 1),
	    message);
	text_make_printable(line);
	fprintf(stderr, "%s%s\n", stderr_is_journal() ? "<3>" : "", line);
}

#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

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
	if (stream && fstat(STDERR_FILENO, &st) == 0) {
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
}

void
log_limit(enum log_level level)
{
	limit = level;
}

bool
log_wants(enum log_level level)
{
	return level <= limit;
}

/* Replaces all but printable ASCII and UTF-8's high bytes by `?`. */
static void
make_printable(char *text)
{
	for (unsigned char *byte = (unsigned char *)text; *byte; byte++)
		if (*byte < ' ' || *byte == 0x7f)
			*byte = '?';
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

static void __attribute__((format(printf, 2, 0)))
log_line(enum log_level level, const char *format, va_list arguments)
{
	char line[LINE_BYTES];
	size_t prefix, length;
	int saved_errno = errno;

	if (!log_wants(level))
		return;
	prefix = write_prefix(line, sizeof line, level);
	vsnprintf(line + prefix, sizeof line - prefix - 1, format, arguments);
	make_printable(line + prefix);
	length = strlen(line);
	line[length++] = '\n';
	/* Where stderr is gone there is nobody left to tell. */
	if (write(STDERR_FILENO, line, length) < 0)
		errno = saved_errno;
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

	snprintf(line, sizeof line, "%s", message);
	make_printable(line);
	fprintf(stderr, "%s%s\n", stderr_is_journal() ? "<3>" : "", line);
}

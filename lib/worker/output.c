#include "lib/worker/output.h"

#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "lib/base/log.h"
#include "lib/base/service.h"

#ifdef __GLIBC__

/* A line that is being printed. */
struct line {
	void (*log)(const char *format, ...);
	char text[768]; /* a line of the log has room for it */
	size_t length;
};

static struct line lines[] = { { .log = log_info }, { .log = log_warning } };

static void
end_line(struct line *line)
{
	if (line->length > 0)
		line->log("%s: %.*s", services_running, (int)line->length,
		    line->text);
	line->length = 0;
}

/* A line that is too long becomes two. */
static ssize_t
take(void *cookie, const char *bytes, size_t count)
{
	struct line *line = cookie;

	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n' || line->length == sizeof line->text)
			end_line(line);
		if (bytes[i] != '\n')
			line->text[line->length++] = bytes[i] ? bytes[i] : '?';
	}
	return (ssize_t)count;
}

static void
redirect(FILE **stream, struct line *line)
{
	static const cookie_io_functions_t functions = { .write = take };
	FILE *to_log = fopencookie(line, "w", functions);

	if (!to_log)
		return; /* it goes on as it was */
	setvbuf(to_log, NULL, _IOLBF, BUFSIZ);
	*stream = to_log;
}

void
output_to_log(void)
{
	redirect(&stdout, &lines[0]);
	redirect(&stderr, &lines[1]);
}

void
output_flush(void)
{
	fflush(stdout);
	fflush(stderr);
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		end_line(&lines[i]);
}

#else

/* The streams of other libcs cannot be exchanged: a line each goes where the
 * server's own go. */
void
output_to_log(void)
{
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
}

void
output_flush(void)
{
	fflush(stdout);
}

#endif

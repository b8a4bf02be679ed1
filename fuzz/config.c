/*
 * The configuration, from a file or (where the input begins with a NUL) from
 * the value of --listen. Whatever it is, it is refused with messages that name
 * what they are about; or taken, and then --check prints what reads as the
 * same.
 */
#include "lib/base/config.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

/* The only built-in service; nobody calls it. */
static const struct preforkd_service echo = { .name = "echo" };

extern const struct preforkd_service *const builtin_services[];
const struct preforkd_service *const builtin_services[] = { &echo, NULL };

static void
note_error(void *context, const char *message)
{
	size_t *errors = context;

	HOST_CHECK(*message);
	++*errors;
}

static enum config_result
load(const struct config_source *source, struct config *config)
{
	size_t errors = 0;
	const struct config_report report = { note_error, &errors };
	enum config_result result = config_load(source, config, &report);

	HOST_CHECK((errors == 0) == (result == CONFIG_VALID));
	return result;
}

/* Returns what was loaded as --check shows it, or NULL. */
static char *
load_file(const char *text, size_t count)
{
	int fd = memfd_create("configuration", MFD_CLOEXEC);
	struct config_source source = { .file = NULL };
	static struct config config;
	char path[32], *shown = NULL;
	size_t length = 0;
	FILE *out = NULL;

	HOST_CHECK(fd >= 0 && write(fd, text, count) == (ssize_t)count);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	source.file = path;
	if (load(&source, &config) == CONFIG_VALID)
		out = open_memstream(&shown, &length);
	if (out) {
		config_print(&config, out);
		fclose(out);
	}
	close(fd);
	return shown;
}

static void
try_file(const char *text, size_t count)
{
	char *shown = load_file(text, count), *again;

	if (!shown)
		return;
	again = load_file(shown, strlen(shown));
	HOST_CHECK(again && strcmp(again, shown) == 0);
	free(shown);
	free(again);
}

static void
try_option(const char *value)
{
	struct config_override override = { "listen", value };
	const struct config_source source = { .overrides = &override,
		.override_count = 1 };
	static struct config config;

	if (load(&source, &config) == CONFIG_VALID)
		HOST_CHECK(config.listen_count == 1);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count);
int
LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t count)
{
	char *text = malloc(count + 1);

	HOST_CHECK(text);
	memcpy(text, bytes, count);
	text[count] = '\0';
	if (count > 0 && *text == '\0')
		try_option(text + 1);
	else
		try_file(text, count);
	free(text);
	return 0;
}

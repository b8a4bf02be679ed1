#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "service.h"

enum { MESSAGE_BYTES = 512 };

/* Reads VALUE into CONFIG. Returns NULL, or what was expected instead. */
typedef const char *parse_function(struct config *config, const char *value);
typedef void print_function(const struct config *config, FILE *out);

/* Reads digits up to LIMIT. Returns what follows them, or NULL where there is
 * no digit or too large a number. */
static const char *
read_number(const char *text, uint64_t limit, uint64_t *number)
{
	const char *digit = text;

	for (*number = 0; isdigit((unsigned char)*digit); digit++) {
		*number = *number * 10 + (uint64_t)(*digit - '0');
		if (*number > limit)
			return NULL;
	}
	return digit == text ? NULL : digit;
}

static bool
parse_count(const char *value, unsigned least, unsigned most, unsigned *count)
{
	uint64_t number;
	const char *rest = read_number(value, most, &number);

	if (!rest || *rest || number < least)
		return false;
	*count = (unsigned)number;
	return true;
}

static const char *
parse_duration(const char *value, uint64_t *ms)
{
	static const char expected[] =
	    "expected 0 or a duration such as 500ms, 30s, 5m or 1h, "
	    "at most 8760h";
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 },
		{ "h", 3600000 } };
	const uint64_t year_ms = 8760ULL * 3600000;
	uint64_t number;
	const char *unit = read_number(value, year_ms, &number);

	if (!unit || (*unit == '\0' && number != 0))
		return expected;
	if (*unit == '\0') {
		*ms = 0;
		return NULL;
	}
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(unit, units[i].unit) == 0 &&
		    number <= year_ms / units[i].ms) {
			*ms = number * units[i].ms;
			return NULL;
		}
	return expected;
}

static const char *
duration_text(uint64_t ms, char *text, size_t size)
{
	if (ms == 0)
		snprintf(text, size, "0");
	else if (ms % 3600000 == 0)
		snprintf(text, size, "%juh", (uintmax_t)ms / 3600000);
	else if (ms % 60000 == 0)
		snprintf(text, size, "%jum", (uintmax_t)ms / 60000);
	else if (ms % 1000 == 0)
		snprintf(text, size, "%jus", (uintmax_t)ms / 1000);
	else
		snprintf(text, size, "%jums", (uintmax_t)ms);
	return text;
}

static void
print_duration(FILE *out, const char *key, uint64_t ms)
{
	char text[32];

	fprintf(out, "%s = %s\n", key, duration_text(ms, text, sizeof text));
}

/* Puts what lies before the first MARK into TEXT. Returns what lies behind it,
 * "" where there is none, or NULL where it does not fit. */
static const char *
cut(const char *value, char mark, char *text, size_t size)
{
	const char *end = strchrnul(value, mark);

	if ((size_t)(end - value) >= size)
		return NULL;
	memcpy(text, value, (size_t)(end - value));
	text[end - value] = '\0';
	return *end ? end + 1 : end;
}

static const char *
parse_service(struct config_listen *listen, const char *value)
{
	const char *argument =
	    cut(value, ':', listen->service, sizeof listen->service);

	if (!argument || strlen(argument) >= sizeof listen->argument)
		return "expected a service's path and its argument of at most "
		       "191 bytes each";
	strcpy(listen->argument, argument);
	if (strchr(listen->service, '/') || services_builtin(listen->service))
		return NULL;
	return "expected after = one of echo, discard, chargen, daytime, time, "
	       "or the path of a shared object such as ./mine.so";
}

static const char *
parse_listen(struct config *config, const char *value)
{
	struct config_listen *listen = &config->listen[config->listen_count];
	char text[ADDRESS_TEXT];
	const char *service, *expected;

	if (config->listen_count == CONFIG_LISTEN_MAX)
		return "expected at most 64 addresses";
	service = cut(value, '=', text, sizeof text);
	if (!service || !address_parse(text, &listen->address))
		return "expected ADDRESS:PORT such as 127.0.0.1:8080, "
		       "[::1]:8080, or :8080 for every address";
	for (unsigned i = 0; i < config->listen_count; i++)
		if (address_overlaps(
			&listen->address, &config->listen[i].address))
			return "expected an address and port that no other "
			       "listen covers";
	expected = parse_service(listen, strchr(value, '=') ? service : "echo");
	if (!expected)
		config->listen_count++;
	return expected;
}

static void
print_listen(const struct config *config, FILE *out)
{
	for (unsigned i = 0; i < config->listen_count; i++) {
		const struct config_listen *listen = &config->listen[i];

		if (listen->address.any_family)
			fprintf(out, "listen = :%u",
			    address_port(&listen->address));
		else
			fprintf(out, "listen = %s",
			    address_format(&listen->address).text);
		if (strcmp(listen->service, "echo") != 0 || *listen->argument)
			fprintf(out, "=%s%s%s", listen->service,
			    *listen->argument ? ":" : "", listen->argument);
		fputc('\n', out);
	}
}

/* CPUs that this process may run on, as sched_setaffinity(2), a cpuset or
 * systemd's CPUAffinity= left them. */
static unsigned
usable_cpus(void)
{
	cpu_set_t cpus;
	int count = 1;

	if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
		count = CPU_COUNT(&cpus);
	return count < CONFIG_WORKERS_MAX ? (unsigned)count
					  : CONFIG_WORKERS_MAX;
}

static const char *
parse_workers(struct config *config, const char *value)
{
	if (strcmp(value, "auto") == 0) {
		config->workers = usable_cpus();
		return NULL;
	}
	return parse_count(value, 1, CONFIG_WORKERS_MAX, &config->workers)
	    ? NULL
	    : "expected auto or a number from 1 to 1024";
}

static void
print_workers(const struct config *config, FILE *out)
{
	fprintf(out, "workers = %u\n", config->workers);
}

static const char *
parse_backlog(struct config *config, const char *value)
{
	return parse_count(value, 1, 65535, &config->backlog)
	    ? NULL
	    : "expected a number from 1 to 65535";
}

static void
print_backlog(const struct config *config, FILE *out)
{
	fprintf(out, "backlog = %u\n", config->backlog);
}

static const char *
parse_max_connections(struct config *config, const char *value)
{
	return parse_count(value, 1, 1000000, &config->max_connections)
	    ? NULL
	    : "expected a number from 1 to 1000000";
}

static void
print_max_connections(const struct config *config, FILE *out)
{
	fprintf(out, "max-connections = %u\n", config->max_connections);
}

static const char *
parse_idle_timeout(struct config *config, const char *value)
{
	return parse_duration(value, &config->idle_timeout_ms);
}

static void
print_idle_timeout(const struct config *config, FILE *out)
{
	print_duration(out, "idle-timeout", config->idle_timeout_ms);
}

static const char *
parse_write_timeout(struct config *config, const char *value)
{
	return parse_duration(value, &config->write_timeout_ms);
}

static void
print_write_timeout(const struct config *config, FILE *out)
{
	print_duration(out, "write-timeout", config->write_timeout_ms);
}

static const char *
parse_drain_timeout(struct config *config, const char *value)
{
	return parse_duration(value, &config->drain_timeout_ms);
}

static void
print_drain_timeout(const struct config *config, FILE *out)
{
	print_duration(out, "drain-timeout", config->drain_timeout_ms);
}

static const char *
parse_hang_timeout(struct config *config, const char *value)
{
	return parse_duration(value, &config->hang_timeout_ms);
}

static void
print_hang_timeout(const struct config *config, FILE *out)
{
	print_duration(out, "hang-timeout", config->hang_timeout_ms);
}

static const char *
parse_log_level(struct config *config, const char *value)
{
	for (int level = 0; level < LOG_LEVELS; level++)
		if (strcmp(value, log_level_names[level]) == 0) {
			config->log_level = (enum log_level)level;
			return NULL;
		}
	return "expected error, warning, info or debug";
}

static void
print_log_level(const struct config *config, FILE *out)
{
	fprintf(out, "log-level = %s\n", log_level_names[config->log_level]);
}

static const char *
parse_pin_cpus(struct config *config, const char *value)
{
	/* On the command line the option alone says yes. */
	config->pin_cpus = !value || strcmp(value, "yes") == 0;
	return config->pin_cpus || strcmp(value, "no") == 0
	    ? NULL
	    : "expected yes or no";
}

static void
print_pin_cpus(const struct config *config, FILE *out)
{
	fprintf(out, "pin-cpus = %s\n", config->pin_cpus ? "yes" : "no");
}

static const struct rule {
	struct config_key key;
	parse_function *parse;
	print_function *print;
} rules[] = {
	{ { "listen", 'l', true }, parse_listen, print_listen },
	{ { "workers", 'w', true }, parse_workers, print_workers },
	{ { "backlog", 0, true }, parse_backlog, print_backlog },
	{ { "max-connections", 0, true }, parse_max_connections,
	    print_max_connections },
	{ { "idle-timeout", 0, true }, parse_idle_timeout, print_idle_timeout },
	{ { "write-timeout", 0, true }, parse_write_timeout,
	    print_write_timeout },
	{ { "drain-timeout", 0, true }, parse_drain_timeout,
	    print_drain_timeout },
	{ { "hang-timeout", 0, true }, parse_hang_timeout, print_hang_timeout },
	{ { "log-level", 0, true }, parse_log_level, print_log_level },
	{ { "pin-cpus", 0, false }, parse_pin_cpus, print_pin_cpus },
	{ { NULL, 0, false }, NULL, NULL },
};

enum { RULES = sizeof rules / sizeof rules[0] - 1 };

const struct config_key *
config_key(size_t index)
{
	return &rules[index].key;
}

static const struct rule *
find_rule(const char *name)
{
	for (const struct rule *rule = rules; rule->key.name; rule++)
		if (strcmp(rule->key.name, name) == 0)
			return rule;
	return NULL;
}

static void __attribute__((format(printf, 2, 3)))
complain(const struct config_report *report, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	report->error(report->context, message);
}

static void
set_defaults(struct config *config)
{
	memset(config, 0, sizeof *config);
	config->workers = usable_cpus();
	config->backlog = 4096;
	config->max_connections = 16384;
	config->write_timeout_ms = 60000;
	config->drain_timeout_ms = 30000;
	config->hang_timeout_ms = 30000;
	config->log_level = LOG_INFO;
}

/* Cuts a comment and the white space around what is left. */
static char *
trim(char *text)
{
	char *end = text + strcspn(text, "#");

	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

/* The file being read, for its messages. */
struct reader {
	const char *path;
	unsigned line;
	unsigned seen[RULES]; /* the line in which a key was set, or 0 */
	const struct config_report *report;
};

static bool
complain_unknown(const struct reader *reader, const char *key)
{
	char names[MESSAGE_BYTES / 2] = "";
	size_t length = 0;

	for (const struct rule *rule = rules; rule->key.name; rule++)
		length +=
		    (size_t)snprintf(names + length, sizeof names - length,
			"%s%s", length ? ", " : "", rule->key.name);
	complain(reader->report,
	    "%s:%u: %.64s: unknown key: expected one of %s", reader->path,
	    reader->line, key, names);
	return false;
}

static bool
set_from_file(struct reader *reader, struct config *config, const char *key,
    const char *value)
{
	const struct rule *rule = find_rule(key);
	const char *expected;
	unsigned *seen;

	if (!rule)
		return complain_unknown(reader, key);
	seen = &reader->seen[rule - rules];
	if (*seen != 0 && rule->parse != parse_listen) {
		complain(reader->report,
		    "%s:%u: %s: already set in line %u: expected it once",
		    reader->path, reader->line, key, *seen);
		return false;
	}
	*seen = reader->line;
	expected = rule->parse(config, value);
	if (expected)
		complain(reader->report,
		    "%s:%u: %s: invalid value \"%.100s\": %s", reader->path,
		    reader->line, key, value, expected);
	return !expected;
}

static bool
read_line(
    struct reader *reader, struct config *config, char *line, size_t length)
{
	bool text = strlen(line) == length;
	char *key = trim(line);
	char *equals = strchr(key, '=');

	if (text && *key == '\0')
		return true;
	if (!text) {
		complain(reader->report,
		    "%s:%u: %.64s: a NUL byte: expected a text file",
		    reader->path, reader->line, key);
		return false;
	}
	if (!equals) {
		complain(reader->report,
		    "%s:%u: %.64s: no value: expected key = value",
		    reader->path, reader->line, key);
		return false;
	}
	*equals = '\0';
	return set_from_file(reader, config, trim(key), trim(equals + 1));
}

static bool
complain_unreadable(const struct reader *reader)
{
	complain(reader->report,
	    "%s: cannot read it: %s: expected a readable configuration file",
	    reader->path, strerror(errno));
	return false;
}

static bool
read_file(
    const char *path, struct config *config, const struct config_report *report)
{
	struct reader reader = { .path = path, .report = report };
	FILE *file = fopen(path, "re");
	bool valid = true;
	char *line = NULL;
	size_t size = 0;
	ssize_t length;

	if (!file)
		return complain_unreadable(&reader);
	while ((length = getline(&line, &size, file)) >= 0) {
		reader.line++;
		if (!read_line(&reader, config, line, (size_t)length))
			valid = false;
	}
	if (ferror(file))
		valid = complain_unreadable(&reader);
	free(line);
	fclose(file);
	return valid;
}

static bool
apply_overrides(const struct config_source *source, struct config *config,
    const struct config_report *report)
{
	bool valid = true, listens = false;

	for (size_t i = 0; i < source->override_count; i++) {
		const struct config_override *override = &source->overrides[i];
		const struct rule *rule = find_rule(override->key);
		const char *expected;

		if (rule->parse == parse_listen && !listens) {
			listens = true; /* replaces the file's list */
			config->listen_count = 0;
		}
		expected = rule->parse(config, override->value);
		if (!expected)
			continue;
		complain(report, "preforkd: --%s: invalid value \"%.100s\": %s",
		    override->key, override->value, expected);
		valid = false;
	}
	return valid;
}

enum config_result
config_load(const struct config_source *source, struct config *config,
    const struct config_report *report)
{
	bool file_valid = true, options_valid;

	set_defaults(config);
	if (source->file)
		file_valid = read_file(source->file, config, report);
	options_valid = apply_overrides(source, config, report);
	if (config->listen_count == 0)
		parse_listen(config, ":8080");
	if (!options_valid)
		return CONFIG_BAD_OPTIONS;
	return file_valid ? CONFIG_VALID : CONFIG_BAD_FILE;
}

void
config_print(const struct config *config, FILE *out)
{
	for (const struct rule *rule = rules; rule->key.name; rule++)
		rule->print(config, out);
}

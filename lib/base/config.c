#include "lib/base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "lib/base/cpus.h"
#include "lib/base/fetch.h"
#include "lib/base/file.h"
#include "lib/base/memory.h"
#include "lib/base/service.h"
#include "lib/base/text.h"

enum {
	MESSAGE_BYTES = 1024,
	PATH_SHOWN = 200, /* bytes, as of the following */
	VALUE_SHOWN = 100,
	KEY_SHOWN = 64,
	FILE_BYTES = 1024 * 1024, /* of a configuration file, at most */
};

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

/* Keeps the LENGTH bytes of NAME in CONFIG, once. Returns whether there is
 * room, and PLACE. */
static bool
keep_name(
    struct config *config, const char *name, size_t length, uint32_t *place)
{
	const char *end = config->names + config->names_used;

	for (const char *known = config->names; known < end;
	     known += strlen(known) + 1)
		if (strlen(known) == length &&
		    memcmp(known, name, length) == 0) {
			*place = (uint32_t)(known - config->names);
			return true;
		}
	if (length > CONFIG_NAME_MAX ||
	    length >= CONFIG_NAMES - config->names_used)
		return false;
	*place = config->names_used;
	memcpy(config->names + *place, name, length);
	config->names[*place + length] = '\0';
	config->names_used += (uint32_t)length + 1;
	return true;
}

/* What the file cannot say, and the command line therefore shall not: what is
 * printed could not be read again. */
static const char *
find_unwritable(const char *text, const char *end)
{
	bool after_space = false;

	for (; text < end; text++) {
		if (iscntrl((unsigned char)*text))
			return "expected no control characters in it";
		if (*text == '#' && after_space)
			return "expected no # behind white space, where a "
			       "comment begins";
		after_space = *text == ' ';
	}
	return NULL;
}

static const char *
expect_service(const char *typed)
{
	static char expected[160]; /* until it is reported */
	struct text_guess guess = { .typed = typed };

	for (size_t i = 0; builtin_services[i]; i++)
		text_consider(&guess, builtin_services[i]->name);
	snprintf(expected, sizeof expected,
	    "expected after = %s%sone of echo, discard, chargen, daytime, "
	    "time, or the path of a shared object such as ./mine.so",
	    guess.nearest ? guess.nearest : "", guess.nearest ? ", " : "");
	return expected;
}

static const char *
parse_service(struct config *config, unsigned n, const char *value)
{
	const char *colon = strchrnul(value, ':');
	const char *service, *argument = *colon ? colon + 1 : colon;
	const char *end = argument + strlen(argument), *wrong;

	while (end > argument && isspace((unsigned char)end[-1]))
		end--; /* as at the end of a line */
	wrong = find_unwritable(value, end);
	if (wrong)
		return wrong;
	if (!keep_name(config, value, (size_t)(colon - value),
		&config->listen[n].service) ||
	    !keep_name(config, argument, (size_t)(end - argument),
		&config->listen[n].argument))
		return "expected a service's path and its argument of at most "
		       "4095 bytes each, and 32 KiB of them in all";
	service = config_service(config, n);
	if (strchr(service, '/'))
		return isspace((unsigned char)colon[-1])
		    ? "expected no white space behind the service's path"
		    : NULL;
	if (services_builtin(service))
		return end > argument
		    ? "expected no argument behind a built-in service"
		    : NULL;
	return expect_service(service);
}

/* Cuts VALUE at its = into an ADDRESS and what lies behind it, without the
 * blanks around it. */
static const char *
cut_address(const char *value, char address[ADDRESS_TEXT])
{
	const char *equals = strchrnul(value, '=');
	const char *end = equals, *service = *equals ? equals + 1 : "echo";

	while (end > value && isblank((unsigned char)end[-1]))
		end--;
	*address = '\0';
	if (end - value < ADDRESS_TEXT)
		snprintf(
		    address, ADDRESS_TEXT, "%.*s", (int)(end - value), value);
	while (isblank((unsigned char)*service))
		service++;
	return service;
}

static const char *
parse_listen(struct config *config, const char *value)
{
	struct config_listen *listen = &config->listen[config->listen_count];
	char address[ADDRESS_TEXT];
	const char *service, *expected;

	if (config->listen_count == CONFIG_LISTEN_MAX)
		return "expected at most 64 addresses";
	service = cut_address(value, address);
	expected = address_parse(address, &listen->address);
	if (!expected)
		expected = parse_service(config, config->listen_count, service);
	if (expected)
		return expected;
	listen->line = listen->ordinal = 0;
	config->listen_count++;
	return NULL;
}

/* The address as it is written in the file. */
static struct address_text
listen_text(const struct config_listen *listen)
{
	struct address_text result;

	if (!listen->address.any_family)
		return address_format(&listen->address);
	snprintf(result.text, sizeof result.text, ":%u",
	    address_port(&listen->address));
	return result;
}

static void
print_listen(const struct config *config, FILE *out)
{
	for (unsigned i = 0; i < config->listen_count; i++) {
		const char *service = config_service(config, i);
		const char *argument = config_argument(config, i);

		fprintf(
		    out, "listen = %s", listen_text(&config->listen[i]).text);
		if (strcmp(service, "echo") != 0)
			fprintf(out, "=%s%s%s", service, *argument ? ":" : "",
			    argument);
		fputc('\n', out);
	}
}

static unsigned
usable_cpus(void)
{
	unsigned count = cpus_usable();

	return count < CONFIG_WORKERS_MAX ? count : CONFIG_WORKERS_MAX;
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

/* A quarter of what there is: the kernel's buffers for the same clients, and
 * what services have for themselves, take their part as well. */
static uint64_t
memory_share(void)
{
	return (memory_limit() / 4) >> 20 << 20;
}

static const char *
parse_memory(struct config *config, const char *value)
{
	static const char units[] = "KMGT";
	uint64_t number;
	const char *rest = read_number(value, 1ULL << 40, &number);
	const char *unit = rest && *rest ? strchr(units, *rest) : NULL;

	if (strcmp(value, "auto") == 0) {
		config->memory_bytes = memory_share();
		return NULL;
	}
	if (!rest || (unit ? rest[1] != '\0' : *rest || number != 0) ||
	    (unit && number > (1ULL << 40) >> 10 * (unit - units)))
		return "expected auto, 0 or a size such as 512K, 64M or 2G, "
		       "at most 1024T";
	config->memory_bytes = unit ? number << 10 * (unit - units + 1) : 0;
	return NULL;
}

static void
print_memory(const struct config *config, FILE *out)
{
	static const char units[] = "KMGT";
	uint64_t number = config->memory_bytes >> 10;
	size_t unit = 0;

	while (units[unit + 1] && number > 0 && number % 1024 == 0) {
		number /= 1024;
		unit++;
	}
	if (number == 0)
		fputs("memory = 0\n", out);
	else
		fprintf(
		    out, "memory = %ju%c\n", (uintmax_t)number, units[unit]);
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
parse_start_timeout(struct config *config, const char *value)
{
	return parse_duration(value, &config->start_timeout_ms);
}

static void
print_start_timeout(const struct config *config, FILE *out)
{
	print_duration(out, "start-timeout", config->start_timeout_ms);
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
	/* On the command line the option alone says yes, too. */
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
	{ { "memory", 0, true }, parse_memory, print_memory },
	{ { "idle-timeout", 0, true }, parse_idle_timeout, print_idle_timeout },
	{ { "write-timeout", 0, true }, parse_write_timeout,
	    print_write_timeout },
	{ { "drain-timeout", 0, true }, parse_drain_timeout,
	    print_drain_timeout },
	{ { "hang-timeout", 0, true }, parse_hang_timeout, print_hang_timeout },
	{ { "start-timeout", 0, true }, parse_start_timeout,
	    print_start_timeout },
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

const char *
config_expected(const char *key)
{
	static struct config scratch;

	return find_rule(key)->parse(&scratch, ""); /* no key takes that */
}

static void
set_defaults(struct config *config)
{
	memset(config, 0, sizeof *config);
	config->names_used = 1; /* "" */
	config->workers = usable_cpus();
	config->backlog = 4096;
	config->max_connections = 16384;
	config->memory_bytes = memory_share();
	config->write_timeout_ms = 60000;
	config->drain_timeout_ms = 30000;
	config->hang_timeout_ms = 30000;
	config->start_timeout_ms = 90000;
	config->log_level = LOG_INFO;
}

/* Where a comment begins: at a # that begins the line or stands behind white
 * space, so that a path may have one; or the end. */
static char *
find_comment(char *text)
{
	char *mark = text;

	while ((mark = strchr(mark, '#')) && mark > text &&
	    !isspace((unsigned char)mark[-1]))
		mark++;
	return mark ? mark : text + strlen(text);
}

/* Cuts the white space around TEXT. */
static char *
trim(char *text)
{
	char *end = text + strlen(text);

	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	*end = '\0';
	while (isspace((unsigned char)*text))
		text++;
	return text;
}

/* Where settings come from, for the messages. */
struct reader {
	const char *path; /* NULL: the command line */
	bool again;	  /* this is a reload */
	unsigned line;
	unsigned seen[RULES]; /* the line in which a key was set, or 0 */
	const struct config_report *report;
};

/* Writes "path:line: " or "preforkd: --", which is what a key follows there.
 * Of a long path the end is shown. */
static size_t
write_place(const struct reader *reader, char *text, size_t size)
{
	const char *tail;

	if (!reader->path)
		return (size_t)snprintf(text, size, "preforkd: --");
	tail = text_tail(reader->path, PATH_SHOWN);
	return (size_t)snprintf(text, size,
	    "%s%s:%u: ", tail == reader->path ? "" : "...", tail, reader->line);
}

/* Reports an error at the reader's place. */
static void __attribute__((format(printf, 2, 3)))
complain(const struct reader *reader, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	size_t length = write_place(reader, message, sizeof message);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message + length, sizeof message - length, format, arguments);
	va_end(arguments);
	reader->report->error(reader->report->context, message);
}

/* The address before the last that no server could listen on beside it, or
 * NULL. */
static const struct config_listen *
find_conflict(const struct config *config)
{
	const struct config_listen *last =
	    &config->listen[config->listen_count - 1];

	for (const struct config_listen *other = config->listen; other < last;
	     other++)
		if (address_overlaps(&other->address, &last->address))
			return other;
	return NULL;
}

static unsigned
count_same(const struct config *config)
{
	const struct config_listen *last =
	    &config->listen[config->listen_count - 1];
	unsigned count = 0;

	for (const struct config_listen *other = config->listen; other < last;
	     other++)
		count += address_equal(&other->address, &last->address);
	return count;
}

/* The last address of CONFIG is new, from VALUE; one that conflicts is taken
 * back. */
static bool
settle_listen(
    const struct reader *reader, struct config *config, const char *value)
{
	struct config_listen *last = &config->listen[config->listen_count - 1];
	const struct config_listen *other = find_conflict(config);
	char line[32] = "";

	last->line = reader->line;
	last->ordinal = count_same(config);
	if (!other)
		return true;
	if (other->line != 0)
		snprintf(line, sizeof line, " in line %u", other->line);
	complain(reader,
	    "listen: invalid value \"%.*s\": expected an address and port "
	    "that no other listen covers, as \"%s\"%s does",
	    text_cut(value, VALUE_SHOWN), value, listen_text(other).text, line);
	config->listen_count--;
	return false;
}

static bool
set(const struct reader *reader, struct config *config, const struct rule *rule,
    const char *value)
{
	const char *expected;

	if (value && (*value == '"' || *value == '\''))
		expected = "expected it without quotes";
	else
		expected = rule->parse(config, value);
	if (!expected)
		return rule->parse != parse_listen ||
		    settle_listen(reader, config, value);
	complain(reader, "%s: invalid value \"%.*s\": %s", rule->key.name,
	    text_cut(value, VALUE_SHOWN), value, expected);
	return false;
}

/* What other servers call our keys. */
static const struct {
	const char *theirs, *ours;
} synonyms[] = {
	{ "port", "listen" },
	{ "address", "listen" },
	{ "bind", "listen" },
	{ "host", "listen" },
	{ "threads", "workers" },
	{ "processes", "workers" },
	{ "timeout", "idle-timeout" },
	{ "graceful-timeout", "drain-timeout" },
};

const char *
config_nearest_key(const char *typed)
{
	struct text_guess guess = { .typed = typed };

	for (size_t i = 0; i < sizeof synonyms / sizeof synonyms[0]; i++)
		if (strcmp(synonyms[i].theirs, typed) == 0)
			return synonyms[i].ours;
	for (const struct rule *rule = rules; rule->key.name; rule++)
		text_consider(&guess, rule->key.name);
	return guess.nearest;
}

static bool
complain_unknown(const struct reader *reader, const char *key)
{
	const char *nearest = config_nearest_key(key);
	char names[MESSAGE_BYTES / 2] = "";
	size_t length = 0;

	for (const struct rule *rule = rules; rule->key.name; rule++)
		length +=
		    (size_t)snprintf(names + length, sizeof names - length,
			"%s%s", length ? ", " : "", rule->key.name);
	complain(reader, "%.*s: unknown key: %s%s%sexpected one of %s",
	    text_cut(key, KEY_SHOWN), key, nearest ? "did you mean " : "",
	    nearest ? nearest : "", nearest ? "? " : "", names);
	return false;
}

static bool
set_from_file(struct reader *reader, struct config *config, const char *key,
    const char *value)
{
	const struct rule *rule = find_rule(key);
	unsigned *seen;

	if (!rule)
		return complain_unknown(reader, key);
	seen = &reader->seen[rule - rules];
	if (*seen != 0 && rule->parse != parse_listen) {
		complain(reader, "%s: already set in line %u: expected it once",
		    key, *seen);
		return false;
	}
	*seen = reader->line;
	config->settings++;
	return set(reader, config, rule, value);
}

/* Windows' editors begin a file with a byte order mark. */
static char *
skip_mark(const struct reader *reader, char *line)
{
	static const char mark[] = "\xef\xbb\xbf";

	if (reader->line == 1 && strncmp(line, mark, sizeof mark - 1) == 0)
		return line + sizeof mark - 1;
	return line;
}

static bool
read_line(
    struct reader *reader, struct config *config, char *line, size_t length)
{
	bool text = strlen(line) == length;
	char *key = skip_mark(reader, line), *equals;
	const char *wrong = NULL;

	*find_comment(key) = '\0';
	key = trim(key);
	equals = strchr(key, '=');
	if (text && *key == '\0')
		return true;
	if (!text)
		wrong = "a NUL byte: expected a text file";
	else if (!equals)
		wrong = "no value: expected key = value";
	else if (equals == key)
		wrong = "no key: expected key = value";
	if (wrong) {
		complain(
		    reader, "%.*s: %s", text_cut(key, KEY_SHOWN), key, wrong);
		return false;
	}
	*equals = '\0';
	return set_from_file(reader, config, trim(key), trim(equals + 1));
}

/* Something is wrong with the file as a whole. */
static bool
refuse_file(const struct reader *reader, const char *cause)
{
	const char *tail = text_tail(reader->path, 2UL * PATH_SHOWN);
	char message[MESSAGE_BYTES];

	snprintf(message, sizeof message, "%s%s: %s",
	    tail == reader->path ? "" : "...", tail, cause);
	reader->report->error(reader->report->context, message);
	return false;
}

static bool
complain_unreadable(const struct reader *reader, const char *cause)
{
	char message[MESSAGE_BYTES / 2];

	snprintf(message, sizeof message,
	    "cannot read it: %s: expected a readable configuration file%s",
	    cause, reader->again ? ", to be read anew at each reload" : "");
	return refuse_file(reader, message);
}

/* Reads the lines of TEXT, of COUNT bytes. */
static bool
read_lines(
    struct reader *reader, struct config *config, char *text, size_t count)
{
	char *end = text + count, *line_end;
	bool valid = true;

	for (; text < end; text = line_end + 1) {
		line_end = memchr(text, '\n', (size_t)(end - text));
		if (!line_end)
			line_end = end;
		*line_end = '\0';
		reader->line++;
		if (!read_line(reader, config, text, (size_t)(line_end - text)))
			valid = false;
	}
	return valid;
}

/* At a reload there are clients, who are not to wait for a file system. */
static char *
read_text(const struct reader *reader, size_t *count, const char **error)
{
	int fd;

	if (reader->again)
		return fetch_file(reader->path, FILE_BYTES, count, error);
	fd = file_open(reader->path, true, FILE_BYTES, error);
	return fd < 0 ? NULL : file_read(fd, FILE_BYTES, count, error);
}

static bool
read_file(struct reader *reader, struct config *config)
{
	const char *error;
	size_t count;
	char *text = read_text(reader, &count, &error);
	bool valid;

	if (!text)
		return complain_unreadable(reader, error);
	valid = read_lines(reader, config, text, count);
	free(text);
	return valid;
}

static bool
apply_overrides(const struct config_source *source, struct config *config,
    const struct config_report *report)
{
	const struct reader reader = { .report = report };
	bool valid = true, listens = false;

	for (size_t i = 0; i < source->override_count; i++) {
		const struct config_override *override = &source->overrides[i];
		const struct rule *rule = find_rule(override->key);

		if (rule->parse == parse_listen && !listens) {
			listens = true; /* replaces the file's list */
			config->listen_count = 0;
		}
		if (!set(&reader, config, rule, override->value))
			valid = false;
	}
	return valid;
}

void
config_complain(const struct config_source *source, const struct config *config,
    unsigned n, const char *what, const struct config_report *report)
{
	unsigned line = config->listen[n].line;
	const struct reader reader = { .path = line ? source->file : NULL,
		.line = line,
		.report = report };

	complain(&reader, "listen: %s", what);
}

static enum config_result
load(const struct config_source *source, struct config *config, bool again,
    const struct config_report *report)
{
	struct reader reader = {
		.path = source->file, .again = again, .report = report
	};
	bool file_valid = true, options_valid;

	set_defaults(config);
	if (source->file)
		file_valid = read_file(&reader, config);
	options_valid = apply_overrides(source, config, report);
	if (config->listen_count == 0)
		parse_listen(config, ":8080");
	if (!options_valid)
		return CONFIG_BAD_OPTIONS;
	return file_valid ? CONFIG_VALID : CONFIG_BAD_FILE;
}

enum config_result
config_load(const struct config_source *source, struct config *config,
    const struct config_report *report)
{
	return load(source, config, false, report);
}

/* A file that an editor, a full disk or a template has emptied would otherwise
 * mean the defaults: the server's addresses closed, and one open to all. */
enum config_result
config_reload(const struct config_source *source, const struct config *in_force,
    struct config *next, const struct config_report *report)
{
	const struct reader reader = {
		.path = source->file, .again = true, .report = report
	};
	enum config_result result = load(source, next, true, report);

	if (result != CONFIG_VALID || next->settings > 0 ||
	    in_force->settings == 0)
		return result;
	refuse_file(&reader,
	    "no setting is left in it: expected key = value, or a restart for "
	    "the defaults");
	return CONFIG_BAD_FILE;
}

void
config_print(const struct config *config, FILE *out)
{
	for (const struct rule *rule = rules; rule->key.name; rule++)
		rule->print(config, out);
}

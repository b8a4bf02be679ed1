/* The command line. */
#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/stream/stream.h"

enum kind { TEXT, NUMBER, RANGE, FLAG };

/* RANGE fills the field and the one behind it. */
static const struct row {
	const char *name;
	enum kind kind;
	size_t offset;
} rows[] = {
	{ "host", TEXT, offsetof(struct options, host) },
	{ "port", TEXT, offsetof(struct options, port) },
	{ "connections", NUMBER, offsetof(struct options, connections) },
	{ "bytes", NUMBER, offsetof(struct options, bytes) },
	{ "message", RANGE, offsetof(struct options, message_min) },
	{ "interval", NUMBER, offsetof(struct options, interval_ms) },
	{ "rounds", NUMBER, offsetof(struct options, rounds) },
	{ "seconds", NUMBER, offsetof(struct options, seconds) },
	{ "ping-pong", FLAG, offsetof(struct options, ping_pong) },
	{ "half-close", FLAG, offsetof(struct options, half_close) },
	{ "hold", FLAG, offsetof(struct options, hold) },
	{ "never-read", FLAG, offsetof(struct options, never_read) },
	{ "oob", FLAG, offsetof(struct options, oob) },
	{ "fin-at-random", FLAG, offsetof(struct options, fin_at_random) },
	{ "reset-at-random", FLAG, offsetof(struct options, reset_at_random) },
	{ "allow-cut", FLAG, offsetof(struct options, allow_cut) },
	{ "mixed", FLAG, offsetof(struct options, mixed) },
	{ "progress", FLAG, offsetof(struct options, progress) },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static _Noreturn void
misuse(const char *message)
{
	fprintf(stderr, "stream: %s\n", message);
	exit(2);
}

/* A number, with K, M or G for powers of 1024. Returns what is behind it, or
 * NULL where there is none. */
static const char *
read_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMG";
	const char *unit;
	char *end;

	errno = 0;
	*size = strtoull(text, &end, 10);
	if (end == text || errno != 0 || *text == '-')
		return NULL;
	unit = *end == '\0' ? NULL : strchr(units, *end);
	if (!unit)
		return end;
	*size <<= 10 * (unit - units + 1);
	return end + 1;
}

/* One number, or with RANGE two joined by a "-". */
static bool
read_numbers(const char *text, bool range, uint64_t *low, uint64_t *high)
{
	const char *end = read_size(text, low);

	*high = *low;
	if (end && *end == '-' && range)
		end = read_size(end + 1, high);
	return end && *end == '\0' && *low <= *high;
}

static void
set_number(const struct row *row, const char *text, uint64_t *field)
{
	bool range = row->kind == RANGE;
	uint64_t low, high;

	if (!read_numbers(text, range, &low, &high)) {
		fprintf(stderr,
		    "stream: --%s: invalid value \"%s\": expected a number%s\n",
		    row->name, text, range ? " or MIN-MAX" : "");
		exit(2);
	}
	field[0] = low;
	if (range)
		field[1] = high;
}

static void
set(struct options *o, const struct row *row)
{
	void *field = (char *)o + row->offset;

	if (row->kind == TEXT)
		*(const char **)field = optarg;
	else if (row->kind == FLAG)
		*(bool *)field = true;
	else
		set_number(row, optarg, field);
}

/* For getopt_long(3), which returns a row's index. */
static void
describe(struct option options[ROWS + 1])
{
	for (int i = 0; i < ROWS; i++)
		options[i] = (struct option) { .name = rows[i].name,
			.has_arg = rows[i].kind == FLAG ? no_argument
							: required_argument,
			.val = i };
}

void
options_read(struct options *o, int argc, char *argv[])
{
	struct option options[ROWS + 1] = { { .name = NULL } };
	int row;

	describe(options);
	while ((row = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (row >= ROWS)
			misuse("see the options in tests/stream/options.c");
		set(o, &rows[row]);
	}
	o->in_rounds = o->rounds != NO_ROUNDS;
	o->half_close = o->half_close || o->fin_at_random;
	if (*o->port == '\0' || o->message_min == 0 || optind < argc)
		misuse("--port is needed, --message must be at least 1, and "
		       "there are no arguments besides");
}

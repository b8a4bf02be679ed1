#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/chaos/chaos.h"

static const char help[] =
    "Usage: chaos [OPTION]...   kills workers while clients check every byte\n"
    "What is done\n"
    "  --seconds N       for so long (20)\n"
    "  --kills N         or until so many signals have been sent\n"
    "  --interval MS     between two of them (10)\n"
    "  --signals LIST    at random one of KILL,SEGV,ABRT,TERM (KILL)\n"
    "  --whom WHOM       workers, standbys, loaders, all or nobody (all)\n"
    "  --reloads N       SIGHUPs in ten seconds (20)\n"
    "  --emfile          the workers run out of descriptors\n"
    "Connections at a time of each load\n"
    "  --streams N       verified streams, some of whose readers pause (200)\n"
    "  --churn N         connect, echo, close at full rate (0)\n"
    "  --short N         a few bytes, and a FIN at a random moment (0)\n"
    "  --half-closed N   shut down, then read until the end (0)\n"
    "  --urgent N        streams with urgent data (0)\n"
    "  --resets N        reset at a random moment (0)\n"
    "The server\n"
    "  --server PATH     (./preforkd)   --workers N   (4)\n"
    "  --service SERVICE one that echoes, too (echo)\n"
    "  --master PID      one that runs already and has a load\n"
    "  --log FILE        keeps its log, with a line for each signal in it\n"
    "  --seed N          of the choices (the clock)\n";

static _Noreturn void
misuse(const char *option, const char *value, const char *expected)
{
	fprintf(stderr, "chaos: --%s: invalid value \"%s\": expected %s\n",
	    option, value, expected);
	exit(2);
}

static uint64_t
number(const char *option, const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end != '\0' || *text == '-')
		misuse(option, text, "a number");
	return value;
}

static void
option_signals(struct options *o, char *list)
{
	char *name;
	int i;

	memset(o->by, 0, sizeof o->by);
	while ((name = strsep(&list, ",")) != NULL) {
		for (i = 0; i < SIGNALS; i++)
			if (strcmp(name, signal_kinds[i].name) == 0)
				break;
		if (i == SIGNALS)
			misuse("signals", name, "KILL, SEGV, ABRT or TERM");
		o->by[i] = true;
	}
}

static void
option_whom(struct options *o, const char *name)
{
	static const char *const names[] = { [0] = "nobody",
		[WORKERS] = "workers",
		[STANDBYS] = "standbys",
		[LOADERS] = "loaders",
		[ALL] = "all" };

	for (o->whom = 0; o->whom <= ALL; o->whom++)
		if (names[o->whom] && strcmp(name, names[o->whom]) == 0)
			return;
	misuse("whom", name, "workers, standbys, loaders, all or nobody");
}

enum kind { TEXT, NUMBER, SIGNAL_LIST, WHOM, EMFILE, HELP };

static const struct row {
	const char *name;
	enum kind kind;
	size_t offset; /* TEXT and NUMBER: of the field */
} rows[] = {
	{ "server", TEXT, offsetof(struct options, server) },
	{ "service", TEXT, offsetof(struct options, service) },
	{ "log", TEXT, offsetof(struct options, log) },
	{ "master", NUMBER, offsetof(struct options, master) },
	{ "workers", NUMBER, offsetof(struct options, workers) },
	{ "seconds", NUMBER, offsetof(struct options, seconds) },
	{ "kills", NUMBER, offsetof(struct options, kills) },
	{ "interval", NUMBER, offsetof(struct options, interval_ms) },
	{ "reloads", NUMBER, offsetof(struct options, reloads) },
	{ "seed", NUMBER, offsetof(struct options, seed) },
	{ "streams", NUMBER, offsetof(struct options, connections[STREAMS]) },
	{ "churn", NUMBER, offsetof(struct options, connections[CHURN]) },
	{ "short", NUMBER, offsetof(struct options, connections[SHORT]) },
	{ "half-closed", NUMBER,
	    offsetof(struct options, connections[HALF_CLOSED]) },
	{ "urgent", NUMBER, offsetof(struct options, connections[URGENT]) },
	{ "resets", NUMBER, offsetof(struct options, connections[RESETS]) },
	{ "hogs", NUMBER, offsetof(struct options, connections[HOGS]) },
	{ "signals", SIGNAL_LIST, 0 },
	{ "whom", WHOM, 0 },
	{ "emfile", EMFILE, 0 },
	{ "help", HELP, 0 },
};

enum { ROWS = sizeof rows / sizeof rows[0] };

static void
set(struct options *o, const struct row *row)
{
	void *field = (char *)o + row->offset;

	switch (row->kind) {
	case TEXT:
		*(const char **)field = optarg;
		break;
	case NUMBER:
		*(uint64_t *)field = number(row->name, optarg);
		break;
	case SIGNAL_LIST:
		option_signals(o, optarg);
		break;
	case WHOM:
		option_whom(o, optarg);
		break;
	case EMFILE:
		o->emfile = true;
		break;
	case HELP:
		fputs(help, stdout);
		exit(0);
	}
}

/* For getopt_long(3), which returns a row's index. */
static void
describe(struct option options[ROWS + 1])
{
	for (int i = 0; i < ROWS; i++)
		options[i] = (struct option) { .name = rows[i].name,
			.has_arg = rows[i].kind < EMFILE ? required_argument
							 : no_argument,
			.val = i };
}

void
options_read(struct options *o, int argc, char *argv[])
{
	struct option options[ROWS + 1] = { { .name = NULL } };
	int row;

	describe(options);
	while ((row = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (row >= ROWS) {
			fputs("chaos: see --help\n", stderr);
			exit(2);
		}
		set(o, &rows[row]);
	}
	if (o->workers < 1 || o->workers > SLOTS)
		misuse("workers", "", "1 to 64");
	if (o->emfile && o->connections[HOGS] == 0)
		o->connections[HOGS] = 150 * o->workers;
}

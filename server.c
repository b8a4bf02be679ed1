/*
 * preforkd: a pre-fork TCP server, a worker for each core.
 *
 * The entry: what the command line asks for, and the sub-commands that need no
 * server. From here the reading order is master.c (what happens to slots), then
 * worker.c (what happens to connections), then lib/.
 */
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/base/config.h"
#include "lib/base/inherited.h"
#include "lib/base/log.h"
#include "lib/base/service.h"
#include "lib/base/text.h"
#include "lib/base/title.h"
#include "lib/master/trial.h"
#include "lib/slot/control.h"
#include "master.h"

enum { EXIT_USAGE = 2 };

static const char help[] =
    "Usage: preforkd [OPTION]...       a TCP server, one worker process for "
    "each core\n"
    "What to serve\n"
    "  -l, --listen ADDRESS:PORT[=SERVICE[:ARGUMENT]]     may be repeated\n"
    "                             127.0.0.1:7, [::1]:7, :7 for all addresses; "
    "port 0\n"
    "                             picks one; SERVICE is echo, discard, "
    "chargen,\n"
    "                             daytime, time, or ./mine.so (default "
    ":8080=echo)\n"
    "  -w, --workers N|auto       worker processes (auto: as many as CPUs)\n"
    "      --pin-cpus[=yes|no]    each worker on a CPU of its own (no)\n"
    "Limits; times as 500ms, 30s, 5m, 1h, or 0 for never\n"
    "      --max-connections N    of each worker; more wait in the queue "
    "(16384)\n"
    "      --backlog N            connections that may wait there (4096)\n"
    "      --memory SIZE|auto     for what slow clients leave waiting, in all "
    "(auto)\n"
    "      --idle-timeout TIME    close a connection that says nothing (0)\n"
    "      --write-timeout TIME   close a connection that does not read (1m)\n"
    "      --drain-timeout TIME   end so long after TERM, with 0 at once "
    "(30s)\n"
    "      --hang-timeout TIME    abort a worker that hangs for so long (30s)\n"
    "      --start-timeout TIME   what loading and starting services may take "
    "(90s)\n"
    "Configuration and log\n"
    "  -c, --config FILE          `key = value` lines; the command line "
    "wins\n"
    "  -t, --check                validate, print what is in force, exit\n"
    "      --log-level LEVEL      error, warning, info or debug (info)\n"
    "  -h, --help; -V, --version  print this, or the version; exit\n"
    "  HUP reload; TERM, INT stop; QUIT drain; USR1 log the state of each "
    "slot;\n"
    "  TTIN, TTOU one worker more, less. All of it: man preforkd\n";

/* What the command line asks for. */
struct command {
	struct config_source source;
	bool check, help, version;
	struct inherited inherited;
};

/* Values for getopt_long beyond any letter; the index of a configuration key
 * is added to the first. */
enum { OPTION_KEY = 256, OPTIONS_MAX = 32 };

/* Fills getopt's table from the configuration's, so that there is one list of
 * keys. LETTERS gets the short options. */
static void
list_options(struct option options[OPTIONS_MAX], char *letters)
{
	static const struct option own[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	size_t count = 0;

	strcpy(letters, "+:c:thV"); /* no option behind an argument */
	letters += strlen(letters);
	for (size_t i = 0; config_key(i)->name; i++) {
		const struct config_key *key = config_key(i);

		options[count++] = (struct option) { key->name,
			key->takes_value ? required_argument
					 : optional_argument,
			NULL, OPTION_KEY + (int)i };
		if (key->letter) {
			*letters++ = key->letter;
			*letters++ = ':';
		}
	}
	*letters = '\0';
	memcpy(&options[count], own, sizeof own);
}

static const char *
key_of_option(int option)
{
	if (option >= OPTION_KEY)
		return config_key((size_t)(option - OPTION_KEY))->name;
	for (size_t i = 0; config_key(i)->name; i++)
		if (config_key(i)->letter == option)
			return config_key(i)->name;
	return NULL;
}

static int
misuse(const char *what, const char *argument, const char *remedy)
{
	char message[512];

	snprintf(message, sizeof message, "preforkd: %s \"%.*s\"%s", what,
	    text_cut(argument, 200), argument, remedy);
	log_complaint(message);
	return EXIT_USAGE;
}

/* Puts the long options that ARGUMENT abbreviates into TEXT. Returns how many
 * there are. */
static int
list_matches(
    const char *argument, const struct option *options, char *text, size_t size)
{
	size_t length = strcspn(argument, "="), used = 0;
	int count = 0;

	*text = '\0';
	for (; options->name && length > 2 && used < size; options++)
		if (strncmp(argument + 2, options->name, length - 2) == 0)
			used += (size_t)snprintf(text + used, size - used,
			    "%s--%s", count++ ? ", " : "", options->name);
	return count;
}

static int
refuse_unknown(const char *argument, const struct option *options)
{
	char typed[64], remedy[128];
	struct text_guess guess = { .typed = typed };
	const char *nearest;

	snprintf(typed, sizeof typed, "%.*s", (int)strcspn(argument + 2, "="),
	    argument + 2);
	for (; options->name; options++)
		text_consider(&guess, options->name);
	nearest = guess.nearest ? guess.nearest : config_nearest_key(typed);
	snprintf(remedy, sizeof remedy, ": %s%s%ssee preforkd --help",
	    nearest ? "did you mean --" : "", nearest ? nearest : "",
	    nearest ? "? " : "");
	return misuse("unknown option", argument, remedy);
}

/* What getopt does not take. OPTOPT says whether it knows it at all. */
static int
refuse_option(const char *argument, const struct option *options)
{
	char matches[256], remedy[300];

	if (strncmp(argument, "--", 2) != 0)
		return misuse("unknown option",
		    (char[]) { '-', (char)optopt, 0 }, ": see preforkd --help");
	if (optopt != 0)
		return misuse("option", argument, " takes no value");
	if (list_matches(argument, options, matches, sizeof matches) < 2)
		return refuse_unknown(argument, options);
	snprintf(remedy, sizeof remedy, ": expected one of %s", matches);
	return misuse("ambiguous option", argument, remedy);
}

static int
refuse_without_value(const char *argument)
{
	const char *key = key_of_option(optopt);
	char remedy[300];

	snprintf(remedy, sizeof remedy, " needs a value: %s",
	    key ? config_expected(key)
		: "expected the path of a configuration file");
	if (strncmp(argument, "--", 2) == 0)
		return misuse("option", argument, remedy);
	return misuse("option", (char[]) { '-', (char)optopt, 0 }, remedy);
}

/* Returns 0, or the exit status. */
static int
take_option(struct command *command, int option, const char *value)
{
	struct config_source *source = &command->source;

	switch (option) {
	case 'c':
		source->file = value;
		return *value ? 0
			      : misuse("--config: invalid value", value,
				    ": expected the path of a configuration "
				    "file");
	case 't':
		command->check = true;
		return 0;
	case 'h':
		command->help = true;
		return 0;
	case 'V':
		command->version = true;
		return 0;
	}
	source->overrides[source->override_count++] =
	    (struct config_override) { key_of_option(option), value };
	return 0;
}

/* Returns 0, or the exit status. COMMAND keeps pointers into ARGV. */
static int
read_command_line(int argc, char **argv, struct command *command)
{
	struct option options[OPTIONS_MAX];
	char letters[2 * OPTIONS_MAX];
	int status = 0;

	opterr = 0; /* the messages are ours */
	list_options(options, letters);
	while (status == 0) {
		int position = optind, option;

		option = getopt_long(argc, argv, letters, options, NULL);
		if (option < 0)
			break;
		if (option == '?')
			return refuse_option(argv[position], options);
		if (option == ':')
			return refuse_without_value(argv[position]);
		status = take_option(command, option, optarg);
	}
	if (status == 0 && optind < argc)
		return misuse("unexpected argument", argv[optind],
		    ": see preforkd --help");
	return status;
}

static void
complain(void *context, const char *message)
{
	(void)context;
	log_complaint(message);
}

static int
print(const char *text)
{
	return fputs(text, stdout) < 0 || fflush(stdout) != 0;
}

/* Reports each interface that is not there. Returns false where one is not. */
static bool
check_zones(const struct config_source *source, const struct config *config,
    const struct config_report *report)
{
	char error[128];
	bool valid = true;

	for (unsigned n = 0; n < config->listen_count; n++) {
		struct address address = config->listen[n].address;

		if (address_find_zone(&address))
			continue;
		snprintf(error, sizeof error,
		    "no such interface here: expected %s to be one that `ip "
		    "link` shows",
		    address.zone);
		config_complain(source, config, n, error, report);
		valid = false;
	}
	return valid;
}

/* Loads what the configuration names. Returns false where some of it cannot be
 * loaded, all of which is reported. */
static bool
check_services(const struct config_source *source, const struct config *config,
    const struct config_report *report)
{
	char error[SERVICE_ERROR];
	bool valid = true;

	for (unsigned n = 0; n < config->listen_count; n++)
		if (!trial_load(config, n, error)) {
			config_complain(source, config, n, error, report);
			valid = false;
		}
	return valid;
}

static int
check(const struct config_source *source, const struct config *config,
    const struct config_report *report)
{
	bool zones = check_zones(source, config, report);

	if (!check_services(source, config, report) || !zones)
		return 1;
	config_print(config, stdout);
	return fflush(stdout) != 0;
}

static int
run(const struct command *command)
{
	const struct config_report report = { complain, NULL };
	struct config config;
	enum config_result result;

	if (command->help)
		return print(help);
	if (command->version)
		return print("preforkd " PREFORKD_VERSION "\n");
	result = config_load(&command->source, &config, &report);
	if (result == CONFIG_BAD_OPTIONS)
		return EXIT_USAGE;
	if (result == CONFIG_BAD_FILE)
		return command->check ? 1 : CONTROL_EXIT_PERMANENT;
	if (command->check)
		return check(&command->source, &config, &report);
	return master_run(&command->source, &config, &command->inherited);
}

/* Whatever is opened next would take the number of a standard stream that is
 * closed, and be written to, and inherited. Such a one becomes a file that
 * cannot be written to, so that what is to be printed fails as before. */
static void
occupy_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int
main(int argc, char **argv)
{
	char **arguments = title_claim(argc, argv);
	struct config_override *overrides =
	    calloc((size_t)argc + 1, sizeof *overrides);
	struct command command = { .source.overrides = overrides };
	int status = 1;

	inherited_take(&command.inherited);
	occupy_standard_streams();
	services_begin();
	if (arguments && overrides)
		status = read_command_line(argc, arguments, &command);
	else
		log_complaint("preforkd: no memory");
	if (status == 0)
		status = run(&command);
	free(overrides);
	title_free(arguments);
	return status;
}

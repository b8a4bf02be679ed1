#include "lib/base/service.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/object.h"
#include "lib/base/text.h"

enum { PATH_SHOWN = 200 }; /* bytes */

static uint32_t
hash_name(const char *name)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * 16777619u;
	return hash ? hash : 1;
}

const struct preforkd_service *
services_builtin(const char *name)
{
	for (size_t i = 0; builtin_services[i]; i++)
		if (strcmp(builtin_services[i]->name, name) == 0)
			return builtin_services[i];
	return NULL;
}

/* ---- where an object lies ------------------------------------------------ */

static char started_in[PATH_MAX]; /* that the server was started in */

/* $PWD keeps the links by which one came here: so a relative path follows a
 * link such as `current` that is switched to another release. */
void
services_begin(void)
{
	const char *logical = getenv("PWD");
	struct stat named, actual;

	if (logical && *logical == '/' && strlen(logical) < sizeof started_in &&
	    stat(logical, &named) == 0 && stat(".", &actual) == 0 &&
	    named.st_dev == actual.st_dev && named.st_ino == actual.st_ino)
		strcpy(started_in, logical);
	else if (!getcwd(started_in, sizeof started_in))
		*started_in = '\0';
}

struct service_path
services_locate(const char *path)
{
	struct service_path result;
	int length = -1;

	if (*path != '/' && *started_in)
		length = snprintf(result.text, sizeof result.text, "%s/%s",
		    strcmp(started_in, "/") == 0 ? "" : started_in,
		    strncmp(path, "./", 2) == 0 ? path + 2 : path);
	if (length < 0 || (size_t)length >= sizeof result.text)
		snprintf(result.text, sizeof result.text, "%s", path);
	return result;
}

static bool
is_below(const char *path, const char *parent)
{
	size_t length = strlen(parent);

	return strncmp(path, parent, length) == 0 && path[length] == '/';
}

/* Under systemd a file may be there for its owner and not for us. */
static const char *
find_hidden(const char *path)
{
	if (!getenv("INVOCATION_ID"))
		return "";
	if (is_below(path, "/home") || is_below(path, "/root") ||
	    is_below(path, "/run/user"))
		return ": a unit with ProtectHome= does not see it";
	if (is_below(path, "/tmp") || is_below(path, "/var/tmp"))
		return ": a unit with PrivateTmp= does not see it";
	return "";
}

/* ---- messages ------------------------------------------------------------ */

/* Of a long path the end is shown. */
static void __attribute__((format(printf, 3, 4)))
complain(char error[SERVICE_ERROR], const char *path, const char *format, ...)
{
	const char *tail = text_tail(path, PATH_SHOWN);
	size_t length = (size_t)snprintf(error, SERVICE_ERROR,
	    "service %s%s: ", tail == path ? "" : "...", tail);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(error + length, SERVICE_ERROR - length, format, arguments);
	va_end(arguments);
}

/* ---- shared objects ------------------------------------------------------ */

/* FILE is at PATH, whose absolute path is WHERE. */
static const struct preforkd_service *
find_table(const char *path, const char *where, int file, unsigned n,
    char error[SERVICE_ERROR])
{
	const char *cause;
	void *object = object_load(where, file, n, &cause), *table;

	if (!object) {
		complain(error, path,
		    "cannot load it: %s: expected a shared object (cc -shared "
		    "-fPIC)",
		    cause);
		return NULL;
	}
	table = dlsym(object, "preforkd_service");
	if (!table)
		complain(error, path,
		    "no symbol preforkd_service: expected the table of "
		    "preforkd.h");
	return table;
}

static bool
is_valid(const char *path, const struct preforkd_service *table,
    char error[SERVICE_ERROR])
{
	if (table->abi != PREFORKD_ABI)
		complain(error, path,
		    "its ABI is %u, expected %d: compile it with this "
		    "preforkd's preforkd.h",
		    table->abi, PREFORKD_ABI);
	else if (!table->name || !*table->name)
		complain(error, path, "no name: expected .name in its table");
	else if (!table->input)
		complain(error, path,
		    "no function `input`: expected .input in its table");
	else if (table->state_size > PREFORKD_STATE_MAX)
		complain(error, path,
		    "a state of %u bytes: expected at most %d",
		    table->state_size, PREFORKD_STATE_MAX);
	else
		return true;
	return false;
}

/* ---- threads ------------------------------------------------------------ */

/* A directory has a link from each one in it (fs/proc/base.c,
 * proc_task_getattr). 0 without /proc. */
static unsigned
threads_count(void)
{
	struct stat tasks;

	return stat("/proc/self/task", &tasks) == 0 ? (unsigned)tasks.st_nlink
						    : 0;
}

/* A worker is a clone, and a clone has but the one thread that has made it:
 * what the others were to do would never be done. A thread that has been joined
 * may be seen for a moment still. */
static bool
has_no_thread(const char *path, unsigned before, char error[SERVICE_ERROR])
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	for (int tries = 0; tries < 100; tries++) {
		if (threads_count() <= before)
			return true;
		nanosleep(&moment, NULL);
	}
	complain(error, path,
	    "it has started a thread, which no worker would have: expected "
	    "none, in its libraries neither (preforkd.h)");
	return false;
}

static const struct preforkd_service *
load_object(const char *path, unsigned n, char error[SERVICE_ERROR])
{
	const struct service_path where = services_locate(path);
	const unsigned threads = threads_count();
	const struct preforkd_service *table;
	const char *cause;
	int file = object_open(where.text, &cause);

	if (file < 0) {
		complain(error, path,
		    "cannot read it: %s: expected the path of a shared "
		    "object%s",
		    cause, find_hidden(where.text));
		return NULL;
	}
	table = find_table(path, where.text, file, n, error);
	if (!table || !is_valid(path, table, error) ||
	    !has_no_thread(path, threads, error))
		return NULL;
	return table;
}

/* ---- all of a configuration ---------------------------------------------- */

const char *services_running = "service";

static void
announce(const struct services_witness *witness, const char *what,
    const struct config *config, unsigned n)
{
	const char *argument = config_argument(config, n);
	char doing[SERVICE_ERROR];

	if (!witness->about_to)
		return;
	snprintf(doing, sizeof doing, "%s service %s%s%s", what,
	    text_tail(config_service(config, n), PATH_SHOWN),
	    *argument ? ":" : "", text_tail(argument, PATH_SHOWN));
	witness->about_to(witness->context, doing);
}

static bool
is_object(const char *name)
{
	return strchr(name, '/') != NULL;
}

/* The one before it with the same service and argument, or N. */
static unsigned
find_same(const struct config *config, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (config->listen[i].service == config->listen[n].service &&
		    config->listen[i].argument == config->listen[n].argument)
			return i;
	return n;
}

static const struct preforkd_service *
load(const struct services *all, const struct config *config, unsigned n,
    const struct services_witness *witness, char error[SERVICE_ERROR])
{
	const char *name = config_service(config, n);
	unsigned same = find_same(config, n);

	if (same < n)
		return all->list[same].table;
	if (!is_object(name))
		return services_builtin(name);
	announce(witness, "loading", config, n);
	return load_object(name, n, error);
}

bool
services_load(struct services *all, const struct config *config,
    const struct services_witness *witness, char error[SERVICE_ERROR])
{
	for (unsigned i = 0; i < config->listen_count; i++) {
		struct service *service = &all->list[i];

		service->table = load(all, config, i, witness, error);
		if (!service->table)
			return false;
		service->endpoint = config->listen[i].endpoint;
		service->hash = hash_name(service->table->name);
	}
	all->count = config->listen_count;
	return true;
}

static void
explain_start(const struct config *config, unsigned n, const char *cause,
    char error[SERVICE_ERROR])
{
	const char *argument = config_argument(config, n);

	snprintf(error, SERVICE_ERROR, "service %s%s%s: %s",
	    text_tail(config_service(config, n), PATH_SHOWN / 2),
	    *argument ? ":" : "", text_tail(argument, PATH_SHOWN / 2), cause);
}

static bool
start(const struct config *config, unsigned n,
    const struct preforkd_service *table, char error[SERVICE_ERROR])
{
	const unsigned threads = threads_count();
	const char *cause;

	if (!table->start)
		return true;
	services_running = table->name;
	cause = table->start(config_argument(config, n));
	if (!cause)
		return has_no_thread(config_service(config, n), threads, error);
	explain_start(config, n, cause, error);
	return false;
}

bool
services_start(struct services *all, const struct config *config,
    const struct services_witness *witness, char error[SERVICE_ERROR])
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct preforkd_service *table = all->list[i].table;

		if (find_same(config, i) < i || !table->start)
			continue;
		announce(witness, "starting", config, i);
		if (!start(config, i, table, error))
			return false;
	}
	return true;
}

bool
services_try(const struct config *config, unsigned n, char error[SERVICE_ERROR])
{
	const char *name = config_service(config, n);
	const struct preforkd_service *table;

	if (!is_object(name) || find_same(config, n) < n)
		return true;
	table = load_object(name, n, error);
	if (!table || !start(config, n, table, error))
		return false;
	if (table->stop)
		table->stop();
	return true;
}

/* Addresses with the same service and argument share its table. */
void
services_stop(const struct services *all, const struct config *config,
    const struct services_witness *witness)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct preforkd_service *table = all->list[i].table;
		bool first = true;

		for (unsigned k = 0; k < i; k++)
			first = first && all->list[k].table != table;
		if (!first || !table->stop)
			continue;
		announce(witness, "stopping", config, i);
		services_running = table->name;
		table->stop();
	}
}

bool
services_need_loading(const struct config *config)
{
	for (unsigned i = 0; i < config->listen_count; i++)
		if (is_object(config_service(config, i)))
			return true;
	return false;
}

const struct service *
services_at(const struct services *all, uint32_t endpoint)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->list[i].endpoint == endpoint)
			return &all->list[i];
	return NULL;
}

static const struct service *
find_by_hash(const struct services *all, uint32_t hash)
{
	for (unsigned i = 0; i < all->count; i++)
		if (all->list[i].hash == hash)
			return &all->list[i];
	return NULL;
}

/* What is compiled in outlives its address, if it needs no start. */
static const struct preforkd_service *
find_builtin_by_hash(uint32_t hash)
{
	for (size_t i = 0; builtin_services[i]; i++)
		if (hash_name(builtin_services[i]->name) == hash &&
		    !builtin_services[i]->start)
			return builtin_services[i];
	return NULL;
}

const struct preforkd_service *
services_find_slowly(struct services *all, uint32_t endpoint, uint32_t hash)
{
	const struct service *found = services_at(all, endpoint);

	if (!found || found->hash != hash)
		found = find_by_hash(all, hash);
	else
		all->last = found;
	return found ? found->table : find_builtin_by_hash(hash);
}

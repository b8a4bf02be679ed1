#include "lib/base/service.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"
#include "lib/base/text.h"

enum { PATH_SHOWN = 200 }; /* bytes */

/* A shared object, with all its debugging information. */
static const off_t OBJECT_BYTES = (off_t)1 << 30;

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

/* Memory takes all of a write, or fails. */
static bool
copy(int from, int to)
{
	char bytes[16 * 1024];
	ssize_t count;

	while ((count = read(from, bytes, sizeof bytes)) > 0)
		if (write(to, bytes, (size_t)count) != count)
			return false;
	return count == 0;
}

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3 */
#endif

/* Where vm.memfd_noexec is set memory has to ask to be executable; kernels from
 * before it do not know the question. */
static int
create_memory(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_EXEC);

	return fd >= 0 || errno != EINVAL ? fd
					  : memfd_create(name, MFD_CLOEXEC);
}

/* With a second try at once, for what is short for a moment. */
static int
open_memory(const char *name)
{
	int fd = create_memory(name);

	return fd >= 0 ? fd : create_memory(name);
}

/* Returns a descriptor of a copy in memory, or -1 with the cause in ERROR. */
static int
open_copy(const char *path, const char **error)
{
	int file =
	    file_open(services_locate(path).text, false, OBJECT_BYTES, error);
	int memory;

	if (file < 0)
		return -1;
	memory = open_memory(text_tail(path, PATH_SHOWN)); /* 249 at most */
	if (memory < 0 || !copy(file, memory)) {
		*error = strerror(errno);
		if (memory >= 0)
			close(memory);
		memory = -1;
	}
	close(file);
	return memory;
}

/* A file that dlopen(3) can open. It takes two of one name for the same one,
 * even if that has been closed meanwhile: so the Nth of a process has a name of
 * its own, by as many slashes more. */
struct object_name {
	char text[CONFIG_LISTEN_MAX + 32];
};

static struct object_name
name_object(unsigned n, int memory)
{
	static const char directory[] = "/proc/self/fd/";
	struct object_name name;
	size_t length = sizeof directory - 1;

	memcpy(name.text, directory, length);
	memset(name.text + length, '/', n);
	snprintf(name.text + length + n, sizeof name.text - length - n, "%d",
	    memory);
	return name;
}

/* Why dlopen(3) has failed, without the name that it was given: nobody but us
 * knows that. */
static const char *
explain_dlopen(const struct object_name *name)
{
	const char *text = dlerror();
	size_t length = strlen(name->text);

	return strncmp(text, name->text, length) == 0 &&
		strncmp(text + length, ": ", 2) == 0
	    ? text + length + 2
	    : text;
}

static const struct preforkd_service *
find_table(const char *path, struct object_name name, char error[SERVICE_ERROR])
{
	void *object, *table;

	object = dlopen(name.text, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		complain(error, path,
		    "cannot load it: %s: expected a shared object (cc -shared "
		    "-fPIC)",
		    explain_dlopen(&name));
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

static const struct preforkd_service *
load_object(const char *path, unsigned n, char error[SERVICE_ERROR])
{
	const struct preforkd_service *table;
	const char *cause;
	int memory = open_copy(path, &cause);

	if (memory < 0) {
		complain(error, path,
		    "cannot read it: %s: expected the path of a shared "
		    "object%s",
		    cause, find_hidden(services_locate(path).text));
		return NULL;
	}
	table = find_table(path, name_object(n, memory), error);
	close(memory); /* mapped by now */
	return table && is_valid(path, table, error) ? table : NULL;
}

/* ---- all of a configuration ---------------------------------------------- */

const char *services_running = "service";

static void
announce(const struct services_witness *witness, const char *what,
    const struct config *config, unsigned n)
{
	const char *argument = config_argument(config, n);
	char doing[SERVICE_ERROR];

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

bool
services_try(const struct config *config, unsigned n, char error[SERVICE_ERROR])
{
	const char *name = config_service(config, n);

	return !is_object(name) || find_same(config, n) < n ||
	    load_object(name, n, error);
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

bool
services_start(struct services *all, const struct config *config,
    const struct services_witness *witness, char error[SERVICE_ERROR])
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct preforkd_service *table = all->list[i].table;
		const char *cause;

		if (find_same(config, i) < i || !table->start)
			continue;
		announce(witness, "starting", config, i);
		services_running = table->name;
		cause = table->start(config_argument(config, i));
		if (!cause)
			continue;
		explain_start(config, i, cause, error);
		return false;
	}
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

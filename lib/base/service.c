#include "lib/base/service.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/file.h"

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
open_memory(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_EXEC);

	return fd >= 0 || errno != EINVAL ? fd
					  : memfd_create(name, MFD_CLOEXEC);
}

/* Returns a descriptor of a copy in memory, or -1 with the cause in ERROR. */
static int
open_copy(const char *path, const char **error)
{
	int file = file_open(path, false, OBJECT_BYTES, error);
	int memory;

	if (file < 0)
		return -1;
	memory = open_memory(path);
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

static const struct preforkd_service *
find_table(const char *path, struct object_name name, char error[SERVICE_ERROR])
{
	void *object, *table;

	object = dlopen(name.text, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		snprintf(error, SERVICE_ERROR,
		    "service %s: cannot load it: %s: expected a shared object "
		    "(cc -shared -fPIC)",
		    path, dlerror());
		return NULL;
	}
	table = dlsym(object, "preforkd_service");
	if (!table)
		snprintf(error, SERVICE_ERROR,
		    "service %s: no symbol preforkd_service: expected the "
		    "table of preforkd.h",
		    path);
	return table;
}

static bool
is_valid(const char *path, const struct preforkd_service *table,
    char error[SERVICE_ERROR])
{
	if (table->abi != PREFORKD_ABI)
		snprintf(error, SERVICE_ERROR,
		    "service %s: its ABI is %u, expected %d: compile it with "
		    "this preforkd's preforkd.h",
		    path, table->abi, PREFORKD_ABI);
	else if (!table->name || !*table->name)
		snprintf(error, SERVICE_ERROR,
		    "service %s: no name: expected .name in its table", path);
	else if (!table->input)
		snprintf(error, SERVICE_ERROR,
		    "service %s: no function `input`: expected .input in its "
		    "table",
		    path);
	else if (table->state_size > PREFORKD_STATE_MAX)
		snprintf(error, SERVICE_ERROR,
		    "service %s: a state of %u bytes: expected at most %d",
		    path, table->state_size, PREFORKD_STATE_MAX);
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
		snprintf(error, SERVICE_ERROR,
		    "service %s: cannot read it: %s: expected the path of a "
		    "shared object",
		    path, cause);
		return NULL;
	}
	table = find_table(path, name_object(n, memory), error);
	close(memory); /* mapped by now */
	return table && is_valid(path, table, error) ? table : NULL;
}

/* ---- all of a configuration ---------------------------------------------- */

static void
announce(const struct services_witness *witness, const char *what,
    const struct config_listen *listen)
{
	char doing[SERVICE_ERROR];

	snprintf(doing, sizeof doing, "%s service %s%s%s", what,
	    listen->service, *listen->argument ? ":" : "", listen->argument);
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
		if (strcmp(config->listen[i].service,
			config->listen[n].service) == 0 &&
		    strcmp(config->listen[i].argument,
			config->listen[n].argument) == 0)
			return i;
	return n;
}

static const struct preforkd_service *
load(const struct services *all, const struct config *config, unsigned n,
    const struct services_witness *witness, char error[SERVICE_ERROR])
{
	const char *name = config->listen[n].service;
	unsigned same = find_same(config, n);

	if (same < n)
		return all->list[same].table;
	if (!is_object(name))
		return services_builtin(name);
	announce(witness, "loading", &config->listen[n]);
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
	const char *name = config->listen[n].service;

	return !is_object(name) || find_same(config, n) < n ||
	    load_object(name, n, error);
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
		announce(witness, "starting", &config->listen[i]);
		cause = table->start(config->listen[i].argument);
		if (!cause)
			continue;
		snprintf(error, SERVICE_ERROR, "service %s%s%s: %s",
		    config->listen[i].service,
		    *config->listen[i].argument ? ":" : "",
		    config->listen[i].argument, cause);
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
		announce(witness, "stopping", &config->listen[i]);
		table->stop();
	}
}

bool
services_need_loading(const struct config *config)
{
	for (unsigned i = 0; i < config->listen_count; i++)
		if (is_object(config->listen[i].service))
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

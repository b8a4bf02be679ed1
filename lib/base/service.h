/*
 * service: the services of a configuration, built in or loaded from shared
 * objects (include/preforkd.h).
 *
 * A connection says which endpoint it came by and, by a hash of its name, which
 * service it has: so it finds its own again after a reload, wherever that one
 * stands in the new configuration, and never gets another's.
 */
#ifndef PREFORKD_SERVICE_H
#define PREFORKD_SERVICE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/preforkd.h"
#include "lib/base/config.h"

/* Room for any message of this module. */
enum { SERVICE_ERROR = 512 };

/* Those that are compiled in, ended by NULL; and the one of a name, or NULL. */
extern const struct preforkd_service *const builtin_services[];
const struct preforkd_service *services_builtin(const char *name);

/* Notes the directory that relative paths belong to; to be called once, as
 * early as possible. */
void services_begin(void);

/* The absolute path of a service's object. */
struct service_path {
	char text[PATH_MAX];
};
struct service_path services_locate(const char *path);

struct service {
	const struct preforkd_service *table;
	uint32_t endpoint; /* whose it is: config.h */
	uint32_t hash;	   /* of its name; never 0 */
};

/* Starts as all zero. */
struct services {
	struct service list[CONFIG_LISTEN_MAX]; /* one for each listen */
	unsigned count;
	const struct service *last; /* found: most have but one */
};

/* Is told before code of a service runs, which may never come back: DOING is
 * "loading service ./mine.so:argument". About_to may be NULL. */
struct services_witness {
	void (*about_to)(void *context, const char *doing);
	void *context;
};

/*
 * Loads the service of each address of CONFIG, a private copy of each shared
 * object: the file may be replaced while it is mapped. Returns false with cause
 * and remedy in ERROR.
 */
bool services_load(struct services *, const struct config *config,
    const struct services_witness *, char error[SERVICE_ERROR]);

/* Loads the service of CONFIG's Nth address, unless an earlier one has the
 * same, starts it, and stops it again, to see whether that can be done. The
 * same result, if any: its code runs. */
bool services_try(
    const struct config *config, unsigned n, char error[SERVICE_ERROR]);

/* The name of the service whose code this process runs or has run last, for
 * what that code says; "service" before. */
extern const char *services_running;

/* Calls each one's `start`, in the order of CONFIG; the same for `stop`. */
bool services_start(struct services *, const struct config *config,
    const struct services_witness *, char error[SERVICE_ERROR]);
void services_stop(const struct services *, const struct config *config,
    const struct services_witness *);

/* True where CONFIG names a shared object. */
bool services_need_loading(const struct config *config);

/* The service that ENDPOINT has, or NULL. */
const struct service *services_at(const struct services *, uint32_t endpoint);

/* The service of a connection: that of its endpoint if the name is the same,
 * else one of that name; NULL where there is none. */
const struct preforkd_service *
services_find_slowly(struct services *, uint32_t endpoint, uint32_t hash);

static inline const struct preforkd_service *
services_find(struct services *all, uint32_t endpoint, uint32_t hash)
{
	const struct service *last = all->last;

	return last && last->endpoint == endpoint && last->hash == hash
	    ? last->table
	    : services_find_slowly(all, endpoint, hash);
}

#endif

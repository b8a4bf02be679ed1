#include "lib/master/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool
is_of(const struct endpoint *endpoint, const struct config_listen *listen)
{
	return endpoint->ordinal == listen->ordinal &&
	    address_equal(&endpoint->requested, &listen->address);
}

static struct endpoint *
find(struct endpoints *all, const struct config_listen *listen)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used && is_of(&all->list[i], listen))
			return &all->list[i];
	return NULL;
}

static struct endpoint *
find_unused(struct endpoints *all)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (!all->list[i].used)
			return &all->list[i];
	return NULL;
}

bool
endpoint_is_configured(
    const struct endpoint *endpoint, const struct config *config)
{
	for (unsigned i = 0; i < config->listen_count; i++)
		if (is_of(endpoint, &config->listen[i]))
			return true;
	return false;
}

/* One that CONFIG drops, and that covers ADDRESS or is covered by it; NULL
 * where there is none. */
static const struct endpoint *
find_dropped(const struct endpoints *all, const struct config *config,
    const struct address *address)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used &&
		    address_overlaps(&all->list[i].bound, address) &&
		    !endpoint_is_configured(&all->list[i], config))
			return &all->list[i];
	return NULL;
}

/* Two endpoints cannot be bound to the very same address: their listeners would
 * be one group. It happens where the one has port 0, or the other family. */
static bool
is_distinct(const struct endpoint *dropped, const struct address *bound,
    char error[LISTENER_ERROR])
{
	if (!dropped || !address_equal(&dropped->bound, bound))
		return true;
	snprintf(error, LISTENER_ERROR,
	    "cannot listen on %s under another name: restart the server for "
	    "that",
	    address_format(bound).text);
	return false;
}

/* Takes the port, unless what was inherited has it. */
static bool
take_port(struct endpoints *all, const struct config *config,
    const struct address *asked, struct address *bound, int *reservation,
    char error[LISTENER_ERROR])
{
	const struct endpoint *dropped = find_dropped(all, config, asked);

	*reservation = -1;
	if (activation_count(&all->activation, asked, bound) > 0)
		return is_distinct(dropped, bound, error);
	*reservation = listener_reserve(asked, dropped != NULL, bound, error);
	if (*reservation < 0)
		return false;
	if (is_distinct(dropped, bound, error))
		return true;
	close(*reservation);
	return false;
}

static bool
reserve(struct endpoints *all, const struct config *config,
    const struct config_listen *listen, char error[LISTENER_ERROR])
{
	struct endpoint *endpoint = find_unused(all);
	struct address bound;
	int reservation;

	if (!endpoint) {
		strcpy(error,
		    "too many addresses are still being closed: "
		    "try again later");
		return false;
	}
	if (!take_port(
		all, config, &listen->address, &bound, &reservation, error))
		return false;
	memset(endpoint, 0, sizeof *endpoint);
	endpoint->used = true;
	endpoint->serial = ++all->last_serial;
	endpoint->requested = listen->address;
	endpoint->ordinal = listen->ordinal;
	endpoint->bound = bound;
	endpoint->reservation = reservation;
	endpoint->inherited = reservation < 0;
	for (unsigned slot = 0; slot < CONFIG_WORKERS_MAX; slot++)
		endpoint->listeners[slot] = -1;
	return true;
}

/* Nobody would accept from the sockets of the slots that are not there. */
static bool
has_workers_for_all(const struct endpoints *all, const struct config *config,
    char error[LISTENER_ERROR])
{
	unsigned least = activation_workers(&all->activation, config);

	if (config->workers >= least)
		return true;
	snprintf(error, LISTENER_ERROR,
	    "workers: invalid value \"%u\": expected at least %u, one for "
	    "each socket that was inherited for the same address",
	    config->workers, least);
	errno = EINVAL;
	return false;
}

bool
endpoints_reserve(
    struct endpoints *all, struct config *config, char error[LISTENER_ERROR])
{
	if (!has_workers_for_all(all, config, error))
		return false;
	for (unsigned i = 0; i < config->listen_count; i++) {
		struct config_listen *listen = &config->listen[i];

		address_find_zone(&listen->address);
		if (!find(all, listen) && !reserve(all, config, listen, error))
			return false;
		listen->endpoint = (uint32_t)find(all, listen)->serial;
	}
	return true;
}

struct endpoint *
endpoints_of(struct endpoints *all, const struct config *config, unsigned n)
{
	return find(all, &config->listen[n]);
}

enum { SLOT_BITS = 16 }; /* CONFIG_WORKERS_MAX fits */

uint64_t
endpoint_serial(const struct endpoint *endpoint, unsigned slot)
{
	return endpoint->serial << SLOT_BITS | slot;
}

struct endpoint *
endpoints_by_serial(struct endpoints *all, uint64_t serial, unsigned *slot)
{
	*slot = (unsigned)(serial & ((1U << SLOT_BITS) - 1));
	if (*slot >= CONFIG_WORKERS_MAX)
		return NULL;
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used &&
		    all->list[i].serial == serial >> SLOT_BITS)
			return &all->list[i];
	return NULL;
}

int
endpoint_open(const struct endpoints *all, const struct endpoint *endpoint,
    unsigned slot, unsigned backlog, char error[LISTENER_ERROR])
{
	const struct activation_socket *socket;
	int fd;

	if (!endpoint->inherited)
		return listener_open(&endpoint->bound, backlog, error);
	socket = activation_of(&all->activation, &endpoint->bound, slot);
	fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		snprintf(error, LISTENER_ERROR,
		    "cannot share the socket of %s: %s",
		    address_format(&endpoint->bound).text, strerror(errno));
	return fd;
}

bool
endpoints_inherit(
    struct endpoints *all, unsigned slot, const struct config *config)
{
	char unused[LISTENER_ERROR];

	for (unsigned i = 0; i < config->listen_count; i++) {
		struct endpoint *endpoint = endpoints_of(all, config, i);
		int fd;

		if (!endpoint->inherited || endpoint->listeners[slot] >= 0)
			continue;
		fd = endpoint_open(all, endpoint, slot, 0, unused);
		if (fd < 0)
			return false;
		endpoint_hold(endpoint, slot, fd);
	}
	return true;
}

void
endpoint_hold(struct endpoint *endpoint, unsigned slot, int fd)
{
	endpoint_drop(endpoint, slot);
	endpoint->listeners[slot] = fd;
	endpoint->known[slot] = false;
	endpoint->lent_to[slot] = 0;
	steering_add(&endpoint->steering, slot);
}

void
endpoint_drop(struct endpoint *endpoint, unsigned slot)
{
	if (endpoint->listeners[slot] < 0)
		return;
	close(endpoint->listeners[slot]);
	endpoint->listeners[slot] = -1;
	steering_remove(&endpoint->steering, slot);
}

void
endpoints_drop(struct endpoints *all, unsigned slot)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used)
			endpoint_drop(&all->list[i], slot);
}

void
endpoints_drop_removed(
    struct endpoints *all, unsigned slot, const struct config *config)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used &&
		    !endpoint_is_configured(&all->list[i], config))
			endpoint_drop(&all->list[i], slot);
}

void
endpoints_know(struct endpoints *all, unsigned slot,
    const struct config *config, bool known)
{
	for (unsigned i = 0; i < config->listen_count; i++)
		endpoints_of(all, config, i)->known[slot] = known;
}

bool
endpoints_has_all(
    struct endpoints *all, unsigned slot, const struct config *config)
{
	for (unsigned i = 0; i < config->listen_count; i++)
		if (endpoints_of(all, config, i)->listeners[slot] < 0)
			return false;
	return true;
}

static void
remove_endpoint(struct endpoint *endpoint)
{
	for (unsigned slot = 0; slot < CONFIG_WORKERS_MAX; slot++)
		endpoint_drop(endpoint, slot);
	if (endpoint->reservation >= 0)
		close(endpoint->reservation);
	endpoint->used = false;
}

void
endpoints_remove_unused(struct endpoints *all, const struct config *config)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used && all->list[i].steering.count == 0 &&
		    !endpoint_is_configured(&all->list[i], config))
			remove_endpoint(&all->list[i]);
}

void
endpoints_remove_added(struct endpoints *all, const struct config *config,
    const struct config *next)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used &&
		    endpoint_is_configured(&all->list[i], next) &&
		    !endpoint_is_configured(&all->list[i], config))
			remove_endpoint(&all->list[i]);
}

void
endpoints_remove_all(struct endpoints *all)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (all->list[i].used)
			remove_endpoint(&all->list[i]);
}

int
endpoints_steer(struct endpoints *all, const bool *served, bool changed)
{
	int result = 0;

	for (int i = 0; i < CONTROL_ENDPOINTS; i++) {
		struct endpoint *endpoint = &all->list[i];
		struct steering *group = &endpoint->steering;

		if (!endpoint->used || endpoint->inherited ||
		    group->count == 0 || (!changed && !group->changed))
			continue;
		if (steering_apply(group, served,
			endpoint->listeners[group->slots[0]]) < 0)
			result = -1;
	}
	return result;
}

enum { LISTED = ADDRESS_TEXT + sizeof ", " };

unsigned
endpoints_list(struct endpoints *all, const struct config *config, unsigned n,
    char *text, size_t size)
{
	size_t length = 0;

	for (; n < config->listen_count && size - length > LISTED; n++)
		length += (size_t)snprintf(text + length, size - length, "%s%s",
		    length ? ", " : "",
		    address_format(&endpoints_of(all, config, n)->bound).text);
	return n;
}

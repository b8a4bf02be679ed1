#include "endpoint.h"

#include <string.h>
#include <unistd.h>

int
endpoint_find(const struct endpoint *endpoints, const struct address *address)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (endpoints[i].used &&
		    address_equal(&endpoints[i].requested, address))
			return i;
	return -1;
}

/* Removed addresses keep their number until their queues are empty. */
static int
find_free(const struct endpoint *endpoints)
{
	for (int i = 0; i < CONTROL_ENDPOINTS; i++)
		if (!endpoints[i].used)
			return i;
	return -1;
}

int
endpoint_add(struct endpoint *endpoints, const struct address *requested,
    char error[LISTENER_ERROR])
{
	struct address bound;
	struct endpoint *endpoint;
	int number = find_free(endpoints);
	int reservation;

	if (number < 0) {
		strcpy(error,
		    "too many addresses are still being closed: "
		    "try again later");
		return -1;
	}
	reservation = listener_reserve(requested, &bound, error);
	if (reservation < 0)
		return -1;
	endpoint = &endpoints[number];
	memset(endpoint, 0, sizeof *endpoint);
	endpoint->used = true;
	endpoint->requested = *requested;
	endpoint->bound = bound;
	endpoint->reservation = reservation;
	for (unsigned slot = 0; slot < CONFIG_WORKERS_MAX; slot++)
		endpoint->listeners[slot] = -1;
	return number;
}

void
endpoint_remove(struct endpoint *endpoint)
{
	if (!endpoint->used)
		return;
	for (unsigned slot = 0; slot < CONFIG_WORKERS_MAX; slot++)
		endpoint_drop(endpoint, slot);
	close(endpoint->reservation);
	endpoint->used = false;
}

void
endpoint_hold(struct endpoint *endpoint, unsigned slot, int fd)
{
	endpoint_drop(endpoint, slot);
	endpoint->listeners[slot] = fd;
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

bool
endpoint_is_idle(const struct endpoint *endpoint)
{
	return endpoint->steering.count == 0;
}

int
endpoint_steer(struct endpoint *endpoint, const bool *served, bool changed)
{
	struct steering *group = &endpoint->steering;

	if (group->count == 0 || (!changed && !group->changed))
		return 0;
	return steering_apply(
	    group, served, endpoint->listeners[group->slots[0]]);
}

#include "lib/master/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/base/listener.h"
#include "lib/base/log.h"

/* ---- which is for what --------------------------------------------------- */

static unsigned
count_bound(const struct activation *all, const struct address *bound)
{
	unsigned count = 0;

	for (unsigned i = 0; i < all->count; i++)
		count += address_equal(&all->sockets[i].bound, bound);
	return count;
}

/* `:80` is [::]:80 or, where nobody has passed that, 0.0.0.0:80. */
unsigned
activation_count(const struct activation *all, const struct address *asked,
    struct address *bound)
{
	struct address wanted = *asked;
	unsigned count;

	address_find_zone(&wanted);
	count = count_bound(all, &wanted);
	if (count == 0 && wanted.any_family) {
		address_fall_back_to_v4(&wanted);
		count = count_bound(all, &wanted);
	}
	if (count > 0)
		*bound = wanted;
	return count;
}

const struct activation_socket *
activation_of(
    const struct activation *all, const struct address *bound, unsigned slot)
{
	const struct activation_socket *socket = all->sockets;
	unsigned nth = slot % count_bound(all, bound);

	for (;; socket++)
		if (address_equal(&socket->bound, bound) && nth-- == 0)
			return socket;
}

bool
activation_is_wanted(const struct activation *all,
    const struct activation_socket *socket, const struct config *config)
{
	struct address bound;

	for (unsigned i = 0; i < config->listen_count; i++)
		if (activation_count(all, &config->listen[i].address, &bound) >
			0 &&
		    address_equal(&socket->bound, &bound))
			return true;
	return false;
}

unsigned
activation_workers(const struct activation *all, const struct config *config)
{
	struct address bound;
	unsigned most = 1;

	for (unsigned i = 0; i < config->listen_count; i++) {
		unsigned count =
		    activation_count(all, &config->listen[i].address, &bound);

		if (count > most)
			most = count;
	}
	return most;
}

/* ---- taking over --------------------------------------------------------- */

/* False, and says so, where it is not what a worker can accept from. A socket
 * that others accept from as well must not block who comes too late; that is a
 * flag of the open file, and not of its queue. */
static bool
take(struct activation *all, int fd)
{
	struct activation_socket *socket = &all->sockets[all->count];
	const char *flaw = inherited_flaw(fd, &socket->bound);
	int flags;

	if (flaw) {
		log_error("%s %s: expected a TCP socket that listens, as of "
			  "ListenStream=ADDRESS:PORT",
		    inherited_name(all->from, fd).text, flaw);
		return false;
	}
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    listener_equip(fd) < 0) {
		log_error("%s cannot be set up: %s",
		    inherited_name(all->from, fd).text, strerror(errno));
		return false;
	}
	socket->fd = fd;
	all->count++;
	return true;
}

/* An operator who has configured [::] expects IPv4 as well. */
static void
warn_of_family(const struct activation *all)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct activation_socket *socket = &all->sockets[i];

		if (listener_lacks_v4(socket->fd, &socket->bound))
			log_warning("%s takes no IPv4 on %s: the socket unit "
				    "has BindIPv6Only=ipv6-only",
			    inherited_name(all->from, socket->fd).text,
			    address_format(&socket->bound).text);
	}
}

static bool
are_all_wanted(const struct activation *all, const struct config *config)
{
	bool wanted = true;

	for (unsigned i = 0; i < all->count; i++) {
		const struct activation_socket *socket = &all->sockets[i];

		if (activation_is_wanted(all, socket, config))
			continue;
		log_error("%s listens on %s, which is not configured: add "
			  "listen = %s, or take it out of the socket unit",
		    inherited_name(all->from, socket->fd).text,
		    address_format(&socket->bound).text,
		    address_format(&socket->bound).text);
		wanted = false;
	}
	return wanted;
}

bool
activation_begin(struct activation *all, const struct inherited *from,
    const struct config *config)
{
	bool good = true;

	if (*from->error)
		log_error("%s", from->error);
	if (*from->error || from->count == 0)
		return !*from->error;
	all->from = from;
	all->sockets = calloc(from->count, sizeof *all->sockets);
	if (!all->sockets) {
		log_error("no memory for %u sockets", from->count);
		return false;
	}
	for (unsigned i = 0; i < from->count; i++)
		good &= take(all, INHERITED_FIRST + (int)i);
	if (!are_all_wanted(all, config) || !good)
		return false;
	warn_of_family(all);
	log_info("%u socket%s inherited (LISTEN_FDS)", all->count,
	    log_plural(all->count));
	return true;
}

void
activation_free(struct activation *all)
{
	free(all->sockets);
	*all = (struct activation) { 0 };
}

void
activation_warn(const struct activation *all, const struct config *config)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct activation_socket *socket = &all->sockets[i];

		if (!activation_is_wanted(all, socket, config))
			log_warning("%s is not configured any more, but "
				    "whoever has passed %s still listens "
				    "there, and its clients wait for nobody: "
				    "take it out of the socket unit, too",
			    address_format(&socket->bound).text,
			    inherited_name(all->from, socket->fd).text);
	}
}

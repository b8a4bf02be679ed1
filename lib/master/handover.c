#include "lib/master/handover.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AGAIN_MS = 1000 }; /* until what nobody could take is offered again */

int
handover_init(struct handover *h)
{
	void *room = mmap(NULL, SLOT_PARCEL, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED || madvise(room, SLOT_PARCEL, MADV_DONTFORK) < 0)
		return -1;
	h->parcel = room;
	h->fd = -1;
	return 0;
}

void
handover_send(struct handover *h)
{
	memcpy(h->target->memory->parcel, h->parcel, h->size);
	pair_send(h->target, &h->message, h->fd);
}

static void
forget(struct handover *h)
{
	explicit_bzero(h->parcel, h->size);
	close(h->fd); /* disarmed when it came */
	h->fd = -1;
	h->source = h->target = NULL;
}

static void
end_handover(struct handover *h)
{
	if (h->source) {
		h->source->handed = h->number;
		pair_order(h->source, CONTROL_HANDED, h->number);
	}
	forget(h);
}

void
handover_keep(struct crew *crew, struct pair *source)
{
	const struct handover *h = &crew->handover;

	if (h->fd < 0 || h->source != source)
		pair_order(source, CONTROL_KEEP, source->handed + 1);
}

/* Whoever has it tries again later. */
static void
give_back(struct crew *crew)
{
	struct handover *h = &crew->handover;
	struct pair *source = h->source;

	forget(h);
	if (!source)
		return;
	handover_keep(crew, source);
	if (crew->ending)
		return;
	source->deadline_ms = 0;
	source->hand_ms = crew->now_ms + AGAIN_MS;
}

static void
pass_on(struct crew *crew)
{
	struct handover *h = &crew->handover;

	h->target = crew_least_loaded(crew, h->source);
	if (!h->target) {
		give_back(crew);
		return;
	}
	h->source->deadline_ms = crew->now_ms + CREW_START_MS;
	h->message.type = CONTROL_ADOPT;
	h->message.value = ++h->target->adopting;
	handover_send(h);
}

void
handover_retry(struct crew *crew)
{
	for (unsigned i = 0; i < crew->slot_count; i++) {
		struct pair *pair = crew->slots[i].pair;

		if (!pair || pair->hand_ms == 0 || crew->now_ms < pair->hand_ms)
			continue;
		pair->hand_ms = 0;
		pair->deadline_ms = crew->now_ms + CREW_START_MS;
		pair_order(pair, CONTROL_HAND, 0);
	}
}

/* Is said again by a successor, so it may be late, or come twice. */
static bool
is_next(const struct handover *h, struct pair *pair,
    const struct control_message *message)
{
	if (message->value > pair->handed)
		return h->fd < 0 && message->value == pair->handed + 1;
	pair_order(pair, CONTROL_HANDED, message->value);
	return false;
}

static bool
has_option(int fd, int option, int wanted)
{
	int value = -1;
	socklen_t length = sizeof value;

	return getsockopt(fd, SOL_SOCKET, option, &value, &length) == 0 &&
	    value == wanted;
}

/* What another worker is to serve: it would stop at anything else. */
static bool
is_connection(int fd)
{
	return has_option(fd, SO_PROTOCOL, IPPROTO_TCP) &&
	    has_option(fd, SO_ACCEPTCONN, 0);
}

/* Connections are offered where that was ordered: CONTROL_HAND. */
static bool
is_wanted(const struct crew *crew, const struct pair *pair)
{
	return !crew->ending && pair->state == PAIR_RETIRING &&
	    pair->hand_ms == 0;
}

void
handover_offer(struct crew *crew, struct pair *pair,
    const struct control_message *message, int fd)
{
	struct handover *h = &crew->handover;
	size_t size;

	if (!is_wanted(crew, pair) || !is_next(h, pair, message) ||
	    !is_connection(fd) || !parcel_size(&message->label, &size)) {
		control_discard(fd);
		return;
	}
	control_disarm(fd);
	h->fd = fd;
	h->source = pair;
	h->number = message->value;
	h->message = *message;
	h->size = size;
	memcpy(h->parcel, pair->memory->parcel, size);
	pass_on(crew);
}

void
handover_adopted(struct crew *crew, struct pair *pair, uint64_t number)
{
	struct handover *h = &crew->handover;

	if (h->fd >= 0 && h->target == pair && h->message.value == number)
		end_handover(h);
}

void
handover_refused(struct crew *crew, struct pair *pair, uint64_t number)
{
	struct handover *h = &crew->handover;

	if (h->fd < 0 || h->target != pair || h->message.value != number)
		return;
	pair->adopting--;
	give_back(crew);
}

void
handover_forget(struct crew *crew, const struct pair *pair)
{
	struct handover *h = &crew->handover;

	if (h->fd >= 0 && h->target == pair)
		end_handover(h);
	if (h->source == pair)
		h->source = NULL;
}

#include "handover.h"

#include <string.h>
#include <unistd.h>

void
handover_send(struct handover *h)
{
	memcpy(h->target->memory->parcel, h->parcel, h->size);
	pair_send(h->target, &h->message, h->fd);
}

void
handover_pass_on(struct crew *crew)
{
	struct handover *h = &crew->handover;

	if (h->fd < 0 || h->target)
		return;
	h->target = crew_least_loaded(crew, h->source);
	if (!h->target)
		return; /* later, when there is one */
	h->message.type = CONTROL_ADOPT;
	h->message.value = ++h->target->adopting;
	handover_send(h);
}

static void
end_handover(struct handover *h)
{
	if (h->source) {
		h->source->handed = h->number;
		pair_order(h->source, CONTROL_HANDED, h->number);
	}
	close(h->fd);
	h->fd = -1;
	h->source = h->target = NULL;
}

/* Is said again by a successor, so it may be late, or come twice. */
static bool
is_new(const struct handover *h, struct pair *pair,
    const struct control_message *message)
{
	if (message->value > pair->handed)
		return h->fd < 0;
	pair_order(pair, CONTROL_HANDED, message->value);
	return false;
}

void
handover_offer(struct crew *crew, struct pair *pair,
    const struct control_message *message, int fd)
{
	struct handover *h = &crew->handover;
	size_t size;

	if (!is_new(h, pair, message) || fd < 0 ||
	    !parcel_size(&message->label, &size)) {
		if (fd >= 0)
			close(fd);
		return;
	}
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
	h->fd = fd;
	h->source = pair;
	h->number = message->value;
	h->message = *message;
	h->size = size;
	memcpy(h->parcel, pair->memory->parcel, size);
	handover_pass_on(crew);
}

void
handover_adopted(struct crew *crew, struct pair *pair, uint64_t number)
{
	struct handover *h = &crew->handover;

	if (h->fd >= 0 && h->target == pair && h->message.value == number)
		end_handover(h);
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

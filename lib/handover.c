#include "handover.h"

#include <string.h>
#include <unistd.h>

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
	pair_send(h->target, &h->message, h->fd, &h->pending);
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

void
handover_offer(struct crew *crew, struct pair *pair,
    const struct control_message *message, int fd, size_t length)
{
	struct handover *h = &crew->handover;

	if (message->value <= pair->handed || h->fd >= 0 || fd < 0) {
		if (message->value <= pair->handed)
			pair_order(pair, CONTROL_HANDED, message->value);
		if (fd >= 0)
			close(fd);
		return;
	}
	pair->deadline_ms = crew->now_ms + CREW_START_MS;
	h->fd = fd;
	h->source = pair;
	h->number = message->value;
	h->message = *message;
	h->pending.bytes = h->bytes;
	h->pending.size = length;
	memcpy(h->bytes, crew->bytes, length);
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

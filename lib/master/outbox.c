#include "lib/master/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct letter {
	struct letter *next;
	struct control_message message;
	int fd; /* owned; -1: none */
};

bool
outbox_put(struct outbox *box, const struct control_message *message, int fd)
{
	struct letter *letter = NULL;

	errno = ENOBUFS;
	if (box->count < OUTBOX_MAX)
		letter = malloc(sizeof *letter);
	if (!letter)
		return false;
	*letter = (struct letter) { .message = *message, .fd = -1 };
	if (fd >= 0) {
		letter->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (letter->fd < 0) {
			free(letter);
			return false;
		}
	}
	if (box->first)
		box->last->next = letter;
	else
		box->first = letter;
	box->last = letter;
	box->count++;
	return true;
}

static void
drop_first(struct outbox *box)
{
	struct letter *letter = box->first;

	box->first = letter->next;
	box->count--;
	if (letter->fd >= 0)
		close(letter->fd);
	free(letter);
}

bool
outbox_send(struct outbox *box, int control)
{
	bool took = false;

	while (box->first &&
	    control_send(control, &box->first->message, box->first->fd) == 0) {
		drop_first(box);
		took = true;
	}
	if (box->first && control_is_over(errno))
		outbox_clear(box);
	return took;
}

void
outbox_clear(struct outbox *box)
{
	while (box->first)
		drop_first(box);
}
